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
        """,
        // The version begins with the time, so that the list of a new database is newer than that of a lost one.
        """
        CREATE TABLE access (
          digest TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, subject TEXT NOT NULL, client TEXT NOT NULL,
          organisation TEXT NOT NULL, audience TEXT NOT NULL, scope TEXT NOT NULL, issued INTEGER NOT NULL,
          expires INTEGER NOT NULL, confirmation TEXT, family TEXT, credential TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX access_subject ON access (subject);
        CREATE INDEX access_family ON access (family);
        CREATE INDEX access_expires ON access (expires);
        CREATE TABLE revocation (
          kind TEXT NOT NULL, name TEXT NOT NULL, subject TEXT NOT NULL, before INTEGER NOT NULL,
          expires INTEGER NOT NULL, PRIMARY KEY (kind, name)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX revocation_subject ON revocation (subject);
        CREATE INDEX revocation_expires ON revocation (expires);
        CREATE TABLE revocation_version (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL) STRICT;
        INSERT INTO revocation_version VALUES (1, CAST(strftime('%s', 'now') AS INTEGER) * 1000);
        """,
        """
        ALTER TABLE refresh ADD COLUMN used_at INTEGER;
        ALTER TABLE refresh ADD COLUMN successor TEXT;
        """,
        // Logins at providers: under way; who is who there; what a login came from; what counts once; accounts that were
        // made by a first login.
        """
        CREATE TABLE provider_attempt (
          key TEXT PRIMARY KEY, provider TEXT NOT NULL, browser TEXT NOT NULL, network TEXT NOT NULL,
          request TEXT NOT NULL, nonce TEXT NOT NULL, verifier TEXT NOT NULL, expires INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX provider_attempt_expires ON provider_attempt (expires);
        CREATE INDEX provider_attempt_network ON provider_attempt (network);
        CREATE TABLE provider_link (
          provider TEXT NOT NULL, subject TEXT NOT NULL, user TEXT NOT NULL, made INTEGER NOT NULL,
          PRIMARY KEY (provider, subject)
        ) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX provider_link_user ON provider_link (provider, user);
        CREATE TABLE provider_session (
          family TEXT PRIMARY KEY REFERENCES family ON DELETE CASCADE, provider TEXT NOT NULL,
          subject TEXT NOT NULL, session TEXT, hint TEXT
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX provider_session_subject ON provider_session (provider, subject);
        CREATE INDEX provider_session_session ON provider_session (provider, session);
        CREATE TABLE provider_seen (
          provider TEXT NOT NULL, id TEXT NOT NULL, expires INTEGER NOT NULL, PRIMARY KEY (provider, id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX provider_seen_expires ON provider_seen (expires);
        CREATE TABLE provider_account (
          id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, name TEXT NOT NULL, organisation TEXT NOT NULL,
          provider TEXT NOT NULL, made INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        """,
        // Logins whose clients are to erase what they keep, with every refresh token that they had; when such a client was
        // told of it, and when it said that it has.
        """
        CREATE TABLE wipe (
          login TEXT PRIMARY KEY, subject TEXT NOT NULL, client TEXT NOT NULL, signed_in INTEGER NOT NULL,
          ordered INTEGER NOT NULL, ordered_by TEXT NOT NULL, told INTEGER, done INTEGER
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX wipe_subject ON wipe (subject);
        CREATE INDEX wipe_ordered ON wipe (ordered);
        CREATE TABLE wipe_token (
          digest TEXT PRIMARY KEY, login TEXT NOT NULL REFERENCES wipe ON DELETE CASCADE
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX wipe_token_login ON wipe_token (login);
        """,
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
