import Diagnostics
import KeyStore
import Synchronization
import Testing

/// Committers that go on until they are told to stop, and can tell whether each change was done exactly once.
///
/// Each has a resource of its own, raises its version by one with every commit and adds a key and a ledger entry: a
/// change that was done twice would come back as a conflict or a duplicate, one that was lost would be missing.
final class CommitLoad: Sendable {
    private let store: any KeyStore
    private let committers: Int
    private let acknowledged: Mutex<[Int]>
    private let stopped = Atomic(false)

    init(_ store: any KeyStore, committers: Int = 8) {
        self.store = store
        self.committers = committers
        acknowledged = Mutex([Int](repeating: 0, count: committers))
    }

    /// Runs the body while the committers work, then stops them and looks at what is there.
    func run(during body: (CommitLoad) async throws -> Void) async throws {
        for number in 0..<committers { try await store.apply(.insertResource(Sample.resource(5000 + number))) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<committers { group.addTask { try await self.commit(number) } }
            do {
                try await progress()
                try await body(self)
                try await progress()
            } catch {
                stopped.store(true, ordering: .relaxed)
                throw error
            }
            stopped.store(true, ordering: .relaxed)
            try await group.waitForAll()
        }
        try await verify(in: store)
    }

    /// Returns when every committer has been acknowledged some more.
    func progress(by count: Int = 3) async throws {
        let goals = acknowledged.withLock { $0.map { $0 + count } }
        while !acknowledged.withLock({ zip($0, goals).allSatisfy { $0 >= $1 } }) {
            guard !stopped.load(ordering: .relaxed) else { throw TestFailure("a committer has ended") }
            await Task.yield()
        }
    }

    /// Everything acknowledged is there once, and nothing else.
    func verify(in store: any KeyStore) async throws {
        for (number, count) in acknowledged.withLock({ $0 }).enumerated() {
            #expect(count > 0)
            #expect(try await store.resource(Sample.id(5000 + number))?.version == Int64(count + 1))
            for step in 1...count + 1 {
                let id = Self.id(number, step)
                #expect(try await (store.key(Sample.id(id)) != nil) == (step <= count))
                #expect(try await (store.ledgerEntry(Sample.digest(id)) != nil) == (step <= count))
            }
        }
    }

    private static func id(_ committer: Int, _ step: Int) -> Int { (committer + 1) << 20 | step }

    private func commit(_ number: Int) async throws {
        var step = 0
        while !stopped.load(ordering: .relaxed) {
            step += 1
            let id = Self.id(number, step)
            let result: CommitResult
            do {
                result = try await store.apply(
                    .updateResource(Sample.resource(5000 + number, version: Int64(step + 1))),
                    .insertKey(Sample.key(id)), .insertLedger(Sample.ledger(id)),
                    expecting: [.resource(id: Sample.id(5000 + number), version: Int64(step))])
            } catch {
                stopped.store(true, ordering: .relaxed)
                throw error
            }
            guard result == .committed else {
                stopped.store(true, ordering: .relaxed)
                throw TestFailure("committer \(number), step \(step): \(result), so it was done before")
            }
            acknowledged.withLock { $0[number] = step }
        }
    }
}
