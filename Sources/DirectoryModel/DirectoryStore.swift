package import Diagnostics
import GRDB
import Glibc
package import WireText

/// People, groups and who is cut off, in a small SQLite database beside the one of logins.
///
/// Each function is one transaction, durable when it returns. It holds names and addresses, no secret; mode 0600 all the
/// same. Losing it costs a whole reading of each LDAP directory; what a SCIM client made has to be sent by it again.
package final class DirectoryStore: Sendable {
    let database: DatabaseQueue
    private let path: String

    private static let steps = [
        """
        CREATE TABLE person (
          id TEXT PRIMARY KEY, source TEXT NOT NULL, external TEXT NOT NULL, user_name TEXT NOT NULL, email TEXT NOT NULL,
          name TEXT NOT NULL, standing TEXT NOT NULL, changed INTEGER NOT NULL, UNIQUE (source, external)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE team (
          id TEXT PRIMARY KEY, source TEXT NOT NULL, external TEXT NOT NULL, name TEXT NOT NULL,
          changed INTEGER NOT NULL, UNIQUE (source, external)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE member (
          team TEXT NOT NULL REFERENCES team ON DELETE CASCADE, person TEXT NOT NULL, PRIMARY KEY (team, person)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX member_person ON member (person);
        CREATE TABLE cut (
          subject TEXT NOT NULL, authority TEXT NOT NULL, since INTEGER NOT NULL, ordered_by TEXT NOT NULL,
          reason TEXT NOT NULL, PRIMARY KEY (subject, authority)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE resource (
          id TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, external TEXT, version INTEGER NOT NULL,
          created INTEGER NOT NULL, modified INTEGER NOT NULL, body TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX resource_name ON resource (kind, name);
        CREATE INDEX resource_external ON resource (kind, external);
        """
    ]

    /// Opens or makes the database at `path`.
    package init(path: String) throws {
        self.path = path
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            throw DiagnosedError(
                .directoryStore, fault: .configuration, "the database of people \(path) can not be made",
                found: String(cString: strerror(errno)), hint: "check owner and mode of the folder")
        }
        Glibc.close(descriptor)
        var configuration = Configuration()
        configuration.label = "directory"
        configuration.busyMode = .timeout(5)
        configuration.foreignKeysEnabled = true
        configuration.journalMode = .wal
        do {
            database = try DatabaseQueue(path: path, configuration: configuration)
            try database.writeWithoutTransaction { database in
                try database.execute(sql: "PRAGMA synchronous = FULL")
                let found = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
                guard found <= Self.steps.count else {
                    throw DiagnosedError(
                        .directoryStore, fault: .store, "\(path) was written by a newer hds-auth",
                        expected: "schema \(Self.steps.count) or older", found: "schema \(found)")
                }
                for step in found..<Self.steps.count {
                    try database.inTransaction {
                        try database.execute(sql: Self.steps[step])
                        try database.execute(sql: "PRAGMA user_version = \(step + 1)")
                        return .commit
                    }
                }
            }
        } catch {
            throw Self.diagnosed(error, path: path)
        }
    }

    package func close() throws { try database.close() }

    // MARK: People

    /// In the order of their ids; of one source, or all.
    package func people(of source: String? = nil) async throws -> [Person] {
        try await read { database in
            try Row.fetchAll(
                database, sql: "SELECT * FROM person WHERE ?1 IS NULL OR source = ?1 ORDER BY id", arguments: [source]
            ).map(Self.person)
        }
    }

    package func person(id: String) async throws -> Person? {
        try await read { database in
            try Row.fetchOne(database, sql: "SELECT * FROM person WHERE id = ?", arguments: [id]).map(Self.person)
        }
    }

    /// Takes changes over, who is cut off by them, and what a SCIM client wrote, in one transaction. Returns whose standing
    /// among the cut off changed; nil: the resource is of another version than was expected, and nothing is changed.
    @discardableResult
    package func take(
        _ changes: [DirectoryChange], of source: String, at now: Timestamp, writing resource: ResourceWrite? = nil
    ) async throws -> [String]? {
        try await write { database in
            if let resource, try !Self.write(resource, at: now, database) { return nil }
            var touched: [String] = []
            for change in changes {
                let person = change.person
                try Self.put(person, database)
                switch change {
                case .left:
                    try Self.put(
                        CutOff(
                            subject: person.id, authority: .directory(source), since: now, by: source,
                            reason: person.standing == .gone
                                ? "not in the directory any more" : "disabled in the directory"), database)
                    touched.append(person.id)
                case .returned, .joined:
                    try database.execute(
                        sql: "DELETE FROM cut WHERE subject = ? AND authority = ?", arguments: [person.id, source])
                    if database.changesCount > 0 { touched.append(person.id) }
                case .changed: break
                }
            }
            return touched
        }
    }

    // MARK: Who is cut off

    package func cutOffs() async throws -> [CutOff] {
        try await read { database in
            try Row.fetchAll(database, sql: "SELECT * FROM cut ORDER BY since, subject, authority").map(Self.cutOff)
        }
    }

    /// The first order of an authority stands. False: it had one.
    package func insert(_ cutOff: CutOff) async throws -> Bool {
        try await write { try Self.put(cutOff, $0) }
    }

    /// False: there was none of this authority.
    package func lift(_ subject: String, authority: CutOff.Authority) async throws -> Bool {
        try await write { database in
            try database.execute(
                sql: "DELETE FROM cut WHERE subject = ? AND authority = ?", arguments: [subject, authority.name])
            return database.changesCount > 0
        }
    }

    // MARK: -

    func read<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        do { return try await database.read(body) } catch { throw Self.diagnosed(error, path: path) }
    }

    func write<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        do { return try await database.write(body) } catch { throw Self.diagnosed(error, path: path) }
    }

    static func put(_ person: Person, _ database: Database) throws {
        try database.execute(
            sql: """
                INSERT INTO person VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
                  source = excluded.source, external = excluded.external, user_name = excluded.user_name,
                  email = excluded.email, name = excluded.name, standing = excluded.standing, changed = excluded.changed
                """,
            arguments: [
                person.id, person.source, person.external, person.userName, person.email, person.name,
                person.standing.rawValue, person.changed.milliseconds,
            ])
    }

    @discardableResult
    static func put(_ cutOff: CutOff, _ database: Database) throws -> Bool {
        try database.execute(
            sql: "INSERT INTO cut VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            arguments: [
                cutOff.subject, cutOff.authority.name, cutOff.since.milliseconds, cutOff.by, cutOff.reason,
            ])
        return database.changesCount > 0
    }

    static func person(_ row: Row) -> Person {
        Person(
            source: row["source"], external: row["external"], id: row["id"], userName: row["user_name"],
            email: row["email"], name: row["name"],
            // What can not be read lets nobody in.
            standing: Person.Standing(rawValue: row["standing"]) ?? .disabled,
            changed: Timestamp(milliseconds: row["changed"]))
    }

    private static func cutOff(_ row: Row) -> CutOff {
        CutOff(
            subject: row["subject"], authority: CutOff.Authority(name: row["authority"]),
            since: Timestamp(milliseconds: row["since"]), by: row["ordered_by"], reason: row["reason"])
    }

    /// Errors of GRDB may quote statements and values: of them only the result code goes on.
    private static func diagnosed(_ error: any Error, path: String) -> any Error {
        guard let error = error as? DatabaseError else { return error }
        return DiagnosedError(
            .directoryStore, fault: .store, "the database of people \(path) can not be used",
            found: "SQLite result \(error.extendedResultCode.rawValue)",
            hint: "check owner, mode and free space; if the file is damaged move it away: it is read from LDAP again")
    }
}

extension DiagnosedError.Code {
    /// The database of people can not be used.
    package static let directoryStore: Self = "directory-store"
}

// Both at one moment, for the accounts in force.
extension DirectoryStore {
    package struct Snapshot: Sendable {
        package let people: [Person]
        package let cutOffs: [CutOff]
        /// Rises with each change that this process makes.
        package let version: Int64
    }

    /// Blocks: for the start, before anything else runs.
    package func snapshot() throws -> Snapshot {
        do { return try database.read(Self.snapshot) } catch { throw Self.diagnosed(error, path: path) }
    }

    package func currentSnapshot() async throws -> Snapshot { try await read(Self.snapshot) }

    private static func snapshot(_ database: Database) throws -> Snapshot {
        Snapshot(
            people: try Row.fetchAll(database, sql: "SELECT * FROM person ORDER BY id").map(Self.person),
            cutOffs: try Row.fetchAll(database, sql: "SELECT * FROM cut").map(Self.cutOff),
            version: Int64(database.totalChangesCount))
    }
}
