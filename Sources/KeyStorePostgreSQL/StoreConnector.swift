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
    private let state: Mutex<State>
    private let isHurried = Atomic(false)

    private struct State {
        var preferred = 0
        var isAway = false
        /// What a server that answers can not do; `isAway` is apart from it.
        var ailment: DiagnosedError.Code?
        /// The highest epoch that was seen: a server of a lower one is passed over.
        var epoch: Int64
        /// Up to which epoch each host was found to be of it.
        var verified: [PostgreSQLSettings.Host: Int64] = [:]
    }

    /// The longest time for one host of several.
    private static let share = Duration.milliseconds(1500)

    /// `epoch`: the highest that this node has seen; 0: none yet.
    init(
        _ settings: PostgreSQLSettings, schema: String, epoch: Int64 = 0,
        observe: (@Sendable (DiagnosedError?) -> Void)?
    ) {
        state = Mutex(State(epoch: epoch))
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
                try requireEpoch(connection, until: limit)
                try connection.prepare(statements, until: limit)
                tell(nil, preferred: index)
                return connection
            } catch let failure as PostgreSQLFailure {
                failures.append(failure)
            }
        }
        // What an operator has to act on before what may only be a failover under way.
        let order: [PostgreSQLFailure.Kind] = [
            .tls, .authentication, .permission, .missing, .superseded, .tooManyConnections,
        ]
        let told = order.lazy.compactMap { kind in failures.first { $0.kind == kind } }.first ?? failures.last
        let failure = told ?? PostgreSQLFailure(.unreachable, "no host")
        tell(diagnosis.diagnosed(failure), preferred: nil)
        throw failure
    }

    // MARK: Epoch

    /// A higher epoch was seen: connections to servers that were not found to be of it are given up.
    func raise(epoch: Int64, seenAt host: PostgreSQLSettings.Host? = nil) {
        state.withLock { state in
            state.epoch = max(state.epoch, epoch)
            if let host { state.verified[host] = max(epoch, state.verified[host] ?? 0) }
        }
    }

    /// Whether the server at the other end was found to be of the highest epoch.
    func isCurrent(_ connection: PostgreSQLConnection) -> Bool {
        state.withLock { $0.epoch <= $0.verified[connection.host] ?? 0 }
    }

    /// The next connection begins with the host behind the one that was used.
    func preferNextHost() { state.withLock { $0.preferred = ($0.preferred + 1) % max(1, settings.hosts.count) } }

    private func requireEpoch(_ connection: PostgreSQLConnection, until deadline: ContinuousClock.Instant) throws {
        let floor = state.withLock { $0.epoch }
        // Before the first was seen there may be no table yet.
        guard floor > 0 else { return }
        let rows = try connection.script("SELECT epoch FROM \(schema).cluster", until: deadline)
        let found = rows.flatMap { $0.count == 1 ? Int64($0.text(0, 0)) : nil } ?? 0
        guard found >= floor else {
            throw PostgreSQLFailure(.superseded, "epoch \(found) at \(connection.host), \(floor) was seen")
        }
        state.withLock { $0.verified[connection.host] = found }
    }

    /// Nothing is held any more.
    func hurry() { isHurried.store(true, ordering: .relaxed) }

    /// The moment by which those have to be answered who waited while a try failed.
    var present: ContinuousClock.Instant {
        // Later than any deadline.
        isHurried.load(ordering: .relaxed) ? .now + .seconds(86_400) : .now
    }

    /// What a server that answers said of its disk; nil: it carried out a change.
    func note(_ failure: PostgreSQLFailure?) {
        guard failure.map({ $0.kind == .full || $0.kind == .corrupt }) ?? true else { return }
        let error = failure.map { diagnosis.diagnosed($0) }
        state.withLock { state in
            guard state.ailment != error?.code else { return }
            state.ailment = error?.code
            if let error { observe?(error) } else if !state.isAway { observe?(nil) }
        }
    }

    private func tell(_ trouble: DiagnosedError?, preferred: Int?) {
        let hasChanged = state.withLock { state in
            if let preferred { state.preferred = preferred }
            defer { state.isAway = trouble != nil }
            return state.isAway != (trouble != nil) && (trouble != nil || state.ailment == nil)
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

extension PostgreSQLFailure {
    /// Whether requests are held for its end: it passes by itself, or when somebody has made room.
    var isHeld: Bool { isPassing || kind == .full }
}
