import Diagnostics
import GRDB

/// The tables of `GrantStore` and how the database is opened. Moments are milliseconds since 1970.
enum GrantSchema {
    /// Raised with every change of the tables; `steps` has one entry per version.
    static let version = steps.count

    private static let steps = [
        """
        CREATE TABLE family (
          id TEXT PRIMARY KEY, user TEXT NOT NULL, client TEXT NOT NULL, scope TEXT NOT NULL,
          credential TEXT NOT NULL, signed_in INTEGER NOT NULL, expires INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX family_user ON family (user);
        CREATE INDEX family_expires ON family (expires);
        CREATE TABLE code (
          digest TEXT PRIMARY KEY, redirect TEXT NOT NULL, challenge TEXT NOT NULL, expires INTEGER NOT NULL,
          used INTEGER NOT NULL, family TEXT NOT NULL REFERENCES family ON DELETE CASCADE
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX code_family ON code (family);
        CREATE TABLE refresh (
          digest TEXT PRIMARY KEY, expires INTEGER NOT NULL, used INTEGER NOT NULL,
          family TEXT NOT NULL REFERENCES family ON DELETE CASCADE
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX refresh_family ON refresh (family);
        CREATE INDEX refresh_expires ON refresh (expires);
        """
    ]

    static var configuration: Configuration {
        var configuration = Configuration()
        configuration.label = "logins"
        configuration.busyMode = .timeout(5)
        configuration.foreignKeysEnabled = true
        configuration.journalMode = .wal
        return configuration
    }

    static func prepare(_ database: Database, path: String) throws {
        // GRDB sets NORMAL with WAL: a power failure could bring a used token back to life.
        try database.execute(sql: "PRAGMA synchronous = FULL")
        guard try Int.fetchOne(database, sql: "PRAGMA synchronous") == 2 else {
            throw DiagnosedError(.grantStore, fault: .store, "\(path): the database does not sync its writes")
        }
        let found = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
        guard found <= version else {
            throw DiagnosedError(
                .grantStore, fault: .store, "\(path) was written by a newer hds-auth",
                expected: "schema \(version) or older", found: "schema \(found)")
        }
        for step in found..<version {
            try database.inTransaction {
                try database.execute(sql: steps[step])
                try database.execute(sql: "PRAGMA user_version = \(step + 1)")
                return .commit
            }
        }
    }
}
