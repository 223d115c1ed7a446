import JOSEEncryption
import KMSProtocol
import KeyManagement
import Synchronization
import Testing
import WireText

/// Section 6 of the protocol: whose rights count.
@Suite("Who is asking")
struct WhoIsAskingTests {
    private struct World {
        let kms: TestKMS
        let alice: TestClient
        let bob: TestClient
        /// Dan, an agent of the organisation.
        let officer: TestClient
        let alicesKey: KMSKey
        let bobsKey: KMSKey

        static func start() async throws -> World {
            let kms = try await TestKMS.start(
                signed: try TestPolicy.make(#""agents": [{"user": "\#(People.dan)"}]"#))
            let alice = try await TestClient.open(kms, People.alice)
            let bob = try await TestClient.open(kms, People.bob)
            let keys = try await (alice.createKeys(1), bob.createKeys(1))
            _ = try await alice.createSpace(keys.0)
            _ = try await bob.createSpace(keys.1)
            return World(
                kms: kms, alice: alice, bob: bob, officer: try await TestClient.open(kms, People.dan),
                alicesKey: keys.0[0], bobsKey: keys.1[0])
        }

        /// A client that names another `userId` beside its own token.
        func naming(_ user: String, _ client: TestClient) -> TestClient {
            TestClient(kms: kms, user: user, session: client.session, key: client.key, token: client.token)
        }
    }

    @Test("[6 effective user] onBehalfOf goes before userId, userId before the token's own user")
    func effectiveUser() async throws {
        let world = try await World.start()
        let both = world.naming(People.bob, world.officer)
        #expect(try await both.ask("retrieve", world.alicesKey.uri, onBehalfOf: People.alice).status == 200)
        #expect(try await both.ask("retrieve", world.bobsKey.uri, onBehalfOf: People.alice).status == 403)
        #expect(try await both.status(retrieving: world.bobsKey.uri) == 200)
        #expect(try await world.officer.status(retrieving: world.bobsKey.uri) == 403)
    }

    @Test("[6 foreign userId] without onBehalfOf it is taken for that: with the role it reads, without it is 403")
    func foreignUserID() async throws {
        let world = try await World.start()
        #expect(try await world.naming(People.alice, world.officer).status(retrieving: world.alicesKey.uri) == 200)
        #expect(try await world.naming(People.alice, world.bob).status(retrieving: world.alicesKey.uri) == 403)
        #expect(try await world.naming(People.bob, world.alice).status(retrieving: world.alicesKey.uri) == 403)
        // Reading only (security model, rule 11).
        let creating = world.naming(People.alice, world.officer)
        #expect(try await creating.ask("create", "/keys") { $0.member("count", 1) }.status == 403)
    }

    @Test("[6 onBehalfOf oneself] needs no role, in any spelling, and changes what oneself may change")
    func oneself() async throws {
        let world = try await World.start()
        for name in [People.alice, People.alice.uppercased()] {
            #expect(try await world.alice.ask("retrieve", world.alicesKey.uri, onBehalfOf: name).status == 200)
            #expect(try await world.alice.ask("retrieve", world.bobsKey.uri, onBehalfOf: name).status == 403)
            #expect(
                try await world.alice.ask("create", "/keys", onBehalfOf: name) { $0.member("count", 1) }.status == 201)
        }
        #expect(try await world.officer.ask("retrieve", world.bobsKey.uri, onBehalfOf: People.dan).status == 403)
    }

    @Test("[6 rights of the effective user] an officer sees what that user may see; the record keeps both identities")
    func rights() async throws {
        let world = try await World.start()
        let space = try #require(
            await { () async throws -> String? in
                guard case .key(let key) = try await world.alice.ask("retrieve", world.alicesKey.uri).body else {
                    return nil
                }
                return key.resourceURI
            }())
        for uri in [space, space + "/keys", space + "/authorizations", world.alicesKey.uri] {
            #expect(try await world.officer.ask("retrieve", uri, onBehalfOf: People.alice).status == 200)
            #expect(try await world.officer.ask("retrieve", uri, onBehalfOf: People.bob).status == 403)
            #expect(try await world.officer.ask("retrieve", uri).status == 403)
        }
        // An unbound key is its creator's own (section 7).
        let unbound = try await world.alice.createKeys(1)[0]
        #expect(try await world.officer.ask("retrieve", unbound.uri, onBehalfOf: People.alice).status == 403)
        #expect(try await world.alice.remove(People.alice, from: space).status == 200)
        #expect(try await world.officer.ask("retrieve", space, onBehalfOf: People.alice).status == 403)
        let entries = world.kms.log.lines.withLock { $0.compactMap(\.entry) }
        #expect(entries.contains { $0.user == People.dan && $0.effectiveUser == People.alice })
        #expect(entries.contains { $0.user == People.alice && $0.effectiveUser == People.alice })
    }
}
