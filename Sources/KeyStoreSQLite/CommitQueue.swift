import Diagnostics
import Dispatch
import Glibc
import KeyStore
import Synchronization

/// Group commit: everything that waits is applied as one batch on one thread, then everybody gets an own outcome.
///
/// While a batch is written and synced to the disk the next one gathers, so that the number of syncs follows the speed
/// of the disk and not the number of commits. A lone commit never waits for company; only when one batch follows another
/// and few wait, more are gathered for a millisecond, for most of what a small batch costs is its sync. Every waiter is resumed exactly
/// once: with its outcome, or with `store-closed` when it came after `close`. Order within and among batches is the
/// order of arrival. `apply` gets 1 or more changes and answers one outcome for each.
///
/// What failed in a way that may pass (a full disk, a file that is away) is held and tried again, in its order and
/// before anything that came later, until `patience` has passed since it arrived. A try that failed left nothing behind,
/// so nothing is done twice. Those that gather meanwhile have their own patience and at least one try.
final class CommitQueue: Sendable {
    typealias Outcome = Result<CommitResult, DiagnosedError>

    private struct Waiter {
        let change: StoreChange
        let arrived: ContinuousClock.Instant
        let continuation: CheckedContinuation<CommitResult, any Error>
    }

    private struct State {
        var waiting: [Waiter] = []
        var working = false
        var closed = false
        var untilIdle: [CheckedContinuation<Void, Never>] = []
    }

    /// So many commits are written without gathering more.
    private static let worthWriting = 8
    /// Microseconds that a small batch gathers (docs/decisions/011-group-commit.md).
    private static let gathering: useconds_t = 1_000

    private let state = Mutex(State())
    private let thread: DispatchQueue
    private let maximumWrites: Int
    private let hold: StoreHold
    private let apply: @Sendable ([StoreChange]) -> [Outcome]

    /// A batch takes changes until they hold `maximumWrites` writes, which bounds how long the first waits for the last.
    init(
        label: String, maximumWrites: Int = 1_000, hold: StoreHold = StoreHold(patience: .zero),
        apply: @escaping @Sendable ([StoreChange]) -> [Outcome]
    ) {
        thread = DispatchQueue(label: label)
        self.maximumWrites = maximumWrites
        self.hold = hold
        self.apply = apply
    }

    func commit(_ change: StoreChange) async throws -> CommitResult {
        try await withCheckedThrowingContinuation { continuation in
            let waiter = Waiter(change: change, arrived: .now, continuation: continuation)
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
    var isClosed: Bool { state.withLock { $0.closed } }

    private func drain() {
        var isFirst = true
        while let batch = nextBatch(gathering: !isFirst) {
            isFirst = false
            work(batch)
        }
    }

    /// Resumes all of the batch, at the latest with the first try after its patience is over.
    private func work(_ batch: [Waiter]) {
        var batch = batch
        var pause = StoreHold.Pause()
        while true {
            let outcomes = apply(batch.map(\.change))
            let now = ContinuousClock.now
            var held: [Waiter] = []
            var trouble: DiagnosedError?
            for (index, waiter) in batch.enumerated() {
                let missing = DiagnosedError(.storeFailed, fault: .internal, "a commit was left without an outcome")
                let outcome = index < outcomes.count ? outcomes[index] : .failure(missing)
                if case .failure(let error) = outcome {
                    trouble = error
                    if hold.keeps(error, since: waiter.arrived, at: now) {
                        held.append(waiter)
                        continue
                    }
                } else {
                    hold.observer.committed(waiter.arrived.duration(to: now))
                }
                waiter.continuation.resume(with: outcome)
            }
            hold.noteCommit(trouble)
            guard !held.isEmpty else { return }
            batch = held
            usleep(pause.next())
        }
    }

    private func nextBatch(gathering: Bool) -> [Waiter]? {
        if gathering, (1..<Self.worthWriting).contains(count) { usleep(Self.gathering) }
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
