import PostgreSQLClient

extension ClusterServer {
    /// What the service's user finds on one server, whether or not the tables are there yet.
    package struct Access: Sendable {
        package var isStandby: Bool
        package var serverVersion: Int
        /// Whether the tables could be made: the user may make schemas in this database.
        package var mayCreate: Bool
        /// Whether the tables are there.
        package var hasTables: Bool
        /// Whether they belong to this user, who then may do all with them.
        package var ownsTables: Bool
        /// Whether it keeps what it has acknowledged (`fsync`, `full_page_writes`).
        package var isDurable: Bool
        /// Protocol and cipher; nil without TLS.
        package var protection: String?
    }

    package func access() throws -> Access {
        try connected(within: .seconds(4)) { connection, deadline in
            let rows = try connection.script(
                """
                SELECT pg_is_in_recovery(), current_setting('server_version_num'),
                    has_database_privilege(current_database(), 'CREATE'),
                    to_regclass('\(schema).root_keys') IS NOT NULL,
                    coalesce((SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = '\(schema)'), false),
                    current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'
                """, until: deadline)
            guard let rows else { throw PostgreSQLFailure(.lost, "no answer") }
            func flag(_ column: Int) -> Bool { rows.text(0, column) == "t" }
            return Access(
                isStandby: flag(0), serverVersion: Int(rows.text(0, 1)) ?? 0, mayCreate: flag(2), hasTables: flag(3),
                ownsTables: flag(4), isDurable: flag(5), protection: connection.protection)
        }
    }
}
