import CoreLink
package import Diagnostics
package import ServiceRuntime
import Synchronization
package import WireText

/// Whether the link stands still: how often it was lost of late, and how far the core's clock is away.
///
/// HDS-LINK-FLAPPING at five losses within ten minutes, gone when the link has stood for as long; HDS-CLOCK-SKEW above
/// 30 s, at a further stage above five minutes, where tokens are refused. Any thread.
package final class LinkSteadiness: Sendable {
    static let losses = 5
    static let window: Int64 = 600
    static let skew: Int64 = 30_000
    static let grossSkew: Int64 = 300_000

    private static let check = HealthCheck("link-steadiness", "how steadily the link stands")
    private static let clock = HealthCheck("clock", "the clock, compared with the core's")

    private let health: HealthRegistry
    private let now: @Sendable () -> Timestamp
    private let ends = Mutex<(times: [Timestamp], reason: Loggable)>(([], ""))

    package init(health: HealthRegistry, now: @escaping @Sendable () -> Timestamp = { Timestamp.now() }) {
        self.health = health
        self.now = now
        health.probe(Self.check, every: .seconds(30)) { [self] in look() }
    }

    /// A link that was open has ended.
    package func lost(_ error: DiagnosedError) {
        let time = now()
        ends.withLock { ends in
            ends.times.append(time)
            ends.reason = Loggable(error)
        }
        health.report(Self.check, look())
    }

    /// What the losses of the last ten minutes mean.
    package func look() -> HealthFinding {
        let time = now()
        let (count, reason) = ends.withLock { ends in
            ends.times.removeAll { $0.adding(seconds: Self.window) <= time }
            return (ends.times.count, ends.reason)
        }
        let detail: Loggable = "\(count) losses within ten minutes"
        guard count > 0 else {
            health.alarms.clear(.linkFlapping, "not lost for ten minutes")
            return .ok("not lost for ten minutes")
        }
        if count >= Self.losses { health.alarms.raise(.linkFlapping, "\(detail); the last one: \(reason)") }
        return count < Self.losses
            ? .ok(detail)
            : .warn("\(detail); the last one: \(reason)", fix: Loggable(reviewed: Alarm.linkFlapping.fix))
    }

    /// A link was established, and the core said what time it is there.
    package func opened(clockOffset milliseconds: Int64?) {
        guard let milliseconds else { return }
        let distance = milliseconds.magnitude
        let detail: Loggable =
            distance < 1000
            ? "within a second of the core's"
            : "the core's clock is \(distance / 1000) s \(reviewed: milliseconds > 0 ? "ahead" : "behind")"
        guard distance > UInt64(Self.skew) else {
            health.alarms.clear(.clockSkew, detail)
            return health.report(Self.clock, .ok(detail))
        }
        health.alarms.raise(.clockSkew, stage: distance > UInt64(Self.grossSkew) ? 2 : 1, detail)
        health.report(Self.clock, .warn(detail, fix: Loggable(reviewed: Alarm.clockSkew.fix)))
    }
}
