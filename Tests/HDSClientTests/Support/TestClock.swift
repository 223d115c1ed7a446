import Synchronization
import Testing
import WireText

@testable import HDSClient

/// A clock that the test moves, and sleeps that end when it has been moved far enough.
final class TestClock: Sendable {
    private struct State {
        var now: Timestamp
        var sleepers:
            [Int: (until: Timestamp, milliseconds: Int64, continuation: CheckedContinuation<Void, any Error>)] = [:]
        var lastID = 0
    }

    private let state: Mutex<State>

    /// Begins an hour ahead, so that certificates made meanwhile are valid.
    init(_ now: Timestamp = Timestamp.now().adding(seconds: 3600)) { state = Mutex(State(now: now)) }

    var now: Timestamp { state.withLock { $0.now } }

    /// Sleeps that wait now.
    var sleeperCount: Int { state.withLock { $0.sleepers.count } }

    /// Whether a sleep waits that ends within this time: not one of the long ones that only guard against silence.
    func hasSleeper(within milliseconds: Int64) -> Bool {
        state.withLock { state in
            state.sleepers.values.contains { $0.until <= state.now.adding(milliseconds: milliseconds) }
        }
    }

    /// Sleeps that wait and were begun for exactly this time.
    func count(of milliseconds: Int64) -> Int {
        state.withLock { $0.sleepers.values.count { $0.milliseconds == milliseconds } }
    }

    func advance(milliseconds: Int64) {
        let ready = state.withLock { state in
            state.now = state.now.adding(milliseconds: milliseconds)
            let ready = state.sleepers.filter { $0.value.until <= state.now }
            for id in ready.keys { state.sleepers[id] = nil }
            return ready.values.map(\.continuation)
        }
        for sleeper in ready { sleeper.resume() }
    }

    func advance(seconds: Int64) { advance(milliseconds: seconds * 1000) }

    var sleep: Sleep { Sleep { try await self.wait(milliseconds: $0) } }

    func wait(milliseconds: Int64) async throws {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let isOver: Bool = state.withLock { state in
                    if Task.isCancelled { return true }
                    state.sleepers[id] = (
                        state.now.adding(milliseconds: milliseconds), milliseconds, continuation
                    )
                    return false
                }
                if isOver { continuation.resume(throwing: CancellationError()) }
            }
        } onCancel: {
            let sleeper = state.withLock { $0.sleepers.removeValue(forKey: id)?.continuation }
            sleeper?.resume(throwing: CancellationError())
        }
    }
}

/// Returns when the condition holds. It is asked after each turn of the scheduler; the deadline only ends a wait that is
/// in vain.
func until(_ condition: @Sendable () async -> Bool, _ location: SourceLocation = #_sourceLocation) async {
    let deadline = ContinuousClock.now + .seconds(60)
    while await !condition() {
        await Task.yield()
        guard ContinuousClock.now < deadline else {
            Issue.record("what was waited for did not happen", sourceLocation: location)
            return
        }
    }
}
