import Diagnostics
import FoundationEssentials
import GRDB
import KeyStore
import Testing
import WireText

@testable import KeyStoreSQLite

/// That an acknowledged commit is there: for readers, for other connections, after reopening, in an image of the files.
@Suite struct SQLiteDurabilityTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.path("keys.db") }

    init() throws { directory = try TemporaryDirectory() }

    @Test("what was committed is there after reopening")
    func reopening() async throws {
        let store = try SQLiteKeyStore(path: path)
        try await store.apply(.insertResource(Sample.resource(50)), .insertKey(Sample.key(1, resource: 50)))
        await store.close()
        let again = try SQLiteKeyStore(path: path)
        #expect(try await again.keys(ofResource: Sample.id(50)) == [Sample.key(1, resource: 50)])
        await again.close()
    }

    @Test("a read after a commit sees it, on every reading connection and from many tasks")
    func readYourWrites() async throws {
        var options = SQLiteKeyStore.Options()
        options.readers = 3
        let store = try SQLiteKeyStore(path: path, options: options)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask { () async throws in
                    for number in 0..<40 {
                        let key = Sample.key(task * 1000 + number)
                        #expect(try await store.apply(.insertKey(key)) == .committed)
                        #expect(try await store.key(key.id) == key)
                    }
                }
            }
            try await group.waitForAll()
        }
        await store.close()
    }

    @Test("another connection sees a commit while the store is open")
    func secondConnection() async throws {
        let store = try SQLiteKeyStore(path: path)
        var configuration = Configuration()
        configuration.readonly = true
        let other = try DatabaseQueue(path: path, configuration: configuration)
        for number in 1...3 {
            try await store.apply(.insertKey(Sample.key(number)))
            #expect(try await other.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM keys") } == number)
        }
        try other.close()
        await store.close()
    }

    @Test("an image of the files, as a power cut leaves them, holds every acknowledged commit")
    func image() async throws {
        let store = try SQLiteKeyStore(path: path)
        for number in 1...20 {
            try await store.apply(.insertKey(Sample.key(number)), .insertLedger(Sample.ledger(number)))
            guard number % 5 == 0 else { continue }
            let copy = try TemporaryDirectory()
            for name in ["keys.db", "keys.db-wal"] {
                try FileManager.default.copyItem(atPath: directory.path(name), toPath: copy.path(name))
            }
            let revived = try SQLiteKeyStore(path: copy.path("keys.db"))
            #expect(try await revived.key(Sample.id(number)) == Sample.key(number))
            #expect(try await revived.ledgerEntry(Sample.digest(number)) == Sample.ledger(number))
            #expect(try await revived.key(Sample.id(number + 1)) == nil)
            await revived.close()
        }
        await store.close()
    }

    @Test("the writing connection syncs every commit and overwrites what it deletes")
    func settings() async throws {
        let file = try DatabaseFile.open(path)
        let writer = try Connections.writer(file, SQLiteKeyStore.Options())
        try await writer.read { db throws in
            #expect(try Int.fetchOne(db, sql: "PRAGMA synchronous") == 2)
            #expect(try String.fetchOne(db, sql: "PRAGMA journal_mode") == "wal")
            #expect(try Int.fetchOne(db, sql: "PRAGMA secure_delete") == 1)
            #expect(try Int.fetchOne(db, sql: "PRAGMA foreign_keys") == 1)
        }
        try writer.close()
    }

    @Test("a destroyed session KEK is in none of the files any more")
    func destruction() async throws {
        let store = try SQLiteKeyStore(path: path)
        let marker = Array("the sealed session KEK of a day".utf8)
        try await store.apply(
            .insertSessionKEK(SessionKEKRecord(id: 1, sealed: marker, lastExpiry: Sample.time(10))),
            .putSetting(name: "other", value: Array("what stays".utf8)))
        #expect(try filesContain(marker))
        try await store.purgeExpired(now: Sample.time(10))
        #expect(try await store.sessionKEK(1) == nil)
        #expect(try !filesContain(marker))
        #expect(try filesContain(Array("what stays".utf8)))
        await store.close()
    }

    private func filesContain(_ bytes: [UInt8]) throws -> Bool {
        for name in ["keys.db", "keys.db-wal"] {
            let content = FileManager.default.contents(atPath: directory.path(name)) ?? Data()
            if Array(content).firstRange(of: bytes) != nil { return true }
        }
        return false
    }

    @Test("200 committers at once: each gets its own outcome, conflicts and duplicates hurt nobody else")
    func crowd() async throws {
        let store = try SQLiteKeyStore(path: path)
        try await store.apply(.insertResource(Sample.resource(50)), .insertLedger(Sample.ledger(7)))
        let outcomes = try await withThrowingTaskGroup(of: (Int, CommitResult).self) { group in
            for number in 0..<200 {
                group.addTask {
                    let key = StoreWrite.insertKey(Sample.key(number + 1000))
                    let writes: [StoreWrite] =
                        switch number % 5 {
                        // All race for the same version of the resource: one wins.
                        case 1: [key, .updateResource(Sample.resource(50, version: 2))]
                        // A replayed request.
                        case 2: [key, .insertLedger(Sample.ledger(7))]
                        // A write that can not be done, after one that can.
                        case 3: [key, .updateKey(Sample.key(9, version: 2))]
                        default: [key, .insertLedger(Sample.ledger(number + 1000))]
                        }
                    return (number, try await store.commit(StoreChange(writes: writes)))
                }
            }
            return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
        #expect(outcomes.count == 200)
        for (number, outcome) in outcomes {
            switch number % 5 {
            case 1: #expect(outcome != .duplicate)
            case 2: #expect(outcome == .duplicate)
            case 3: #expect(outcome == .conflict)
            default: #expect(outcome == .committed)
            }
            // Committed means there, anything else means not there.
            #expect(try await (store.key(Sample.id(number + 1000)) != nil) == (outcome == .committed))
        }
        #expect(outcomes.count { $0.key % 5 == 1 && $0.value == .committed } == 1)
        await store.close()
    }

    @Test("of 100 copies of one request that arrive together, one is carried out and the others are duplicates")
    func redelivery() async throws {
        let store = try SQLiteKeyStore(path: path)
        let outcomes = try await withThrowingTaskGroup(of: CommitResult.self) { group in
            for number in 0..<100 {
                group.addTask {
                    try await store.apply(.insertKey(Sample.key(number)), .insertLedger(Sample.ledger(1)))
                }
            }
            return try await group.reduce(into: [CommitResult: Int]()) { $0[$1, default: 0] += 1 }
        }
        #expect(outcomes == [.committed: 1, .duplicate: 99])
        var keys = 0
        for number in 0..<100 where try await store.key(Sample.id(number)) != nil { keys += 1 }
        #expect(keys == 1)
        await store.close()
    }

    @Test("while another program holds the file every committer is told so, and afterwards it goes on")
    func busy() async throws {
        var options = SQLiteKeyStore.Options()
        options.busyTimeout = 0
        let store = try SQLiteKeyStore(path: path, options: options)
        try await store.apply(.insertKey(Sample.key(1)))
        var configuration = Configuration()
        configuration.allowsUnsafeTransactions = true
        let other = try DatabaseQueue(path: path, configuration: configuration)
        try await other.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
        await withTaskGroup(of: DiagnosedError.Code?.self) { group in
            for number in 2..<12 {
                group.addTask { await code { try await store.apply(.insertKey(Sample.key(number))) } }
            }
            for await found in group { #expect(found == .storeBusy) }
        }
        #expect(await code { try await store.check() } == .storeBusy)
        #expect(try await store.key(Sample.id(1)) != nil, "reading goes on")
        try await other.writeWithoutTransaction { try $0.execute(sql: "ROLLBACK") }
        #expect(try await store.apply(.insertKey(Sample.key(2))) == .committed)
        try await store.check()
        try other.close()
        await store.close()
    }

    @Test("a full store answers everybody, loses nothing acknowledged, and goes on when there is room")
    func full() async throws {
        var options = SQLiteKeyStore.Options()
        options.maximumPages = 60
        let store = try SQLiteKeyStore(path: path, options: options)
        let write = { @Sendable (number: Int) in
            var key = Sample.key(number)
            key.sealed = [UInt8](repeating: 7, count: 3000)
            return (number, await code { try await store.apply(.insertKey(key)) })
        }
        for number in 0..<10 { #expect(await write(number).1 == nil) }
        let outcomes = await withTaskGroup(of: (Int, DiagnosedError.Code?).self) { group in
            for number in 10..<110 { group.addTask { await write(number) } }
            return await group.reduce(into: [(Int, DiagnosedError.Code?)]()) { $0.append($1) }
        }
        #expect(outcomes.count == 100)
        #expect(outcomes.contains { $0.1 == .storeFull })
        for (number, code) in outcomes {
            #expect(code == nil || code == .storeFull)
            #expect(try await (store.key(Sample.id(number)) != nil) == (code == nil))
        }
        for number in 0..<10 { #expect(try await store.key(Sample.id(number)) != nil) }
        await store.close()
        let larger = try SQLiteKeyStore(path: path)
        #expect(try await larger.apply(.insertKey(Sample.key(999))) == .committed)
        await larger.close()
    }

    @Test("a lookup reads one row of an index however many authorizations a resource has")
    func plans() async throws {
        let file = try DatabaseFile.open(path)
        let writer = try Connections.writer(file, SQLiteKeyStore.Options())
        let expected = [
            ("SELECT sealed FROM keys WHERE id = ?", "SEARCH keys USING INDEX sqlite_autoindex_keys_1 (id=?)"),
            (
                "SELECT sealed FROM authorizations WHERE resource = ? AND lookup = ? AND removed_at IS NULL",
                "SEARCH authorizations USING INDEX authorizations_live (resource=? AND lookup=?)"
            ),
            (
                "SELECT id FROM keys WHERE resource = ? AND bound_at >= ? AND bound_at < ? ORDER BY bound_at DESC, id DESC",
                "SEARCH keys USING INDEX keys_resource (resource=? AND bound_at>? AND bound_at<?)"
            ),
            (
                "SELECT id FROM authorizations WHERE resource = ? AND (? OR removed_at IS NULL) ORDER BY position, id",
                "SEARCH authorizations USING INDEX authorizations_position (resource=?)"
            ),
        ]
        for (sql, plan) in expected {
            let found = try await writer.read { db in
                try Row.fetchAll(
                    db, sql: "EXPLAIN QUERY PLAN " + sql,
                    arguments: StatementArguments(
                        [Int](repeating: 0, count: sql.count { $0 == "?" }))
                ).map { $0["detail"] as String }
            }
            #expect(found.map { $0.replacing("COVERING INDEX", with: "INDEX") } == [plan])
        }
        try writer.close()
    }
}
