import Diagnostics
import KMSClient
import ServiceRuntime
import Synchronization
import WireText

/// How far a walk is (IndexWalk): for health, and for searches, which name the rooms that are not indexed anew yet. Any thread.
final class WalkProgress: Sendable {
    static let check = HealthCheck("rebuild", "indexing anew, compaction and learning of words")

    private struct State {
        var pendingFormat: String?
        /// Rooms up to this one are indexed anew.
        var anewUpTo = ""
        var kind: IndexWalk.Kind?
        var done: UInt64 = 0
        var total: UInt64 = 0
        var started: (time: Timestamp, done: UInt64)?
        var trouble: DiagnosedError?
        var isFailing = false
    }

    private let state: Mutex<State>
    private let now: @Sendable () -> Timestamp

    /// - Parameters:
    ///   - pendingFormat: what the index has to be made anew in; nil: it is so.
    ///   - upTo: the room up to which it is.
    init(
        _ health: HealthRegistry, pendingFormat: String?, upTo room: String = "",
        now: @escaping @Sendable () -> Timestamp = { .now() }
    ) {
        self.now = now
        state = Mutex(State(pendingFormat: pendingFormat, anewUpTo: room))
        health.probe(Self.check, every: .seconds(10)) { [self] in look() }
    }

    var pendingFormat: String? { state.withLock { $0.pendingFormat } }

    /// Whether entries of that room are still of another form than is searched for.
    func isBehind(_ room: String) -> Bool {
        state.withLock { $0.pendingFormat != nil && room > $0.anewUpTo }
    }

    func start(_ kind: IndexWalk.Kind, done: UInt64, total: UInt64, room: String) {
        let time = now()
        state.withLock { state in
            (state.kind, state.done, state.total, state.isFailing, state.trouble) = (kind, done, total, false, nil)
            state.started = (time, done)
            if kind == .anew { state.anewUpTo = room }
        }
    }

    /// Rooms up to this one are done.
    func move(done: UInt64, room: String) {
        state.withLock { state in
            state.done = done
            if state.kind == .anew { state.anewUpTo = room }
        }
    }

    func isAnew() { state.withLock { $0.pendingFormat = nil } }

    func rest() { state.withLock { ($0.kind, $0.started, $0.isFailing, $0.trouble) = (nil, nil, false, nil) } }

    func fail(_ error: DiagnosedError?) { state.withLock { ($0.isFailing, $0.trouble) = (true, error) } }

    func look() -> HealthFinding {
        let (state, time) = (self.state.withLock { $0 }, now())
        guard let kind = state.kind, let started = state.started else {
            if state.isFailing { return failing(state.trouble, "nothing is done") }
            return state.pendingFormat == nil
                ? .ok("nothing is to be done")
                : .warn(
                    "the index is to be made anew by the indexer that reads the feed",
                    fix: "it begins when this indexer's turn comes; see the check index")
        }
        let what: Loggable =
            switch kind {
            case .anew: "indexing anew"
            case .compaction: "putting epochs together"
            case .words: "learning words"
            }
        var detail: Loggable = "\(what): \(Int(clamping: state.done)) of \(Int(clamping: state.total)) messages"
        let seconds = Double(time.milliseconds - started.time.milliseconds) / 1000
        let pace = seconds > 0 ? Double(state.done - min(state.done, started.done)) / seconds : 0
        if pace > 0 {
            let left = Double(state.total - min(state.total, state.done)) / pace
            detail = "\(detail), about \(Int(left) + 1) s at \(Int(pace)) a second"
        }
        return state.isFailing ? failing(state.trouble, detail) : .ok(detail)
    }

    private func failing(_ trouble: DiagnosedError?, _ detail: Loggable) -> HealthFinding {
        .warn(
            trouble.map { "\(detail): \(Loggable($0))" } ?? detail,
            fix: "it goes on from there by itself; see the checks link and consent")
    }
}
