import Diagnostics
import Dispatch
import KeyStore
import Synchronization
import Testing

@testable import KeyStoreSQLite

@Suite(.timeLimit(.minutes(1))) struct CommitQueueTests {
    /// A writer that holds its first batch, of one change, until it is let go, so that the rest gathers.
    private final class HeldWriter: Sendable {
        let batches = Mutex<[Int]>([])
        let gate = Gate()

        func apply(_ changes: [StoreChange]) -> [CommitQueue.Outcome] {
            batches.withLock { $0.append(changes.count) }
            gate.passBlocking()
            return changes.map { _ in .success(.committed) }
        }

        /// Commits `changes` while a first batch is held; the sizes of all batches.
        func batches(of changes: [StoreChange], in queue: CommitQueue) async throws -> [Int] {
            try await withThrowingTaskGroup(of: CommitResult.self) { group in
                group.addTask { try await queue.commit(StoreChange()) }
                while batches.withLock({ $0.isEmpty }) { await Task.yield() }
                for change in changes { group.addTask { try await queue.commit(change) } }
                while queue.count < changes.count { await Task.yield() }
                gate.open()
                for try await result in group { #expect(result == .committed) }
            }
            return batches.withLock { $0 }
        }
    }

    @Test("what gathers while one batch is written goes together in the next")
    func grouping() async throws {
        let writer = HeldWriter()
        let queue = CommitQueue(label: "test", apply: writer.apply)
        let changes = [StoreChange](repeating: StoreChange(), count: 200)
        #expect(try await writer.batches(of: changes, in: queue) == [1, 200])
    }

    @Test("a batch is bounded by its writes")
    func bound() async throws {
        let writer = HeldWriter()
        let queue = CommitQueue(label: "test", maximumWrites: 10, apply: writer.apply)
        let change = StoreChange(writes: [StoreWrite](repeating: .deleteSession(id: Sample.id(1)), count: 4))
        #expect(try await writer.batches(of: [StoreChange](repeating: change, count: 7), in: queue) == [1, 3, 3, 1])
    }

    @Test("a change larger than a batch goes alone")
    func largeChange() async throws {
        let writer = HeldWriter()
        let queue = CommitQueue(label: "test", maximumWrites: 2, apply: writer.apply)
        let change = StoreChange(writes: [StoreWrite](repeating: .deleteSession(id: Sample.id(1)), count: 9))
        #expect(try await writer.batches(of: [change, change], in: queue) == [1, 1, 1])
    }

    @Test("closing waits for what was accepted and refuses what comes later")
    func closing() async throws {
        let writer = HeldWriter()
        let queue = CommitQueue(label: "test", apply: writer.apply)
        async let first = queue.commit(StoreChange())
        while writer.batches.withLock({ $0.isEmpty }) { await Task.yield() }
        async let second = queue.commit(StoreChange())
        while queue.count < 1 { await Task.yield() }
        async let closed: Void = queue.close()
        while !queue.isClosed { await Task.yield() }
        #expect(await code { _ = try await queue.commit(StoreChange()) } == .storeClosed)
        writer.gate.open()
        await closed
        #expect(writer.batches.withLock { $0 } == [1, 1])
        #expect(try await first == .committed)
        #expect(try await second == .committed)
        await queue.close()
    }

    @Test("every waiter of a failed batch gets the error, and the next batch is tried again")
    func failure() async throws {
        let failing = Mutex(true)
        let queue = CommitQueue(label: "test") { changes in
            let error = DiagnosedError(.storeFull, fault: .store, "full")
            let fails = failing.withLock { $0 }
            return changes.map { _ in fails ? .failure(error) : .success(.committed) }
        }
        await withTaskGroup(of: DiagnosedError.Code?.self) { group in
            for _ in 0..<50 { group.addTask { await code { _ = try await queue.commit(StoreChange()) } } }
            for await found in group { #expect(found == .storeFull) }
        }
        failing.withLock { $0 = false }
        #expect(try await queue.commit(StoreChange()) == .committed)
    }

    @Test("a waiter without an outcome gets an error instead of waiting for ever")
    func missingOutcome() async {
        let queue = CommitQueue(label: "test") { _ in [] }
        #expect(await code { _ = try await queue.commit(StoreChange()) } == .storeFailed)
    }

    @Test("a cancelled caller still gets the outcome of what it committed")
    func cancellation() async throws {
        let writer = HeldWriter()
        let queue = CommitQueue(label: "test", apply: writer.apply)
        let task = Task { try await queue.commit(StoreChange()) }
        task.cancel()
        writer.gate.open()
        #expect(try await task.value == .committed)
    }
}

/// Holds threads or tasks back until it is opened.
final class Gate: Sendable {
    private let isOpen = Mutex(false)
    private let threads = DispatchSemaphore(value: 0)

    func open() {
        isOpen.withLock { $0 = true }
        threads.signal()
    }

    func passBlocking() {
        threads.wait()
        threads.signal()
    }
    func pass() async {
        while !isOpen.withLock({ $0 }) { await Task.yield() }
    }
}
