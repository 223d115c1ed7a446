import KMSProtocol
import KeyManagement
import KeyStore
import MasterKey
import Testing
import WireText

/// Freezes of key release: what each covers, that it is reversible, and what happens when it is not known.
@Suite("Freeze")
struct FreezeTests {
    private struct World {
        let kms: TestKMS
        let board: FreezeBoard
        let vault: RecordVault

        static func start() async throws -> World {
            let store = MemoryKeyStore()
            let kek = try KeyEncryptionKey.create()
            let ring = try await SealRing.open(kek: kek, store: store, now: Timestamp.now())
            let vault = RecordVault(ring: ring, store: store)
            let board = try await FreezeBoard(store: store, vault: vault)
            return World(
                kms: try await TestKMS.start(store: store, kek: kek, freezes: board), board: board, vault: vault)
        }

        func order(_ scope: Freeze.Scope) async throws -> Freeze {
            let freeze = Freeze(scope: scope, reason: "test", orderedBy: "officer", since: kms.clock.now)
            try await board.order(freeze)
            return freeze
        }
    }

    @Test("the first answer to a string that came again stays back while a freeze covers its keys, and comes after it")
    func replays() async throws {
        let world = try await World.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        let space = try await alice.createSpace([], with: [])
        let key = try await alice.createKeys(1)[0]
        let strings = [
            try alice.wrapped("create", "/keys") { $0.member("count", 1) },
            try alice.wrapped("update", key.uri) { $0.member("resourceUri", space.uri) },
        ]
        for text in strings {
            let first = await world.kms.handler.reply(to: text, source: "s")
            for scope in [Freeze.Scope.everything, .user(People.alice)] {
                let freeze = try await world.order(scope)
                #expect(try await alice.send(text).status == 403)
                _ = try await world.board.lift(freeze.id)
                #expect(await world.kms.handler.reply(to: text, source: "s") == first)
            }
            let other = try await world.order(.user(People.bob))
            #expect(await world.kms.handler.reply(to: text, source: "s") == first, "somebody else's freeze")
            _ = try await world.board.lift(other.id)
        }
    }

    @Test("each scope stops just the keys that it names, and lifting it gives them back")
    func scopes() async throws {
        let world = try await World.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        let bob = try await TestClient.open(world.kms, People.bob)
        let keys = try await alice.createKeys(3)
        let team = try await alice.createSpace([], with: [People.bob])
        let first = try await alice.createSpace([keys[0]])
        _ = try await alice.add([team.uri], to: first.uri)
        world.kms.clock.advance(seconds: 100)
        let second = try await alice.createSpace([keys[1]], with: [People.bob])
        let later = world.kms.clock.now
        func id(_ uri: String) -> String { String(uri.suffix(36)) }
        /// Alice and Bob at the first key, Alice and Bob at the second, Alice at her unbound one.
        func statuses() async throws -> [Int] {
            var list: [Int] = []
            for (client, key) in [(alice, 0), (bob, 0), (alice, 1), (bob, 1), (alice, 2)] {
                list.append(try await client.status(retrieving: keys[key].uri))
            }
            return list
        }
        let all = [200, 200, 200, 200, 200]
        #expect(try await statuses() == all)
        let device = "https://wdm.cloud.example/devices/\(People.bob)"
        for (scope, expected) in [
            (Freeze.Scope.everything, [403, 403, 403, 403, 403]),
            (.space(id(first.uri)), [403, 403, 200, 200, 200]),
            (.space(id(team.uri)), [200, 403, 200, 200, 200]),
            (.user(People.bob.uppercased()), [200, 403, 200, 403, 200]),
            (.device(device), [200, 403, 200, 403, 200]),
            (.bound(from: later, until: nil), [200, 200, 403, 403, 200]),
            (.bound(from: nil, until: later), [403, 403, 200, 200, 200]),
            (.bound(from: later, until: later), all),
            (.service("search"), all), (.partner("kms.other.example.com"), all),
        ] {
            let freeze = try await world.order(scope)
            #expect(try await statuses() == expected, "\(scope)")
            #expect(try await world.board.lift(freeze.id) == freeze)
            #expect(try await statuses() == all, "after \(scope)")
        }
        let freeze = try await world.order(.space(id(second.uri)))
        #expect(try await alice.ask("retrieve", second.uri + "/keys").status == 403)
        #expect(try await alice.ask("update", keys[2].uri) { $0.member("resourceUri", second.uri) }.status == 403)
        #expect(try await alice.ask("retrieve", second.uri + "/authorizations").status == 200, "lists go on")
        #expect(try await alice.remove(People.bob, from: second.uri).status == 200, "removing goes on")
        _ = try await world.board.lift(freeze.id)
        #expect(try await alice.ask("update", keys[2].uri) { $0.member("resourceUri", second.uri) }.status == 200)
        #expect(try await world.board.lift(freeze.id) == nil)
    }

    @Test("a freeze of everything also stops new keys; it stands after a restart and on another node")
    func everything() async throws {
        let world = try await World.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        let other = try await FreezeBoard(store: world.kms.store, vault: world.vault)
        let freeze = try await world.order(.everything)
        #expect(try await alice.ask("create", "/keys") { $0.member("count", 1) }.status == 403)
        #expect(other.standing.isEmpty)
        try await other.refresh()
        #expect(other.standing == [freeze])
        #expect(try await FreezeBoard(store: world.kms.store, vault: world.vault).standing == [freeze])
        // Two nodes at once lose nothing of each other.
        let second = Freeze(scope: .user("x"), reason: "r", orderedBy: "o", since: world.kms.clock.now)
        try await other.order(second)
        let third = try await world.order(.user("y"))
        #expect(world.board.standing == [freeze, second, third])
    }

    @Test("a list that the database's owner changed, deleted or put back stops release instead of opening it")
    func tampered() async throws {
        let world = try await World.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        let keys = try await alice.createKeys(1)
        let store = world.kms.store
        _ = try await world.order(.user(People.bob))
        let old = try #require(try await store.setting("freezes"))
        _ = try await world.order(.user(People.carol))
        let good = try #require(try await store.setting("freezes"))
        var changed = good
        changed[changed.count - 1] ^= 1
        for value in [changed, old, []] {
            _ = try await store.commit(StoreChange(writes: [.putSetting(name: "freezes", value: value)]))
            await #expect(throws: (any Error).self) { try await world.board.refresh() }
            #expect(try await alice.status(retrieving: keys[0].uri) == 500)
            _ = try await store.commit(StoreChange(writes: [.putSetting(name: "freezes", value: good)]))
            try await world.board.refresh()
            #expect(try await alice.status(retrieving: keys[0].uri) == 200)
        }
    }
}
