import Diagnostics
import ServiceRuntime
import Synchronization
import WireText

/// How the work at reports goes, as a health check and an alarm. Any thread.
///
/// What is in the way is told at once, and raises HDS-EDISCOVERY-STUCK when it has stood for a minute: a KMS that is away for a
/// moment wakes nobody.
final class CollectingWatch: Sendable {
    static let check = HealthCheck("collecting", "work at reports")
    static let patience: Int64 = 60

    private let health: HealthRegistry
    private let now: @Sendable () -> Timestamp
    private let since = Mutex<Timestamp?>(nil)

    init(_ health: HealthRegistry, now: @escaping @Sendable () -> Timestamp = { .now() }) {
        (self.health, self.now) = (health, now)
        health.declare(Self.check)
    }

    /// The outcome of a turn: what was in the way; nil when nothing was.
    func take(_ trouble: DiagnosedError?) {
        let present = now()
        let stands = since.withLock { since in
            since = trouble == nil ? nil : since ?? present
            return since
        }
        guard let trouble, let stands else {
            health.alarms.clear(.ediscoveryStuck, "reports are worked at")
            return health.report(Self.check, .ok("reports are worked at"))
        }
        health.report(
            Self.check,
            .warn(Loggable(trouble), fix: "see the other checks; it goes on by itself when that is mended"))
        if present.seconds - stands.seconds >= Self.patience {
            health.alarms.raise(.ediscoveryStuck, Loggable(trouble))
        }
    }
}
