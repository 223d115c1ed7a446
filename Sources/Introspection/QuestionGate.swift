import Synchronization

/// Lets a bounded number through at a time and a bounded number wait, in their order.
package final class QuestionGate: Sendable {
    private struct State {
        var running = 0
        var waiting: [CheckedContinuation<Bool, Never>] = []
    }

    private let concurrency: Int
    private let maximumWaiting: Int
    private let state = Mutex(State())

    package init(concurrency: Int, waiting: Int) {
        self.concurrency = max(1, concurrency)
        maximumWaiting = waiting
    }

    /// Whether the caller may go on; then it has to `leave`.
    package func enter() async -> Bool {
        await withCheckedContinuation { continuation in
            let verdict = state.withLock { state -> Bool? in
                if state.running < concurrency {
                    state.running += 1
                    return true
                }
                guard state.waiting.count < maximumWaiting else { return false }
                state.waiting.append(continuation)
                return nil
            }
            if let verdict { continuation.resume(returning: verdict) }
        }
    }

    /// - Parameter hasFailed: the endpoint could not be reached; who waits is sent away, for it would wait in vain.
    package func leave(hasFailed: Bool) {
        let (next, sentAway) = state.withLock {
            state -> (CheckedContinuation<Bool, Never>?, [CheckedContinuation<Bool, Never>]) in
            defer { if hasFailed { state.waiting = [] } }
            guard !hasFailed, !state.waiting.isEmpty else {
                state.running -= 1
                return (nil, hasFailed ? state.waiting : [])
            }
            // The place goes to the next one.
            return (state.waiting.removeFirst(), [])
        }
        next?.resume(returning: true)
        for continuation in sentAway { continuation.resume(returning: false) }
    }

    package var waiting: Int { state.withLock { $0.waiting.count } }
}
