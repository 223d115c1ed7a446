import Synchronization

/// A value that comes once, from anywhere, to whoever waits for it.
final class Awaited<Value: Sendable>: Sendable {
    private enum State {
        case open([Int: CheckedContinuation<Value?, Never>])
        case done(Value)
    }

    private let state = Mutex(State.open([:]))
    private let ids = Atomic<Int>(0)

    /// The first value counts; false for any later one.
    @discardableResult
    func fulfil(_ value: Value) -> Bool {
        let waiters: [CheckedContinuation<Value?, Never>]? = state.withLock { state in
            guard case .open(let waiters) = state else { return nil }
            state = .done(value)
            return Array(waiters.values)
        }
        for waiter in waiters ?? [] { waiter.resume(returning: value) }
        return waiters != nil
    }

    var isFulfilled: Bool {
        state.withLock { state in
            if case .done = state { true } else { false }
        }
    }

    /// The value, or nil when the time is over or the task is cancelled.
    func value(within milliseconds: Int64, sleep: Sleep) async -> Value? {
        await withTaskGroup(of: Value?.self) { group in
            group.addTask { await self.value() }
            group.addTask {
                try? await sleep.milliseconds(milliseconds)
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            return first
        }
    }

    /// The value, or nil when the task is cancelled.
    func value() async -> Value? {
        let id = ids.add(1, ordering: .relaxed).newValue
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let ready: Value?? = state.withLock { state in
                    switch state {
                    case .done(let value): return .some(value)
                    case .open(var waiters):
                        if Task.isCancelled { return .some(nil) }
                        waiters[id] = continuation
                        state = .open(waiters)
                        return nil
                    }
                }
                if let ready { continuation.resume(returning: ready) }
            }
        } onCancel: {
            let waiter: CheckedContinuation<Value?, Never>? = state.withLock { state in
                guard case .open(var waiters) = state else { return nil }
                let waiter = waiters.removeValue(forKey: id)
                state = .open(waiters)
                return waiter
            }
            waiter?.resume(returning: nil)
        }
    }
}
