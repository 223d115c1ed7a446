import Dispatch
import Glibc
import Synchronization

/// A few threads for work that nobody waits for: the kernel gives them what the others leave.
///
/// A task executor. Its threads have the lowest priority (nice 19), so that a thread with a request to answer takes the
/// processor from them at once. They end when it is shut down and nothing is queued.
final class BackgroundThreads: TaskExecutor {
    private struct State {
        var jobs: [UnownedJob] = []
        var isShutDown = false
    }

    private let state = Mutex(State())
    private let signal = DispatchSemaphore(value: 0)
    private let count: Int

    init(count: Int) {
        self.count = max(1, count)
        for _ in 0..<self.count { start() }
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        state.withLock { $0.jobs.append(job) }
        signal.signal()
    }

    func shutDown() {
        state.withLock { $0.isShutDown = true }
        for _ in 0..<count { signal.signal() }
    }

    private func start() {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        let status = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                // On Linux a priority belongs to a thread; 0 is the calling one. Where it is refused work is only faster.
                setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 19)
                Unmanaged<BackgroundThreads>.fromOpaque(context).takeRetainedValue().work()
                return nil
            }, context)
        if status == 0 { pthread_detach(thread) } else { Unmanaged<BackgroundThreads>.fromOpaque(context).release() }
    }

    private func work() {
        while true {
            signal.wait()
            let (job, isOver) = state.withLock { state in
                state.jobs.isEmpty ? (nil, state.isShutDown) : (state.jobs.removeFirst(), false)
            }
            if let job { job.runSynchronously(on: asUnownedTaskExecutor()) } else if isOver { return }
        }
    }
}
