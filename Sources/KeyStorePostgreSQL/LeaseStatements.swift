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
            (SELECT value FROM settings WHERE name = $4), (SELECT value FROM settings WHERE name = $5)
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

    /// What the connection for leases needs.
    static let all = [renew, cluster, setRemoved]
    /// How many settings a renewal brings along.
    static let settings = 2
}
