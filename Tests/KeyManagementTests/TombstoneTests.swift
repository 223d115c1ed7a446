import KMSProtocol
import KeyManagement
import KeyStore
import MasterKey
import Testing
import WireText

/// What becomes of deleted resources (security model, rule 13).
@Suite("Tombstones and holds")
struct TombstoneTests {
    private struct World {
        let kms: TestKMS
        let tombstones: Tombstones
        let vault: RecordVault

        static func start(_ store: any KeyStore = MemoryKeyStore()) async throws -> World {
            let kek = try KeyEncryptionKey.create()
            var policy = TestKMS.testPolicy()
            policy.tombstoneLife = 3600
            let kms = try await TestKMS.start(store: store, kek: kek, policy: policy)
            let ring = try await SealRing.open(kek: kek, store: store, now: kms.clock.now)
            let vault = RecordVault(ring: ring, store: store)
            return World(kms: kms, tombstones: Tombstones(store: store, vault: vault, policy: policy), vault: vault)
        }

        func erase() async throws -> Int { try await tombstones.erase(now: kms.clock.now) }
    }

    private func id(_ uri: String) -> String { String(uri.suffix(36)) }

    @Test("a deleted space's keys are unreadable at once, kept sealed for the policy's time, then erased")
    func life() async throws {
        let world = try await World.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        let keys = try await alice.createKeys(3)
        let deleted = try await alice.createSpace([keys[0], keys[1]], with: [People.bob])
        let kept = try await alice.createSpace([keys[2]])
        #expect(try await alice.ask("delete", deleted.uri).status == 200)
        #expect(try await alice.status(retrieving: keys[0].uri) == 404)
        #expect(try await world.erase() == 0)
        #expect(try await world.kms.store.key(id(keys[0].uri)) != nil, "still there, sealed")
        world.kms.clock.advance(seconds: 3599)
        #expect(try await world.erase() == 0)
        world.kms.clock.advance(seconds: 1)
        #expect(try await world.erase() == 1)
        for key in keys[0...1] { #expect(try await world.kms.store.key(id(key.uri)) == nil) }
        #expect(try await world.kms.store.resource(id(deleted.uri)) == nil)
        #expect(try await alice.status(retrieving: keys[0].uri) == 404)
        #expect(try await alice.ask("retrieve", deleted.uri).status == 404)
        #expect(try await alice.status(retrieving: keys[2].uri) == 200)
        #expect(try await alice.ask("retrieve", kept.uri).status == 200)
        #expect(try await world.erase() == 0)
    }

    @Test("a held space is not erased, however many others are; when the hold ends it is")
    func holds() async throws {
        let world = try await World.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        var spaces: [KMSResource] = []
        for _ in 0..<5 { spaces.append(try await alice.createSpace(try await alice.createKeys(1))) }
        for space in spaces { _ = try await alice.ask("delete", space.uri) }
        let held = [id(spaces[0].uri), id(spaces[3].uri)]
        try await HoldList.change(held, reason: "matter 7", store: world.kms.store, vault: world.vault)
        world.kms.clock.advance(seconds: 4000)
        #expect(try await world.erase() == 3)
        for (number, space) in spaces.enumerated() {
            #expect((try await world.kms.store.resource(id(space.uri)) != nil) == [0, 3].contains(number))
        }
        try await HoldList.change([held[0]], reason: nil, store: world.kms.store, vault: world.vault)
        #expect(try await world.erase() == 1)
        #expect(try await world.kms.store.resource(held[0]) == nil)
        #expect(try await world.kms.store.resource(held[1]) != nil)
    }

    @Test("a hold that comes while the erasure is decided wins")
    func race() async throws {
        let faulting = FaultingKeyStore(MemoryKeyStore())
        let world = try await World.start(faulting)
        let alice = try await TestClient.open(world.kms, People.alice)
        let space = try await alice.createSpace(try await alice.createKeys(1))
        _ = try await alice.ask("delete", space.uri)
        world.kms.clock.advance(seconds: 4000)
        let vault = world.vault
        let held = id(space.uri)
        // The next commit is the erasure's; before it runs the hold is made.
        faulting.inject(
            .delay {
                try? await HoldList.change([held], reason: "late", store: faulting, vault: vault)
            }, of: .commit)
        #expect(try await world.erase() == 0)
        #expect(try await world.kms.store.resource(held) != nil)
    }

    @Test("a hold list that the database's owner changed stops the erasure")
    func forged() async throws {
        let world = try await World.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        let space = try await alice.createSpace(try await alice.createKeys(1))
        _ = try await alice.ask("delete", space.uri)
        let held = id(space.uri)
        try await HoldList.change([held], reason: "matter 7", store: world.kms.store, vault: world.vault)
        var value = try #require(try await world.kms.store.setting("holds"))
        value[value.count - 1] ^= 1
        _ = try await world.kms.store.commit(StoreChange(writes: [.putSetting(name: "holds", value: value)]))
        world.kms.clock.advance(seconds: 4000)
        await #expect(throws: (any Error).self) { try await world.erase() }
        #expect(try await world.kms.store.resource(held) != nil)
    }
}
