import Dispatch
import Testing

@testable import KeyManagement

/// Threads of their own, and whether anything waits for one of them.
@Suite("Worker pool")
struct WorkerPoolTests {
    @Test("a pool is busy as long as something waits for a thread, and not because something runs")
    func busy() async {
        let workers = WorkerPool(threads: 1)
        defer { workers.shutDown() }
        let (started, gate) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        let running = Task(executorPreference: workers) {
            started.signal()
            Self.wait(for: gate)
        }
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                started.wait()
                continuation.resume()
            }
        }
        #expect(!workers.isBusy)
        let waiting = Task(executorPreference: workers) {}
        #expect(workers.isBusy)
        gate.signal()
        await running.value
        await waiting.value
        #expect(!workers.isBusy)
    }

    private static func wait(for gate: DispatchSemaphore) { gate.wait() }
}
