import Glibc
import Synchronization

/// Where lanes do their work.
package protocol LaneWorkers: TaskExecutor {
    /// Whether anything waits for a thread.
    var isBusy: Bool { get }
}

/// Threads of their own for work that blocks on the store: keeps the cooperative pool free.
///
/// A task executor with a fixed number of threads and one queue. Threads end when the pool is shut down and the queue
/// is empty. A wake-up costs one condition signal; a busy pool needs none.
package final class WorkerPool: LaneWorkers {
    private struct State {
        var jobs: [UnownedJob] = []
        var head = 0
        var sleeping = 0
        var isShutDown = false
    }

    private let state = Mutex(State())
    /// Counts wake-ups; a semaphore may be posted from any thread. Written once in `init`, destroyed with the pool after
    /// every thread that uses it has ended, hence shared without a lock.
    private nonisolated(unsafe) let signal: UnsafeMutablePointer<sem_t>  // semaphores take any thread

    package init(threads: Int) {
        signal = .allocate(capacity: 1)
        sem_init(signal, 0, 0)
        for _ in 0..<max(1, threads) { start() }
    }

    deinit {
        sem_destroy(signal)
        signal.deallocate()
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let wakes = state.withLock { state in
            state.jobs.append(job)
            guard state.sleeping > 0 else { return false }
            state.sleeping -= 1
            return true
        }
        if wakes { sem_post(signal) }
    }

    package var isBusy: Bool { state.withLock { $0.head < $0.jobs.count } }

    /// Lets the threads end once nothing is queued.
    package func shutDown() {
        let sleeping = state.withLock { state in
            state.isShutDown = true
            defer { state.sleeping = 0 }
            return state.sleeping
        }
        for _ in 0..<sleeping { sem_post(signal) }
    }

    private func start() {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                Unmanaged<WorkerPool>.fromOpaque(context).takeRetainedValue().work()
                return nil
            }, context)
        pthread_detach(thread)
    }

    private enum Step { case run(UnownedJob), sleep, end }

    private func work() {
        while true {
            let step = state.withLock { state -> Step in
                if state.head < state.jobs.count {
                    let job = state.jobs[state.head]
                    state.head += 1
                    if state.head == state.jobs.count {
                        state.jobs.removeAll(keepingCapacity: true)
                        state.head = 0
                    } else if state.head > 1024 {
                        state.jobs.removeFirst(state.head)
                        state.head = 0
                    }
                    return .run(job)
                }
                if state.isShutDown { return .end }
                state.sleeping += 1
                return .sleep
            }
            switch step {
            case .run(let job): job.runSynchronously(on: asUnownedTaskExecutor())
            case .sleep: while sem_wait(signal) != 0 {}
            case .end: return
            }
        }
    }
}
