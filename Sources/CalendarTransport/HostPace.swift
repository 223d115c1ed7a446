import CalendarBackend
import WireText

/// Holds requests back as a `HostGate` says, in the order in which they came.
package actor HostPace {
    private var gate: HostGate
    private let clock: any Clock<Duration>
    private let elapsed: @Sendable () -> Duration
    private var waiting: [(id: Int, continuation: CheckedContinuation<Void, any Error>)] = []
    private var lastWaiter = 0

    package init(_ limits: HostGate.Limits, clock: any Clock<Duration>) {
        gate = HostGate(limits)
        self.clock = clock
        elapsed = clock.stopwatch()
    }

    package var waiters: Int { waiting.count }

    /// Returns when the request may go; `leave` has to follow.
    package func enter() async throws {
        do {
            try await waitForTurn()
        } catch {
            // Whoever gives up may be the one that was woken.
            wakeOne()
            throw error
        }
    }

    private func waitForTurn() async throws {
        while true {
            try Task.checkCancellation()
            switch gate.ask(at: elapsed()) {
            case .go: return
            case .wait(let time): try await clock.sleep(for: time)
            case .full: try await untilFree()
            case .refuse(let left):
                throw CalendarError.rateLimited(left, "a pause that the server asked for and that is not over")
            }
        }
    }

    package func leave(isWelcome: Bool) {
        gate.end(isWelcome: isWelcome)
        wakeOne()
    }

    package func leave(retryAfter: Duration?) -> Duration {
        defer { wakeOne() }
        return gate.pushedBack(at: elapsed(), retryAfter: retryAfter)
    }

    private func untilFree() async throws {
        lastWaiter += 1
        let id = lastWaiter
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                waiting.append((id, continuation))
            }
        } onCancel: {
            Task { await self.cancel(id) }
        }
    }

    private func cancel(_ id: Int) {
        guard let place = waiting.firstIndex(where: { $0.id == id }) else { return }
        waiting.remove(at: place).continuation.resume(throwing: CancellationError())
    }

    private func wakeOne() {
        if !waiting.isEmpty { waiting.removeFirst().continuation.resume() }
    }
}
