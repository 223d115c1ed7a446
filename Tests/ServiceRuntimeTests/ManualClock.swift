import Synchronization

/// A clock that stands until a test moves it.
///
/// `sleepers(count)` returns once that many tasks sleep on it, so that a test acts at a known point and never waits
/// for time to pass.
final class ManualClock: Clock, Sendable {
    struct Instant: InstantProtocol {
        var offset: Duration
        func advanced(by duration: Duration) -> Instant { Instant(offset: offset + duration) }
        func duration(to other: Instant) -> Duration { other.offset - offset }
        static func < (left: Instant, right: Instant) -> Bool { left.offset < right.offset }
    }

    private struct State {
        var now = Instant(offset: .zero)
        var next = 0
        var sleeping: [Int: (deadline: Instant, wake: CheckedContinuation<Void, any Error>)] = [:]
        var waiting: [(count: Int, wake: CheckedContinuation<Void, Never>)] = []
    }

    private let state = Mutex(State())
    var now: Instant { state.withLock { $0.now } }
    var minimumResolution: Duration { .nanoseconds(1) }

    func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        let id = state.withLock { state in
            state.next += 1
            return state.next
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let due = state.withLock { state -> [CheckedContinuation<Void, Never>]? in
                    guard !Task.isCancelled, deadline > state.now else { return nil }
                    state.sleeping[id] = (deadline, continuation)
                    let ready = state.waiting.filter { $0.count <= state.sleeping.count }
                    state.waiting.removeAll { $0.count <= state.sleeping.count }
                    return ready.map(\.wake)
                }
                guard let due else {
                    continuation.resume(with: Task.isCancelled ? .failure(CancellationError()) : .success(()))
                    return
                }
                for waiter in due { waiter.resume() }
            }
        } onCancel: {
            state.withLock { $0.sleeping.removeValue(forKey: id) }?.wake.resume(throwing: CancellationError())
        }
    }

    /// Returns once `count` tasks sleep.
    func sleepers(_ count: Int = 1) async {
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state in
                if state.sleeping.count >= count { return true }
                state.waiting.append((count, continuation))
                return false
            }
            if isThere { continuation.resume() }
        }
    }

    /// How long the first sleeper still sleeps.
    var nextWake: Duration? {
        state.withLock { state in state.sleeping.values.map { state.now.duration(to: $0.deadline) }.min() }
    }

    func advance(by duration: Duration) {
        let due = state.withLock { state in
            state.now = state.now.advanced(by: duration)
            let due = state.sleeping.filter { $0.value.deadline <= state.now }
            for id in due.keys { state.sleeping.removeValue(forKey: id) }
            return due.values.map(\.wake)
        }
        for sleeper in due { sleeper.resume() }
    }
}
