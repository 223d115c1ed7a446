import KMSProtocol
import KeyManagement
import KeyStore
import MasterKey
import Synchronization
import Testing
import WireText

/// Users who are cut off: nothing they send is answered, on any node, and nobody else notices.
@Suite("Disabled users")
struct DisabledUserTests {
    private static let issuer = "https://auth.example.com"
    private let since = Timestamp(seconds: 1_800_000_000)

    private struct World {
        let store: MemoryKeyStore
        let kek: KeyEncryptionKey
        let kms: TestKMS
        let list: DisabledUsers

        static func start() async throws -> World {
            let store = MemoryKeyStore()
            let kek = try KeyEncryptionKey.create()
            let list = try await node(store, kek)
            return World(
                store: store, kek: kek, kms: try await TestKMS.start(store: store, kek: kek, disabled: list), list: list
            )
        }

        static func node(_ store: any KeyStore, _ kek: KeyEncryptionKey) async throws -> DisabledUsers {
            let ring = try await SealRing.open(kek: kek, store: store, now: Timestamp.now())
            return try await DisabledUsers(store: store, vault: RecordVault(ring: ring, store: store))
        }
    }

    private func apply(_ users: [String], to list: DisabledUsers, of issuer: String = issuer) async throws
        -> DisabledUsers.Difference
    {
        try await list.apply(Dictionary(uniqueKeysWithValues: users.map { ($0, since) }), of: issuer)
    }

    @Test("every request is refused before anything is judged, reads, changes and openings alike, and others go on")
    func refused() async throws {
        let world = try await World.start()
        let alice = try await TestClient.open(world.kms, People.alice)
        let bob = try await TestClient.open(world.kms, People.bob)
        let key = try await alice.createKeys(1)[0]
        let space = try await alice.createSpace([key], with: [People.bob])
        #expect(try await apply([People.bob.uppercased()], to: world.list).added == [People.bob])
        for (method, uri) in [
            ("retrieve", key.uri), ("retrieve", space.uri), ("create", "/keys"), ("update", "/ping"),
            ("delete", space.uri),
        ] {
            let answer = try await bob.ask(method, uri) { if uri == "/keys" { $0.member("count", 1) } }
            #expect(answer.status == 401, "\(method) \(uri)")
        }
        await #expect(throws: TestClient.Refused.self) { _ = try await TestClient.open(world.kms, People.bob) }
        #expect(world.kms.log.lines.withLock { $0.contains { $0.entry?.rule == "user-disabled" } })
        #expect(try await alice.status(retrieving: key.uri) == 200)
        #expect(try await apply([], to: world.list).removed == [People.bob])
        #expect(try await bob.status(retrieving: key.uri) == 200, "reversible: the session was not ended here")
    }

    @Test("a change that was made before gets no first answer again")
    func replay() async throws {
        let world = try await World.start()
        let bob = try await TestClient.open(world.kms, People.bob)
        let text = try bob.wrapped("create", "/keys") { $0.member("count", 1) }
        #expect(try await bob.send(text).status == 201)
        _ = try await apply([People.bob], to: world.list)
        #expect(try await bob.send(text).status == 401)
    }

    @Test("sessions are ended in every spelling of the id, and only his")
    func sessions() async throws {
        let world = try await World.start()
        let bob = try await TestClient.open(world.kms, People.bob)
        _ = try await TestClient.open(world.kms, People.bob)
        let alice = try await TestClient.open(world.kms, People.alice)
        #expect(try await world.kms.sessions.living(ofUser: People.bob, now: world.kms.clock.now) == 2)
        #expect(try await world.kms.sessions.end(ofUser: People.bob) == 2)
        #expect(try await world.kms.sessions.living(ofUser: People.bob, now: world.kms.clock.now) == 0)
        // The session is unknown: a signed reset and no answer of it.
        let text = try bob.wrapped("update", "/ping")
        await #expect(throws: (any Error).self) { _ = try await bob.send(text) }
        #expect(try await alice.ask("update", "/ping").status == 200)
    }

    @Test("other nodes take the list from the store, and a new process finds it there")
    func nodes() async throws {
        let world = try await World.start()
        let other = try await World.node(world.store, world.kek)
        _ = try await apply([People.bob], to: world.list)
        #expect(other.entry(of: People.bob) == nil)
        try await other.refresh()
        #expect(other.entry(of: People.bob)?.issuer == Self.issuer)
        #expect(try await World.node(world.store, world.kek).entry(of: People.bob) != nil)
        #expect(try await apply([People.bob], to: other).isEmpty, "nothing new, nothing written")
        #expect(try await apply([], to: other).removed == [People.bob])
        try await world.list.refresh()
        #expect(world.list.entries.isEmpty)
    }

    @Test("an issuer lifts what it said itself, and nothing that another one said")
    func issuers() async throws {
        let world = try await World.start()
        _ = try await apply([People.bob], to: world.list)
        _ = try await apply([People.bob, People.alice], to: world.list, of: "https://other.example.com")
        _ = try await apply([], to: world.list)
        #expect(Set(world.list.entries.map(\.user)) == [People.bob, People.alice])
        _ = try await apply([], to: world.list, of: "https://other.example.com")
        #expect(world.list.entries.isEmpty)
    }

    @Test("rows that were put back let nobody in and are overwritten, and forged ones stop every answer")
    func rollback() async throws {
        let world = try await World.start()
        _ = try await apply([People.alice], to: world.list)
        let rows = [
            (DisabledUsers.setting, try await world.store.setting(DisabledUsers.setting)),
            (DisabledUsers.head, try await world.store.setting(DisabledUsers.head)),
        ]
        _ = try await apply([People.alice, People.bob], to: world.list)
        for (name, value) in rows {
            _ = try await world.store.commit(
                StoreChange(writes: [.putSetting(name: name, value: try #require(value))]))
        }
        try await world.list.refresh()
        #expect(world.list.entry(of: People.bob) != nil)
        _ = try await apply([People.alice, People.bob], to: world.list)
        #expect(try await World.node(world.store, world.kek).entry(of: People.bob) != nil)

        let bob = world.kms
        _ = try await apply([], to: world.list)
        let alice = try await TestClient.open(bob, People.alice)
        _ = try await world.store.commit(
            StoreChange(writes: [.putSetting(name: DisabledUsers.head, value: [UInt8](repeating: 7, count: 64))]))
        await #expect(throws: (any Error).self) { try await world.list.refresh() }
        #expect(try await alice.ask("update", "/ping").status == 500)
    }
}
