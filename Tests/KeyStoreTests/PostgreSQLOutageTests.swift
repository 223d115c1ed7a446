import Diagnostics
import KeyStore
import KeyStorePostgreSQL
import PostgreSQLClient
import Synchronization
import TestServers
import Testing

/// What happens to requests when a connection, the server, or the whole machine of the database goes away.
@Suite(.enabled(if: TestPostgreSQL.isInstalled), .timeLimit(.minutes(5)))
struct PostgreSQLOutageTests {
    /// A store that reaches the shared server through a proxy without TLS.
    private func withProxy(
        patience: Duration = .seconds(60), schema: String = PostgreSQL.schema(),
        _ body: (CuttingProxy, PostgreSQLKeyStore) async throws -> Void
    ) async throws {
        let server = try await TestPostgreSQL.shared.value
        let proxy = try CuttingProxy(to: server.port)
        defer { proxy.close() }
        var settings = PostgreSQLSettings(
            hosts: [.init("127.0.0.1", port: proxy.port)], database: "hds", user: "open")
        settings.tls = .none
        var options = PostgreSQLKeyStore.Options()
        options.schema = schema
        options.patience = patience
        let store = try await PostgreSQLKeyStore.open(settings, options: options)
        try await body(proxy, store)
        #expect(proxy.isDone)
        await store.close()
    }

    @Test("a COMMIT whose answer is lost was done: it is found, not done again and not reported as a conflict")
    func lostAnswer() async throws {
        try await withProxy { proxy, store async throws in
            try await store.apply(.insertResource(Sample.resource(1)))
            for round in 1...5 {
                proxy.cut(.afterCommit)
                // No ledger entry: there is nothing but the mark by which it can be told.
                let version = Int64(round + 1)
                #expect(try await store.apply(.updateResource(Sample.resource(1, version: version))) == .committed)
                #expect(try await store.resource(Sample.id(1))?.version == version)
            }
        }
    }

    @Test("a COMMIT that never reached the server is done on the next connection")
    func lostCommit() async throws {
        try await withProxy { proxy, store async throws in
            try await store.apply(.insertResource(Sample.resource(1)))
            for round in 1...5 {
                proxy.cut(.beforeCommit)
                let version = Int64(round + 1)
                #expect(try await store.apply(.updateResource(Sample.resource(1, version: version))) == .committed)
                #expect(try await store.resource(Sample.id(1))?.version == version)
            }
        }
    }

    @Test("a connection that stays open and is never answered again costs a read its time, not its answer")
    func silence() async throws {
        try await withProxy(patience: .seconds(8)) { proxy, store async throws in
            try await store.apply(.insertKey(Sample.key(1)))
            #expect(try await store.key(Sample.id(1)) == Sample.key(1))
            proxy.silence()
            #expect(try await store.key(Sample.id(1)) == Sample.key(1))
        }
    }

    @Test("when what became of a COMMIT can not be found out in time, the error says so; the same request then tells")
    func unknownOutcome() async throws {
        let schema = PostgreSQL.schema()
        let change = StoreChange(writes: [.insertKey(Sample.key(1)), .insertLedger(Sample.ledger(1))])
        try await withProxy(patience: .seconds(3), schema: schema) { proxy, store async throws in
            proxy.cut(.afterCommit)
            // Nobody gets through any more.
            proxy.close()
            let error = await #expect(throws: DiagnosedError.self) { _ = try await store.commit(change) }
            #expect(error?.code == .storeUnreachable)
            #expect(error?.summary.contains("not known yet") == true)
        }
        try await withProxy(schema: schema) { _, again async throws in
            #expect(try await again.commit(change) == .duplicate)
            #expect(try await again.key(Sample.id(1)) == Sample.key(1))
        }
    }

    @Test("connections that are cut again and again, before and after COMMITs, lose nothing and do nothing twice")
    func cutAgainAndAgain() async throws {
        try await withProxy { proxy, store async throws in
            try await CommitLoad(store).run { load async throws in
                var generator = SeededGenerator(seed: UInt64.random(in: .min ... .max))
                for _ in 0..<15 {
                    let cuts = (0..<Int.random(in: 1...3, using: &generator)).map { _ in
                        Bool.random(using: &generator) ? CuttingProxy.Cut.afterCommit : .beforeCommit
                    }
                    for cut in cuts { proxy.cut(cut) }
                    try await load.progress(by: 2)
                    while !proxy.isDone { await Task.yield() }
                }
            }
        }
    }

    @Test("a connection that is lost after a conflict was found changes nothing about the conflict")
    func lostRollback() async throws {
        try await withProxy { proxy, store async throws in
            try await store.apply(.insertKey(Sample.key(1)), .insertLedger(Sample.ledger(1)))
            for round in 2...4 {
                proxy.cut(.beforeRollback)
                #expect(try await store.apply(.insertKey(Sample.key(1))) == .conflict)
                proxy.cut(.beforeRollback)
                #expect(try await store.apply(.insertLedger(Sample.ledger(1))) == .duplicate)
                #expect(try await store.apply(.insertKey(Sample.key(round))) == .committed)
            }
        }
    }

    @Test("conflicts and duplicates of a batch whose answer is lost reach those that they are for")
    func mixedBatch() async throws {
        try await withProxy { proxy, store async throws in
            try await store.apply(.insertResource(Sample.resource(50)), .insertLedger(Sample.ledger(7)))
            for round in 0..<5 {
                proxy.cut(.afterCommit)
                let outcomes = try await withThrowingTaskGroup(of: (Int, CommitResult).self) { group in
                    for number in 0..<30 {
                        let key = StoreWrite.insertKey(Sample.key(1000 + round * 100 + number))
                        group.addTask {
                            switch number % 3 {
                            case 0: (number, try await store.apply(key))
                            case 1: (number, try await store.apply(key, .updateKey(Sample.key(9, version: 2))))
                            default: (number, try await store.apply(key, .insertLedger(Sample.ledger(7))))
                            }
                        }
                    }
                    return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
                }
                for (number, outcome) in outcomes {
                    #expect(outcome == [.committed, .conflict, .duplicate][number % 3])
                    let isThere = try await store.key(Sample.id(1000 + round * 100 + number)) != nil
                    #expect(isThere == (number % 3 == 0))
                }
            }
        }
    }

    @Test("an administrator who ends connections in the middle of work is not noticed")
    func terminatedBackends() async throws {
        let schema = PostgreSQL.schema()
        let store = try await PostgreSQL.store(schema: schema)
        let server = try await TestPostgreSQL.shared.value
        try await CommitLoad(store).run { load async throws in
            var ended = 0
            while ended < 15 {
                let rows = try await server.sql(
                    """
                    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE application_name = '\(schema)' AND random() < 0.7
                    """)
                ended += Int(rows?.text(0, 0) ?? "") ?? 0
                try await load.progress(by: 1)
                for number in 0..<8 { #expect(try await store.resource(Sample.id(5000 + number)) != nil) }
            }
        }
        await store.close()
    }

    @Test("a server that crashes under load and comes back: every acknowledged change is there exactly once")
    func crash() async throws {
        let server = try await TestPostgreSQL.start()
        defer { server.end() }
        let away = Mutex([Bool]())
        let store = try await PostgreSQL.store(server) {
            $0.observe = { trouble in away.withLock { $0.append(trouble != nil) } }
        }
        try await CommitLoad(store).run { load async throws in
            for _ in 0..<3 {
                try await server.tell("stop")
                // A read that waits for the server, too.
                async let waiting = store.resource(Sample.id(5000))
                while away.withLock({ $0.last }) != true { await Task.yield() }
                try await server.tell("start")
                #expect(try await waiting != nil)
                try await load.progress()
            }
        }
        let told = away.withLock { $0 }
        #expect(told.count >= 6 && told.last == false, "away and back, three times: \(told)")
        await store.close()
    }

    @Test("when the server stays away requests fail after their patience, and all goes on by itself when it is back")
    func away() async throws {
        let server = try await TestPostgreSQL.start()
        defer { server.end() }
        let store = try await PostgreSQL.store(server) { $0.patience = .seconds(3) }
        try await store.apply(.insertKey(Sample.key(1)))
        try await server.tell("stop")
        let start = ContinuousClock.now
        async let check = code { try await store.check() }
        let codes = await withTaskGroup(of: DiagnosedError.Code?.self) { group in
            for number in 0..<20 {
                group.addTask {
                    number % 2 == 0
                        ? await code { try await store.apply(.insertKey(Sample.key(2))) }
                        : await code { _ = try await store.key(Sample.id(1)) }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(codes.count == 20 && codes.allSatisfy { $0 == .storeUnreachable })
        #expect(await check == .storeUnreachable)
        // Held, not refused at once; no upper bound, for the machine may be busy.
        #expect(start.duration(to: .now) >= .seconds(3))
        try await server.tell("start")
        while await code(of: { try await store.check() }) != nil { await Task.yield() }
        #expect(try await store.key(Sample.id(1)) == Sample.key(1))
        #expect(try await store.apply(.insertKey(Sample.key(3))) == .committed)
        await store.close()
        #expect(await code { _ = try await store.key(Sample.id(1)) } == .storeClosed)
        #expect(await code { try await store.apply(.insertKey(Sample.key(4))) } == .storeClosed)
    }

    @Test("a failover to a synchronous standby under load loses nothing that was acknowledged and does nothing twice")
    func failover() async throws {
        let primary = try await TestPostgreSQL.start()
        defer { primary.end() }
        let standby = try await TestPostgreSQL.start(standbyOf: primary)
        defer { standby.end() }
        try await primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'", database: "postgres")
        try await primary.sql("SELECT pg_reload_conf()")
        while try await primary.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")?
            .text(0, 0) != "1"
        { await Task.yield() }

        // A standby alone is no store: it would take no writes.
        var options = PostgreSQLKeyStore.Options()
        options.patience = .seconds(5)
        var settings = standby.settings
        let alone = (settings, options)
        let refusal = await code { _ = try await PostgreSQLKeyStore.open(alone.0, options: alone.1) }
        #expect(refusal == .storeReadOnly)

        settings.hosts = primary.settings.hosts + standby.settings.hosts
        options.patience = .seconds(60)
        let store = try await PostgreSQLKeyStore.open(settings, options: options)
        try await CommitLoad(store).run { load async throws in
            try await load.progress(by: 5)
            try await primary.tell("stop")
            try await standby.tell("promote")
            try await load.progress(by: 5)
        }
        await store.close()
    }
}
