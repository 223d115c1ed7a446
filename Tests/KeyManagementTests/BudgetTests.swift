import Cryptography
import Encryption
import KMSProtocol
import KeyManagement
import KeyStore
import Synchronization
import Testing
import WireText

/// What one user, device or sender may take of the KMS.
@Suite("Budgets")
struct BudgetTests {
    @Test("a user who asks too often gets 429, others go on, and time gives it back")
    func user() async throws {
        var policy = TestKMS.testPolicy()
        policy.requestsPerUserAndMinute = 60
        policy.requestsPerDeviceAndMinute = 1_000
        let kms = try await TestKMS.start(policy: policy)
        let alice = try await TestClient.open(kms, People.alice)
        let bob = try await TestClient.open(kms, People.bob)
        for _ in 0..<60 { #expect(try await alice.ask("update", "/ping").status == 200) }
        let refused = try await alice.ask("update", "/ping")
        #expect(refused.status == 429)
        #expect(refused.reason?.contains(People.alice) == true)
        #expect(try await bob.ask("update", "/ping").status == 200)
        kms.clock.advance(seconds: 2)
        #expect(try await alice.ask("update", "/ping").status == 200)
        // A refused change is judged anew when its string comes again.
        for _ in 0..<3 { _ = try await alice.ask("update", "/ping") }
        let create = try alice.wrapped("create", "/keys") { $0.member("count", 1) }
        #expect(try await alice.send(create).status == 429)
        kms.clock.advance(seconds: 60)
        #expect(try await alice.send(create).status == 201)
    }

    @Test("a device has a budget of its own")
    func device() async throws {
        var policy = TestKMS.testPolicy()
        policy.requestsPerDeviceAndMinute = 60
        let kms = try await TestKMS.start(policy: policy)
        let alice = try await TestClient.open(kms, People.alice)
        for _ in 0..<60 { _ = try await alice.ask("update", "/ping") }
        #expect(try await alice.ask("update", "/ping").reason?.contains("device") == true)
    }

    @Test("nobody deletes more spaces within an hour than the policy allows")
    func deletions() async throws {
        var policy = TestKMS.testPolicy()
        policy.deletionsPerUserAndHour = 3
        let kms = try await TestKMS.start(policy: policy)
        let alice = try await TestClient.open(kms, People.alice)
        var spaces: [KMSResource] = []
        for _ in 0..<5 { spaces.append(try await alice.createSpace([])) }
        for space in spaces[0..<3] { #expect(try await alice.ask("delete", space.uri).status == 200) }
        #expect(try await alice.ask("delete", spaces[3].uri).status == 429)
        #expect(try await alice.ask("retrieve", spaces[3].uri).status == 200)
        kms.clock.advance(seconds: 1200)
        #expect(try await alice.ask("delete", spaces[3].uri).status == 200)
        #expect(try await alice.ask("delete", spaces[4].uri).status == 429)
    }

    @Test("somebody is told once an hour when a user reads unusually many keys; nothing is refused")
    func unusualReads() async throws {
        var policy = TestKMS.testPolicy()
        policy.keyReadsPerUserAndHour = 10
        let kms = try await TestKMS.start(policy: policy, now: Timestamp(seconds: 1_800_000_000))
        let alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(8)
        let space = try await alice.createSpace(keys)
        func told() -> Int { kms.log.lines.withLock { $0.count { $0.text.hasPrefix("unusual keyReads") } } }
        #expect(try await alice.ask("retrieve", space.uri + "/keys").status == 200)
        #expect(told() == 0)
        #expect(try await alice.ask("retrieve", space.uri + "/keys").status == 200)
        #expect(told() == 1)
        #expect(kms.log.text.contains("unusual keyReads \(People.alice) 16"))
        for _ in 0..<5 { #expect(try await alice.status(retrieving: keys[0].uri) == 200) }
        #expect(told() == 1)
        kms.clock.advance(seconds: 3600)
        for _ in 0..<2 { _ = try await alice.ask("retrieve", space.uri + "/keys") }
        #expect(told() == 2)
    }

    @Test("one session opening at a time of one sender, a few wait, the rest is dropped; other senders go on")
    func openings() async throws {
        let store = FaultingKeyStore(MemoryKeyStore())
        let kms = try await TestKMS.start(store: store)
        _ = try await TestClient.open(kms, People.dan)
        let own = try P256Agreement.generate()
        func opening(_ user: String) throws -> [UInt8] {
            try TestClient.opening(kms, user, x: own.publicX, y: own.publicY)
        }
        let workers = WorkerPool(threads: 4)
        defer { workers.shutDown() }
        let lanes = RequestLanes(handler: kms.handler, workers: workers)
        let (reached, arrived) = AsyncStream<Void>.makeStream()
        let (released, release) = AsyncStream<Void>.makeStream()
        store.inject(
            .delay {
                arrived.yield()
                for await _ in released { break }
            }, of: .commit)
        let replies = Mutex<[RequestHandler.Reply]>([])
        for _ in 0..<12 {
            lanes.submit(try opening(People.alice), source: "device-1") { reply in replies.withLock { $0.append(reply) }
            }
        }
        for await _ in reached { break }
        // One is under way, eight wait, three are over.
        let dropped = replies.withLock { $0 }
        #expect(dropped.count == 3)
        #expect(dropped.allSatisfy { if case .drop = $0 { true } else { false } })
        let other = await withCheckedContinuation { continuation in
            do {
                lanes.submit(try opening(People.bob), source: "device-2") { continuation.resume(returning: $0) }
            } catch {
                continuation.resume(returning: .drop("\(error)"))
            }
        }
        guard case .answer = other else {
            Issue.record("another sender was kept waiting: \(other)")
            return
        }
        #expect(replies.withLock { $0.count } == 3, "nothing of the first sender overtook")
        release.yield()
        await lanes.drain()
        let answered = replies.withLock { $0.count { if case .answer = $0 { true } else { false } } }
        #expect(answered == 9)
    }
}
