import Diagnostics
import Dispatch
import KeyStore
import Synchronization

/// Commits that wait for the writer, which takes all of them at once and answers each by itself.
///
/// While one batch travels and is synced the next gathers. Each waiter has a deadline of its own, which counts from its
/// arrival, so that nobody is held for the patience of those before him as well. Every waiter is resumed exactly once.
final class GroupCommit: Sendable {
    typealias Outcome = Result<CommitResult, DiagnosedError>

    struct Waiter: Sendable {
        let change: StoreChange
        let arrived: ContinuousClock.Instant
        let deadline: ContinuousClock.Instant
        fileprivate let committed: @Sendable (Duration) -> Void
        fileprivate let continuation: CheckedContinuation<CommitResult, any Error>

        func resume(_ outcome: Outcome) {
            if case .success = outcome { committed(arrived.duration(to: .now)) }
            continuation.resume(with: outcome)
        }
    }

    private struct State {
        var waiting: [Waiter] = []
        var working = false
        var closed = false
        var untilIdle: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())
    private let thread = DispatchQueue(label: "hds.key-store.postgresql.commit")
    private let patience: Duration
    private let maximumWrites: Int
    /// Told of each commit that was carried out how long its caller waited.
    private let committed: @Sendable (Duration) -> Void
    /// Resumes every waiter that it gets.
    private let apply: @Sendable ([Waiter]) -> Void

    init(
        patience: Duration, maximumWrites: Int = 1_000, committed: @escaping @Sendable (Duration) -> Void = { _ in },
        apply: @escaping @Sendable ([Waiter]) -> Void
    ) {
        self.committed = committed
        self.patience = patience
        self.maximumWrites = maximumWrites
        self.apply = apply
    }

    /// `limit` shortens the patience for this one.
    func commit(_ change: StoreChange, within limit: Duration? = nil) async throws -> CommitResult {
        try await withCheckedThrowingContinuation { continuation in
            let patience = min(limit ?? patience, patience)
            let now = ContinuousClock.now
            let waiter = Waiter(
                change: change, arrived: now, deadline: now + patience, committed: committed, continuation: continuation
            )
            let (accepted, start) = state.withLock { state in
                guard !state.closed else { return (false, false) }
                state.waiting.append(waiter)
                defer { state.working = true }
                return (true, !state.working)
            }
            guard accepted else { return continuation.resume(throwing: DiagnosedError.keyStoreClosed) }
            if start { thread.async { self.drain() } }
        }
    }

    /// Refuses new commits and returns when those that were accepted have their outcome.
    func close() async {
        await withCheckedContinuation { continuation in
            let idle = state.withLock { state in
                state.closed = true
                if state.working { state.untilIdle.append(continuation) }
                return !state.working
            }
            if idle { continuation.resume() }
        }
    }

    /// How many wait for a batch to take them.
    var count: Int { state.withLock { $0.waiting.count } }

    private func drain() {
        while let batch = nextBatch() { apply(batch) }
    }

    private func nextBatch() -> [Waiter]? {
        let (batch, idle) = state.withLock { state -> ([Waiter]?, [CheckedContinuation<Void, Never>]) in
            guard !state.waiting.isEmpty else {
                state.working = false
                defer { state.untilIdle = [] }
                return (nil, state.untilIdle)
            }
            var writes = 0
            var count = 0
            while count < state.waiting.count, count == 0 || writes < maximumWrites {
                writes += max(1, state.waiting[count].change.writes.count)
                count += 1
            }
            let batch = Array(state.waiting.prefix(count))
            state.waiting.removeFirst(count)
            return (batch, [])
        }
        for continuation in idle { continuation.resume() }
        return batch
    }
}
