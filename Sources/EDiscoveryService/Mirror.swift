import Cryptography
import Diagnostics
import EDiscoveryCollection
import Encryption
import FoundationEssentials
import GRDB
import SecretMemory
import WireText

/// What the worker keeps, in one SQLite file: the feed as it came, reports with their items, commands that were seen, and the audit. All of
/// it is sealed under the key that the KMS gives; in clear are ids of spaces, places and numbers.
///
/// Any thread; its functions block for as long as SQLite takes. What was written is on the disk when they return.
final class Mirror: Sendable {
    let queue: DatabaseQueue

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

    func close() throws { try queue.close() }

    func check() throws {
        try queue.write { db in
            try db.execute(
                sql: "INSERT INTO setting VALUES ('check', '1') ON CONFLICT (name) DO UPDATE SET value = '1'")
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

    /// What an event is, as far as it matters to what is destroyed.
    enum EventKind: Int64 {
        /// Kept before this was noted.
        case unknown = -1
        case other, message, removed
    }

    // MARK: - Feed

    /// The last position; 0 of an empty mirror.
    func last() throws -> Int64 {
        try queue.read { try Int64.fetchOne($0, sql: "SELECT max(position) FROM event") ?? 0 }
    }

    /// What came before at the same place stays: the core can not rewrite what was read.
    ///
    /// - Parameters:
    ///   - cursor: of the feed, behind these items.
    ///   - followsCore: whether what the core says to have deleted for its age is destroyed here as well. Without that the core, which
    ///     nobody has to believe, destroys nothing here.
    func add(
        _ items: [(entry: FeedEntry, octets: [UInt8])], cursor: UInt64 = 0, followsCore: Bool = false,
        under key: SymmetricKey
    ) throws {
        try queue.write { db in
            try db.execute(
                sql: "INSERT INTO setting VALUES ('cursor', ?1) ON CONFLICT (name) DO UPDATE SET value = ?1",
                arguments: [String(cursor)])
            for (entry, octets) in items {
                switch entry {
                case .event(let place, let facts):
                    let sealed = try StoreSeal.seal(octets, Self.name(place), key)
                    try db.execute(
                        sql: """
                            INSERT OR IGNORE INTO event (space, sequence, sealed, kind, published, about)
                            VALUES (?, ?, ?, ?, ?, ?)
                            """,
                        arguments: [
                            place.space, Int64(clamping: place.sequence), Data(sealed),
                            (facts.isMessage ? EventKind.message : .other).rawValue, facts.published.milliseconds,
                            facts.about,
                        ])
                    guard db.changesCount == 1 else { continue }
                    for (number, file) in facts.files.enumerated() {
                        guard let id = file.id else { continue }
                        try db.execute(
                            sql: "INSERT INTO file (space, sequence, number, id, size) VALUES (?, ?, ?, ?, ?)",
                            arguments: [
                                place.space, Int64(clamping: place.sequence), number, id,
                                Int64(clamping: file.size ?? 0),
                            ])
                    }
                case .expired(let place):
                    guard followsCore else { continue }
                    // Destroyed here as well, when no hold is in the way: `destroy`.
                    try Self.want(place, message: nil, because: "expired", db)
                }
            }
        }
    }

    /// Where this mirror ends in the feed; 0 of a new one, nil of one that an earlier release made.
    func cursor() throws -> UInt64? {
        try queue.read { db in
            if let text = try String.fetchOne(db, sql: "SELECT value FROM setting WHERE name = 'cursor'") {
                return UInt64(text)
            }
            return try Bool.fetchOne(db, sql: "SELECT 1 FROM event") == nil ? 0 : nil
        }
    }

    static func name(_ place: FeedPlace) -> String { "event \(place.space) \(place.sequence)" }

    static func events(of space: String, until position: Int64, _ key: SymmetricKey, _ db: Database) throws -> [[UInt8]]
    {
        try Row.fetchAll(
            db, sql: "SELECT sequence, sealed FROM event WHERE space = ? AND position <= ? ORDER BY sequence",
            arguments: [space, position]
        ).map { row in
            let place = FeedPlace(space: space, sequence: UInt64(row["sequence"] as Int64))
            return try StoreSeal.open([UInt8](row["sealed"] as Data), name(place), key)
        }
    }
}

extension DiagnosedError.Code {
    static let mirror: Self = "ediscovery-database"
}
