import KMSProtocol
import KeyManagement
import KeyStore
import MasterKey
import Testing
import WireText

/// A space key is due for rotation after a leave (security model, "What is promised").
@Suite("Spaces that wait for a new key")
struct SpaceKeysDueTests {
    private struct World {
        let kms: TestKMS
        let due: SpaceKeysDue
        let alice: TestClient

        static func start() async throws -> World {
            let store = MemoryKeyStore()
            let kek = try KeyEncryptionKey.create()
            var policy = TestKMS.testPolicy()
            policy.spaceKeyDue = 3600
            policy.unboundKeyLife = 100 * 86_400
            policy.sessionLife = 20 * 86_400
            let kms = try await TestKMS.start(store: store, kek: kek, policy: policy)
            let ring = try await SealRing.open(kek: kek, store: store, now: kms.clock.now)
            let vault = RecordVault(ring: ring, store: store)
            return World(
                kms: kms, due: SpaceKeysDue(store: store, vault: vault, names: kms.names, policy: policy),
                alice: try await TestClient.open(kms, People.alice))
        }

        func uris() async throws -> [String] { try await due.walk(now: kms.clock.now).map(\.uri) }

        func space(with users: [String] = [People.bob]) async throws -> KMSResource {
            try await alice.createSpace(try await alice.createKeys(1), with: users)
        }

        func bind(to space: String) async throws {
            let key = try await alice.createKeys(1)[0]
            #expect(try await alice.ask("update", key.uri) { $0.member("resourceUri", space) }.status == 200)
        }
    }

    @Test("A space is due when its time after a removal is over without a new key, and until one is bound")
    func life() async throws {
        let world = try await World.start()
        let space = try await world.space()
        let untouched = try await world.space()
        world.kms.clock.advance(seconds: 10_000)
        #expect(try await world.uris() == [], "nobody left")
        let removal = world.kms.clock.now
        #expect(try await world.alice.remove(People.bob, from: space.uri).status == 200)
        world.kms.clock.advance(seconds: 3599)
        #expect(try await world.uris() == [])
        world.kms.clock.advance(seconds: 1)
        let due = try await world.due.walk(now: world.kms.clock.now)
        #expect(due.map(\.uri) == [space.uri] && due.map(\.removal) == [removal])
        #expect(try await world.due.stillDue(due, now: world.kms.clock.now) == due)
        try await world.bind(to: untouched.uri)
        #expect(try await world.uris() == [space.uri], "a key of another space does not count")
        try await world.bind(to: space.uri)
        #expect(try await world.due.stillDue(due, now: world.kms.clock.now) == [])
        #expect(try await world.uris() == [])
    }

    @Test(
        "A key that was bound after the removal counts, however soon; one before does not, and a second removal counts anew"
    )
    func order() async throws {
        let world = try await World.start()
        let space = try await world.space(with: [People.bob, People.carol])
        try await world.bind(to: space.uri)
        _ = try await world.alice.remove(People.bob, from: space.uri)
        // In the same millisecond.
        try await world.bind(to: space.uri)
        world.kms.clock.advance(seconds: 4000)
        #expect(try await world.uris() == [])
        _ = try await world.alice.remove(People.carol, from: space.uri)
        world.kms.clock.advance(seconds: 3600)
        #expect(try await world.uris() == [space.uri])
    }

    @Test("What nobody can or need rotate is not due: deleted, without a key, without anybody")
    func exceptions() async throws {
        let world = try await World.start()
        let deleted = try await world.space()
        let empty = try await world.alice.createSpace([], with: [People.bob])
        let deserted = try await world.space()
        let control = try await world.space()
        for space in [deleted, empty, deserted, control] {
            #expect(try await world.alice.remove(People.bob, from: space.uri).status == 200)
        }
        #expect(try await world.alice.remove(People.alice, from: deserted.uri).status == 200)
        #expect(try await world.alice.ask("delete", deleted.uri).status == 200)
        world.kms.clock.advance(seconds: 3600)
        #expect(try await world.uris() == [control.uri])
    }

    @Test("All are found, over many pages, longest ago first")
    func many() async throws {
        let world = try await World.start()
        var spaces: [String] = []
        for number in 0..<560 {
            let space = try await world.space()
            if number % 100 == 0 {
                world.kms.clock.advance(seconds: 1)
                _ = try await world.alice.remove(People.bob, from: space.uri)
                spaces.append(space.uri)
            }
        }
        world.kms.clock.advance(seconds: 3600)
        #expect(try await world.uris() == spaces)
    }
}
