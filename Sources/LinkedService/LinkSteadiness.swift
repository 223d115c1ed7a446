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
    package static let grossSkew: Int64 = 300_000

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
        let finding = Self.finding(clockOffset: milliseconds, of: "the core")
        if finding.state == .ok {
            health.alarms.clear(.clockSkew, finding.detail)
        } else {
            let isGross = milliseconds.magnitude > UInt64(Self.grossSkew)
            health.alarms.raise(.clockSkew, stage: isGross ? 2 : 1, finding.detail)
        }
        health.report(Self.clock, finding)
    }

    /// What it means that the clock of another machine is ahead of this one.
    package static func finding(clockOffset milliseconds: Int64, of other: Loggable) -> HealthFinding {
        let distance = milliseconds.magnitude
        let detail: Loggable =
            distance < 1000
            ? "within a second of \(other)'s"
            : "\(other)'s clock is \(distance / 1000) s \(reviewed: milliseconds > 0 ? "ahead" : "behind")"
        return distance > UInt64(Self.skew)
            ? .warn(detail, fix: Loggable(reviewed: Alarm.clockSkew.fix)) : .ok(detail)
    }
}
