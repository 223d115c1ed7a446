import Diagnostics
import GRDB
import KeyStore

/// The tables of the key store and how a database comes to have them: numbered steps, forward only, each in a
/// transaction of its own, the number reached kept in `PRAGMA user_version`.
///
/// Ids are the 16 octets of the UUID, moments are milliseconds since 1970. Tables have row ids: with random ids as the
/// clustering key a durable insert cost 1.3 times as much (1 million keys, 4 KiB pages).
enum Schema {
    /// "HDSK" in `PRAGMA application_id`, so that the file is known for what it is (`file(1)`, and `migrate` below).
    static let applicationID: Int64 = 0x4844_534B

    /// Step n brings a database from version n to n + 1. Never change a step that was released: append one.
    static let steps: [String] = [
        """
        CREATE TABLE root_keys (
            version INTEGER PRIMARY KEY,
            state TEXT NOT NULL CHECK (state IN ('active', 'inert', 'retired')),
            wrapped BLOB NOT NULL,
            kek_fingerprint TEXT NOT NULL,
            created INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX root_keys_active ON root_keys (state) WHERE state = 'active';

        CREATE TABLE settings (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;

        -- Backups leave this table out (docs/decisions/013-session-kek.md).
        CREATE TABLE session_keks (
            id INTEGER PRIMARY KEY,
            sealed BLOB NOT NULL,
            last_expiry INTEGER NOT NULL
        ) STRICT;

        CREATE TABLE sessions (
            id BLOB NOT NULL UNIQUE,
            version INTEGER NOT NULL,
            kek INTEGER NOT NULL REFERENCES session_keks (id),
            user BLOB NOT NULL,
            expires INTEGER NOT NULL,
            last_counter INTEGER NOT NULL,
            sealed BLOB NOT NULL
        ) STRICT;
        CREATE INDEX sessions_user ON sessions (user, expires);
        CREATE INDEX sessions_expires ON sessions (expires);
        CREATE INDEX sessions_kek ON sessions (kek);

        CREATE TABLE resources (
            id BLOB NOT NULL UNIQUE,
            version INTEGER NOT NULL,
            deleted_at INTEGER,
            sealed BLOB NOT NULL
        ) STRICT;

        CREATE TABLE keys (
            id BLOB NOT NULL UNIQUE,
            version INTEGER NOT NULL,
            resource BLOB REFERENCES resources (id),
            bound_at INTEGER,
            sealed BLOB NOT NULL
        ) STRICT;
        CREATE INDEX keys_resource ON keys (resource, bound_at, id) WHERE resource IS NOT NULL;

        CREATE TABLE authorizations (
            id BLOB NOT NULL UNIQUE,
            version INTEGER NOT NULL,
            resource BLOB NOT NULL REFERENCES resources (id),
            lookup BLOB NOT NULL,
            position INTEGER NOT NULL,
            removed_at INTEGER,
            sealed BLOB NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX authorizations_live ON authorizations (resource, lookup) WHERE removed_at IS NULL;
        CREATE INDEX authorizations_removed ON authorizations (resource, lookup, removed_at)
            WHERE removed_at IS NOT NULL;
        CREATE INDEX authorizations_position ON authorizations (resource, position, id);

        CREATE TABLE ledger (
            digest BLOB NOT NULL UNIQUE,
            session BLOB NOT NULL,
            expires INTEGER NOT NULL,
            sealed_answer BLOB NOT NULL
        ) STRICT;
        CREATE INDEX ledger_expires ON ledger (expires);

        -- What `check` writes to prove that writing works; no record.
        CREATE TABLE liveness (id INTEGER PRIMARY KEY CHECK (id = 1), at INTEGER NOT NULL) STRICT;
        """,
        // 1: audit records, which a trail is completed from after a crash; AUTOINCREMENT, so that a position never
        // comes again when the newest entries were purged.
        """
        ALTER TABLE ledger RENAME TO old_ledger;
        DROP INDEX ledger_expires;
        CREATE TABLE ledger (
            position INTEGER PRIMARY KEY AUTOINCREMENT,
            digest BLOB NOT NULL UNIQUE,
            session BLOB NOT NULL,
            expires INTEGER NOT NULL,
            sealed_answer BLOB NOT NULL,
            audit BLOB NOT NULL
        ) STRICT;
        INSERT INTO ledger (digest, session, expires, sealed_answer, audit)
            SELECT digest, session, expires, sealed_answer, x'' FROM old_ledger ORDER BY rowid;
        DROP TABLE old_ledger;
        CREATE INDEX ledger_expires ON ledger (expires);
        CREATE INDEX resources_deleted ON resources (deleted_at) WHERE deleted_at IS NOT NULL;
        """,
        // 2: ended authorizations are kept for a time and then erased.
        """
        CREATE INDEX authorizations_ended ON authorizations (removed_at) WHERE removed_at IS NOT NULL;
        """,
        // 3: several holders of a root key, and the states of a rotation.
        """
        CREATE TABLE old_root_keys AS SELECT version, state, wrapped, kek_fingerprint, created FROM root_keys;
        DROP TABLE root_keys;
        CREATE TABLE root_keys (
            version INTEGER PRIMARY KEY,
            state TEXT NOT NULL CHECK (state IN ('active', 'inert', 'retiring', 'retired', 'destroyed')),
            created INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX root_keys_active ON root_keys (state) WHERE state = 'active';
        CREATE TABLE root_key_wraps (
            version INTEGER NOT NULL REFERENCES root_keys (version),
            holder TEXT NOT NULL,
            wrapped BLOB NOT NULL,
            PRIMARY KEY (version, holder)
        ) STRICT, WITHOUT ROWID;
        -- A version that was retired before opened older records: there was no count of them.
        INSERT INTO root_keys SELECT version, iif(state = 'retired', 'retiring', state), created FROM old_root_keys;
        INSERT INTO root_key_wraps SELECT version, 'kek ' || kek_fingerprint, wrapped FROM old_root_keys;
        DROP TABLE old_root_keys;
        """,
        // 4: what each writer has done, so that a row that was put back, changed or deleted shows.
        """
        CREATE TABLE row_sums (
            writer BLOB PRIMARY KEY,
            counter INTEGER NOT NULL,
            s0 INTEGER NOT NULL, s1 INTEGER NOT NULL, s2 INTEGER NOT NULL, s3 INTEGER NOT NULL,
            s4 INTEGER NOT NULL, s5 INTEGER NOT NULL, s6 INTEGER NOT NULL, s7 INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        """,
        // 5: a key for each resource that can be erased, in a table of its own for a backup of its own.
        """
        CREATE TABLE erasable_keys (
            resource BLOB PRIMARY KEY REFERENCES resources (id),
            sealed BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;
        """,
        // 6: the epoch of the cluster, which is this file's.
        """
        CREATE TABLE cluster (id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL) STRICT;
        INSERT INTO cluster VALUES (1, 1);
        """,
    ]

    /// Brings the database to the newest version; refuses one of another program or of a newer version of this one.
    static func migrate(_ db: Database, path: String, steps: [String] = Schema.steps) throws {
        let version = Int(try Query(db, "PRAGMA user_version").single() ?? 0)
        let application = try Query(db, "PRAGMA application_id").single() ?? 0
        let tables = try Query(db, "SELECT count(*) FROM sqlite_schema").single() ?? 0
        guard application == applicationID || (application == 0 && version == 0 && tables == 0) else {
            throw DiagnosedError(
                .storeForeign, fault: .configuration, "\(path) is a database of another program",
                expected: "a key store or no file", hint: "check the path in the configuration")
        }
        guard version <= steps.count else {
            throw DiagnosedError(
                .storeForeign, fault: .configuration, "the key store \(path) was written by a newer version",
                expected: "schema \(steps.count) or lower", found: "\(version)",
                hint: "start the newer version; there is no way back to an older schema but a backup")
        }
        for step in version..<steps.count {
            try db.inTransaction(.immediate) {
                try db.execute(sql: steps[step])
                try db.execute(sql: "PRAGMA application_id = \(applicationID); PRAGMA user_version = \(step + 1)")
                return .commit
            }
        }
    }
}
