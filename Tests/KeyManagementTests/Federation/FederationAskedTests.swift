import JOSESignature
import KMSProtocol
import Synchronization
import Testing
import WireText

@testable import KeyManagement

/// What A lets the KMS of another organisation have, driven by hand from B's side: one test for each rule.
@Suite("Federation: asked")
struct FederationAskedTests {
    private typealias Host = FederationWorld.Host
    private func partner(
        _ host: String, users: Set<String>? = [People.bob], assertions: (any BearerVerifier)? = nil,
        allowsNested: Bool = false
    ) throws -> FederationPartner {
        try FederationWorld.partner(host, users: users, assertions: assertions, allowsNested: allowsNested)
    }

    @Test("rule 1: a partner that is not configured any more, or may not ask, is refused in a session that it has")
    func configured() async throws {
        let world = try await FederationWorld.make()
        let (_, key, _) = try await world.space()
        let raw = try await world.raw(world.b)
        #expect(try await raw.status(key.uri, for: People.bob) == 200)
        let closed = try FederationWorld.partner(Host.b, mayAskUs: false)
        for partners in [[closed], [try partner(Host.c)], []] {
            let a = try await world.restartA(partners)
            let again = RawPartner(kms: a, session: raw.session, key: raw.key)
            #expect(try await again.status(key.uri, for: People.bob) == 403)
        }
        let back = RawPartner(kms: try await world.restartA([partner(Host.b)]), session: raw.session, key: raw.key)
        #expect(try await back.status(key.uri, for: People.bob) == 200)
    }

    @Test("rule 2: a partner retrieves and nothing else, and only keys and resources")
    func retrieveOnly() async throws {
        let world = try await FederationWorld.make()
        let (alice, key, space) = try await world.space()
        let raw = try await world.raw(world.b)
        let requests: [(String, String)] = [
            ("create", "/keys"), ("create", "/resources"), ("create", "/authorizations"), ("update", key.uri),
            ("delete", space.uri), ("delete", "\(space.uri)/authorizations?authId=\(People.alice)"),
            ("update", "/ping"),
            ("delete", raw.session), ("create", "/ecdhe"), ("retrieve", "/ping"), ("retrieve", raw.session),
            ("retrieve", "/keys"), ("retrieve", "kms://\(Host.a)"), ("retrieve", space.authorizationURIs[0]),
            ("retrieve", "/nothing"),
        ]
        for (method, uri) in requests {
            let answer = try await raw.ask(uri, for: People.bob, method: method) {
                $0.member("count", 1)
                $0.member("keyUris", [String]())
                $0.member("resourceUri", space.uri)
                $0.member("userIds", [People.bob])
            }
            #expect(answer.status == 403, "\(method) \(uri)")
        }
        #expect(try await raw.status(key.uri, for: People.bob) == 200, "the session is still there")
        #expect(try await alice.ask("retrieve", "\(space.uri)/authorizations").authorizations.count == 2)
    }

    @Test("rule 3: no KMS is asked through another one")
    func noTransit() async throws {
        let world = try await FederationWorld.make()
        let raw = try await world.raw(world.b)
        for host in [Host.c, Host.b] {
            #expect(try await raw.status("kms://\(host)/keys/\(UUIDText.random())", for: People.bob) == 403)
        }
        #expect(world.network.passed.isEmpty)
    }

    @Test("rule 4: one user, by a UUID; not a resource that is authorized, not everybody, nobody on behalf")
    func oneUser() async throws {
        let world = try await FederationWorld.make()
        let (alice, key, space) = try await world.space()
        let inner = try await alice.createSpace([])
        _ = try await alice.add([inner.uri, "/public"], to: space.uri)
        let raw = try await world.raw(world.b)
        for user in [inner.uri, "/public", "bob", "", "*", People.bob + " "] {
            #expect(try await raw.status(key.uri, for: user) == 400, "'\(user)'")
        }
        #expect(try await raw.ask(key.uri, for: People.bob, onBehalfOf: People.alice).status == 403)
        #expect(try await raw.ask(key.uri, for: People.bob, onBehalfOf: People.bob.uppercased()).status == 200)
        #expect(try await raw.status(key.uri, for: People.bob.uppercased()) == 200)
    }

    @Test("rule 5: no partner speaks for an own user, not even with that user's own token")
    func ownUsers() async throws {
        let everybody: Set<String> = [People.alice, People.bob, People.carol, People.dan]
        let world = try await FederationWorld.make(
            atA: [try partner(Host.b, users: everybody)], ownUsersOfA: [People.carol.uppercased()])
        let (_, key, space) = try await world.space(with: [People.bob, People.carol, People.dan])
        let raw = try await world.raw(world.b)
        #expect(try await raw.status(key.uri, for: People.alice) == 403, "she has a session here")
        #expect(try await raw.status(key.uri, for: People.alice, bearer: TestTokens.token(People.alice)) == 403)
        #expect(try await raw.status(key.uri, for: People.carol) == 403, "the administrator has listed her")
        #expect(try await raw.status(key.uri, for: People.dan) == 200, "nobody knows of him here")
        #expect(try await raw.status(key.uri, for: People.bob) == 200)
        // Her session has ended, and so has the memory of this process: she is still known.
        world.clock.advance(seconds: 2 * 86_400)
        let a = try await world.restartA([try partner(Host.b, users: everybody)])
        let later = try await world.raw(world.b, at: a)
        #expect(try await later.status(space.uri, for: People.alice) == 403)
        #expect(try await later.status(space.uri, for: People.bob) == 200)
    }

    @Test("rule 7: a partner speaks for the users in its list only")
    func lists() async throws {
        let world = try await FederationWorld.make()
        let (_, key, _) = try await world.space(with: [People.bob, People.dan, People.carol])
        let b = try await world.raw(world.b)
        let c = try await world.raw(world.c)
        #expect(try await b.status(key.uri, for: People.bob) == 200)
        #expect(try await c.status(key.uri, for: People.dan) == 200)
        #expect(try await b.status(key.uri, for: People.dan) == 403)
        #expect(try await b.status(key.uri, for: People.carol) == 403)
        #expect(try await c.status(key.uri, for: People.bob) == 403)
    }

    /// Assertions of the form `for-AUDIENCE-USER`; the JWT verifier has tests of its own.
    private struct Assertions: BearerVerifier {
        func identity(of bearer: String, now: Timestamp) async throws(KMSFailure) -> TokenIdentity {
            let prefix = "for-kms://\(FederationWorld.Host.a)-"
            guard bearer.hasPrefix(prefix) else { throw KMSFailure(KMSStatus.unauthorized, "not of that issuer") }
            return TokenIdentity(
                userID: String(bearer.dropFirst(prefix.count)), clientID: nil, scopes: [], issuer: "b",
                expires: now.adding(seconds: 60))
        }
        static func of(_ user: String) -> String { "for-kms://\(FederationWorld.Host.a)-\(user)" }
    }

    @Test("rule 6: with an assertion issuer each request brings an assertion of this user for this KMS")
    func assertions() async throws {
        let world = try await FederationWorld.make(
            atA: [try partner(Host.b, users: nil, assertions: Assertions())])
        let (_, key, _) = try await world.space()
        let raw = try await world.raw(world.b)
        #expect(try await raw.status(key.uri, for: People.bob) == 401)
        #expect(try await raw.status(key.uri, for: People.bob, bearer: TestTokens.token(People.bob)) == 401)
        #expect(try await raw.status(key.uri, for: People.bob, bearer: Assertions.of(People.dan)) == 403)
        #expect(try await raw.status(key.uri, for: People.bob, bearer: Assertions.of(People.bob)) == 200)
        #expect(try await raw.status(key.uri, for: People.bob) == 401, "once is not for ever")
        // Bob's client hands its KMS the assertion that its issuer made.
        let bob = try await TestClient.open(world.b, People.bob)
        #expect(try await bob.status(retrieving: key.uri) == 403, "his token for B is good, so this is no 401")
        var json = JSONWriter()
        json.beginObject()
        json.member("requestId", "r")
        json.member("method", "retrieve")
        json.member("uri", key.uri)
        json.name("client")
        json.beginObject()
        json.member("clientId", "c")
        json.name("credential")
        json.beginObject()
        json.member("bearer", TestTokens.token(People.bob))
        json.member("assertion", Assertions.of(People.bob))
        json.endObject()
        json.endObject()
        json.endObject()
        #expect(try await bob.send(try bob.wrap(text: json.text())).status == 200)
    }

    @Test("rule 8: the user's own entry counts; /public never, a nested resource where the administrator allows it")
    func access() async throws {
        let world = try await FederationWorld.make()
        let (alice, key, space) = try await world.space(with: [])
        let raw = try await world.raw(world.b)
        #expect(try await raw.status(key.uri, for: People.bob) == 403)
        _ = try await alice.add(["/public"], to: space.uri)
        #expect(try await raw.status(key.uri, for: People.bob) == 403)
        #expect(try await raw.status("\(space.uri)/keys", for: People.bob) == 403)
        let team = try await alice.createSpace([], with: [People.bob])
        _ = try await alice.add([team.uri], to: space.uri)
        for uri in [key.uri, space.uri, "\(space.uri)/keys", "\(space.uri)/authorizations"] {
            #expect(try await raw.status(uri, for: People.bob) == 403, "\(uri)")
        }
        let open = RawPartner(
            kms: try await world.restartA([try partner(Host.b, allowsNested: true)]), session: raw.session, key: raw.key
        )
        for uri in [key.uri, space.uri, "\(space.uri)/keys", "\(space.uri)/authorizations"] {
            #expect(try await open.status(uri, for: People.bob) == 200, "\(uri)")
        }
        _ = try await alice.remove(People.bob, from: team.uri)
        #expect(try await open.status(key.uri, for: People.bob) == 403, "the path is gone, /public is none")
        let unbound = try await alice.createKeys()[0]
        #expect(try await open.status(unbound.uri, for: People.bob) == 403)
    }

    @Test("rule 9: a user whom two partners claim is refused to both, the administrator is told, and can settle it")
    func twoClaims() async throws {
        let proven = [
            try partner(Host.b, users: nil, assertions: Assertions()),
            try partner(Host.c, users: nil, assertions: Assertions()),
        ]
        let world = try await FederationWorld.make(atA: proven)
        let (_, key, _) = try await world.space(with: [People.dan])
        let b = try await world.raw(world.b)
        let c = try await world.raw(world.c)
        let proof = Assertions.of(People.dan)
        #expect(try await b.status(key.uri, for: People.dan, bearer: proof) == 200)
        #expect(world.observer.contested.value.isEmpty)
        #expect(try await c.status(key.uri, for: People.dan, bearer: proof) == 403)
        #expect(world.observer.contested.value == ["\(People.dan) \(Host.b),\(Host.c)"])
        #expect(try await b.status(key.uri, for: People.dan, bearer: proof) == 403, "nobody knows who is right")
        // It is not forgotten with the process.
        let again = RawPartner(kms: try await world.restartA(proven), session: b.session, key: b.key)
        #expect(try await again.status(key.uri, for: People.dan, bearer: proof) == 403)
        let settled = try await world.restartA([try partner(Host.b, users: [People.dan]), proven[1]])
        let first = RawPartner(kms: settled, session: b.session, key: b.key)
        let second = RawPartner(kms: settled, session: c.session, key: c.key)
        #expect(try await first.status(key.uri, for: People.dan) == 200)
        #expect(try await second.status(key.uri, for: People.dan, bearer: proof) == 403)
        #expect(try await first.status(key.uri, for: People.dan) == 200, "a claim against the list changes nothing")
        #expect(world.observer.contested.value.count > 1)
    }

    @Test("rule 9: who may not read claims nobody, and of two first claims at once one at most is granted")
    func claims() async throws {
        let proven = [
            try partner(Host.b, users: nil, assertions: Assertions()),
            try partner(Host.c, users: nil, assertions: Assertions()),
        ]
        let world = try await FederationWorld.make(atA: proven)
        let b = try await world.raw(world.b)
        let c = try await world.raw(world.c)
        let (alice, key, space) = try await world.space(with: [])
        #expect(try await c.status(key.uri, for: People.dan, bearer: Assertions.of(People.dan)) == 403)
        _ = try await alice.add([People.dan], to: space.uri)
        #expect(try await b.status(key.uri, for: People.dan, bearer: Assertions.of(People.dan)) == 200)
        for _ in 0..<10 {
            let user = UUIDText.random()
            _ = try await alice.add([user], to: space.uri)
            async let first = b.status(key.uri, for: user, bearer: Assertions.of(user))
            async let second = c.status(key.uri, for: user, bearer: Assertions.of(user))
            let statuses = try await [first, second].sorted()
            #expect(statuses == [200, 403] || statuses == [403, 403], "\(statuses)")
            #expect(try await b.status(key.uri, for: user, bearer: Assertions.of(user)) == 403)
        }
    }

    @Test("rule 9: an own user takes an id back from a partner that claimed it, and the administrator is told")
    func takenBack() async throws {
        let world = try await FederationWorld.make()
        let (_, key, space) = try await world.space()
        let raw = try await world.raw(world.b)
        #expect(try await raw.status(key.uri, for: People.bob) == 200)
        let own = try await TestClient.open(world.a, People.bob)
        #expect(world.observer.contested.value == ["\(People.bob) \(Host.b)"])
        #expect(try await own.status(retrieving: key.uri) == 200)
        #expect(try await raw.status(key.uri, for: People.bob) == 403)
        _ = try await TestClient.open(world.a, People.bob)
        #expect(world.observer.contested.value.count == 1, "it is told once")
        _ = space
    }

    @Test("a partner's session is no user's: a user's token in it counts for nothing, and the other way round")
    func separateSessions() async throws {
        let world = try await FederationWorld.make()
        let (alice, key, _) = try await world.space()
        let raw = try await world.raw(world.b)
        for user in [People.alice, People.carol, Host.b] {
            let status = try await raw.status(key.uri, for: user, bearer: TestTokens.token(user))
            #expect(status == (user == Host.b ? 400 : 403))
        }
        // A user's session with a request without a token.
        let text = try alice.wrapped("retrieve", key.uri, token: "")
        #expect(try await alice.send(text).status == 401)
    }

    @Test("the journal tells partner and user of each request")
    func log() async throws {
        let world = try await FederationWorld.make()
        let (_, key, _) = try await world.space()
        let raw = try await world.raw(world.b)
        #expect(try await raw.status(key.uri, for: People.bob) == 200)
        let line = try #require(world.a.log.lines.withLock { $0.last })
        #expect(line.entry?.user == Host.b && line.entry?.effectiveUser == People.bob && line.status == 200)
    }
}
