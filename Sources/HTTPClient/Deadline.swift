import NIOCore
import Synchronization

/// Runs `operation` and gives it up after `timeout`, also when it does not react to cancellation at once.
///
/// On timeout and on cancellation of the caller the operation is cancelled; what it yields nevertheless goes to
/// `discard`.
func withDeadline<Value: Sendable>(
    _ timeout: TimeAmount, on eventLoop: any EventLoop, error: @escaping @Sendable () -> any Error,
    discard: @escaping @Sendable (Value) -> Void = { _ in }, operation: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    let race = Race<Value>()
    let task = Task {
        do {
            let value = try await operation()
            if !race.decide(.success(value)) { discard(value) }
        } catch {
            race.decide(.failure(error))
        }
    }
    let alarm = eventLoop.scheduleTask(in: timeout) {
        race.decide(.failure(error()))
        task.cancel()
    }
    defer { alarm.cancel() }
    return try await withTaskCancellationHandler {
        try await race.outcome()
    } onCancel: {
        race.decide(.failure(CancellationError()))
        task.cancel()
    }
}

/// The first of several outcomes, for one waiter.
private final class Race<Value: Sendable>: Sendable {
    private enum State {
        case open
        case waiting(CheckedContinuation<Value, any Error>)
        case decided(Result<Value, any Error>)
        case over
    }

    private let state = Mutex(State.open)

    /// False when it was decided before.
    @discardableResult
    func decide(_ result: Result<Value, any Error>) -> Bool {
        let (isFirst, waiter): (Bool, CheckedContinuation<Value, any Error>?) = state.withLock { state in
            switch state {
            case .open:
                state = .decided(result)
                return (true, nil)
            case .waiting(let continuation):
                state = .over
                return (true, continuation)
            case .decided, .over: return (false, nil)
            }
        }
        waiter?.resume(with: result)
        return isFirst
    }

    func outcome() async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            let result: Result<Value, any Error>? = state.withLock { state in
                guard case .decided(let result) = state else {
                    state = .waiting(continuation)
                    return nil
                }
                state = .over
                return result
            }
            if let result { continuation.resume(with: result) }
        }
    }
}
