package import Diagnostics
import GRDB
import WireText

/// All that the core keeps, in one SQLite file: users, devices, conversations, activities, files, meetings, details
/// documents.
///
/// A write is on the disk when its function returns (write-ahead log, `synchronous = FULL`). Every string of a client
/// is kept as it came: the core has no key to any. Functions run on GRDB's own queues and may be called from any
/// task. What a caller may do is judged inside the transaction that does it.
final class CloudStore: Sendable {
    let pool: DatabasePool
    /// Told after each commit that added to an organisation's feed.
    let logged: @Sendable (_ organisation: String) -> Void

    init(path: String, logged: @escaping @Sendable (_ organisation: String) -> Void = { _ in }) throws {
        self.logged = logged
        var configuration = GRDB.Configuration()
        configuration.foreignKeysEnabled = true
        configuration.busyMode = .timeout(5)
        configuration.maximumReaderCount = 4
        do {
            pool = try DatabasePool(path: path, configuration: configuration)
            try Self.migrator.migrate(pool)
            // GRDB sets NORMAL on a writer in WAL mode, which may lose the last transactions at a power failure.
            try pool.writeWithoutTransaction { db in
                try db.execute(sql: "PRAGMA synchronous = FULL")
                try Self.requireDurability(db)
            }
        } catch let error as DiagnosedError {
            throw error
        } catch {
            throw DiagnosedError(
                .storeUnusable, fault: .store, "the core's database can not be opened", found: "\(path): \(error)",
                hint: "check that the folder exists, belongs to the service and has space")
        }
    }

    /// A cheap proof that the database answers and that what it acknowledges is on the disk.
    func check() async throws {
        _ = try await pool.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM details") }
        try await pool.writeWithoutTransaction { try Self.requireDurability($0) }
    }

    private static func requireDurability(_ db: Database) throws {
        let journal = try String.fetchOne(db, sql: "PRAGMA journal_mode")
        let synchronous = try Int.fetchOne(db, sql: "PRAGMA synchronous")
        guard journal == "wal", synchronous == 2 else {
            throw DiagnosedError(
                .storeUnusable, fault: .store, "SQLite does not take full durability",
                expected: "journal_mode wal, synchronous 2",
                found: "journal_mode \(journal ?? "unknown"), synchronous \(synchronous ?? -1)")
        }
    }

    /// Puts what is in the write-ahead log into the database, so that its file holds everything, and closes.
    func close() throws {
        // GRDB closes its writer before its readers, and a reader can not do this at the last moment.
        _ = try? pool.writeWithoutTransaction { try $0.checkpoint(.truncate) }
        try pool.close()
    }

    private static let migrator: DatabaseMigrator = {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1") { try $0.execute(sql: schema) }
        migrator.registerMigration("2") { try $0.execute(sql: participantsOfPartners) }
        migrator.registerMigration("epochs") { try $0.execute(sql: epochs) }
        migrator.registerMigration("node lists") { try $0.execute(sql: nodeLists) }
        migrator.registerMigration("feeds") { try $0.execute(sql: feedTables) }
        migrator.registerMigration("deletions") { try $0.execute(sql: deletions) }
        migrator.registerMigration("retention") { try $0.execute(sql: messagesByTime) }
        migrator.registerMigration("leftovers") { try $0.execute(sql: leftovers) }
        migrator.registerMigration("feed as it was") { try $0.execute(sql: feedBefore) }
        migrator.registerMigration("calendars") { try $0.execute(sql: calendarTables) }
        migrator.registerMigration("calendars heard") { try $0.execute(sql: calendarHeard) }
        migrator.registerMigration("webhooks") { try $0.execute(sql: webhookTables) }
        return migrator
    }()

    /// Users of an organisation that the conversation's one deals with may take part.
    private static let participantsOfPartners = """
        ALTER TABLE participant ADD COLUMN organisation TEXT NOT NULL DEFAULT '';
        UPDATE participant SET organisation =
            (SELECT organisation FROM conversation WHERE conversation.id = participant.conversation);
        DROP INDEX participantByUser;
        CREATE INDEX participantByUser ON participant (user, organisation);
        """

    /// The highest epoch that a link of each destination said.
    private static let epochs = """
        CREATE TABLE epoch (destination TEXT NOT NULL PRIMARY KEY, epoch INTEGER NOT NULL, updated INTEGER NOT NULL)
            STRICT, WITHOUT ROWID;
        """

    /// The signed list of nodes of each destination, with its version.
    private static let nodeLists = """
        CREATE TABLE nodeList (
            destination TEXT NOT NULL PRIMARY KEY, document TEXT NOT NULL, updated INTEGER NOT NULL)
            STRICT, WITHOUT ROWID;
        """

    /// Activities are found by their id as well: to be deleted, and for the search service.
    private static let deletions = """
        CREATE UNIQUE INDEX activityByID ON activity (conversation, json_extract(json, '$.id'));
        """

    /// As the first release made it.
    static let schema = """
        CREATE TABLE user (
            organisation TEXT NOT NULL, id TEXT NOT NULL, email TEXT, name TEXT NOT NULL, firstSeen INTEGER NOT NULL,
            PRIMARY KEY (organisation, id)) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX userByEmail ON user (organisation, email);
        CREATE TABLE device (
            id TEXT NOT NULL PRIMARY KEY, organisation TEXT NOT NULL, user TEXT NOT NULL, name TEXT NOT NULL,
            type TEXT NOT NULL, created INTEGER NOT NULL,
            FOREIGN KEY (organisation, user) REFERENCES user (organisation, id)) STRICT, WITHOUT ROWID;
        CREATE INDEX deviceByUser ON device (organisation, user);
        CREATE TABLE conversation (
            id TEXT NOT NULL PRIMARY KEY, organisation TEXT NOT NULL, creator TEXT NOT NULL,
            displayName TEXT NOT NULL, encryptionKeyURL TEXT NOT NULL, defaultKeyURL TEXT NOT NULL, resourceURL TEXT,
            published INTEGER NOT NULL, lastSequence INTEGER NOT NULL DEFAULT 0, clientTempID TEXT, kmsAnswer TEXT,
            FOREIGN KEY (organisation, creator) REFERENCES user (organisation, id)) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX conversationByTempID ON conversation (organisation, creator, clientTempID);
        CREATE TABLE participant (
            conversation TEXT NOT NULL REFERENCES conversation (id), user TEXT NOT NULL, position INTEGER NOT NULL,
            joinedAt INTEGER NOT NULL, leftAt INTEGER, PRIMARY KEY (conversation, user)) STRICT, WITHOUT ROWID;
        CREATE INDEX participantByUser ON participant (user);
        CREATE TABLE activity (
            conversation TEXT NOT NULL REFERENCES conversation (id), sequence INTEGER NOT NULL, actor TEXT NOT NULL,
            published INTEGER NOT NULL, clientTempID TEXT, json TEXT NOT NULL, kmsAnswer TEXT,
            PRIMARY KEY (conversation, sequence)) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX activityByTempID ON activity (conversation, actor, clientTempID);
        CREATE TABLE file (
            id TEXT NOT NULL PRIMARY KEY, organisation TEXT NOT NULL, owner TEXT NOT NULL, size INTEGER,
            created INTEGER NOT NULL,
            FOREIGN KEY (organisation, owner) REFERENCES user (organisation, id)) STRICT, WITHOUT ROWID;
        CREATE TABLE fileShare (
            file TEXT NOT NULL REFERENCES file (id), conversation TEXT NOT NULL REFERENCES conversation (id),
            PRIMARY KEY (file, conversation)) STRICT, WITHOUT ROWID;
        CREATE TABLE details (
            destination TEXT NOT NULL PRIMARY KEY, document TEXT NOT NULL, updated INTEGER NOT NULL)
            STRICT, WITHOUT ROWID;
        """
}

extension DiagnosedError.Code {
    package static let storeUnusable: Self = "store-unusable"
}
