import Diagnostics
import FoundationEssentials
import Glibc
import KeyStore
import KeyStorePostgreSQL
import KeyStoreSQLite
import PostgreSQLClient
import Synchronization
import TestServers
import Testing
import WireText

/// The implementations that pass the conformance suite; a new database joins by a case here.
enum StoreKind: String, CaseIterable, CustomTestStringConvertible {
    case memory, sqlite, postgresql
    /// The decorator without a fault changes nothing.
    case decorated

    /// All that this machine has: PostgreSQL needs a server's programs.
    static let allCases: [StoreKind] =
        [.memory, .sqlite, .decorated] + (TestPostgreSQL.isInstalled ? [.postgresql] : [])
    static let databases: [StoreKind] = [.sqlite] + (TestPostgreSQL.isInstalled ? [.postgresql] : [])

    var testDescription: String { rawValue }

    /// Runs the body on a fresh, empty store and closes it.
    func withStore(_ body: (any KeyStore) async throws -> Void) async throws {
        let directory = try TemporaryDirectory()
        let store: any KeyStore =
            switch self {
            case .memory: MemoryKeyStore()
            case .sqlite: try SQLiteKeyStore(path: directory.path("keys.db"))
            case .postgresql: try await PostgreSQL.store()
            case .decorated: FaultingKeyStore(MemoryKeyStore())
            }
        do {
            try await body(store)
        } catch {
            await store.close()
            throw error
        }
        await store.close()
    }
}

/// Stores on the server that all tests share, each in a schema of its own.
enum PostgreSQL {
    private static let count = Atomic(0)

    static func schema() -> String { "store_\(count.wrappingAdd(1, ordering: .relaxed).newValue)" }

    static func store(
        _ server: TestPostgreSQL? = nil, schema: String = PostgreSQL.schema(),
        _ change: (inout PostgreSQLKeyStore.Options) -> Void = { _ in }
    ) async throws -> PostgreSQLKeyStore {
        var options = PostgreSQLKeyStore.Options()
        options.schema = schema
        options.readers = 2
        // Nobody looks at the clock while nothing fails; all tests at once may keep the machine busy for long.
        options.patience = .seconds(60)
        options.renewalLimit = .seconds(60)
        change(&options)
        let server = if let server { server } else { try await TestPostgreSQL.shared.value }
        var settings = server.settings
        settings.applicationName = schema
        // The server may be that busy, too: an opening has five seconds.
        for _ in 0..<5 {
            do {
                return try await PostgreSQLKeyStore.open(settings, options: options)
            } catch let error as DiagnosedError where error.code == .storeUnreachable {}
        }
        return try await PostgreSQLKeyStore.open(settings, options: options)
    }
}

/// A directory of mode 0700 that is gone with the value.
final class TemporaryDirectory: Sendable {
    let root: String

    init() throws {
        var template = Array("/tmp/hds-store-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestFailure("mkdtemp: \(errno)") }
        root = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    func path(_ name: String) -> String { "\(root)/\(name)" }
}

struct TestFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Records that differ where a test cares.
enum Sample {
    static func id(_ number: Int) -> String {
        let digits = String(number, radix: 16)
        return "00000000-0000-4000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits
    }
    static func lookup(_ number: Int) -> [UInt8] {
        [UInt8](repeating: 0xA5, count: 8) + withUnsafeBytes(of: UInt64(number).bigEndian) { Array($0) }
    }
    static func digest(_ number: Int) -> [UInt8] { lookup(number) + lookup(number) }
    static func time(_ seconds: Int64) -> Timestamp { Timestamp(seconds: 1_700_000_000 + seconds) }

    static func key(_ number: Int, version: Int64 = 1, resource: Int? = nil, boundAt: Int64? = nil) -> KeyRecord {
        KeyRecord(
            id: id(number), version: version, resource: resource.map { id($0) },
            boundAt: resource.map { _ in time(boundAt ?? 0) }, sealed: [1, UInt8(truncatingIfNeeded: version)])
    }
    static func resource(_ number: Int, version: Int64 = 1) -> ResourceRecord {
        ResourceRecord(id: id(number), version: version, sealed: [2, UInt8(truncatingIfNeeded: version)])
    }
    static func authorization(
        _ number: Int, version: Int64 = 1, resource: Int, user: Int, order: Int64 = 0, removedAt: Int64? = nil
    ) -> AuthorizationRecord {
        AuthorizationRecord(
            id: id(number), version: version, resource: id(resource), lookup: lookup(user), order: order,
            removedAt: removedAt.map { time($0) }, sealed: [3, UInt8(truncatingIfNeeded: version)])
    }
    static func kek(_ day: Int64, lastExpiry: Int64 = 0) -> SessionKEKRecord {
        SessionKEKRecord(id: day, sealed: [4], lastExpiry: time(lastExpiry))
    }
    static func session(_ number: Int, kek: Int64, user: Int = 0, expires: Int64 = 100) -> SessionRecord {
        SessionRecord(id: id(number), kek: kek, user: lookup(user), expires: time(expires), sealed: [5])
    }
    static func ledger(_ number: Int, session: Int = 900, expires: Int64 = 100) -> LedgerRecord {
        LedgerRecord(digest: digest(number), session: id(session), expires: time(expires), sealedAnswer: [6])
    }
    static func root(_ version: Int64, _ state: RootKeyRecord.State) -> RootKeyRecord {
        RootKeyRecord(
            version: version, state: state, wraps: ["kek 0123456789abcdef": [7, UInt8(version)], "escrow 1": [8]],
            created: time(version))
    }
}

extension KeyStore {
    @discardableResult
    func apply(_ writes: StoreWrite..., expecting: [StoreExpectation] = []) async throws -> CommitResult {
        try await commit(StoreChange(writes: writes, expectations: expecting))
    }
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
