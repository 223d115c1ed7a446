import Synchronization
package import WireText

/// How often each client brought tokens to this node since it started, and when last: for whoever keeps the list of clients.
///
/// Clients as verified tokens name them; requests whose token is not good count for nobody. Any thread.
package final class ClientUsage: Sendable {
    package struct Count: Sendable, Equatable {
        package var requests = 0
        /// Those of them that were refused, by the policy, by missing rights, by a budget.
        package var refusals = 0
        package var isIntegration = false
        package var last: Timestamp
    }

    /// So many are told apart; those after them are counted together under an empty name.
    package static let maximumClients = 1_000

    private let counts = Mutex<[String: Count]>([:])

    func note(_ client: String, isIntegration: Bool, isRefused: Bool, now: Timestamp) {
        counts.withLock { counts in
            let name = counts[client] == nil && counts.count >= Self.maximumClients ? "" : client
            var count = counts[name] ?? Count(last: now)
            count.requests += 1
            if isRefused { count.refusals += 1 }
            count.isIntegration = isIntegration
            count.last = now
            counts[name] = count
        }
    }

    /// By name; the client that came last first.
    package var all: [(client: String, count: Count)] {
        counts.withLock { $0 }.map { ($0.key, $0.value) }.sorted {
            $0.1.last == $1.1.last ? $0.0 < $1.0 : $0.1.last > $1.1.last
        }
    }
}
