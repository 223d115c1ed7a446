import Diagnostics
package import HTTPClient
package import ServiceRuntime
import Synchronization

/// How the ways out are: the proxy and the name service, as health checks and alarms. Any thread.
///
/// Nothing is tried for the sake of it: what is told is what the service's own connections met.
package final class NetworkWatch: Sendable {
    private static let names = HealthCheck("dns", "the name service")
    private static let tunnels = HealthCheck("proxy", "the proxy")

    private struct State {
        /// Targets without a tunnel, with why.
        var failures: [String: DiagnosedError] = [:]
        var slow: Set<String> = []
    }

    private let health: HealthRegistry
    private let state = Mutex(State())
    private let proxy = Mutex<WebProxy?>(nil)

    package init(_ health: HealthRegistry) { self.health = health }

    /// The route of every connection over HTTP: through the proxy that is in force when it is made.
    package var route: WebRoute { WebRoute(current: { self.proxy.withLock { $0 } }) { self.take($0) } }

    /// The route through a proxy that may still have to prove itself: what it meets before it is in force is told to nobody.
    package func route(through proxy: WebProxy?) -> WebRoute {
        WebRoute(proxy: proxy) { report in
            if case .tunnel = report, self.proxy.withLock({ $0 !== proxy }) { return }
            self.take(report)
        }
    }

    /// Another proxy, or none: what the one before met says nothing of it.
    package func use(_ new: WebProxy?) {
        let isOther = proxy.withLock { proxy in
            defer { proxy = new }
            return proxy !== new
        }
        guard isOther else { return }
        let targets = state.withLock { state in
            defer { state.failures = [:] }
            return Array(state.failures.keys)
        }
        for target in targets {
            health.alarms.clear(.proxyFail, about: Loggable(reviewed: target), "another proxy is in force")
        }
        health.report(Self.tunnels, .ok(new == nil ? "none is configured" : "not asked yet"))
    }

    package func take(_ report: WebRoute.Report) {
        switch report {
        case .lookup(let host, let time, let failed): lookup(host, time, failed)
        case .lookupWaits(let host): slow(host, "\(reviewed: host) has no answer yet")
        case .tunnel(let target, let failure): tunnel(target, failure)
        }
    }

    private func tunnel(_ target: String, _ failure: DiagnosedError?) {
        let subject = Loggable(reviewed: target)
        if let failure {
            health.alarms.raise(.proxyFail, about: subject, Loggable(failure))
        } else {
            health.alarms.clear(.proxyFail, about: subject, "a tunnel to \(subject) stands")
        }
        let first = state.withLock { state in
            state.failures[target] = failure
            return state.failures.min { $0.key < $1.key }?.value
        }
        health.report(Self.tunnels, first.map { .fail($0) } ?? .ok("opens the tunnels that are asked for"))
    }

    private func lookup(_ host: String, _ time: Duration, _ failed: Bool) {
        let subject = Loggable(reviewed: host)
        if time >= WebRoute.slowLookup {
            slow(host, "\(subject) took \(Int(time / .milliseconds(1))) ms\(failed ? " and was not found" : "")")
            return
        }
        // A refusal at once is a matter of the connection; it says nothing of the time.
        if failed { return }
        state.withLock { _ = $0.slow.remove(host) }
        health.alarms.clear(.dnsSlow, about: subject, "\(subject) was found in time")
        reportNames()
    }

    private func slow(_ host: String, _ detail: Loggable) {
        state.withLock { _ = $0.slow.insert(host) }
        health.alarms.raise(.dnsSlow, about: Loggable(reviewed: host), detail)
        reportNames()
    }

    private func reportNames() {
        let slow = state.withLock { $0.slow.sorted() }
        health.report(
            Self.names,
            slow.isEmpty
                ? .ok("names are found in time")
                : .warn(
                    "slow for \(reviewed: slow.joined(separator: ", "))",
                    fix: "check the name servers of this machine: resolvectl query HOST, or getent ahosts HOST"))
    }
}
