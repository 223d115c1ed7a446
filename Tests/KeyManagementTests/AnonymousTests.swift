import JOSESignature
import KMSProtocol
import KeyManagement
import Testing
import WireText

/// Authorizations of unnamed holders and their bearers (protocol, section 8; security model, rule 15).
@Suite("Anonymous authorizations")
struct AnonymousTests {
    private func holders(of answer: KMSAnswer) -> [KMSAuthorization] {
        switch answer.body {
        case .authorizations(let list), .resourceWithHolders(_, let list): list
        default: []
        }
    }

    private func addUnnamed(_ count: Int, _ client: TestClient, _ space: String) async throws -> [KMSAuthorization] {
        holders(
            of: try await client.ask("create", "/authorizations") {
                $0.member("resourceUri", space)
                $0.member("anonymous", count)
            })
    }

    @Test(
        "[8 anonymous] each entry has a bearer and no authId, and the bearer reads keys of that resource and nothing else"
    )
    func reads() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(3)
        let space = try await alice.createSpace([keys[0]])
        let other = try await alice.createSpace([keys[1]])
        let made = try await addUnnamed(2, alice, space.uri)
        #expect(made.count == 2)
        #expect(made.allSatisfy { $0.authID.isEmpty && $0.bearer != nil && $0.resourceURI == space.uri })
        let holder = try await TestClient.open(kms, made[0].uri, token: made[0].bearer)
        #expect(try await holder.status(retrieving: keys[0].uri) == 200)
        #expect(try await holder.ask("retrieve", space.uri + "/keys").status == 200)
        #expect(try await holder.status(retrieving: keys[1].uri) == 403)
        #expect(try await holder.status(retrieving: keys[2].uri) == 403)
        #expect(try await holder.ask("retrieve", other.uri + "/keys").status == 403)
        // Who else is on the list is not for an unnamed holder, and changing is not either.
        #expect(try await holder.ask("retrieve", space.uri).status == 403)
        #expect(try await holder.ask("retrieve", space.uri + "/authorizations").status == 403)
        #expect(try await holder.ask("create", "/keys") { $0.member("count", 1) }.status == 403)
        #expect(try await holder.add([People.bob], to: space.uri).status == 403)
        #expect(try await holder.ask("delete", made[1].uri).status == 403)
        #expect(try await holder.ask("delete", space.uri).status == 403)
        #expect(try await holder.ask("retrieve", keys[0].uri, onBehalfOf: People.alice).status == 403)
        #expect(try await holder.ask("update", "/ping").status == 200)
        #expect(try await holder.ask("delete", holder.session).status == 204)
        // The list shows them to members, never with a bearer.
        guard case .authorizations(let list) = try await alice.ask("retrieve", space.uri + "/authorizations").body
        else {
            Issue.record("no list")
            return
        }
        #expect(list.count == 3)
        #expect(list.allSatisfy { $0.bearer == nil })
    }

    @Test("deleting the authorization ends bearer and session, others go on")
    func deletion() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(1)
        let space = try await alice.createSpace(keys)
        let made = try await addUnnamed(2, alice, space.uri)
        let first = try await TestClient.open(kms, made[0].uri, token: made[0].bearer)
        let second = try await TestClient.open(kms, made[1].uri, token: made[1].bearer)
        #expect(try await first.status(retrieving: keys[0].uri) == 200)
        #expect(try await alice.ask("delete", made[0].uri).status == 200)
        #expect(try await first.status(retrieving: keys[0].uri) == 401)
        await #expect(throws: TestClient.Refused.self) {
            _ = try await TestClient.open(kms, made[0].uri, token: made[0].bearer)
        }
        #expect(try await second.status(retrieving: keys[0].uri) == 200)
    }

    @Test("a bearer ends with its time, and with its resource's")
    func expiry() async throws {
        var policy = TestKMS.testPolicy()
        policy.anonymousLife = 3600
        policy.sessionLife = 86_400
        let kms = try await TestKMS.start(policy: policy)
        let alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(1)
        let made = holders(
            of: try await alice.ask("create", "/resources") {
                $0.member("keyUris", keys.map(\.uri))
                $0.member("anonymous", 1)
                $0.member("ttl", 600)
            })
        let bearer = try #require(made.first?.bearer)
        let holder = try await TestClient.open(kms, made[0].uri, token: bearer)
        #expect(try await holder.status(retrieving: keys[0].uri) == 200)
        kms.clock.advance(seconds: 599)
        #expect(try await holder.status(retrieving: keys[0].uri) == 200)
        kms.clock.advance(seconds: 1)
        #expect(try await holder.status(retrieving: keys[0].uri) == 401)
    }

    @Test("a repeat of the request that made them gives the same holders again")
    func repeated() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let keys = try await alice.createKeys(1)
        func create() async throws -> [KMSAuthorization] {
            holders(
                of: try await alice.ask("create", "/resources") {
                    $0.member("keyUris", keys.map(\.uri))
                    $0.member("anonymous", 2)
                })
        }
        let first = try await create()
        let second = try await create()
        #expect(first.map(\.uri) == second.map(\.uri))
        #expect(first.count == 2)
        let holder = try await TestClient.open(kms, second[1].uri, token: second[1].bearer)
        #expect(try await holder.status(retrieving: keys[0].uri) == 200)
    }

    @Test("a bearer that somebody changed or made opens nothing")
    func forged() async throws {
        let kms = try await TestKMS.start()
        let other = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let space = try await alice.createSpace([])
        let made = try await addUnnamed(1, alice, space.uri)
        let bearer = try #require(made[0].bearer)
        // The same key signs answers and resets: those are no bearers.
        let answer = await kms.handler.reply(
            to: try TestClient.opening(kms, "nobody", token: "x", x: [1], y: [1]), source: "")
        guard case .answer(let signed) = answer else { return }
        var parts = bearer.split(separator: ".").map(String.init)
        parts[1] = Base64URL.encode(
            Array(
                String(decoding: try #require(Base64URL.decode(parts[1])), as: UTF8.self)
                    .replacing(made[0].uri, with: space.authorizationURIs[0]).utf8))
        for token in [parts.joined(separator: "."), String(decoding: signed, as: UTF8.self), bearer + "x"] {
            await #expect(throws: TestClient.Refused.self) {
                _ = try await TestClient.open(kms, made[0].uri, token: token)
            }
        }
        // Same host, same key, but a KMS that never made that authorization.
        await #expect(throws: TestClient.Refused.self) {
            _ = try await TestClient.open(other, made[0].uri, token: bearer)
        }
    }

    @Test("an issuer can not name somebody like an authorization or like everybody")
    func subjects() async throws {
        let kms = try await TestKMS.start()
        let alice = try await TestClient.open(kms, People.alice)
        let space = try await alice.createSpace([])
        let made = try await addUnnamed(1, alice, space.uri)
        for subject in [made[0].uri, "/public", space.uri] {
            await #expect(throws: TestClient.Refused.self, "\(subject)") {
                _ = try await TestClient.open(kms, subject)
            }
        }
    }

    @Test("the number asked for is judged", arguments: ["-1", "21", "1.5", "\"2\"", "true", "[]"])
    func count(_ count: String) async throws {
        let alice = try await TestClient.open(TestKMS.start(), People.alice)
        let space = try await alice.createSpace([])
        let answer = try await alice.ask("create", "/authorizations") { json in
            json.member("resourceUri", space.uri)
            json.name("anonymous")
            json.raw(count)
        }
        #expect(answer.status == 400)
    }
}
