import Diagnostics
import GRDB
import KeyStore
import Synchronization

/// Opens SQLite connections with the settings that the key store relies on.
enum Connections {
    /// Pages in the log after which the writer copies them back: 16 MiB. At SQLite's default of 1000 pages every
    /// hundredth commit of a busy store waited 15 ms, at 4000 none of a hundred waited 1 ms.
    private static let checkpointPages = 4_000

    static func writer(_ file: DatabaseFile, _ options: SQLiteKeyStore.Options) throws -> DatabaseQueue {
        var configuration = configuration(options)
        // A rollback can fail with the disk; the next batch begins with another try instead of a trap.
        configuration.allowsUnsafeTransactions = true
        let queue = try DatabaseQueue(path: file.path, configuration: configuration)
        try queue.writeWithoutTransaction { db in
            guard try String.fetchOne(db, sql: "PRAGMA journal_mode = WAL") == "wal" else {
                throw DiagnosedError(
                    .storeUnreachable, fault: .configuration, "\(file.path) lies where SQLite can not keep a log",
                    hint: "put the key store on a local disk")
            }
            try db.execute(
                sql: """
                    PRAGMA synchronous = FULL;
                    PRAGMA secure_delete = ON;
                    PRAGMA wal_autocheckpoint = \(checkpointPages);
                    PRAGMA journal_size_limit = \(checkpointPages * 4 * 4096);
                    """)
            if let pages = options.maximumPages { try db.execute(sql: "PRAGMA max_page_count = \(pages)") }
            try checkIntegrity(db, file, whole: file.size <= options.wholeCheckBytes)
            try Schema.migrate(db, path: file.path)
            // Whoever changes how a connection is opened learns here that commits would no longer survive a power cut.
            for (pragma, expected) in [("synchronous", Int64(2)), ("secure_delete", 1), ("foreign_keys", 1)] {
                let found = try Query(db, "PRAGMA \(pragma)").single()
                guard found == expected else {
                    throw DiagnosedError(
                        .storeFailed, fault: .internal, "SQLite's \(pragma) could not be set on \(file.path)",
                        expected: "\(expected)", found: found.map(String.init) ?? "nothing")
                }
            }
        }
        return queue
    }

    static func reader(_ path: String, _ options: SQLiteKeyStore.Options) throws -> DatabaseQueue {
        var configuration = configuration(options)
        configuration.readonly = true
        return try DatabaseQueue(path: path, configuration: configuration)
    }

    private static func configuration(_ options: SQLiteKeyStore.Options) -> Configuration {
        var configuration = Configuration()
        configuration.busyMode = .timeout(options.busyTimeout)
        configuration.prepareDatabase { db in
            // The schema is data of a file that others may have written: nothing in it is executed. Nothing sorted or
            // spilled reaches the disk outside the database.
            try db.execute(sql: "PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY")
        }
        return configuration
    }

    private static func checkIntegrity(_ db: Database, _ file: DatabaseFile, whole: Bool) throws {
        let tables = try String.fetchAll(
            db,
            sql:
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('root_keys', 'settings', 'session_keks')"
        )
        let checks = whole ? ["PRAGMA quick_check(1)"] : tables.map { "PRAGMA quick_check('\($0)')" }
        for check in checks {
            let answer = try String.fetchOne(db, sql: check)
            guard answer == "ok" else { throw SQLiteFailure.corrupt(answer ?? "no answer of quick_check") }
        }
    }
}

/// A read-only connection that one caller uses at a time.
final class ReadConnection: Sendable {
    private let queue: Mutex<DatabaseQueue?>

    init(_ queue: DatabaseQueue) { self.queue = Mutex(queue) }

    /// Nil when another caller has it.
    func readIfFree<R: Sendable>(_ body: (Database) throws -> R) throws -> R? {
        try queue.withLockIfAvailable { try Self.run($0, body) }
    }

    func read<R: Sendable>(_ body: (Database) throws -> R) throws -> R {
        try queue.withLock { try Self.run($0, body) }
    }

    private static func run<R>(_ queue: DatabaseQueue?, _ body: (Database) throws -> R) throws -> R {
        guard let queue else { throw DiagnosedError.keyStoreClosed }
        return try queue.unsafeRead(body)
    }

    func close() {
        queue.withLock { queue in
            try? queue?.close()
            queue = nil
        }
    }
}
