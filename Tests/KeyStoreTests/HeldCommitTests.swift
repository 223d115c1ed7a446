import Diagnostics
import FoundationEssentials
import Glibc
import KeyStore
import Synchronization
import Testing

@testable import KeyStoreSQLite

/// What happens to requests while the disk of a SQLite store does not do what it should.
@Suite("Requests are held for the SQLite store", .timeLimit(.minutes(2)))
struct HeldCommitTests {
    private static let full = DiagnosedError(.storeFull, fault: .store, "full")

    /// Fails as long as it is told to, and keeps what it carried out, in order.
    private final class AilingWriter: Sendable {
        let trouble = Mutex<DiagnosedError?>(HeldCommitTests.full)
        let tries = Atomic(0)
        let done = Mutex<[StoreChange]>([])

        func apply(_ changes: [StoreChange]) -> [CommitQueue.Outcome] {
            tries.wrappingAdd(1, ordering: .relaxed)
            if let trouble = trouble.withLock({ $0 }) { return changes.map { _ in .failure(trouble) } }
            done.withLock { $0 += changes }
            return changes.map { _ in .success(.committed) }
        }
        func heal() { trouble.withLock { $0 = nil } }
        func triesReach(_ count: Int) async { while tries.load(ordering: .relaxed) < count { await Task.yield() } }
    }

    private static func change(_ number: Int) -> StoreChange {
        StoreChange(writes: [.deleteSession(id: Sample.id(number))])
    }

    @Test("what was held is done once, before and in front of what came later, and the store tells of both")
    func heldAndDone() async throws {
        let writer = AilingWriter()
        let told = Mutex<[DiagnosedError.Code?]>([])
        let waits = Mutex(0)
        let observer = StoreObserver(
            trouble: { trouble in told.withLock { $0.append(trouble?.code) } },
            committed: { _ in waits.withLock { $0 += 1 } })
        let queue = CommitQueue(
            label: "test", hold: StoreHold(patience: .seconds(60), observer: observer), apply: writer.apply)
        async let first = queue.commit(Self.change(0))
        await writer.triesReach(2)
        async let second = queue.commit(Self.change(1))
        while queue.count < 1 { await Task.yield() }
        #expect(writer.done.withLock { $0.isEmpty })
        writer.heal()
        #expect(try await first == .committed)
        #expect(try await second == .committed)
        #expect(writer.done.withLock { $0 } == [Self.change(0), Self.change(1)])
        await queue.close()
        #expect(told.withLock { $0 } == [.storeFull, nil])
        #expect(waits.withLock { $0 } == 2)
    }

    @Test("when the patience is over the request fails, tried once more at most")
    func patience() async throws {
        let writer = AilingWriter()
        let queue = CommitQueue(
            label: "test", hold: StoreHold(patience: .milliseconds(200)), apply: writer.apply)
        let start = ContinuousClock.now
        #expect(await code { _ = try await queue.commit(Self.change(0)) } == .storeFull)
        #expect(start.duration(to: .now) >= .milliseconds(200), "held, not refused at once")
        writer.heal()
        #expect(try await queue.commit(Self.change(1)) == .committed)
        #expect(writer.done.withLock { $0 } == [Self.change(1)])
    }

    @Test("when the service stops nothing is held any more")
    func stopping() async throws {
        let writer = AilingWriter()
        let hold = StoreHold(patience: .seconds(3600))
        let queue = CommitQueue(label: "test", hold: hold, apply: writer.apply)
        async let held = code { _ = try await queue.commit(Self.change(0)) }
        await writer.triesReach(2)
        hold.end()
        #expect(await held == .storeFull)
        #expect(await code { _ = try await queue.commit(Self.change(1)) } == .storeFull)
    }

    @Test("damage and defects are not waited for")
    func notHeld() async throws {
        let writer = AilingWriter()
        writer.trouble.withLock { $0 = DiagnosedError(.storeCorrupt, fault: .store, "damaged") }
        let queue = CommitQueue(label: "test", hold: StoreHold(patience: .seconds(3600)), apply: writer.apply)
        #expect(await code { _ = try await queue.commit(Self.change(0)) } == .storeCorrupt)
        #expect(writer.tries.load(ordering: .relaxed) == 1)
    }

    @Test("a file that was moved away takes no change until it is back; then what was held is there, once")
    func movedAway() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path("keys.db")
        let told = Mutex<[DiagnosedError.Code?]>([])
        var options = SQLiteKeyStore.Options()
        options.patience = .seconds(60)
        options.observer = StoreObserver(trouble: { trouble in told.withLock { $0.append(trouble?.code) } })
        let store = try SQLiteKeyStore(path: path, options: options)
        try await store.apply(.insertKey(Sample.key(1)))
        try FileManager.default.moveItem(atPath: path, toPath: path + ".away")
        async let held = store.apply(.insertKey(Sample.key(2)), .insertLedger(Sample.ledger(2)))
        while told.withLock({ $0.isEmpty }) { await Task.yield() }
        #expect(await code { try await store.check() } == .storeReplaced)
        #expect(try await store.key(Sample.id(1)) != nil, "reading goes on")
        #expect(try await store.key(Sample.id(2)) == nil)
        try FileManager.default.moveItem(atPath: path + ".away", toPath: path)
        #expect(try await held == .committed)
        #expect(try await store.key(Sample.id(2)) == Sample.key(2))
        try await store.check()
        #expect(told.withLock { $0 } == [.storeReplaced, nil])
        await store.close()
    }

    @Test("a full store holds what it can not keep, and does it when there is room")
    func fullAndRoom() async throws {
        let directory = try TemporaryDirectory()
        var options = SQLiteKeyStore.Options()
        options.maximumPages = 60
        options.patience = .milliseconds(300)
        let told = Mutex<[DiagnosedError.Code?]>([])
        options.observer = StoreObserver(trouble: { trouble in told.withLock { $0.append(trouble?.code) } })
        let store = try SQLiteKeyStore(path: directory.path("keys.db"), options: options)
        var number = 0
        var kept: [Int] = []
        while true {
            var key = Sample.key(number)
            key.sealed = [UInt8](repeating: 7, count: 3000)
            let found = await code { try await store.apply(.insertKey(key)) }
            guard found == nil else {
                #expect(found == .storeFull)
                break
            }
            kept.append(number)
            number += 1
        }
        #expect(kept.count > 10)
        // Erasing makes room: pages of what is gone are used again.
        for number in kept.prefix(5) { try await store.apply(.eraseKey(id: Sample.id(number), version: 1)) }
        #expect(try await store.apply(.insertKey(Sample.key(9000))) == .committed)
        #expect(told.withLock { $0.first } == .storeFull && told.withLock { $0.last } == .some(nil))
        for number in kept.dropFirst(5) { #expect(try await store.key(Sample.id(number)) != nil) }
        await store.close()
    }
}
