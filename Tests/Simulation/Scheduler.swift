import Glibc
import KeyManagement
import TestServers
import WireText

/// Virtual time: one queue of events in the order of (time, sequence), one generator of chance, one thread.
///
/// Everything of a simulation runs inside `step`; nothing else touches it. Times are microseconds since its beginning.
final class Scheduler: @unchecked Sendable {  // only the thread of the run uses it
    private struct Event {
        var time: Int64
        var sequence: Int
        var body: () -> Void

        func precedes(_ other: Event) -> Bool { (time, sequence) < (other.time, other.sequence) }
    }

    private(set) var now: Int64 = 0
    private(set) var events = 0
    var random: SeededGenerator
    private var heap: [Event] = []
    private var sequence = 0
    private let thread = pthread_self()

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    func after(_ delay: Int64, _ body: @escaping () -> Void) {
        precondition(pthread_equal(thread, pthread_self()) != 0, "something left the thread of the run")
        sequence += 1
        heap.append(Event(time: now + max(0, delay), sequence: sequence, body: body))
        var child = heap.count - 1
        while child > 0, heap[child].precedes(heap[(child - 1) / 2]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    /// False: nothing will ever happen any more.
    func step() -> Bool {
        guard let event = popFirst() else { return false }
        now = event.time
        events += 1
        event.body()
        return true
    }

    private func popFirst() -> Event? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        guard !heap.isEmpty else { return first }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < heap.count && heap[child].precedes(heap[least]) { least = child }
            if least == parent { return first }
            heap.swapAt(parent, least)
            parent = least
        }
    }

    /// Nothing of what was to come will happen.
    func clear() { heap = [] }

    /// Drawn evenly, both ends included.
    func draw(_ range: ClosedRange<Int64>) -> Int64 { Int64.random(in: range, using: &random) }
    func happens(_ percent: Int64) -> Bool { draw(1...100) <= percent }
}

extension Int64 {
    static func milliseconds(_ count: Int64) -> Int64 { count * 1000 }
    static func seconds(_ count: Int64) -> Int64 { count * 1_000_000 }
}

/// One process of the simulated world: what it does waits while it is stopped, and nothing happens once it is dead.
///
/// As a task executor it runs jobs one at a time and in no particular order, as a pool of threads would. Jobs run also
/// when it is dead, so that they can end; nobody outside notices.
final class Process: LaneWorkers, @unchecked Sendable {  // only the thread of the run uses it
    let name: String
    let scheduler: Scheduler
    private(set) var isDead = false
    private(set) var isStopped = false
    private var held: [() -> Void] = []

    init(_ name: String, _ scheduler: Scheduler) {
        self.name = name
        self.scheduler = scheduler
        // A task does not keep its executor, and one of a dead process may still come to its end: never freed.
        _ = Unmanaged.passRetained(self)
    }

    var isBusy: Bool { false }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        scheduler.after(scheduler.draw(0...300)) { [self] in
            run { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
        }
    }

    /// In the process, unless it is dead by then.
    func after(_ delay: Int64, _ body: @escaping () -> Void) {
        scheduler.after(delay) { [self] in
            run { if !self.isDead { body() } }
        }
    }

    private func run(_ body: @escaping () -> Void) {
        if isStopped, !isDead { held.append(body) } else { body() }
    }

    /// SIGSTOP and SIGCONT.
    func stop() { isStopped = true }
    func resume() {
        isStopped = false
        let waiting = held
        held = []
        for body in waiting { body() }
    }

    func die() {
        isDead = true
        resume()
    }
}

/// The clock of the world, for tasks that sleep.
struct VirtualClock: Clock {
    struct Instant: InstantProtocol {
        var microseconds: Int64
        func advanced(by duration: Duration) -> Instant { Instant(microseconds: microseconds + duration.microseconds) }
        func duration(to other: Instant) -> Duration { .microseconds(other.microseconds - microseconds) }
        static func < (left: Instant, right: Instant) -> Bool { left.microseconds < right.microseconds }
    }

    let scheduler: Scheduler
    var now: Instant { Instant(microseconds: scheduler.now) }
    var minimumResolution: Duration { .microseconds(1) }

    func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        let sleeper = Sleeper()
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                sleeper.begin(continuation)
                scheduler.after(deadline.microseconds - scheduler.now) { sleeper.end(nil) }
            }
        } onCancel: {
            sleeper.end(CancellationError())
        }
    }

    private final class Sleeper: @unchecked Sendable {  // only the thread of the run uses it
        private var continuation: CheckedContinuation<Void, any Error>?
        private var cancelled: (any Error)?

        func begin(_ continuation: CheckedContinuation<Void, any Error>) {
            if let cancelled { return continuation.resume(throwing: cancelled) }
            self.continuation = continuation
        }

        func end(_ error: (any Error)?) {
            if continuation == nil { cancelled = error }
            if let error { continuation?.resume(throwing: error) } else { continuation?.resume() }
            continuation = nil
        }
    }
}

extension Duration {
    var microseconds: Int64 { components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000 }
}
