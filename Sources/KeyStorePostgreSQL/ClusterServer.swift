import Diagnostics
package import KeyStore
package import PostgreSQLClient
package import WireText

/// One server of the cluster's database as an administrator sees and changes it: primary or standby, epoch, leases.
///
/// Blocks its thread; each call is a connection of its own. For the tool of failovers, not for the service.
package struct ClusterServer: Sendable {
    package struct View: Sendable {
        package var isStandby: Bool
        package var serverVersion: Int
        package var synchronousStandbyNames: String
        /// Whether this user may promote the server.
        package var mayPromote: Bool
        package var clock: Timestamp
        /// How much of the log the server has: written by a primary, received by a standby.
        package var position: Int64
        /// How much of it can be read.
        package var replayed: Int64
        /// Whether a standby has a connection to its primary.
        package var isReceiving: Bool
        /// How many standbys a primary feeds.
        package var standbys: Int
        package var schemaVersion: Int
        package var cluster: ClusterState
        /// False: promoted, and the epoch not raised yet. Of a standby always true.
        package var isKnownTimeline: Bool
        package var leases: [NodeLease]
        /// Who can open the active root key, as the store names them.
        package var rootKeyHolders: [String]

        /// Leases of the server's epoch that were renewed a moment ago.
        package var liveLeases: [NodeLease] {
            leases.filter { $0.epoch == cluster.epoch && $0.age < .seconds(2) && !$0.isRemoved }
        }
    }

    package let host: PostgreSQLSettings.Host
    private let settings: PostgreSQLSettings
    let schema: String
    private let diagnosis: StoreDiagnosis

    package init(_ settings: PostgreSQLSettings, host: PostgreSQLSettings.Host, schema: String = "hds_kms") {
        var settings = settings
        settings.hosts = [host]
        settings.needsWriting = false
        self.settings = settings
        self.host = host
        self.schema = schema
        diagnosis = StoreDiagnosis(settings)
    }

    /// The schema that this program works with.
    package static var schemaVersion: Int { Schema.steps.count }

    // MARK: Looking

    package func look() throws -> View {
        try connected(within: .seconds(4)) { connection, deadline in
            try Self.view(connection, schema, deadline)
        }
    }

    private static func view(
        _ connection: PostgreSQLConnection, _ schema: String, _ deadline: ContinuousClock.Instant
    ) throws -> View {
        let server = try one(
            """
            SELECT pg_is_in_recovery(), current_setting('server_version_num'),
                current_setting('synchronous_standby_names'),
                has_function_privilege('pg_promote(boolean, integer)', 'EXECUTE'),
                (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
                CASE WHEN pg_is_in_recovery()
                    THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_lsn() END
                    - '0/0'::pg_lsn,
                CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
                    - '0/0'::pg_lsn,
                (SELECT count(*) FROM pg_stat_get_wal_receiver() WHERE pid IS NOT NULL),
                (SELECT count(*) FROM pg_stat_get_wal_senders()),
                coalesce(to_regclass('\(schema).cluster')::text, '')
            """, connection, deadline)
        guard !server.text(0, 9).isEmpty else {
            throw PostgreSQLFailure(.missing, "there are no tables of a cluster in the schema \(schema)")
        }
        let isStandby = server.text(0, 0) == "t"
        let state = try one(
            """
            SELECT epoch, site, (extract(epoch FROM since) * 1000)::bigint, synchronous, open,
                \(isStandby ? "true" : "timeline = \(Schema.timeline)"),
                (SELECT max(version) FROM \(schema).schema_version)
            FROM \(schema).cluster
            """, connection, deadline)
        let leases = try connection.script(
            """
            SELECT node, epoch, renewals, (extract(epoch FROM at) * 1000)::bigint,
                (extract(epoch FROM clock_timestamp() - at) * 1000)::bigint, synchronous, release, removed
            FROM \(schema).leases ORDER BY node COLLATE "C"
            """, until: deadline)
        let holders = try connection.script(
            """
            SELECT encode(w.holder, 'escape') FROM \(schema).root_key_wraps AS w JOIN \(schema).root_keys AS k USING (version)
            WHERE k.state = 'active'
            """, until: deadline)
        return View(
            isStandby: isStandby, serverVersion: Int(number(server, 1)), synchronousStandbyNames: server.text(0, 2),
            mayPromote: server.text(0, 3) == "t", clock: Timestamp(milliseconds: number(server, 4)),
            position: number(server, 5), replayed: number(server, 6), isReceiving: number(server, 7) > 0,
            standbys: Int(number(server, 8)), schemaVersion: Int(number(state, 6)),
            cluster: ClusterState(
                epoch: number(state, 0), site: state.text(0, 1), since: Timestamp(milliseconds: number(state, 2)),
                promisesSynchronous: state.text(0, 3) == "t", isOpen: state.text(0, 4) == "t"),
            isKnownTimeline: state.text(0, 5) == "t",
            leases: (0..<(leases?.count ?? 0)).compactMap { row in leases.map { lease($0, row) } },
            rootKeyHolders: (0..<(holders?.count ?? 0)).compactMap { row in holders?.text(row, 0) })
    }

    private static func lease(_ rows: PostgreSQLRows, _ row: Int) -> NodeLease {
        func number(_ column: Int) -> Int64 { Int64(rows.text(row, column)) ?? 0 }
        return NodeLease(
            node: rows.text(row, 0), epoch: number(1), renewals: number(2), at: Timestamp(milliseconds: number(3)),
            age: .milliseconds(number(4)), isSynchronous: rows.text(row, 5) == "t", release: rows.text(row, 6),
            isRemoved: rows.text(row, 7) == "t")
    }

    private static func number(_ rows: PostgreSQLRows, _ column: Int) -> Int64 { Int64(rows.text(0, column)) ?? 0 }

    private static func one(
        _ sql: String, _ connection: PostgreSQLConnection, _ deadline: ContinuousClock.Instant
    ) throws -> PostgreSQLRows {
        guard let rows = try connection.script(sql, until: deadline), rows.count == 1 else {
            throw PostgreSQLFailure(.missing, "the row of the cluster is not there")
        }
        return rows
    }

    // MARK: Changing

    /// Makes a standby take writes; returns when it does. Nothing happens to one that does already.
    package func promote() throws {
        try connected(within: .seconds(75)) { connection, deadline in
            let rows = try connection.script(
                "SELECT CASE WHEN pg_is_in_recovery() THEN pg_promote(true, 60) ELSE true END", until: deadline)
            guard rows?.text(0, 0) == "t" else {
                throw PostgreSQLFailure(.unready, "the server did not take writes within a minute")
            }
        }
    }

    /// The first transaction after a promotion: epoch, site and timeline; the promise of synchronous commits begins anew,
    /// for there is no standby yet. False: the server is in neither of the two epochs.
    package func raise(from old: Int64, to new: Int64, site: String) throws -> Bool {
        try write(
            """
            UPDATE cluster SET epoch = $2, site = $3, since = now(), timeline = \(Schema.timeline), synchronous = false,
                open = true WHERE epoch IN ($1, $2)
            """, [.number(old), .number(new), .text(site)], waiting: false)
    }

    /// Takes leases and writes of an epoch away for a switch-over: when it returns, what nodes write is committed or will
    /// not be before the next epoch.
    package func close(from old: Int64, to new: Int64, waiting: Bool) throws -> Bool {
        try write(
            """
            WITH turn AS MATERIALIZED (SELECT \(Statements.turnLock) IS NULL AS taken)
            UPDATE cluster SET epoch = $2, since = now(), open = false FROM turn
            WHERE turn.taken IS NOT NULL AND (epoch = $1 OR (epoch = $2 AND NOT open))
            """, [.number(old), .number(new)], waiting: waiting)
    }

    /// Takes a switch-over back before anything was promoted.
    package func reopen(_ epoch: Int64) throws -> Bool {
        try write("UPDATE cluster SET open = true WHERE epoch = $1", [.number(epoch)], waiting: false)
    }

    /// Gives the promise of synchronous commits up, in an epoch of its own: a standby that does not know of it is behind
    /// what the nodes have seen.
    package func giveUpPromise(from old: Int64, to new: Int64, waiting: Bool) throws -> Bool {
        try write(
            "UPDATE cluster SET epoch = $2, since = now(), synchronous = false WHERE epoch = $1",
            [.number(old), .number(new)], waiting: waiting)
    }

    private enum Parameter {
        case number(Int64)
        case text(String)
    }

    /// `waiting`: for a synchronous standby, where the server demands one.
    private func write(_ sql: String, _ parameters: [Parameter], waiting: Bool) throws -> Bool {
        try connected(within: .seconds(10)) { connection, deadline in
            try connection.script(
                """
                SELECT set_config('search_path', '\(schema), pg_temp', false),
                    set_config('synchronous_commit', '\(waiting ? "on" : "local")', false),
                    set_config('statement_timeout', '8000', false)
                """, until: deadline)
            let types: [PostgreSQLType] = parameters.map { if case .number = $0 { .bigint } else { .text } }
            let statement = PostgreSQLStatement("administration", sql, types: types)
            try connection.prepare([statement], until: deadline)
            var call = PostgreSQLCall(statement)
            for parameter in parameters {
                switch parameter {
                case .number(let number): call.bind(number)
                case .text(let text): call.bind(text)
                }
            }
            return try connection.run([call], until: deadline)[0].get().changed == 1
        }
    }

    func connected<Value>(
        within limit: Duration, _ body: (PostgreSQLConnection, ContinuousClock.Instant) throws -> Value
    ) throws -> Value {
        do {
            let deadline = ContinuousClock.now + limit
            let connection = try PostgreSQLConnection.open(
                settings, host: host, until: min(deadline, .now + .seconds(3)))
            return try body(connection, deadline)
        } catch {
            throw diagnosis.diagnosed(error)
        }
    }
}
