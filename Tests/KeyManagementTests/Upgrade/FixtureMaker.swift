import Foundation
import GRDB
import Glibc
import KeyStore
import MasterKey
import StoreMigration
import TestServers
import Testing
import WireText

@testable import KeyManagement
@testable import KeyStorePostgreSQL
@testable import KeyStoreSQLite

/// The folder to make, from the environment.
private let fixtureFolder = getenv("HDS_MAKE_FIXTURE").map { String(cString: $0) }

/// Makes the fixtures of a release, once, when it is made (`deploy/make-fixture`); nothing else runs this.
@Suite(.enabled(if: fixtureFolder != nil))
struct FixtureMaker {
    private let clock = TestClock(Timestamp(seconds: Timestamp.now().seconds))

    private func write(_ bytes: [UInt8], to path: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }

    /// A store as the release leaves it: with sums, a rotated root key, sessions, a removed member, a deleted space.
    @Test func release() async throws {
        let folder = try #require(fixtureFolder)
        let release = try #require(getenv("HDS_RELEASE").map { String(cString: $0) })
        let kek = try KeyEncryptionKey.create()
        try kek.save(toNewFile: folder + "/master-key")
        let database = try SQLiteKeyStore(path: folder + "/kms.sqlite")
        let ring = try await SealRing.open(kek: kek, store: database, now: clock.now)
        let store = SummingStore(database, ring: ring, writer: UUIDText.random())
        let kms = try await TestKMS.start(store: store, kek: kek, clock: clock)
        let contents = try await FixtureContents.populate(kms, release: release)
        let rotation = RootKeyRotation(store: store, ring: ring)
        let now = clock.now
        _ = try await rotation.generate(now: now, escrow: [])
        try await rotation.beat(node: "a", now: now)
        _ = try await rotation.promote(now: now)
        _ = try await Resealer(store: store, ring: ring).run(now: { now })
        #expect(try await rotation.retire(now: now) != nil)
        await database.close()
        try write(contents.json, to: folder + "/contents.json")

        let server = try await TestPostgreSQL.start()
        defer { server.end() }
        let settings = server.settings
        _ = try await onOwnThread {
            try StoreMigration.sqliteToPostgreSQL(from: folder + "/kms.sqlite", to: settings)
        }
        try await onOwnThread {
            // Meta-commands are psql's and no SQL.
            let command = """
                "$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)/pg_dump" -h '\(server.folder)' -p \(server.port) -U admin \
                --schema=hds_kms --no-owner --no-privileges --inserts hds | grep -v '^\\\\' > '\(folder)/kms.postgresql.sql'
                """
            #expect(system(command) == 0)
        }
    }

    /// Stores as they were at each step of the schema, their bound keys sealed as before there were erasable keys.
    @Test func steps() async throws {
        let folder = try #require(fixtureFolder) + "/steps"
        mkdir(folder, 0o755)
        let place = TemporaryFolder()
        let kek = try KeyEncryptionKey.create()
        try kek.save(toNewFile: folder + "/master-key")
        let path = place.path + "/old.sqlite"
        let store = try SQLiteKeyStore(path: path)
        let kms = try await TestKMS.start(store: store, kek: kek, clock: clock)
        let contents = try await FixtureContents.populate(kms, release: "steps")
        let ring = try await SealRing.open(kek: kek, store: store, now: clock.now)
        let vault = RecordVault(ring: ring, store: store)
        for uri in Set(contents.keys.map(\.uri)) {
            let id = String(uri.suffix(36))
            guard let record = try await store.key(id), record.resource != nil else { continue }
            let plain = try vault.content(record).encoded()
            let old = try plain.withUnsafeBytes { try ring.seal($0, kind: .key, id: id, version: record.version) }
            let change = StoreChange(writes: [.reseal(.keys, id: id, old: record.sealed, new: old)])
            #expect(try await store.commit(change) == .committed)
        }
        await store.close()
        try write(contents.json, to: folder + "/contents.json")
        let queue = try DatabaseQueue(path: path)
        try await queue.read { db in
            for step in 1...KeyStoreSQLite.Schema.steps.count {
                try write(Array(try OldStore(db).sqlite(step).utf8), to: "\(folder)/sqlite-\(step).sql")
            }
            for step in 1...KeyStorePostgreSQL.Schema.steps.count {
                try write(Array(try OldStore(db).postgresql(step).utf8), to: "\(folder)/postgresql-\(step).sql")
            }
        }
        try queue.close()
    }
}

/// SQL that makes a store as it was after a step: the steps up to there, word for word, and its rows.
private struct OldStore {
    private let db: Database

    init(_ db: Database) { self.db = db }

    func sqlite(_ step: Int) throws -> String {
        let wraps = step >= 4
        var lines = KeyStoreSQLite.Schema.steps.prefix(step).map { $0.trimmingCharacters(in: .whitespacesAndNewlines) }
        lines += try roots(wraps, Self.sqliteLiteral)
        for table in ["settings", "session_keks", "sessions", "resources", "keys", "authorizations"] {
            lines += try inserts(table, "SELECT * FROM \(table)", Self.sqliteLiteral)
        }
        let ledger = step >= 2 ? "*" : "digest, session, expires, sealed_answer"
        lines += try inserts("ledger", "SELECT \(ledger) FROM ledger ORDER BY position", Self.sqliteLiteral)
        lines.append("PRAGMA application_id = \(KeyStoreSQLite.Schema.applicationID);\nPRAGMA user_version = \(step);")
        return lines.joined(separator: "\n") + "\n"
    }

    func postgresql(_ step: Int) throws -> String {
        var lines = [
            "CREATE SCHEMA hds_kms;", "SET search_path = hds_kms;",
            "CREATE TABLE schema_version (version bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), "
                + "by text NOT NULL DEFAULT user);",
            "INSERT INTO schema_version (version) SELECT generate_series(1, \(step));",
        ]
        for text in KeyStorePostgreSQL.Schema.steps.prefix(step) {
            let text = text.trimmingCharacters(in: .whitespacesAndNewlines)
            lines.append(text.hasSuffix(";") ? text : text + ";")
        }
        lines += try roots(step >= 3, Self.postgresqlLiteral)
        for table in ["settings", "session_keks", "resources", "keys", "authorizations", "ledger"] {
            lines += try inserts(table, "SELECT * FROM \(table)", Self.postgresqlLiteral)
        }
        lines += try inserts(
            "sessions", "SELECT id, version, kek, user AS user_lookup, expires, last_counter, sealed FROM sessions",
            Self.postgresqlLiteral)
        let last = try Int64.fetchOne(db, sql: "SELECT max(position) FROM ledger") ?? 0
        lines.append("ALTER TABLE ledger ALTER COLUMN position RESTART WITH \(last + 1);")
        return lines.joined(separator: "\n") + "\n"
    }

    private typealias Literal = (_ table: String, _ column: String, _ value: DatabaseValue) -> String

    private func roots(_ wraps: Bool, _ literal: Literal) throws -> [String] {
        guard wraps else {
            return try inserts(
                "root_keys",
                """
                SELECT root_keys.version, state, wrapped, substr(holder, 5) AS kek_fingerprint, created
                FROM root_keys JOIN root_key_wraps USING (version) WHERE holder LIKE 'kek %'
                """, literal)
        }
        return try inserts("root_keys", "SELECT * FROM root_keys", literal)
            + inserts("root_key_wraps", "SELECT * FROM root_key_wraps", literal)
    }

    private func inserts(_ table: String, _ query: String, _ literal: Literal) throws -> [String] {
        try Row.fetchAll(db, sql: query).map { row in
            let columns = Array(row.columnNames)
            let values = columns.map { literal(table, $0, row[$0] as DatabaseValue) }
            return
                "INSERT INTO \(table) (\(columns.joined(separator: ", "))) VALUES (\(values.joined(separator: ", ")));"
        }
    }

    private static func hexadecimal(_ data: Data) -> String { Hexadecimal.encode(Array(data)) }
    private static func quoted(_ text: String) -> String { "'" + text.replacingOccurrences(of: "'", with: "''") + "'" }

    private static func sqliteLiteral(_ table: String, _ column: String, _ value: DatabaseValue) -> String {
        switch value.storage {
        case .null: "NULL"
        case .int64(let number): "\(number)"
        case .double(let number): "\(number)"
        case .string(let text): quoted(text)
        case .blob(let data): "x'\(hexadecimal(data))'"
        }
    }

    /// Columns that are UUIDs there, and octets that are texts here.
    private static let uuids: Set<String> = ["id", "resource", "session"]

    private static func postgresqlLiteral(_ table: String, _ column: String, _ value: DatabaseValue) -> String {
        switch value.storage {
        case .string(let text) where column == "name" || column == "holder":
            "'\\x\(Hexadecimal.encode(Array(text.utf8)))'"
        case .blob(let data) where uuids.contains(column): "'\(hexadecimal(data))'"
        case .blob(let data): "'\\x\(hexadecimal(data))'"
        default: sqliteLiteral(table, column, value)
        }
    }
}
