import CoreLink
import Diagnostics
import LinkProtocol
import ServiceRuntime
import Synchronization
import WireText

/// How far the index is: what the feed's reader tells, as a health check, the alarm HDS-INDEX-LAG and a metric. Any thread.
///
/// The alarm is raised when the feed has not been read to its end for five minutes, or nothing of it for one minute while
/// something waits; it is cleared when everything is indexed.
final class IndexProgress: Sendable {
    static let patience: Int64 = 300
    static let standstill: Int64 = 60
    static let check = HealthCheck("index", "how far the index is")

    private struct State {
        var behind: UInt64 = 0
        var isReading = false
        /// How often its turn has begun.
        var turns = 0
        /// Since when there has been something to do.
        var since: Timestamp?
        /// The last time something was done.
        var moved: Timestamp?
        var trouble: DiagnosedError?
        /// Items dealt with in the minutes that are looked at, for the pace.
        var marks: [(time: Timestamp, done: UInt64)] = []
        var done: UInt64 = 0
    }

    private let health: HealthRegistry
    private let gauge: Gauge
    private let now: @Sendable () -> Timestamp
    private let state = Mutex(State())

    init(
        _ health: HealthRegistry, metrics: MetricRegistry, now: @escaping @Sendable () -> Timestamp = { .now() }
    ) {
        self.health = health
        self.now = now
        gauge = metrics.gauge(.indexBehind)
        health.probe(Self.check, every: .seconds(10)) { [self] in look() }
    }

    /// The number of this indexer's turn; nil when it is not its turn.
    var turn: Int? { state.withLock { $0.isReading ? $0.turns : nil } }

    /// So many items were dealt with and are about to be acknowledged.
    func done(_ count: Int) { state.withLock { $0.done += UInt64(count) } }

    func take(_ reader: FeedReader.State) {
        let time = now()
        let isNews = state.withLock { state in
            let before = (state.isReading, state.behind == 0, state.trouble == nil)
            switch reader {
            case .waiting: state.isReading = false
            case .reading(let behind):
                if !state.isReading { state.turns += 1 }
                if behind < state.behind || behind == 0 { state.moved = time }
                (state.isReading, state.behind, state.trouble) = (true, behind, nil)
                state.since = behind == 0 ? nil : state.since ?? time
                if state.moved == nil { state.moved = time }
            case .failing(_, let error):
                state.trouble = error
                state.since = state.since ?? time
            case .refused(let reason, _):
                state.isReading = false
                state.trouble = DiagnosedError(
                    .feedItemFailed, fault: .peer, "the core does not send its feed", found: reason.rawValue,
                    hint: reason == .cursorGone || reason == .cursorBeyond
                        ? "the log of the core does not have what comes next: messages have to be indexed from its start"
                        : "see that the service's account has the scope feed:conversations")
                state.since = state.since ?? time
            }
            return before != (state.isReading, state.behind == 0, state.trouble == nil)
        }
        if isNews { health.report(Self.check, look()) }
    }

    func look() -> HealthFinding {
        let time = now()
        let (state, pace) = state.withLock { state -> (State, Double) in
            state.marks.append((time, state.done))
            state.marks.removeAll { $0.time.adding(seconds: 120) < time }
            let first = state.marks[0]
            let seconds = Double(time.milliseconds - first.time.milliseconds) / 1000
            return (state, seconds > 0 ? Double(state.done - first.done) / seconds : 0)
        }
        gauge.set(Double(state.behind))
        guard state.isReading || state.trouble != nil else {
            // Another indexer may read: its health tells. One that has no link says so itself.
            health.alarms.clear(.indexLag, "this indexer does not read the feed now")
            return .ok("another indexer reads, or there is no link")
        }
        if state.behind == 0, state.trouble == nil {
            health.alarms.clear(.indexLag, "everything is indexed")
            return .ok("everything is indexed")
        }
        var detail: Loggable = "\(Int(clamping: state.behind)) items wait"
        if let trouble = state.trouble {
            detail = "\(detail): \(Loggable(trouble))"
        } else if pace > 0 {
            detail = "\(detail), about \(Int(Double(state.behind) / pace) + 1) s at \(Int(pace)) a second"
        }
        let isLate = state.since.map { $0.adding(seconds: Self.patience) <= time } ?? false
        let isStill =
            state.trouble != nil && (state.since ?? time).adding(seconds: Self.standstill) <= time
            && (state.moved ?? .init(milliseconds: 0)).adding(seconds: Self.standstill) <= time
        if isLate || isStill { health.alarms.raise(.indexLag, detail) }
        guard isLate || state.trouble != nil else { return .ok(detail) }
        return .warn(detail, fix: Loggable(reviewed: Alarm.indexLag.fix))
    }
}
