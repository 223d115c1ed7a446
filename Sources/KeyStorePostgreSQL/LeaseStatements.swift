import PostgreSQLClient

/// Statements about epoch and leases.
enum LeaseStatements {
    /// One statement, one commit. What a node is refused for is read from the same view: refused is who works in another
    /// epoch, was removed, asks while the epoch is closed, before it was raised after a promotion, or without the
    /// synchronous commits that the cluster promises. The first lease with them makes the promise.
    static let renew = PostgreSQLStatement(
        "renew_lease",
        """
        WITH state AS (
            SELECT epoch, open, synchronous AS promised, timeline = \(Schema.timeline) AS known,
                current_setting('synchronous_standby_names') <> ''
                    AND current_setting('synchronous_commit') IN ('on', 'remote_apply') AS synchronous,
                coalesce((SELECT removed FROM leases WHERE node = $1), false) AS removed
            FROM cluster
        ), granted AS (
            SELECT * FROM state WHERE epoch = $2 AND open AND known AND NOT removed AND (synchronous OR NOT promised)
        ), promise AS (
            UPDATE cluster SET synchronous = true FROM granted
            WHERE granted.synchronous AND NOT granted.promised AND cluster.epoch = granted.epoch
        ), written AS (
            INSERT INTO leases AS old (node, epoch, renewals, at, synchronous, release)
            SELECT $1, epoch, 1, clock_timestamp(), synchronous, $3 FROM granted
            ON CONFLICT (node) DO UPDATE SET epoch = excluded.epoch, renewals = old.renewals + 1, at = excluded.at,
                synchronous = excluded.synchronous, release = excluded.release
            WHERE NOT old.removed
            RETURNING renewals
        )
        SELECT state.epoch, coalesce(written.renewals, 0), state.synchronous, state.removed, state.open, state.known,
            (SELECT value FROM settings WHERE name = $4), (SELECT value FROM settings WHERE name = $5),
            (extract(epoch FROM clock_timestamp()) * 1000)::bigint
        FROM state LEFT JOIN written ON true
        """, .text, .bigint, .text, .bytea, .bytea)

    static let cluster = PostgreSQLStatement(
        "cluster",
        """
        SELECT epoch, site, (extract(epoch FROM since) * 1000)::bigint, synchronous, open FROM cluster
        """)
    static let leases = PostgreSQLStatement(
        "leases",
        """
        SELECT node, epoch, renewals, (extract(epoch FROM at) * 1000)::bigint,
            (extract(epoch FROM clock_timestamp() - at) * 1000)::bigint, synchronous, release, removed
        FROM leases ORDER BY node COLLATE "C"
        """)
    static let setRemoved = PostgreSQLStatement(
        "set_removed",
        """
        INSERT INTO leases (node, epoch, renewals, at, synchronous, release, removed)
        VALUES ($1, 0, 0, now(), false, '', $2 <> 0)
        ON CONFLICT (node) DO UPDATE SET removed = excluded.removed
        """, .text, .bigint)

    // New nodes (`NodeInvitation`); the clock is the database's.

    static let invite = PostgreSQLStatement(
        "invite_node",
        """
        INSERT INTO node_invitations (node, sealed, code_check, expires)
        VALUES ($1, $2, $3, to_timestamp($4 / 1000.0))
        ON CONFLICT (node) DO UPDATE SET sealed = excluded.sealed, code_check = excluded.code_check,
            expires = excluded.expires, public_key = NULL, code = NULL, answer = NULL
        """, .text, .bytea, .bytea, .bigint)
    static let forgetInvitations = PostgreSQLStatement(
        "forget_invitations", "DELETE FROM node_invitations WHERE expires < now() - interval '1 day'")
    static let invitations = PostgreSQLStatement(
        "invitations",
        """
        SELECT node, sealed, code_check, (extract(epoch FROM expires) * 1000)::bigint, public_key, code, answer
        FROM node_invitations ORDER BY node COLLATE "C"
        """)
    static let join = PostgreSQLStatement(
        "join_node",
        """
        UPDATE node_invitations SET public_key = $2, code = $3
        WHERE node = $1 AND code IS NULL AND expires > clock_timestamp() RETURNING 1::bigint
        """, .text, .bytea, .bytea)
    static let answer = PostgreSQLStatement(
        "answer_node",
        """
        UPDATE node_invitations SET answer = $2, sealed = ''
        WHERE node = $1 AND public_key = $3 AND code = $4 AND answer IS NULL RETURNING 1::bigint
        """, .text, .bytea, .bytea, .bytea)

    /// What the connection for leases needs.
    static let all = [renew, cluster, setRemoved, invite, forgetInvitations, join, answer]
    /// How many settings a renewal brings along.
    static let settings = 2
}
