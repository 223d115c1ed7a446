import Diagnostics
import ServiceRuntime
import Synchronization
import WireText

/// Counts what was turned away because more sessions were asked for than are allowed, and says so while it lasts:
/// HDS-SESSION-STORM. Any thread.
final class StormWatch: Sendable {
    /// So many within a minute are a storm: a single client that tries again is none.
    static let threshold = 20
    static let calm: Int64 = 300

    private static let check = HealthCheck("sessions", "how many sessions are asked for")

    private struct State {
        var minute: Int64 = 0
        var count = 0
        var last: Timestamp?
        var isStorm = false
    }

    private let health: HealthRegistry
    private let counter: Counter
    private let now: @Sendable () -> Timestamp
    private let state = Mutex(State())

    init(
        health: HealthRegistry, metrics: MetricRegistry, now: @escaping @Sendable () -> Timestamp = { Timestamp.now() }
    ) {
        self.health = health
        self.now = now
        counter = metrics.counter(.kmsDropped)
        health.probe(Self.check, every: .seconds(30)) { [self] in look() }
    }

    /// A string was dropped.
    func turnedAway() {
        counter.increment()
        let time = now()
        let begins: Int? = state.withLock { state in
            if state.minute != time.seconds / 60 { (state.minute, state.count) = (time.seconds / 60, 0) }
            state.count += 1
            if state.isStorm { state.last = time }
            guard state.count >= Self.threshold, !state.isStorm else { return nil }
            state.isStorm = true
            state.last = time
            return state.count
        }
        guard let begins else { return }
        health.alarms.raise(.sessionStorm, "\(begins) were turned away within a minute")
        health.report(Self.check, look())
    }

    func look() -> HealthFinding {
        let time = now()
        let isStorm = state.withLock { state in
            if let last = state.last, last.adding(seconds: Self.calm) <= time {
                state.isStorm = false
                state.last = nil
            }
            return state.isStorm
        }
        guard !isStorm else {
            return .warn("more are asked for than are allowed", fix: Loggable(reviewed: Alarm.sessionStorm.fix))
        }
        health.alarms.clear(.sessionStorm, "none was turned away for five minutes")
        return .ok("as many as are allowed")
    }
}
