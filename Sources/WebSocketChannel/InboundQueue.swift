import NIOCore
import Synchronization

/// Elements on their way from an event loop to one asynchronous consumer, with back-pressure.
///
/// The producer calls `push` and `finish` on its event loop; when `push` answers false the consumer is behind and the
/// producer stops reading until `onRoom` is called (from any thread). A consumer either iterates with `next`, or takes
/// all elements on the event loop with `redirect`. What was pushed before `finish` is delivered before the end.
package final class InboundQueue<Element: Sendable>: Sendable {
    private struct State {
        var elements = CircularBuffer<(element: Element, cost: Int)>()
        var cost = 0
        var isProducerPaused = false
        var isFinished = false
        var failure: (any Error)?
        var waiters: [(id: UInt64, continuation: CheckedContinuation<Element?, any Error>)] = []
        var lastWaiter: UInt64 = 0
        var sink: (@Sendable (Element) -> Void)?
        var onRoom: (@Sendable () -> Void)?
    }

    private enum PushOutcome {
        case none
        case resume(CheckedContinuation<Element?, any Error>)
        case sink(@Sendable (Element) -> Void)
    }

    private enum NextOutcome {
        case element(Element)
        case end((any Error)?)
        case wait
    }

    private let state: Mutex<State>
    private let limit: Int

    /// - Parameter limit: the summed cost of waiting elements from which on the producer is to pause.
    package init(limit: Int, onRoom: (@Sendable () -> Void)? = nil) {
        self.limit = limit
        var initial = State()
        initial.onRoom = onRoom
        state = Mutex(initial)
    }

    /// False: stop producing until `onRoom`. Elements after `finish` are dropped.
    package func push(_ element: Element, cost: Int) -> Bool {
        let (outcome, goOn): (PushOutcome, Bool) = state.withLock { state in
            guard !state.isFinished else { return (.none, true) }
            if let sink = state.sink { return (.sink(sink), true) }
            if !state.waiters.isEmpty { return (.resume(state.waiters.removeFirst().continuation), true) }
            state.elements.append((element, cost))
            state.cost += cost
            if state.cost >= limit { state.isProducerPaused = true }
            return (.none, !state.isProducerPaused)
        }
        switch outcome {
        case .none: break
        case .resume(let continuation): continuation.resume(returning: element)
        case .sink(let sink): sink(element)
        }
        return goOn
    }

    /// Ends the sequence, with an error or without; only the first call counts.
    package func finish(throwing failure: (any Error)? = nil) {
        let waiters = state.withLock { state in
            guard !state.isFinished else { return [CheckedContinuation<Element?, any Error>]() }
            state.isFinished = true
            state.failure = failure
            state.sink = nil
            state.onRoom = nil
            defer { state.waiters = [] }
            return state.waiters.map(\.continuation)
        }
        for waiter in waiters {
            if let failure { waiter.resume(throwing: failure) } else { waiter.resume(returning: nil) }
        }
    }

    /// The next element, nil at a regular end; throws at an irregular one and when the task is cancelled.
    package func next() async throws -> Element? {
        let id = state.withLock { state in
            state.lastWaiter += 1
            return state.lastWaiter
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let (outcome, onRoom): (NextOutcome, (@Sendable () -> Void)?) = state.withLock { state in
                    if let first = state.elements.popFirst() {
                        state.cost -= first.cost
                        let hasRoom = state.isProducerPaused && state.cost <= limit / 2
                        if hasRoom { state.isProducerPaused = false }
                        return (.element(first.element), hasRoom ? state.onRoom : nil)
                    }
                    if state.isFinished {
                        let failure = state.failure
                        state.failure = nil
                        return (.end(failure), nil)
                    }
                    if Task.isCancelled { return (.end(CancellationError()), nil) }
                    state.waiters.append((id, continuation))
                    return (.wait, nil)
                }
                onRoom?()
                switch outcome {
                case .element(let element): continuation.resume(returning: element)
                case .end(nil): continuation.resume(returning: nil)
                case .end(let failure?): continuation.resume(throwing: failure)
                case .wait: break
                }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                state.waiters.firstIndex { $0.id == id }.map { state.waiters.remove(at: $0).continuation }
            }
            waiter?.resume(throwing: CancellationError())
        }
    }

    /// From now on `sink` gets every element, first those that wait. Call it on the producer's event loop.
    package func redirect(to sink: @escaping @Sendable (Element) -> Void) {
        let (waiting, onRoom) = state.withLock { state in
            let waiting = state.elements.map(\.element)
            state.elements.removeAll()
            state.cost = 0
            if !state.isFinished { state.sink = sink }
            defer { state.isProducerPaused = false }
            return (waiting, state.isProducerPaused ? state.onRoom : nil)
        }
        for element in waiting { sink(element) }
        onRoom?()
    }
}
