import Diagnostics
import KeyStore
import PostgreSQLClient
import Synchronization

/// Opens connections to whichever host takes writes, with the session that the store relies on.
///
/// Hosts are tried one after the other, each for its share of the time, the one that answered last first: a host that
/// swallows packets costs a second and not the network's patience. Thread-safe; blocks.
final class StoreConnector: Sendable {
    let settings: PostgreSQLSettings
    let schema: String
    let diagnosis: StoreDiagnosis
    private let observe: (@Sendable (DiagnosedError?) -> Void)?
    private let state = Mutex((preferred: 0, isAway: false))

    /// The longest time for one host of several.
    private static let share = Duration.milliseconds(1500)

    init(_ settings: PostgreSQLSettings, schema: String, observe: (@Sendable (DiagnosedError?) -> Void)?) {
        self.settings = settings
        self.schema = schema
        self.observe = observe
        diagnosis = StoreDiagnosis(settings)
    }

    /// A connection with the session set up and the statements prepared.
    func connect(
        _ statements: [PostgreSQLStatement], until deadline: ContinuousClock.Instant
    ) throws -> PostgreSQLConnection {
        var failures: [PostgreSQLFailure] = []
        let first = state.withLock { $0.preferred }
        for step in settings.hosts.indices {
            let index = (first + step) % settings.hosts.count
            let limit = settings.hosts.count == 1 ? deadline : min(deadline, .now + Self.share)
            do {
                let connection = try PostgreSQLConnection.open(settings, host: settings.hosts[index], until: limit)
                try setUp(connection, until: limit)
                try connection.prepare(statements, until: limit)
                tell(nil, preferred: index)
                return connection
            } catch let failure as PostgreSQLFailure {
                failures.append(failure)
            }
        }
        // What an operator has to act on before what may only be a failover under way.
        let order: [PostgreSQLFailure.Kind] = [.tls, .authentication, .permission, .missing, .tooManyConnections]
        let told = order.lazy.compactMap { kind in failures.first { $0.kind == kind } }.first ?? failures.last
        let failure = told ?? PostgreSQLFailure(.unreachable, "no host")
        tell(diagnosis.diagnosed(failure), preferred: nil)
        throw failure
    }

    private func tell(_ trouble: DiagnosedError?, preferred: Int?) {
        let hasChanged = state.withLock { state in
            if let preferred { state.preferred = preferred }
            defer { state.isAway = trouble != nil }
            return state.isAway != (trouble != nil)
        }
        if hasChanged { observe?(trouble) }
    }

    /// A lost client's transaction must not hold up the cluster, and nobody works for a client that gave up. What is
    /// acknowledged must be on the disk, whatever the database's own setting says.
    private func setUp(_ connection: PostgreSQLConnection, until deadline: ContinuousClock.Instant) throws {
        let rows = try connection.script(
            """
            SELECT current_setting('server_version_num'), current_setting('fsync'), current_setting('full_page_writes'),
                set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') = 'remote_apply'
                    THEN 'remote_apply' ELSE 'on' END, false),
                set_config('search_path', '\(schema), pg_temp', false),
                set_config('statement_timeout', '8000', false),
                set_config('idle_in_transaction_session_timeout', '3000', false)
            """, until: deadline)
        guard let rows, rows.count == 1 else { throw PostgreSQLFailure(.lost, "no answer to the set-up of a session") }
        let version = Int(rows.text(0, 0)) ?? 0
        guard version >= Self.oldestServer else {
            throw unsupported(
                "is too old", "PostgreSQL 15 or newer", "\(version / 10_000)", "upgrade the server")
        }
        for (column, name) in [(1, "fsync"), (2, "full_page_writes"), (3, "synchronous_commit")] {
            let found = rows.text(0, column)
            guard found == "on" || found == "remote_apply" else {
                throw unsupported(
                    "may lose what it acknowledged", "\(name) = on", found,
                    "set \(name) = on in postgresql.conf and reload the server")
            }
        }
    }

    private static let oldestServer = 150_000

    private func unsupported(_ what: String, _ expected: String, _ found: String, _ hint: String) -> DiagnosedError {
        DiagnosedError(
            .storeUnsupported, fault: .configuration, "the database \(diagnosis.place) \(what)", expected: expected,
            found: found, hint: hint)
    }
}
