import KMSProtocol
import KeyStore
import MasterKey
import Testing
import WireText

@testable import KeyManagement

/// Two nodes of one KMS over one store: what one ends or takes away, the other serves no more.
@Suite("Two nodes of one store")
struct TwoNodesTests {
    private let one: TestKMS
    private let two: TestKMS
    private let store = MemoryKeyStore()

    init() async throws {
        let kek = try KeyEncryptionKey.create()
        let clock = TestClock(Timestamp.now())
        one = try await TestKMS.start(store: store, kek: kek, isShared: true, clock: clock)
        two = try await TestKMS.start(store: store, kek: kek, isShared: true, clock: clock)
    }

    /// The same session, spoken to on the other node.
    private func on(_ node: TestKMS, _ client: TestClient) -> TestClient {
        TestClient(kms: node, user: client.user, session: client.session, key: client.key, token: client.token)
    }

    /// Whether the node says by a signed reset that the session is none.
    private func isDead(_ client: TestClient, on node: TestKMS) async throws -> Bool {
        let text = try client.wrapped("update", "/ping")
        return (try? node.openReset(await node.handler.reply(to: text, source: UUIDText.random())))?.session
            == client.session
    }

    /// Milliseconds after which every node is to know.
    private static let bound: Int64 = 500

    @Test(
        "a session that ends itself, or is ended by another one of its user, is dead on every node within half a second"
    )
    func ended() async throws {
        let alice = try await TestClient.open(one, People.alice)
        let other = try await TestClient.open(one, People.alice)
        let key = try await alice.createKeys(1)[0]
        let space = try await alice.createSpace([key]).uri
        for session in [alice, other] {
            #expect(try await on(two, session).ask("retrieve", space).status == 200, "it is at hand on both nodes")
        }
        #expect(try await other.ask("delete", alice.session).status == 204)
        #expect(try await other.ask("delete", other.session).status == 204)
        for session in [alice, other] {
            #expect(try await isDead(session, on: one), "here at once")
        }
        two.clock.advance(milliseconds: Self.bound)
        for session in [alice, other] {
            #expect(try await isDead(session, on: two))
        }
    }

    @Test("a session in use goes on, and its row is looked for at most every 400 ms")
    func lease() async throws {
        let alice = try await TestClient.open(one, People.alice)
        let key = try await alice.createKeys(1)[0]
        #expect(try await on(two, alice).status(retrieving: key.uri) == 200)
        try await store.deleteSession(of: alice)
        #expect(try await on(two, alice).status(retrieving: key.uri) == 200, "control: it is served from memory")
        two.clock.advance(milliseconds: SessionTable.sharedMilliseconds)
        #expect(try await isDead(alice, on: two))

        let single = try await TestKMS.start()
        let bob = try await TestClient.open(single, People.bob)
        try await (single.store as? MemoryKeyStore)?.deleteSession(of: bob)
        single.clock.advance(seconds: 60)
        #expect(try await bob.ask("update", "/ping").status == 200, "a node that is alone need not look")
    }

    @Test("a clock that is set back does not keep an ended session alive")
    func clockSetBack() async throws {
        let alice = try await TestClient.open(one, People.alice)
        #expect(try await on(two, alice).ask("update", "/ping").status == 200)
        #expect(try await alice.ask("delete", alice.session).status == 204)
        two.clock.advance(seconds: -30)
        #expect(try await isDead(alice, on: two))
    }

    @Test("who was removed on one node reads nothing on the other from that moment on")
    func removed() async throws {
        let alice = try await TestClient.open(one, People.alice)
        let bob = on(two, try await TestClient.open(one, People.bob))
        let key = try await alice.createKeys(1)[0]
        let space = try await alice.createSpace([key], with: [People.bob]).uri
        for uri in [key.uri, space, space + "/keys"] { #expect(try await bob.ask("retrieve", uri).status == 200) }
        #expect(try await alice.ask("delete", space + "/authorizations?authId=\(People.bob)").status == 200)
        for uri in [key.uri, space, space + "/keys"] { #expect(try await bob.ask("retrieve", uri).status == 403) }
    }

    @Test("a counter that one node took is used up on the other")
    func counters() async throws {
        let alice = try await TestClient.open(one, People.alice)
        func create(_ node: TestKMS, _ counter: Int64) async throws -> Int {
            let client = on(node, alice)
            return try await client.send(
                client.wrapped("create", "/keys", counter: counter, time: node.clock.now) { $0.member("count", 1) }
            ).status
        }
        #expect(try await create(one, 1) == 201)
        #expect(try await create(two, 2) == 201)
        #expect(try await create(two, 9) == 201)
        one.clock.advance(milliseconds: Self.bound)
        #expect(try await create(one, 8) == 409)
        #expect(try await create(one, 10) == 201)
    }
}

extension MemoryKeyStore {
    /// As another node does it.
    fileprivate func deleteSession(of client: TestClient) async throws {
        guard case .session(let id)? = KMSURI(client.session)?.object else { return }
        #expect(try await commit(StoreChange(writes: [.deleteSession(id: id)])) == .committed)
    }
}
