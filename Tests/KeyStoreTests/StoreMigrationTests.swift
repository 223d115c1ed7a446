import Diagnostics
import KeyStore
import KeyStorePostgreSQL
import KeyStoreSQLite
import PostgreSQLClient
import StoreMigration
import TestServers
import Testing

/// Moving a store from SQLite to PostgreSQL: everything or nothing, proved, and as often as it takes.
@Suite(.enabled(if: TestPostgreSQL.isInstalled), .timeLimit(.minutes(5)))
struct StoreMigrationTests {
    private let directory: TemporaryDirectory
    private let schema = PostgreSQL.schema()
    private var path: String { directory.path("kms.sqlite") }

    init() throws { directory = try TemporaryDirectory() }

    private func move(
        epoch: Int64 = 1, progress: @escaping @Sendable (StoreTable, Int) throws -> Void = { _, _ in }
    ) async throws -> StoreMigration.Outcome {
        let settings = try await TestPostgreSQL.shared.value.settings
        let (path, schema) = (path, schema)
        return try await onOwnThread {
            try StoreMigration.sqliteToPostgreSQL(
                from: path, to: settings, schema: schema, epoch: epoch, progress: progress)
        }
    }

    /// A store with every kind of record, and a history that left gaps.
    private func fill() async throws -> UInt64 {
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SplitMix(state: seed)
        let store = try SQLiteKeyStore(path: path)
        for _ in 0..<300 { _ = try await store.commit(try await History.change(store, &generator)) }
        var writes: [StoreWrite] = []
        for number in 0..<1300 { writes.append(.insertKey(Sample.key(10_000 + number))) }
        writes += [
            .insertResource(Sample.resource(5000)),
            .insertErasableKey(ErasableKeyRecord(resource: Sample.id(5000), sealed: [1, 2, 3])),
            .insertRootKey(Sample.root(1, .retired)), .insertRootKey(Sample.root(2, .active)),
            .putSetting(name: "a \u{1F511}\0", value: [UInt8](0...255)), .putSetting(name: "b", value: []),
            .insertLedger(Sample.ledger(8000, expires: 5)), .insertLedger(Sample.ledger(8001, expires: 5000)),
            .insertLedger(Sample.ledger(8002, expires: 50)),
        ]
        #expect(try await store.commit(StoreChange(writes: writes)) == .committed)
        // The newest entry is gone, its position must not come again.
        try await store.purgeExpired(now: Sample.time(60))
        await store.close()
        return seed
    }

    @Test("a snapshot of PostgreSQL has the rows and the position of its moment, whatever is written meanwhile")
    func snapshot() async throws {
        _ = try await fill()
        _ = try await move()
        let settings = try await TestPostgreSQL.shared.value.settings
        let (path, schema) = (path, schema)
        let store = try await PostgreSQL.store(schema: schema)
        let view = try await onOwnThread { Held(try PostgreSQLSnapshot(settings, schema: schema)) }
        // The first read is the moment.
        let position = try await onOwnThread { try view.snapshot.lastPosition() }
        try await store.apply(.insertKey(Sample.key(77_777)))
        let (found, expected) = try await onOwnThread {
            func rows(_ snapshot: any StoreSnapshot) throws -> [[StoreTable.Value]] {
                var all: [[StoreTable.Value]] = []
                for table in StoreTable.allCases { try snapshot.rows(of: table) { all.append($0) } }
                return all
            }
            let source = try SQLiteExport(path: path)
            #expect(try position == source.lastPosition())
            return (try rows(view.snapshot), try rows(source))
        }
        #expect(found == expected)
        #expect(try await store.key(Sample.id(77_777)) != nil)
        await store.close()
    }

    @Test("everything arrives, whatever a history left, and the store goes on there")
    func everything() async throws {
        let seed = try await fill()
        let outcome = try await move()
        #expect(outcome.wasMoved)
        #expect(outcome.tables.map(\.table) == StoreTable.allCases)
        #expect(outcome.tables.first { $0.table == .keys }.map { $0.rows >= 1300 } == true)
        let old = try SQLiteKeyStore(path: path)
        let new = try await PostgreSQL.store(schema: schema)
        for part in History.parts { #expect(try await part(new) == part(old), "seed \(seed)") }
        #expect(try await new.rootKeys() == old.rootKeys())
        for name in ["a \u{1F511}\0", "b"] { #expect(try await new.setting(name) == old.setting(name)) }
        for number in 0..<1300 { #expect(try await new.key(Sample.id(10_000 + number)) != nil) }
        var entry = Sample.ledger(9000)
        entry.audit = [1]
        for store in [old, new] as [any KeyStore] { try await store.apply(.insertLedger(entry)) }
        #expect(try await new.ledgerAudits(after: 0, limit: 10) == old.ledgerAudits(after: 0, limit: 10))
        await old.close()
        await new.close()
    }

    @Test("the cluster begins in the epoch that is named, and in the first one without")
    func epoch() async throws {
        _ = try await fill()
        #expect(try await move(epoch: 7).wasMoved)
        let store = try await PostgreSQL.store(schema: schema)
        #expect(try await store.cluster().epoch == 7)
        await store.close()
        // A second run changes nothing: what was begun goes on.
        #expect(try await !move(epoch: 9).wasMoved)
        let again = try await PostgreSQL.store(schema: schema)
        #expect(try await again.cluster().epoch == 7)
        await again.close()
    }

    @Test("started again it finds that everything is there; a target with other records is refused and left alone")
    func again() async throws {
        _ = try await fill()
        let first = try await move()
        let second = try await move()
        #expect(first.wasMoved && !second.wasMoved)
        #expect(first.tables == second.tables)
        let new = try await PostgreSQL.store(schema: schema)
        try await new.apply(.updateKey(Sample.key(10_000, version: 2)))
        #expect(await code { _ = try await move() } == .storeNotEmpty)
        #expect(try await new.key(Sample.id(10_000))?.version == 2)
        await new.close()
    }

    @Test(
        "a move that ends early, at any table, leaves nothing behind and can be started again",
        arguments: StoreTable.allCases)
    func interrupted(_ last: StoreTable) async throws {
        _ = try await fill()
        await #expect(throws: TestFailure.self) {
            _ = try await move { table, _ in if table == last { throw TestFailure("the power is gone") } }
        }
        let empty = try await PostgreSQL.store(schema: schema)
        #expect(try await empty.isEmpty())
        await empty.close()
        #expect(try await move().wasMoved)
    }

    @Test("what the target changes on the way in is noticed, and nothing is kept")
    func unverified() async throws {
        _ = try await fill()
        await (try PostgreSQL.store(schema: schema)).close()
        let server = try await TestPostgreSQL.shared.value
        try await server.sql(
            """
            CREATE FUNCTION \(schema).meddle() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN NEW.sealed := NEW.sealed || ''\\x00''::bytea; RETURN NEW; END';
            CREATE TRIGGER meddle BEFORE INSERT ON \(schema).keys FOR EACH ROW
                WHEN (NEW.id = '\(Sample.id(10_007))') EXECUTE FUNCTION \(schema).meddle()
            """)
        #expect(await code { _ = try await move() } == .storeMoveUnverified)
        let empty = try await PostgreSQL.store(schema: schema)
        #expect(try await empty.isEmpty())
        await empty.close()
    }

    @Test("a store that a service has open is not moved, and none can start while it is moved")
    func inUse() async throws {
        _ = try await fill()
        let running = try SQLiteKeyStore(path: path)
        #expect(await code { _ = try await move() } == .storeInUse)
        await running.close()
        let path = path
        let outcome = try await move { table, _ in
            guard table == .keys else { return }
            #expect(throws: DiagnosedError.self) { _ = try SQLiteKeyStore(path: path) }
        }
        #expect(outcome.wasMoved)
        let after = try SQLiteKeyStore(path: path)
        await after.close()
    }

    @Test("a file that is not there is no store, and none is made")
    func noFile() async throws {
        #expect(await code { _ = try await move() } == .storeUnreachable)
        #expect(await code { _ = try await move() } == .storeUnreachable)
    }
}

/// One thread at a time, as the snapshot wants it.
private final class Held: @unchecked Sendable {
    let snapshot: PostgreSQLSnapshot
    init(_ snapshot: PostgreSQLSnapshot) { self.snapshot = snapshot }
}
