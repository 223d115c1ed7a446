import PostgreSQLClient

/// All statements of the store: constant text, prepared when a connection opens.
enum Statements {
    // MARK: Transactions

    static let begin = PostgreSQLStatement("begin", "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
    static let commit = PostgreSQLStatement("commit", "COMMIT")
    static let rollback = PostgreSQLStatement("rollback", "ROLLBACK")
    static let savepoint = PostgreSQLStatement("savepoint", "SAVEPOINT change")
    static let release = PostgreSQLStatement("release", "RELEASE SAVEPOINT change")
    static let rollbackTo = PostgreSQLStatement("rollback_to", "ROLLBACK TO SAVEPOINT change")
    /// One writer of the whole cluster at a time; released when its transaction has ended and is visible.
    static let turn = PostgreSQLStatement(
        "turn", "SELECT \(turnLock)")
    static let turnLock = "pg_advisory_xact_lock(1212437323, hashtext(current_schema()))"
    /// No row where the epoch was closed for a switch-over.
    static let mark = PostgreSQLStatement(
        "mark",
        """
        INSERT INTO commit_marks (writer, batch, at) SELECT $1, $2, now() FROM cluster WHERE open
        ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, at = excluded.at RETURNING batch
        """, .uuid, .bigint)
    static let marked = PostgreSQLStatement("marked", "SELECT batch FROM commit_marks WHERE writer = $1", .uuid)

    // MARK: What a change needs

    static let hasLedger = PostgreSQLStatement("has_ledger", "SELECT 1::bigint FROM ledger WHERE digest = $1", .bytea)
    static let lockResource = PostgreSQLStatement(
        "lock_resource", "SELECT version FROM resources WHERE id = $1 FOR NO KEY UPDATE", .uuid)
    static let lockKey = PostgreSQLStatement(
        "lock_key", "SELECT version FROM keys WHERE id = $1 FOR NO KEY UPDATE", .uuid)
    static let lockSession = PostgreSQLStatement(
        "lock_session", "SELECT version FROM sessions WHERE id = $1 FOR NO KEY UPDATE", .uuid)
    static let lockSetting = PostgreSQLStatement(
        "lock_setting", "SELECT value FROM settings WHERE name = $1 FOR NO KEY UPDATE", .bytea)

    // MARK: Writes; updates name the version that they lead to

    static let insertKey = PostgreSQLStatement(
        "insert_key",
        "INSERT INTO keys (version, resource, bound_at, sealed, id) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        .bigint, .uuid, .bigint, .bytea, .uuid)
    static let updateKey = PostgreSQLStatement(
        "update_key",
        "UPDATE keys SET version = $1, resource = $2, bound_at = $3, sealed = $4 WHERE id = $5 AND version = $1 - 1",
        .bigint, .uuid, .bigint, .bytea, .uuid)
    static let insertResource = PostgreSQLStatement(
        "insert_resource",
        "INSERT INTO resources (version, deleted_at, sealed, id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        .bigint, .bigint, .bytea, .uuid)
    static let updateResource = PostgreSQLStatement(
        "update_resource",
        "UPDATE resources SET version = $1, deleted_at = $2, sealed = $3 WHERE id = $4 AND version = $1 - 1",
        .bigint, .bigint, .bytea, .uuid)
    static let insertAuthorization = PostgreSQLStatement(
        "insert_authorization",
        """
        INSERT INTO authorizations (version, resource, lookup, position, removed_at, sealed, id)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING
        """, .bigint, .uuid, .bytea, .bigint, .bigint, .bytea, .uuid)
    static let updateAuthorization = PostgreSQLStatement(
        "update_authorization",
        """
        UPDATE authorizations
        SET version = $1, resource = $2, lookup = $3, position = $4, removed_at = $5, sealed = $6
        WHERE id = $7 AND version = $1 - 1
        """, .bigint, .uuid, .bytea, .bigint, .bigint, .bytea, .uuid)
    static let raiseExpiry = PostgreSQLStatement(
        "raise_expiry", "UPDATE session_keks SET last_expiry = greatest(last_expiry, $1) WHERE id = $2", .bigint,
        .bigint)
    static let insertSession = PostgreSQLStatement(
        "insert_session",
        """
        INSERT INTO sessions (id, version, kek, user_lookup, expires, last_counter, sealed)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING
        """, .uuid, .bigint, .bigint, .bytea, .bigint, .bigint, .bytea)
    static let deleteSession = PostgreSQLStatement("delete_session", "DELETE FROM sessions WHERE id = $1", .uuid)
    static let advanceSession = PostgreSQLStatement(
        "advance_session", "UPDATE sessions SET last_counter = $1 WHERE id = $2 AND last_counter < $1", .bigint, .uuid)
    static let insertLedger = PostgreSQLStatement(
        "insert_ledger",
        """
        INSERT INTO ledger (digest, session, expires, sealed_answer, audit) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING
        """, .bytea, .uuid, .bigint, .bytea, .bytea)
    static let insertSessionKEK = PostgreSQLStatement(
        "insert_session_kek",
        "INSERT INTO session_keks (id, sealed, last_expiry) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", .bigint,
        .bytea, .bigint)
    static let putSetting = PostgreSQLStatement(
        "put_setting",
        "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        .bytea, .bytea)
    static let eraseKeys = PostgreSQLStatement("erase_keys", "DELETE FROM keys WHERE resource = $1", .uuid)
    static let insertErasableKey = PostgreSQLStatement(
        "insert_erasable_key", "INSERT INTO erasable_keys (resource, sealed) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        .uuid, .bytea)
    static let eraseErasableKey = PostgreSQLStatement(
        "erase_erasable_key", "DELETE FROM erasable_keys WHERE resource = $1", .uuid)
    static let erasableKey = PostgreSQLStatement(
        "erasable_key", "SELECT sealed FROM erasable_keys WHERE resource = $1", .uuid)
    static let eraseAuthorizations = PostgreSQLStatement(
        "erase_authorizations", "DELETE FROM authorizations WHERE resource = $1", .uuid)
    static let eraseResource = PostgreSQLStatement(
        "erase_resource", "DELETE FROM resources WHERE id = $1 AND version = $2 AND deleted_at IS NOT NULL", .uuid,
        .bigint)
    static let eraseKey = PostgreSQLStatement(
        "erase_key", "DELETE FROM keys WHERE id = $1 AND version = $2", .uuid, .bigint)
    static let eraseAuthorization = PostgreSQLStatement(
        "erase_authorization",
        "DELETE FROM authorizations WHERE id = $1 AND version = $2 AND removed_at IS NOT NULL", .uuid, .bigint)
    static let insertRootKey = PostgreSQLStatement(
        "insert_root_key",
        """
        INSERT INTO root_keys (state, created, version) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
        """, .text, .bigint, .bigint)
    static let updateRootKey = PostgreSQLStatement(
        "update_root_key",
        "UPDATE root_keys SET state = $1, created = $2 WHERE version = $3", .text, .bigint, .bigint)
    static let deleteRootKey = PostgreSQLStatement(
        "delete_root_key", "DELETE FROM root_keys WHERE version = $1 AND state = 'inert'", .bigint)
    static let dropWraps = PostgreSQLStatement(
        "drop_wraps", "DELETE FROM root_key_wraps WHERE version = $1", .bigint)
    static let insertWrap = PostgreSQLStatement(
        "insert_wrap", "INSERT INTO root_key_wraps (version, holder, wrapped) VALUES ($1, $2, $3)", .bigint, .bytea,
        .bytea)
    static let purgeLedger = PostgreSQLStatement(
        "purge_ledger",
        """
        DELETE FROM ledger WHERE position IN (
            SELECT position FROM ledger WHERE expires <= $1 ORDER BY expires LIMIT $2)
        """, .bigint, .bigint)
    static let purgeSessions = PostgreSQLStatement(
        "purge_sessions",
        "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires <= $1 ORDER BY expires LIMIT $2)",
        .bigint, .bigint)
    static let purgeSessionKEKs = PostgreSQLStatement(
        "purge_session_keks",
        """
        DELETE FROM session_keks WHERE id IN (
            SELECT id FROM session_keks AS kek WHERE last_expiry <= $1
            AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.kek = kek.id) ORDER BY id LIMIT $2)
        """, .bigint, .bigint)

    static let writing =
        [
            begin, commit, rollback, savepoint, release, rollbackTo, turn, mark, marked, hasLedger, lockResource,
            lockKey,
            lockSession, lockSetting, insertKey, updateKey, insertResource, updateResource, insertAuthorization,
            updateAuthorization, raiseExpiry, insertSession, deleteSession, advanceSession, insertLedger,
            insertSessionKEK,
            putSetting, insertErasableKey, eraseErasableKey, eraseKeys, eraseAuthorizations, eraseResource, eraseKey,
            eraseAuthorization, insertRootKey,
            updateRootKey, deleteRootKey, dropWraps, insertWrap, purgeLedger,
            purgeSessions, purgeSessionKEKs,
        ] + SealedStatements.writing + SumStatements.writing

    // MARK: Reads

    static let key = PostgreSQLStatement("key", "SELECT \(Columns.key) FROM keys WHERE id = $1", .uuid)
    /// A key with its resource and the live authorization there under a lookup that was made for the resource `$2`.
    static let keyWithAuthorization = PostgreSQLStatement(
        "key_with_authorization",
        """
        SELECT k.id, k.version, k.resource, k.bound_at, k.sealed,
            (SELECT e.sealed FROM erasable_keys AS e WHERE e.resource = k.resource),
            a.id, a.version, a.resource, a.lookup, a.position, a.removed_at, a.sealed,
            r.id, r.version, r.deleted_at, r.sealed
        FROM keys AS k LEFT JOIN authorizations AS a
            ON a.resource = k.resource AND a.resource = $2 AND a.lookup = $3 AND a.removed_at IS NULL
            LEFT JOIN resources AS r ON r.id = k.resource
        WHERE k.id = $1
        """, .uuid, .uuid, .bytea)
    static let keysOfResource = PostgreSQLStatement(
        "keys_of_resource",
        """
        SELECT \(Columns.key) FROM keys WHERE resource = $1 AND bound_at >= $2 AND bound_at < $3
        ORDER BY bound_at DESC, id DESC LIMIT $4
        """, .uuid, .bigint, .bigint, .bigint)
    static let keysBehind = PostgreSQLStatement(
        "keys_behind",
        """
        SELECT \(Columns.key) FROM keys WHERE resource = $1 AND (bound_at, id) > ($2, $3)
        ORDER BY bound_at, id LIMIT $4
        """, .uuid, .bigint, .uuid, .bigint)
    static let unboundKeys = PostgreSQLStatement(
        "unbound_keys",
        """
        SELECT \(Columns.key) FROM keys WHERE resource IS NULL AND ($1::uuid IS NULL OR id > $1) ORDER BY id LIMIT $2
        """, .uuid, .bigint)
    static let resource = PostgreSQLStatement(
        "resource", "SELECT \(Columns.resource) FROM resources WHERE id = $1", .uuid)
    static let authorization = PostgreSQLStatement(
        "authorization", "SELECT \(Columns.authorization) FROM authorizations WHERE id = $1", .uuid)
    static let liveAuthorization = PostgreSQLStatement(
        "live_authorization",
        """
        SELECT \(Columns.authorization) FROM authorizations
        WHERE resource = $1 AND lookup = $2 AND removed_at IS NULL
        """, .uuid, .bytea)
    static let authorizations = PostgreSQLStatement(
        "authorizations",
        """
        SELECT \(Columns.authorization) FROM authorizations
        WHERE resource = $1 AND ($2 = 1 OR removed_at IS NULL) ORDER BY position, id
        """, .uuid, .bigint)
    static let lastRemoval = PostgreSQLStatement(
        "last_removal",
        """
        SELECT \(Columns.authorization) FROM authorizations
        WHERE resource = $1 AND lookup = $2 AND removed_at IS NOT NULL
        ORDER BY removed_at DESC, position DESC, id DESC LIMIT 1
        """, .uuid, .bytea)
    static let session = PostgreSQLStatement(
        "session", "SELECT \(Columns.session) FROM sessions WHERE id = $1", .uuid)
    static let sessionsOfUser = PostgreSQLStatement(
        "sessions_of_user", "SELECT count(*) FROM sessions WHERE user_lookup = $1 AND expires > $2", .bytea, .bigint)
    /// An empty lookup stands for all users.
    static let sessionWalk = PostgreSQLStatement(
        "session_walk",
        """
        SELECT \(Columns.session) FROM sessions
        WHERE ($1::uuid IS NULL OR id > $1) AND ($2 = ''::bytea OR user_lookup = $2) ORDER BY id LIMIT $3
        """, .uuid, .bytea, .bigint)
    static let ledgerEntry = PostgreSQLStatement(
        "ledger_entry", "SELECT \(Columns.ledger) FROM ledger WHERE digest = $1", .bytea)
    static let ledgerAudits = PostgreSQLStatement(
        "ledger_audits",
        "SELECT position, audit FROM ledger WHERE position > $1 AND audit <> ''::bytea ORDER BY position LIMIT $2",
        .bigint, .bigint)
    static let ledgerPosition = PostgreSQLStatement(
        "ledger_position", "SELECT coalesce(max(position), 0::bigint) FROM ledger")
    static let resources = PostgreSQLStatement(
        "resources",
        "SELECT \(Columns.resource) FROM resources WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2", .uuid,
        .bigint)
    static let deletedResources = PostgreSQLStatement(
        "deleted_resources",
        "SELECT \(Columns.resource) FROM resources WHERE deleted_at <= $1 ORDER BY deleted_at, id LIMIT $2", .bigint,
        .bigint)
    static let removedAuthorizations = PostgreSQLStatement(
        "removed_authorizations",
        """
        SELECT \(Columns.authorization) FROM authorizations WHERE removed_at <= $1 ORDER BY removed_at, id LIMIT $2
        """, .bigint, .bigint)
    static let rootKeys = PostgreSQLStatement(
        "root_keys",
        """
        SELECT \(Columns.rootKey) FROM root_keys AS k LEFT JOIN root_key_wraps AS w ON w.version = k.version
        ORDER BY k.version, w.holder
        """)
    static let sessionKEK = PostgreSQLStatement(
        "session_kek", "SELECT \(Columns.sessionKEK) FROM session_keks WHERE id = $1", .bigint)
    static let setting = PostgreSQLStatement("setting", "SELECT value FROM settings WHERE name = $1", .bytea)
    static let isEmpty = PostgreSQLStatement(
        "is_empty",
        """
        SELECT NOT (EXISTS (SELECT 1 FROM root_keys) OR EXISTS (SELECT 1 FROM settings)
            OR EXISTS (SELECT 1 FROM session_keks) OR EXISTS (SELECT 1 FROM sessions)
            OR EXISTS (SELECT 1 FROM resources) OR EXISTS (SELECT 1 FROM keys)
            OR EXISTS (SELECT 1 FROM authorizations) OR EXISTS (SELECT 1 FROM ledger))
        """)
    static let hasExpired = PostgreSQLStatement(
        "has_expired",
        """
        SELECT EXISTS (SELECT 1 FROM ledger WHERE expires <= $1)
            OR EXISTS (SELECT 1 FROM sessions WHERE expires <= $1)
            OR EXISTS (SELECT 1 FROM session_keks AS kek WHERE last_expiry <= $1
                AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.kek = kek.id))
        """, .bigint)

    static let reading =
        [
            key, keyWithAuthorization, keysOfResource, resource, authorization, liveAuthorization, authorizations,
            lastRemoval, session, sessionsOfUser, ledgerEntry, ledgerAudits, ledgerPosition, resources,
            deletedResources,
            rootKeys, sessionKEK, setting, isEmpty, hasExpired, keysBehind, unboundKeys, sessionWalk,
            removedAuthorizations, erasableKey,
        ] + SealedStatements.reading + SumStatements.reading + [LeaseStatements.leases, LeaseStatements.invitations]
}
