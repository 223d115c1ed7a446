import Diagnostics
import ServiceRuntime
import Synchronization
import WireText

/// How some work goes on, as a health check and an alarm. Any thread.
///
/// What is in the way is told at once, and raises the alarm when it has stood for a minute: a KMS that is away for a moment wakes
/// nobody.
final class WorkWatch: Sendable {
    static let collecting = HealthCheck("collecting", "work at reports")
    static let exports = HealthCheck("exports", "work at exports")
    static let upkeep = HealthCheck("upkeep", "files of messages, retention, purges and erasures")
    static let patience: Int64 = 60

    private let check: HealthCheck
    private let alarm: Alarm
    private let fine: Loggable
    private let health: HealthRegistry
    private let now: @Sendable () -> Timestamp
    private let since = Mutex<Timestamp?>(nil)

    /// - Parameter fine: what is said when nothing is in the way.
    init(
        _ check: HealthCheck, _ alarm: Alarm, fine: Loggable, _ health: HealthRegistry,
        now: @escaping @Sendable () -> Timestamp = { .now() }
    ) {
        (self.check, self.alarm, self.fine, self.health, self.now) = (check, alarm, fine, health, now)
        health.declare(check)
    }

    /// Does one after the other, also when one fails, and takes what was in the way first.
    func attempt(_ steps: [@Sendable () async throws -> Void]) async {
        var trouble: DiagnosedError?
        for step in steps {
            do {
                try await step()
            } catch is CancellationError {
                return
            } catch {
                trouble =
                    trouble ?? error as? DiagnosedError
                    ?? DiagnosedError(.mirror, fault: .store, "the worker's database does not work", found: "\(error)")
            }
        }
        take(trouble)
    }

    /// The outcome of a turn: what was in the way; nil when nothing was.
    func take(_ trouble: DiagnosedError?) {
        let present = now()
        let stands = since.withLock { since in
            since = trouble == nil ? nil : since ?? present
            return since
        }
        guard let trouble, let stands else {
            health.alarms.clear(alarm, fine)
            return health.report(check, .ok(fine))
        }
        health.report(
            check,
            .warn(Loggable(trouble), fix: "see the other checks; it goes on by itself when that is mended"))
        if present.seconds - stands.seconds >= Self.patience {
            health.alarms.raise(alarm, Loggable(trouble))
        }
    }
}
