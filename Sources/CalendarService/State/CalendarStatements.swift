import PostgreSQLClient

extension PostgreSQLCalendarStore {
    /// Constant texts; values are only ever bound.
    enum Statement {
        static let schema = """
            BEGIN;
            SELECT pg_advisory_xact_lock(4920771);
            CREATE TABLE IF NOT EXISTS hds_calendar_document (
                owner text NOT NULL, kind text NOT NULL, id text NOT NULL, share bigint NOT NULL, sealed bytea NOT NULL,
                PRIMARY KEY (owner, kind, id));
            CREATE INDEX IF NOT EXISTS hds_calendar_document_by_share
                ON hds_calendar_document (kind, share, owner, id);
            CREATE TABLE IF NOT EXISTS hds_calendar_share (
                number bigint NOT NULL PRIMARY KEY, node text NOT NULL, fence bigint NOT NULL, until bigint NOT NULL);
            CREATE TABLE IF NOT EXISTS hds_calendar_node (name text NOT NULL PRIMARY KEY, until bigint NOT NULL);
            CREATE TABLE IF NOT EXISTS hds_calendar_command (id text NOT NULL PRIMARY KEY, until bigint NOT NULL);
            COMMIT
            """

        private static let now = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

        static let probe = PostgreSQLStatement("probe", "SELECT 1")
        static let one = PostgreSQLStatement(
            "one", "SELECT sealed FROM hds_calendar_document WHERE owner = $1 AND kind = $2 AND id = $3", .text, .text,
            .text)
        static let ofOwner = PostgreSQLStatement(
            "of-owner",
            "SELECT owner, id, sealed FROM hds_calendar_document WHERE owner = $1 AND kind = $2 ORDER BY id COLLATE \"C\"",
            .text, .text)
        static let ofShare = PostgreSQLStatement(
            "of-share",
            """
            SELECT owner, id, sealed FROM hds_calendar_document WHERE kind = $1 AND share = $2
            ORDER BY owner COLLATE "C", id COLLATE "C" LIMIT $3
            """, .text, .bigint, .bigint)
        static let put = PostgreSQLStatement(
            "put",
            """
            INSERT INTO hds_calendar_document VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (owner, kind, id) DO UPDATE SET sealed = excluded.sealed
            """, .text, .text, .text, .bigint, .bytea)
        static let remove = PostgreSQLStatement(
            "remove", "DELETE FROM hds_calendar_document WHERE owner = $1 AND kind = $2 AND id = $3", .text, .text,
            .text)
        /// Fails, and with it all that follows in the transaction, when the share is another's.
        static let fence = PostgreSQLStatement(
            "fence",
            """
            SELECT 1 / (SELECT count(*) FROM (
                SELECT 1 FROM hds_calendar_share WHERE number = $1 AND node = $2 AND fence = $3 FOR SHARE) AS held)
            """, .bigint, .text, .bigint)

        /// One node after the other, so that two never take the same.
        static let turn = PostgreSQLStatement("turn", "SELECT pg_advisory_xact_lock(4920772)")
        static let alive = PostgreSQLStatement(
            "alive",
            """
            INSERT INTO hds_calendar_node VALUES ($1, \(now) + $2)
            ON CONFLICT (name) DO UPDATE SET until = excluded.until
            """, .text, .bigint)
        static let gone = PostgreSQLStatement("gone", "DELETE FROM hds_calendar_node WHERE until < \(now)")
        static let free = PostgreSQLStatement(
            "free", "UPDATE hds_calendar_share SET until = 0 WHERE number = $1 AND node = $2", .bigint, .text)
        static let renew = PostgreSQLStatement(
            "renew", "UPDATE hds_calendar_share SET until = \(now) + $2 WHERE node = $1 AND until > 0", .text, .bigint)
        static let take = PostgreSQLStatement(
            "take",
            """
            INSERT INTO hds_calendar_share
            SELECT number, $1, 1, \(now) + $2 FROM generate_series(0, $3 - 1) AS number
            WHERE NOT EXISTS (
                SELECT 1 FROM hds_calendar_share AS taken WHERE taken.number = number.number AND taken.until >= \(now))
                AND position(',' || number || ',' IN $4) = 0
            ORDER BY number LIMIT greatest(0,
                ($3 + (SELECT greatest(1, count(*)) FROM hds_calendar_node) - 1)
                    / (SELECT greatest(1, count(*)) FROM hds_calendar_node)
                - (SELECT count(*) FROM hds_calendar_share WHERE node = $1 AND until > 0))
            ON CONFLICT (number) DO UPDATE
                SET node = excluded.node, fence = hds_calendar_share.fence + 1, until = excluded.until
            """, .text, .bigint, .bigint, .text)
        static let held = PostgreSQLStatement(
            "held", "SELECT number, fence FROM hds_calendar_share WHERE node = $1 AND until > 0 ORDER BY number", .text)
        static let nodes = PostgreSQLStatement("nodes", "SELECT count(*) FROM hds_calendar_node")
        static let freeAll = PostgreSQLStatement(
            "free-all", "UPDATE hds_calendar_share SET until = 0 WHERE node = $1", .text)
        static let forget = PostgreSQLStatement("forget", "DELETE FROM hds_calendar_node WHERE name = $1", .text)
        static let holders = PostgreSQLStatement(
            "holders", "SELECT number, node FROM hds_calendar_share WHERE until >= \(now)")

        static let oldCommands = PostgreSQLStatement(
            "old-commands", "DELETE FROM hds_calendar_command WHERE until < $1", .bigint)
        static let newCommand = PostgreSQLStatement(
            "new-command", "INSERT INTO hds_calendar_command VALUES ($1, $2) ON CONFLICT DO NOTHING", .text, .bigint)
        static let checked = PostgreSQLStatement(
            "checked",
            "INSERT INTO hds_calendar_command VALUES ('check', $1) ON CONFLICT (id) DO UPDATE SET until = excluded.until",
            .bigint)

        static let all = [
            probe, one, ofOwner, ofShare, put, remove, fence, turn, alive, gone, free, renew, take, nodes, held,
            freeAll,
            forget,
            holders, oldCommands, newCommand, checked,
        ]
    }
}
