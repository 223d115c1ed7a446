import Diagnostics
import KeyStore
import KeyStorePostgreSQL
import KeyStoreSQLite
import PostgreSQLClient
import Synchronization
import TestServers
import Testing
import WireText

/// What every cluster has to keep; PostgreSQL and memory with several nodes, SQLite with one.
@Suite("Conformance of the cluster's epoch and leases") struct ClusterStoreTests {
    static func request(_ node: String = "kms-1", epoch: Int64 = 1, settings: [String] = []) -> LeaseRequest {
        LeaseRequest(node: node, epoch: epoch, release: "1.2.3", settings: settings)
    }

    enum Kind: String, CaseIterable, CustomTestStringConvertible {
        case memory, postgresql
        static let allCases: [Kind] = [.memory] + (TestPostgreSQL.isInstalled ? [.postgresql] : [])
        var testDescription: String { rawValue }

        func with(_ body: (any KeyStore, any ClusterStore) async throws -> Void) async throws {
            switch self {
            case .memory:
                let store = MemoryKeyStore()
                try await body(store, MemoryClusterStore(store))
            case .postgresql:
                let store = try await PostgreSQL.store()
                try await body(store, store)
                await store.close()
            }
        }
    }

    @Test("an invitation takes one request while it lives, and one answer to exactly that", arguments: Kind.allCases)
    func invitations(_ kind: Kind) async throws {
        try await kind.with { _, cluster in
            let request = NodeInvitation.Request(publicKey: [1, 2], code: [3])
            #expect(try await cluster.join(request, node: "kms-4") == false)
            let end = Timestamp.now().adding(seconds: 600)
            for node in ["kms-5", "kms-4"] {
                try await cluster.invite(NodeInvitation(node: node, sealed: [7], check: [8], expires: end))
            }
            #expect(try await cluster.invitations().map(\.node) == ["kms-4", "kms-5"])
            #expect(try await cluster.answer([9], to: request, node: "kms-4") == false)
            #expect(try await cluster.join(request, node: "kms-4"))
            let other = NodeInvitation.Request(publicKey: [1], code: [3])
            #expect(try await cluster.join(other, node: "kms-4") == false)
            #expect(try await cluster.answer([9], to: other, node: "kms-4") == false)
            #expect(try await cluster.answer([9], to: request, node: "kms-4"))
            #expect(try await cluster.answer([6], to: request, node: "kms-4") == false)
            let answered = try await cluster.invitations()[0]
            #expect(answered.request == request && answered.answer == [9])
            #expect(answered.sealed.isEmpty && answered.expires == end)
            try await cluster.invite(NodeInvitation(node: "kms-4", sealed: [5], check: [8], expires: end))
            let anew = try await cluster.invitations()[0]
            #expect(anew.request == nil && anew.answer == nil && anew.sealed == [5])
            let over = Timestamp.now().adding(seconds: -1)
            try await cluster.invite(NodeInvitation(node: "kms-4", sealed: [5], check: [8], expires: over))
            #expect(try await cluster.join(request, node: "kms-4") == false)
        }
    }

    @Test("a new cluster is in epoch 1, open, and promises nothing", arguments: Kind.allCases)
    func fresh(_ kind: Kind) async throws {
        try await kind.with { _, cluster in
            let state = try await cluster.cluster()
            #expect(state.epoch == 1)
            #expect(state.site.isEmpty && state.isOpen && !state.promisesSynchronous)
            #expect(try await cluster.leases().isEmpty)
        }
    }

    @Test("a renewal counts, tells the node's release, and brings settings as they are then", arguments: Kind.allCases)
    func renewal(_ kind: Kind) async throws {
        try await kind.with { store, cluster in
            var answer = try await cluster.renewLease(Self.request(settings: ["freezes", "policy-seen"]))
            #expect(answer.refusal == nil && answer.renewals == 1 && answer.epoch == 1)
            #expect(answer.settings == [nil, nil])
            _ = try await store.apply(.putSetting(name: "freezes", value: [1, 2, 0]))
            answer = try await cluster.renewLease(Self.request(settings: ["freezes", "policy-seen"]))
            #expect(answer.renewals == 2)
            #expect(answer.settings == [[1, 2, 0], nil])
            _ = try await cluster.renewLease(Self.request("kms-2"))
            let leases = try await cluster.leases()
            #expect(leases.map(\.node) == ["kms-1", "kms-2"])
            #expect(leases.map(\.renewals) == [2, 1])
            #expect(leases.allSatisfy { $0.release == "1.2.3" && $0.epoch == 1 && !$0.isSynchronous && !$0.isRemoved })
        }
    }

    @Test("in another epoch, lower or higher, there is no lease and nothing is written", arguments: Kind.allCases)
    func otherEpoch(_ kind: Kind) async throws {
        try await kind.with { _, cluster in
            for epoch: Int64 in [0, 2] {
                let answer = try await cluster.renewLease(Self.request(epoch: epoch))
                #expect(answer.refusal == .epoch && answer.renewals == 0 && answer.epoch == 1)
            }
            #expect(try await cluster.leases().isEmpty)
        }
    }

    @Test("a removed node gets none, also one that never had one; put back it does", arguments: Kind.allCases)
    func removed(_ kind: Kind) async throws {
        try await kind.with { _, cluster in
            _ = try await cluster.renewLease(Self.request())
            for node in ["kms-1", "never"] {
                try await cluster.setRemoved(true, node: node)
                let answer = try await cluster.renewLease(Self.request(node))
                #expect(answer.refusal == .removed && answer.renewals == 0)
                try await cluster.setRemoved(false, node: node)
                #expect(try await cluster.renewLease(Self.request(node)).refusal == nil)
            }
        }
    }

    @Test("a SQLite file is a cluster of one: epoch 1, kept in the database, and always a lease")
    func sqlite() async throws {
        let directory = try TemporaryDirectory()
        let store = try SQLiteKeyStore(path: directory.path("keys.db"))
        #expect(try await store.cluster().epoch == 1)
        _ = try await store.apply(.putSetting(name: "freezes", value: [7]))
        let answer = try await store.renewLease(Self.request(settings: ["freezes"]))
        #expect(answer.refusal == nil && answer.settings == [[7]])
        #expect(try await store.renewLease(Self.request(epoch: 2)).refusal == .epoch)
        await #expect(throws: DiagnosedError.self) { try await store.setRemoved(true, node: "kms-1") }
        await store.close()
    }
}

@Suite("Epoch and leases in PostgreSQL", .enabled(if: TestPostgreSQL.isInstalled)) struct PostgreSQLLeaseTests {
    private func request(_ epoch: Int64 = 1) -> LeaseRequest { ClusterStoreTests.request(epoch: epoch) }

    /// A primary that waits for a standby, with a store on it.
    private static func pair() async throws -> (primary: TestPostgreSQL, standby: TestPostgreSQL) {
        let primary = try await TestPostgreSQL.start()
        let standby = try await TestPostgreSQL.start(standbyOf: primary)
        return (primary, standby)
    }

    private static func setNames(_ names: String, on server: TestPostgreSQL) async throws {
        try await server.sql("ALTER SYSTEM SET synchronous_standby_names = '\(names)'")
        try await server.sql("SELECT pg_reload_conf()")
    }

    @Test("the first synchronous renewal makes a promise; after it no lease is given without, until it is given up")
    func promise() async throws {
        let (primary, standby) = try await Self.pair()
        defer {
            standby.end()
            primary.end()
        }
        let store = try await PostgreSQL.store(primary, schema: "hds_kms")
        #expect(try await store.renewLease(request()).isSynchronous == false)
        #expect(try await store.cluster().promisesSynchronous == false)
        try await Self.setNames("*", on: primary)
        try await Self.until { try await store.renewLease(request()).isSynchronous }
        #expect(try await store.cluster().promisesSynchronous)
        try await Self.setNames("", on: primary)
        try await Self.until { try await store.renewLease(request()).refusal == .asynchronous }
        // A change that is committed now may be on this server alone: nobody may acknowledge it.
        let server = ClusterServer(primary.settings, host: primary.settings.hosts[0])
        #expect(try server.giveUpPromise(from: 1, to: 2, waiting: true))
        #expect(try await store.renewLease(request()).refusal == .epoch)
        #expect(try await store.renewLease(request(2)).refusal == nil)
        await store.close()
    }

    @Test("with the standby gone a synchronous renewal does not come back, and they do not pile up at the server")
    func standbyGone() async throws {
        let (primary, standby) = try await Self.pair()
        defer {
            standby.end()
            primary.end()
        }
        let store = try await PostgreSQL.store(primary, schema: "hds_kms") { $0.renewalLimit = .milliseconds(400) }
        try await Self.setNames("*", on: primary)
        // 400 ms may pass on a busy machine.
        try await Self.until { (try? await store.renewLease(request()))?.isSynchronous == true }
        try await standby.tell("stop")
        for _ in 0..<6 {
            await #expect(throws: DiagnosedError.self) { _ = try await store.renewLease(request()) }
        }
        let rows = try await primary.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%leases%' AND pid <> pg_backend_pid()"
        )
        #expect(Int(rows?.text(0, 0) ?? "") ?? 99 <= 3)
        try await standby.tell("start")
        try await Self.until { (try? await store.renewLease(request()))?.refusal == .some(nil) }
        await store.close()
    }

    @Test("a server that somebody promoted gives no lease before its epoch was raised")
    func promotedByHand() async throws {
        let (primary, standby) = try await Self.pair()
        defer {
            standby.end()
            primary.end()
        }
        let first = try await PostgreSQL.store(primary, schema: "hds_kms")
        #expect(try await first.renewLease(request()).refusal == nil)
        await first.close()
        try await Self.untilCaughtUp(standby, with: primary)
        try await primary.tell("stop")
        try await standby.tell("promote")
        let store = try await PostgreSQL.store(standby, schema: "hds_kms")
        #expect(try await store.renewLease(request()).refusal == .promoted)
        let server = ClusterServer(standby.settings, host: standby.settings.hosts[0])
        #expect(try server.look().isKnownTimeline == false)
        #expect(try server.raise(from: 1, to: 2, site: "b"))
        #expect(try server.raise(from: 1, to: 2, site: "b"), "it may be done again")
        #expect(try await store.renewLease(request()).refusal == .epoch)
        let answer = try await store.renewLease(request(2))
        #expect(answer.refusal == nil)
        #expect(try await store.cluster().site == "b")
        await store.close()
    }

    @Test("a closed epoch gives no lease, and the same request closes it once")
    func closed() async throws {
        let server = try await TestPostgreSQL.start()
        defer { server.end() }
        let store = try await PostgreSQL.store(server, schema: "hds_kms")
        let administered = ClusterServer(server.settings, host: server.settings.hosts[0])
        #expect(try administered.close(from: 1, to: 2, waiting: false))
        #expect(try administered.close(from: 1, to: 2, waiting: false))
        #expect(try await store.renewLease(request(2)).refusal == .closed)
        #expect(try administered.reopen(2))
        #expect(try await store.renewLease(request(2)).refusal == nil)
        #expect(try administered.close(from: 1, to: 2, waiting: false) == false)
        await store.close()
    }

    @Test("what is written after the closing of an epoch is held, and is there when it is opened again")
    func closedToWrites() async throws {
        let server = try await TestPostgreSQL.start()
        defer { server.end() }
        let store = try await PostgreSQL.store(server, schema: "hds_kms")
        let reads = try await PostgreSQL.store(server, schema: "hds_kms")
        try await store.apply(.insertResource(Sample.resource(50)))
        let administered = ClusterServer(server.settings, host: server.settings.hosts[0])
        #expect(try administered.close(from: 1, to: 2, waiting: false))
        let isWritten = Mutex(false)
        let written = Task {
            let outcome = try await store.apply(.insertResource(Sample.resource(51)))
            isWritten.withLock { $0 = true }
            return outcome
        }
        for _ in 0..<20 { #expect(try await reads.resource(Sample.id(51)) == nil) }
        #expect(!isWritten.withLock { $0 })
        #expect(try administered.reopen(2))
        #expect(try await written.value == .committed)
        #expect(try await reads.resource(Sample.id(51)) != nil)
        await reads.close()
        await store.close()
    }

    @Test("a node that has seen a higher epoch neither starts on a database of a lower one nor goes on with it")
    func lowerEpoch() async throws {
        let old = try await TestPostgreSQL.start()
        let new = try await TestPostgreSQL.start()
        defer {
            old.end()
            new.end()
        }
        // Both take writes, as after a promotion past a server that comes back.
        for server in [old, new] { try await PostgreSQL.store(server, schema: "hds_kms").close() }
        let promoted = ClusterServer(new.settings, host: new.settings.hosts[0])
        #expect(try promoted.raise(from: 1, to: 2, site: ""))
        await #expect(throws: DiagnosedError.self) {
            _ = try await PostgreSQL.store(old, schema: "hds_kms") {
                $0.epoch = 2
                $0.patience = .milliseconds(300)
            }
        }
        await #expect(throws: DiagnosedError.self) {
            _ = try await PostgreSQL.store(old, schema: "hds_kms") {
                $0.epoch = 3
                $0.patience = .milliseconds(300)
            }
        }
        let store = try await PostgreSQL.store(new, schema: "hds_kms") { $0.epoch = 2 }
        #expect(try await store.renewLease(request(2)).refusal == nil)
        await store.close()
    }

    private static func untilCaughtUp(_ standby: TestPostgreSQL, with primary: TestPostgreSQL) async throws {
        let source = ClusterServer(primary.settings, host: primary.settings.hosts[0])
        let follower = ClusterServer(standby.settings, host: standby.settings.hosts[0])
        let end = try await onOwnThread { try source.look().position }
        try await until { try await onOwnThread { try follower.look().replayed } >= end }
    }

    static func until(_ condition: () async throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(30)
        while try await !condition() {
            guard .now < deadline else { throw TestFailure("it did not come to pass within 30 s") }
            await Task.yield()
        }
    }
}
