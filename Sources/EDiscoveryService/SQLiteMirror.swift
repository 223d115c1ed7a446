import Diagnostics
import FoundationEssentials
import GRDB

/// Rows of one worker alone, in a SQLite file.
final class SQLiteMirror: MirrorStore {
    private let queue: DatabaseQueue
    let isShared = false
    let isOurs = true

    init(path: String) throws {
        do {
            var configuration = GRDB.Configuration()
            configuration.busyMode = .timeout(5)
            queue = try DatabaseQueue(path: path, configuration: configuration)
            try queue.writeWithoutTransaction { db in
                try db.execute(sql: "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON")
            }
            try Self.migrator.migrate(queue)
        } catch {
            throw DiagnosedError(
                .mirror, fault: .store, "the worker's database can not be opened", found: "\(path): \(error)",
                hint: "check that the folder of mirror.database exists, belongs to the service and has space")
        }
    }

    func read<Result>(_ body: (any Database) throws -> Result) throws -> Result {
        try queue.read { try body(Transaction($0)) }
    }

    func write<Result>(_ body: (any Database) throws -> Result) throws -> Result {
        try queue.write { try body(Transaction($0)) }
    }

    func turn(_ isOurs: Bool) {}

    func close() throws { try queue.close() }

    private final class Transaction: Database {
        private let db: GRDB.Database

        init(_ db: GRDB.Database) { self.db = db }

        var changesCount: Int { db.changesCount }

        func execute(sql: String, arguments: StatementArguments) throws {
            try db.cachedStatement(sql: sql).execute(arguments: Self.values(arguments))
        }

        func rows(_ sql: String, _ arguments: StatementArguments) throws -> [Row] {
            let statement = try db.cachedStatement(sql: sql)
            let names = statement.columnNames
            return try GRDB.Row.fetchAll(statement, arguments: Self.values(arguments)).map { row in
                Row(names: names, values: row.databaseValues.map(Self.value))
            }
        }

        private static func values(_ arguments: StatementArguments) -> GRDB.StatementArguments {
            GRDB.StatementArguments(
                arguments.map { argument -> DatabaseValue in
                    switch argument?.mirrorValue ?? .null {
                    case .null: .null
                    case .integer(let number): number.databaseValue
                    case .text(let text): text.databaseValue
                    case .octets(let octets): Data(octets).databaseValue
                    }
                })
        }

        private static func value(_ value: DatabaseValue) -> MirrorValue {
            switch value.storage {
            case .null: .null
            case .int64(let number): .integer(number)
            case .double(let number): .integer(Int64(number))
            case .string(let text): .text(text)
            case .blob(let data): .octets([UInt8](data))
            }
        }
    }

    private static let migrator: DatabaseMigrator = {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1") { try $0.execute(sql: first) }
        migrator.registerMigration("removals") { try $0.execute(sql: removals) }
        migrator.registerMigration("held") { db in
            try db.execute(
                sql: """
                    CREATE TABLE held (space TEXT NOT NULL, resource TEXT NOT NULL, PRIMARY KEY (space, resource))
                        STRICT, WITHOUT ROWID
                    """)
        }
        migrator.registerMigration("about") { db in
            try db.execute(sql: "CREATE INDEX eventByAbout ON event (space, about) WHERE about IS NOT NULL")
        }
        return migrator
    }()

    /// As the first release made it, before there were migrations.
    private static let first = """
        CREATE TABLE IF NOT EXISTS event (
            position INTEGER PRIMARY KEY AUTOINCREMENT, space TEXT NOT NULL, sequence INTEGER NOT NULL,
            sealed BLOB NOT NULL, UNIQUE (space, sequence)) STRICT;
        CREATE TABLE IF NOT EXISTS report (
            id TEXT NOT NULL PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS item (
            report TEXT NOT NULL, place INTEGER NOT NULL, sealed BLOB NOT NULL,
            PRIMARY KEY (report, place)) STRICT, WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS command (
            id TEXT NOT NULL PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS audit (
            position INTEGER PRIMARY KEY, sealed BLOB NOT NULL, chain BLOB NOT NULL) STRICT;
        CREATE TABLE IF NOT EXISTS setting (
            name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
        """

    /// `event.kind` is an `EventKind`; `published` milliseconds; `about` the message of an edit or deletion; `cause` of its destruction.
    private static let removals = """
        ALTER TABLE event ADD COLUMN kind INTEGER NOT NULL DEFAULT -1;
        ALTER TABLE event ADD COLUMN published INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE event ADD COLUMN about TEXT;
        ALTER TABLE event ADD COLUMN cause TEXT;
        CREATE INDEX eventByTime ON event (published) WHERE kind = 1;
        CREATE INDEX eventByCause ON event (cause, space, sequence) WHERE cause IS NOT NULL;
        CREATE INDEX eventUnknown ON event (position) WHERE kind = -1;
        CREATE TABLE removal (
            space TEXT NOT NULL, sequence INTEGER NOT NULL, cause TEXT NOT NULL, state INTEGER NOT NULL DEFAULT 0,
            message TEXT, PRIMARY KEY (space, sequence)) STRICT, WITHOUT ROWID;
        CREATE INDEX removalByState ON removal (state);
        CREATE TABLE document (
            kind TEXT NOT NULL, id TEXT NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (kind, id)) STRICT, WITHOUT ROWID;
        CREATE TABLE file (
            space TEXT NOT NULL, sequence INTEGER NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL,
            size INTEGER NOT NULL, state INTEGER NOT NULL DEFAULT 0, record BLOB,
            PRIMARY KEY (space, sequence, number)) STRICT, WITHOUT ROWID;
        CREATE INDEX fileByState ON file (state);
        CREATE INDEX fileByID ON file (id);
        """
}
