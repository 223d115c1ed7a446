import Diagnostics
import Dispatch
import KeyStore
import PostgreSQLClient
import Synchronization
import WireText

/// The connection over which leases are renewed: of its own, so that nothing waits before a renewal, and short of breath,
/// so that a database that hangs costs the lease and nothing else.
///
/// The server gives a renewal up after `limit`, too: one that waits behind another that nobody waits for any more must
/// not stay there. One at a time; each call is answered within `limit`, or within a second when it has to connect first.
final class LeaseConnection: Sendable {
    private let limit: Duration
    private let connector: StoreConnector
    private let thread = DispatchQueue(label: "hds.key-store.postgresql.lease", qos: .userInitiated)
    private let lastHost = Mutex<PostgreSQLSettings.Host?>(nil)
    private let state = Mutex((connection: PostgreSQLConnection?.none, isClosed: false))

    init(_ connector: StoreConnector, limit: Duration) {
        self.connector = connector
        self.limit = limit
    }

    /// `limit`: how long an answer may take, where it is not a renewal's.
    func run(_ call: PostgreSQLCall, within limit: Duration? = nil) async throws -> PostgreSQLRows {
        try await withCheckedThrowingContinuation { continuation in
            thread.async { continuation.resume(with: Result { try self.perform(call, limit ?? self.limit) }) }
        }
    }

    func close() { state.withLock { $0 = (nil, true) } }

    /// Whom the last call asked.
    var host: PostgreSQLSettings.Host? { lastHost.withLock { $0 } }

    /// The next call looks for the server anew.
    func drop() { state.withLock { $0.connection = nil } }

    private func perform(_ call: PostgreSQLCall, _ limit: Duration) throws -> PostgreSQLRows {
        try state.withLock { state in
            guard !state.isClosed else { throw DiagnosedError.keyStoreClosed }
            if let connection = state.connection, !connector.isCurrent(connection) { state.connection = nil }
            do {
                let connection = try state.connection ?? connect()
                state.connection = connection
                lastHost.withLock { $0 = connection.host }
                return try connection.run([call], until: .now + limit)[0].get()
            } catch {
                // A renewal that the server gave up is as good as none; the next one begins on a fresh connection.
                state.connection = nil
                throw connector.diagnosis.diagnosed(error)
            }
        }
    }

    private func connect() throws -> PostgreSQLConnection {
        let deadline = ContinuousClock.now + max(.seconds(1), limit)
        do {
            let connection = try connector.connect(LeaseStatements.all, until: deadline)
            let limit = limit.milliseconds
            try connection.script(
                "SET statement_timeout = '\(limit)'; SET lock_timeout = '\(limit)'", until: deadline)
            return connection
        } catch {
            // A host that swallows packets takes all of the time: the next attempt begins with another one.
            connector.preferNextHost()
            throw error
        }
    }
}

extension Duration {
    fileprivate var milliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
}
