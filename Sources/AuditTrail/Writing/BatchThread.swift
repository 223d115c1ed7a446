import Glibc
import Synchronization

/// One thread of its own that takes everything that waits as one batch, works it off and takes the next.
///
/// Keeps blocking writes off the cooperative pool. While a batch is on its way to the disk the next one gathers; a
/// lone job never waits for company, but a few that follow a batch of several wait a moment for more, as long as more
/// come, for most of what a small batch costs is its sync and the wake-ups behind it. The thread ends after `finish` once
/// nothing waits, and with the last reference.
final class BatchThread: Sendable {
    typealias Job = WriterLoop.Job

    /// So many jobs are worked off without gathering more.
    private static let worthWorking = 24
    /// A batch of so many lets expect more; so does a step of gathering that brought so many.
    private static let several = 3
    /// Microseconds of one step of gathering.
    private static let gathering: useconds_t = 150
    /// The most steps for one batch.
    private static let steps = 2

    private final class Inner: Sendable {
        private struct State {
            var jobs: [Job] = []
            var isSleeping = false
            var isFinished = false
            var hasEnded = false
            var untilEnd: [CheckedContinuation<Void, Never>] = []
        }

        private let state = Mutex(State())
        private let work: @Sendable ([Job]) -> Void
        /// A semaphore may be posted from any thread. Made in `init`, destroyed with this object, which the thread and
        /// the handle hold, hence shared without a lock.
        private nonisolated(unsafe) let signal: UnsafeMutablePointer<sem_t>  // semaphores take any thread

        init(_ work: @escaping @Sendable ([Job]) -> Void) {
            self.work = work
            signal = .allocate(capacity: 1)
            sem_init(signal, 0, 0)
        }

        deinit {
            sem_destroy(signal)
            signal.deallocate()
        }

        func start() {
            var thread = pthread_t()
            let context = Unmanaged.passRetained(self).toOpaque()
            let code = pthread_create(
                &thread, nil,
                { context in
                    guard let context else { return nil }
                    Unmanaged<Inner>.fromOpaque(context).takeRetainedValue().run()
                    return nil
                }, context)
            guard code == 0 else { fatalError("no thread can be made for the audit trail: \(systemText(code))") }
            pthread_detach(thread)
        }

        func submit(_ job: Job) -> Bool {
            let (accepted, wakes) = state.withLock { state in
                guard !state.isFinished else { return (false, false) }
                state.jobs.append(job)
                defer { state.isSleeping = false }
                return (true, state.isSleeping)
            }
            if wakes { sem_post(signal) }
            return accepted
        }

        func finish() {
            let wakes = state.withLock { state in
                state.isFinished = true
                defer { state.isSleeping = false }
                return state.isSleeping
            }
            if wakes { sem_post(signal) }
        }

        func wait(_ continuation: CheckedContinuation<Void, Never>) {
            let hasEnded = state.withLock { state in
                if !state.hasEnded { state.untilEnd.append(continuation) }
                return state.hasEnded
            }
            if hasEnded { continuation.resume() }
        }

        private enum Step { case work([Job]), gather, sleep, end([CheckedContinuation<Void, Never>]) }

        func run() {
            // How many came in the batch or the step before.
            var before = 0
            var gathered = 0
            var stepsTaken = 0
            while true {
                let step = state.withLock { state -> Step in
                    if !state.jobs.isEmpty {
                        let count = state.jobs.count
                        if before >= several, count < worthWorking, stepsTaken < steps, !state.isFinished {
                            gathered = count
                            return .gather
                        }
                        var batch: [Job] = []
                        swap(&batch, &state.jobs)
                        return .work(batch)
                    }
                    if state.isFinished {
                        state.hasEnded = true
                        defer { state.untilEnd = [] }
                        return .end(state.untilEnd)
                    }
                    state.isSleeping = true
                    return .sleep
                }
                switch step {
                case .work(let batch):
                    work(batch)
                    before = batch.count
                    stepsTaken = 0
                case .gather:
                    usleep(gathering)
                    stepsTaken += 1
                    before = state.withLock { $0.jobs.count } - gathered
                case .sleep:
                    while sem_wait(signal) != 0 {}
                    before = 0
                    stepsTaken = 0
                case .end(let waiting):
                    for continuation in waiting { continuation.resume() }
                    return
                }
            }
        }
    }

    private let inner: Inner

    init(_ work: @escaping @Sendable ([Job]) -> Void) {
        inner = Inner(work)
        inner.start()
    }

    deinit { inner.finish() }

    /// False after `finish`: the job will not run.
    func submit(_ job: Job) -> Bool { inner.submit(job) }
    /// Takes no more; returns when what was accepted is worked off.
    func finish() async {
        inner.finish()
        await withCheckedContinuation { inner.wait($0) }
    }
}
