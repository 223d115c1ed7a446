import KMSProtocol
import KeyStore
import KeyStoreSQLite
import MasterKey
import TestServers
import Testing
import WireText

@testable import KeyManagement

/// What the KMS itself does never looks like somebody else's work.
@Suite("Sums and counters of an honest store", .timeLimit(.minutes(5)))
struct HonestStoreTests {
    typealias World = RollbackWorld

    @Test(
        "creations, removals, deletions, erasures, rotations and restarts leave sums that fit",
        arguments: World.Kind.here)
    func everything(_ kind: World.Kind) async throws {
        let world = try World(kind)
        var node = try await world.start()
        for round in 0..<3 {
            let alice = try await TestClient.open(node.kms, People.alice)
            let (space, key) = try await alice.space(with: [People.bob])
            _ = try await alice.createKeys(5)
            #expect(try await alice.remove(People.bob, from: space).status == 200)
            let (doomed, _) = try await alice.space(with: [People.bob])
            #expect(try await alice.ask("delete", doomed).status == 200)
            world.clock.advance(seconds: 400 * 86_400)
            let now = world.clock.now
            #expect(
                try await Tombstones(store: node.store, vault: node.vault, policy: KMSPolicy()).erase(now: now) == 1)
            let intervals = Intervals(store: node.store, vault: node.vault, policy: PolicyInForce(KMSPolicy()))
            #expect(try await intervals.erase(now: now.adding(seconds: 40_000 * 86_400)) > 0)
            try await node.store.purgeExpired(now: now)
            try await HoldList.change([space.lastID], reason: "r", store: node.store, vault: node.vault)
            let rotation = RootKeyRotation(store: node.store, ring: node.ring)
            _ = try await rotation.generate(now: now)
            try await rotation.beat(node: "a", now: now)
            _ = try await rotation.promote(now: now)
            _ = try await Resealer(store: node.store, ring: node.ring).run()
            #expect(try await rotation.retire(now: now) != nil)
            try await node.detector.look(now: now)
            try await node.detector.verify()
            let scan = try await node.detector.scan(now: now)
            #expect(scan.adds && scan.brokenCount == 0 && scan.rows > 10 * round)
            #expect(node.kinds == [])
            await node.close()
            node = try await world.start()
            let again = try await TestClient.open(node.kms, People.alice)
            #expect(try await again.status(retrieving: key) == 200)
        }
        #expect(node.kinds == [])
        await node.close()
    }

    @Test("while many write, looks, verifications and scans find nothing", arguments: World.Kind.here)
    func busy(_ kind: World.Kind) async throws {
        let world = try World(kind)
        let node = try await world.start()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    let alice = try await TestClient.open(node.kms, People.alice)
                    for _ in 0..<15 {
                        let (space, _) = try await alice.space(with: [People.bob])
                        #expect(try await alice.remove(People.bob, from: space).status == 200)
                    }
                }
            }
            group.addTask {
                for _ in 0..<20 {
                    try await node.detector.look(now: world.clock.now)
                    try await node.detector.verify()
                }
                for _ in 0..<3 { #expect(try await node.detector.scan(now: world.clock.now).adds) }
            }
            try await group.waitForAll()
        }
        #expect(node.kinds == [])
        #expect(node.store.known.counter >= 4 * 15 * 3)
        await node.close()
    }

    @Test(
        "of two nodes each has its own row, and what one accepted the other takes over",
        .enabled(if: TestPostgreSQL.isInstalled))
    func nodes() async throws {
        let world = try World(.postgresql)
        let one = try await world.start("one")
        let two = try await world.start("two")
        for node in [one, two] {
            let alice = try await TestClient.open(node.kms, People.alice)
            _ = try await alice.space(with: [People.bob])
            try await node.detector.look(now: world.clock.now)
        }
        #expect(try await one.store.rowSums().count == 2)
        #expect(try await two.detector.scan(now: world.clock.now).adds)
        try await two.detector.look(now: world.clock.now)
        try await one.detector.look(now: world.clock.now)
        await one.close()
        // The other one's row is remembered as well.
        try await world.sql("DELETE FROM row_sums WHERE writer = '\(one.store.writer)'")
        try await two.detector.look(now: world.clock.now)
        #expect(two.kinds == [.counters])
        let gap = try #require(two.freezes.rollback.gap)
        try await two.detector.accept(gap, by: "ada", now: world.clock.now)
        #expect(two.kinds == [])
        // It comes back, remembers more than there is, and is told that an officer knows.
        let back = try await world.start("one")
        #expect(back.kinds == [])
        #expect(try await back.detector.scan(now: world.clock.now).adds)
        await back.close()
        await two.close()
    }

    @Test("a store of before is counted from its first start on", arguments: World.Kind.here)
    func upgraded(_ kind: World.Kind) async throws {
        let world = try World(kind)
        let before = try await world.start()
        let alice = try await TestClient.open(before.kms, People.alice)
        _ = try await alice.space(with: [People.bob])
        await before.close()
        try await world.sql("DELETE FROM row_sums")
        try await world.keep("settings", where: "FALSE")
        let name = kind == .sqlite ? "'store-epoch'" : world.octets(Array("store-epoch".utf8))
        try await world.sql("DELETE FROM settings WHERE name = \(name)")
        let fresh = try await world.start("fresh")
        #expect(fresh.kinds == [])
        #expect(try await fresh.detector.scan(now: world.clock.now).adds)
        await fresh.close()
        // Control: who remembers the store does not take it for one of before.
        let remembering = try await world.start()
        #expect(remembering.kinds == [.epoch])
        await remembering.close()
    }

    @Test("the erasure of a person, own spaces and shared ones, leaves sums that fit")
    func erasure() async throws {
        // Of another KMS: what a term is does not matter, only that each comes and goes with its row.
        let ring = try await SealRing.open(
            kek: try KeyEncryptionKey.create(), store: MemoryKeyStore(), now: Timestamp.now())
        let world = try await OversightWorld.start(
            .sqlite, wrapping: { SummingStore($0, ring: ring, writer: UUIDText.random()) })
        let alice = try await TestClient.open(world.kms, People.alice)
        let bob = try await TestClient.open(world.kms, People.bob)
        _ = try await alice.space(with: [])
        _ = try await alice.space(with: [People.bob])
        let (left, _) = try await bob.space(with: [People.alice])
        _ = try await alice.remove(People.alice, from: left)
        _ = try await alice.createKeys(3)
        _ = try await world.erase(.user(People.alice))
        let vault = RecordVault(ring: ring, store: world.kms.store)
        let scan = try SQLiteSnapshot.read(path: world.folder + "/keys.db") { try RowScan.run($0, vault) }
        #expect(scan.adds)
        #expect(scan.rows > 5 && scan.brokenCount > 0, "control: there are rows, which that other KMS does not open")
        await world.kms.store.close()
    }

    @Test("a change whose outcome is not known is taken over when it took effect")
    func unknownOutcome() async throws {
        let kek = try KeyEncryptionKey.create()
        let memory = MemoryKeyStore()
        let ring = try await SealRing.open(kek: kek, store: memory, now: Timestamp.now())
        let faulting = FaultingKeyStore(memory)
        let store = SummingStore(faulting, ring: ring, writer: UUIDText.random())
        func key() throws -> StoreChange {
            StoreChange(writes: [.insertKey(KeyRecord(id: UUIDText.random(), sealed: [1]))])
        }
        _ = try await store.commit(try key())
        struct Lost: Error {}
        for fault in [FaultingKeyStore.Fault.loseAnswer(Lost()), .fail(Lost())] {
            faulting.inject(fault, of: .commit)
            await #expect(throws: Lost.self) { try await store.commit(try key()) }
        }
        guard case .adopted(let row) = try await store.verify() else { return #expect(Bool(false)) }
        #expect(row.counter == 2)
        #expect(try await store.verify() == .holds(row))
        _ = try await memory.commit(
            {
                var change = try key()
                change.sum = SumChange(writer: store.writer, sum: RowSum())
                return change
            }())
        _ = try await memory.commit(
            {
                var change = try key()
                change.sum = SumChange(writer: store.writer, sum: RowSum())
                return change
            }())
        guard case .differs = try await store.verify() else {
            return #expect(Bool(false), "only as many are taken over as were not known")
        }
    }

    @Test("the places of removed grants are kept as ranges, merge, and are bounded")
    func ranges() {
        var removed = RemovedGrants()
        for order in [5, 3, 4, 9, 0] as [Int64] { removed.insert(order) }
        #expect(removed.ranges == [0...0, 3...5, 9...9])
        #expect((0..<12).filter { removed.contains(Int64($0)) } == [0, 3, 4, 5, 9])
        #expect(RemovedGrants(removed.octets) == removed)
        #expect(RemovedGrants(RemovedGrants().octets) == RemovedGrants())
        #expect(RemovedGrants([0x80]) == nil)
        #expect(RemovedGrants([1, 2, 1, 0]) == nil, "neighbours are one range")
        var many = RemovedGrants()
        for order in 0..<Int64(RemovedGrants.maximum + 10) { many.insert(order * 1000) }
        #expect(many.ranges.count == RemovedGrants.maximum)
        #expect(!many.contains(0) && many.contains(Int64(RemovedGrants.maximum) * 1000))
        #expect(RemovedGrants(many.octets) == many)
        #expect(many.octets.count <= 4 * RemovedGrants.maximum)
        var model: Set<Int64> = []
        var random = removed
        var generator = SeededGenerator(seed: 7)
        for _ in 0..<400 {
            let order = Int64.random(in: 0..<300, using: &generator)
            model.insert(order)
            random.insert(order)
        }
        #expect((0..<300).allSatisfy { random.contains($0) == (model.contains($0) || removed.contains($0)) })
        #expect(RemovedGrants(random.octets) == random)
    }
}
