import Diagnostics
import GRDB
import Glibc
import KMSProtocol
import KeyStore
import KeyStorePostgreSQL
import KeyStoreSQLite
import MasterKey
import PostgreSQLClient
import Synchronization
import TestServers
import Testing
import WireText

@testable import KeyManagement

/// A KMS over a real database, and somebody who may write into that as he likes.
final class RollbackWorld: Sendable {
    enum Kind: String, CaseIterable {
        case sqlite, postgresql

        static let here: [Kind] = TestPostgreSQL.isInstalled ? allCases : [.sqlite]
    }

    /// One run of one node.
    struct Node: Sendable {
        let database: any KeyStore
        let store: SummingStore
        let ring: SealRing
        let vault: RecordVault
        let freezes: FreezeBoard
        let detector: RollbackDetector
        let kms: TestKMS

        var kinds: [RollbackGuard.Finding.Kind] { freezes.rollback.findings.map(\.kind) }

        func close() async {
            await detector.close()
            await store.close()
        }
    }

    private static let count = Atomic(0)
    private static let tables = [
        "root_keys", "root_key_wraps", "settings", "session_keks", "sessions", "resources", "keys", "authorizations",
        "ledger", "row_sums",
    ]

    let kind: Kind
    let folder = TemporaryFolder()
    let kek: KeyEncryptionKey
    let clock = TestClock(Timestamp.now())
    private let schema = "rollback_\(RollbackWorld.count.wrappingAdd(1, ordering: .relaxed).newValue)"
    var path: String { folder.path + "/kms.sqlite" }

    init(_ kind: Kind) throws {
        self.kind = kind
        kek = try KeyEncryptionKey.create()
    }

    /// - Parameter name: nodes of other names remember for themselves.
    func start(_ name: String = "a") async throws -> Node {
        let database: any KeyStore
        switch kind {
        case .sqlite: database = try SQLiteKeyStore(path: path)
        case .postgresql:
            var options = PostgreSQLKeyStore.Options()
            options.schema = schema
            options.readers = 2
            options.patience = .seconds(60)
            database = try await PostgreSQLKeyStore.open(
                try await TestPostgreSQL.shared.value.settings, options: options)
        }
        let ring = try await SealRing.open(kek: kek, store: database, now: clock.now)
        let file = CountersFile(path: folder.path + "/counters-" + name)
        let memory = try file.load()
        let store = SummingStore(database, ring: ring, writer: memory?.writer ?? UUIDText.random())
        let vault = RecordVault(ring: ring, store: store)
        let freezes = try await FreezeBoard(store: store, vault: vault)
        let detector = RollbackDetector(
            store: store, vault: vault, freezes: freezes, file: file, memory: memory, view: try await view(),
            now: clock.now)
        try await detector.start(now: clock.now)
        let kms = try await TestKMS.start(store: store, kek: kek, freezes: freezes, isShared: true, clock: clock)
        return Node(
            database: database, store: store, ring: ring, vault: vault, freezes: freezes, detector: detector, kms: kms)
    }

    private func view() async throws -> RollbackDetector.View {
        switch kind {
        case .sqlite: return { [path] body in try await onOwnThread { try SQLiteSnapshot.read(path: path, body) } }
        case .postgresql:
            let settings = try await TestPostgreSQL.shared.value.settings
            return { [schema] body in
                try await onOwnThread { try body(PostgreSQLSnapshot(settings, schema: schema)) }
            }
        }
    }

    // MARK: The database's owner

    func sql(_ text: String) async throws {
        switch kind {
        case .sqlite:
            let path = path
            try await onOwnThread {
                var configuration = Configuration()
                configuration.foreignKeysEnabled = false
                configuration.busyMode = .timeout(10)
                let queue = try DatabaseQueue(path: path, configuration: configuration)
                try queue.write { try $0.execute(sql: text) }
                try queue.close()
            }
        case .postgresql:
            try await TestPostgreSQL.shared.value.sql(
                "BEGIN; SET LOCAL search_path TO \(schema); SET LOCAL session_replication_role = replica; \(text); COMMIT"
            )
        }
    }

    func id(_ text: String) -> String {
        kind == .postgresql ? "'\(text)'" : "x'\(text.filter { $0 != "-" })'"
    }

    func octets(_ octets: [UInt8]) -> String {
        kind == .postgresql ? "'\\x\(Hexadecimal.encode(octets))'" : "x'\(Hexadecimal.encode(octets))'"
    }

    /// Remembers rows, to be put back by `putBack`.
    func keep(_ table: String, where condition: String = "TRUE") async throws {
        try await sql("DROP TABLE IF EXISTS kept_\(table)")
        try await sql("CREATE TABLE kept_\(table) AS SELECT * FROM \(table) WHERE \(condition)")
    }

    func putBack(_ table: String) async throws {
        let key = table == "row_sums" ? "writer" : table == "settings" ? "name" : "id"
        try await sql(
            """
            DELETE FROM \(table) WHERE \(key) IN (SELECT \(key) FROM kept_\(table));
            INSERT INTO \(table) SELECT * FROM kept_\(table)
            """)
    }

    /// The whole database as it is now.
    func dump() async throws {
        for table in Self.tables {
            try await sql("CREATE TABLE dumped_\(table) AS SELECT * FROM \(table)")
        }
    }

    /// In one transaction, as a superuser's tool does it.
    func restoreDump() async throws {
        let statements = Self.tables.map { "DELETE FROM \($0); INSERT INTO \($0) SELECT * FROM dumped_\($0)" }
        try await sql(statements.joined(separator: "; "))
    }
}

extension TestClient {
    /// A space with a key, and one more person.
    func space(with others: [String]) async throws -> (uri: String, key: String) {
        let key = try await createKeys(1)[0]
        return (try await createSpace([key], with: others).uri, key.uri)
    }
}

extension String {
    /// The UUID at the end of a URI.
    var lastID: String { String(suffix(36)) }
}

/// The code of the error that the body throws; nil when it throws none or another kind.
func code(of body: () async throws -> Void) async -> DiagnosedError.Code? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? DiagnosedError)?.code
    }
}
