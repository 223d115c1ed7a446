import Cryptography
import Diagnostics
import HTTPClient
import HTTPTypes
import JOSESignature
import Testing
import TokenIssuer
import WireText

@Suite("Revocations")
struct RevocationListTests {
    @Test("A revoked opaque token is inactive at once and listed until a while after its end")
    func opaque() async throws {
        let world = try TestWorld.opaque()
        let client = TestClient(world)
        let pair = try await client.opaquePair()
        let id = try #require(try await client.introspect(pair.kms).json["jti"]?.string)
        let before = try await world.revocations()
        #expect(before.tokens.isEmpty && before.subjects.isEmpty && before.everyone == nil)
        #expect(await client.revoke(["token": pair.kms, "client_id": "web-app"]).error == "invalid_grant")
        #expect(try await client.isActive(pair.kms))
        #expect(await client.revoke(["token": pair.kms, "client_id": "hds-cli"]).status == .ok)
        #expect(try await !client.isActive(pair.kms))
        #expect(try await client.isActive(pair.cloud, as: "hds-core"), "the other one goes on")
        let after = try await world.revocations()
        #expect(Set(after.tokens.keys) == [id])
        #expect(after.version > before.version)
        world.clock.advance(seconds: 3600 + 599)
        #expect(try await world.revocations().tokens.count == 1, "clocks of verifiers may be behind")
        world.clock.advance(seconds: 2)
        try await world.service.purge()
        #expect(try await world.revocations().tokens.isEmpty)
        #expect(try await world.revocations().version == after.version)
    }

    @Test("A revoked JWT is inactive and listed by its id")
    func jwt() async throws {
        let world = try TestWorld(accounts: TestWorld.opaqueAccounts())
        let client = TestClient(world)
        let token = try await client.opaquePair().kms
        #expect(try await client.isActive(token))
        #expect(await client.revoke(["token": token]).status == .ok)
        #expect(try await !client.isActive(token))
        let id = try #require(try world.claims(token)["jti"]?.string)
        let document = try await world.revocations()
        #expect(document.revokes(tokenID: id, subject: "somebody", issued: world.clock.now))
        #expect(!document.revokes(tokenID: "other", subject: TestWorld.alice.id, issued: world.clock.now))
    }

    @Test("The end of a login ends its opaque tokens: by revocation, by a second use of a refresh token or of a code")
    func family() async throws {
        let world = try TestWorld.opaque()
        let client = TestClient(world)
        let first = try await client.opaquePair()
        #expect(await client.revoke(["token": first.refresh]).status == .ok)
        #expect(try await !client.isActive(first.kms))

        let second = try await client.opaquePair()
        #expect(await client.refresh(second.refresh).status == .ok)
        #expect(try await client.isActive(second.kms))
        world.clock.advance(seconds: 60)
        #expect(await client.refresh(second.refresh).error == "invalid_grant")
        #expect(try await !client.isActive(second.kms))

        let code = try await client.code()
        let third = try #require(try await client.exchange(code).json["kms_access_token"]?.string)
        #expect(try await client.isActive(third))
        #expect(await client.exchange(code).error == "invalid_grant")
        #expect(try await !client.isActive(third))
        #expect(try await world.revocations().tokens.count >= 6)
    }

    @Test("Revoking a subject ends what was issued until now, logins too, and nothing that comes after")
    func subject() async throws {
        let world = try TestWorld.opaque()
        let client = TestClient(world)
        let old = try await client.opaquePair()
        let bob = try await client.tokens(email: "bob@example.com", password: TestWorld.bobPassword)
        try await world.service.grants.revoke(subject: TestWorld.alice.id, lifetime: 3600, now: world.clock.now)
        #expect(try await !client.isActive(old.kms))
        #expect(await client.refresh(old.refresh).error == "invalid_grant")
        #expect(try await client.isActive(try #require(bob["kms_access_token"]?.string)))
        let document = try await world.revocations()
        let cut = try #require(document.subjects[TestWorld.alice.id])
        #expect(
            cut.before == world.clock.now.adding(seconds: 1) && cut.expires == world.clock.now.adding(seconds: 4200))
        world.clock.advance(seconds: 1)
        #expect(try await client.isActive(try await client.opaquePair().kms))
    }

    @Test("No opaque token outlives its login, however late it is written down")
    func lateToken() async throws {
        let world = try TestWorld.opaque()
        let client = TestClient(world)
        let pair = try await client.opaquePair()
        func digest(_ token: String) -> String { Base64URL.encode(SHA256.hash(Array(token.utf8))) }
        var token = try #require(
            try await world.service.grants.accessToken(digest: digest(pair.kms), now: world.clock.now))
        token.id = "late-1"
        #expect(try await world.service.grants.insert([("late-1", token)]))
        #expect(await client.revoke(["token": pair.refresh]).status == .ok)
        token.id = "late-2"
        #expect(try await !world.service.grants.insert([("late-2", token)]))
        for name in ["late-1", "late-2"] {
            #expect(try await world.service.grants.accessToken(digest: name, now: world.clock.now) == nil)
        }
    }

    @Test("The list is signed once for a second in which nothing changed, and anew after each change")
    func signedOnce() async throws {
        let world = try TestWorld.opaque()
        let first = await world.service.revocationList().text
        #expect(await world.service.revocationList().text == first)
        try await world.service.grants.revoke(
            tokenID: "t", subject: "s", expires: world.clock.now.adding(seconds: 9), now: world.clock.now)
        #expect(try await world.revocations().tokens.keys.contains("t"))
        world.clock.advance(seconds: 1)
        #expect(try await world.revocations().issued == world.clock.now)
    }

    @Test("A JWT of the very second of a revocation is refused, for its time says no more than the second")
    func sameSecond() async throws {
        let world = try TestWorld(accounts: TestWorld.opaqueAccounts())
        let client = TestClient(world)
        let token = try await client.opaquePair().kms
        try await world.service.grants.revoke(
            subject: TestWorld.alice.id, lifetime: 3600, now: world.clock.now.adding(milliseconds: 1))
        #expect(try await !client.isActive(token))
        let cut = try #require(try await world.revocations().subjects[TestWorld.alice.id])
        #expect(cut.before == world.clock.now.adding(seconds: 1))
    }

    @Test("Everybody at once")
    func everyone() async throws {
        let world = try TestWorld.opaque()
        let client = TestClient(world)
        let old = try await client.opaquePair()
        try await world.service.grants.revokeEveryone(lifetime: 3600, now: world.clock.now)
        #expect(try await !client.isActive(old.kms))
        #expect(try await world.service.grants.familyCount() == 0)
        #expect(try await world.revocations().revokes(tokenID: nil, subject: "x", issued: nil))
        world.clock.advance(seconds: 1)
        #expect(try await client.isActive(try await client.opaquePair().kms))
    }

    @Test("Many single revocations of one subject become one entry, which keeps all of them refused")
    func bounded() async throws {
        let world = try TestWorld.opaque()
        for number in 0..<40 {
            try await world.service.grants.revoke(
                tokenID: "t\(number)", subject: "greedy",
                expires: world.clock.now.adding(seconds: 3600 - Int64(number)),
                now: world.clock.now)
        }
        let document = try await world.revocations()
        let cut = try #require(document.subjects["greedy"])
        #expect(document.tokens.count == 7, "32 became one entry with the 33rd")
        #expect(cut.before == world.clock.now.adding(seconds: 1))
        #expect(cut.expires >= world.clock.now.adding(seconds: 3600), "as long as the longest of them")
        #expect(document.revokes(tokenID: "t3", subject: "greedy", issued: world.clock.now.adding(seconds: -1)))
    }

    @Test("A restart and another process see the same revocations")
    func durable() async throws {
        let world = try TestWorld.opaque()
        let token = try await TestClient(world).opaquePair().kms
        let other = try GrantStore(path: world.folder.file("logins.sqlite"))
        try await other.revoke(subject: TestWorld.alice.id, lifetime: 3600, now: world.clock.now.adding(seconds: 1))
        #expect(try await !TestClient(world).isActive(token))
        let later = try world.restarted(accounts: TestWorld.opaqueAccounts(), settings: TestWorld.opaqueSettings)
        #expect(try await later.revocations().subjects.count == 1)
    }

    @Test("Over TLS: the metadata leads to introspection, revocation and the signed list")
    func overTLS() async throws {
        let world = try TestWorld.opaque()
        try await RunningIssuer.with(world) { issuer in
            let metadata = try await issuer.get("/.well-known/oauth-authorization-server").json
            func path(_ name: String) throws -> String {
                String(try #require(metadata[name]?.string).dropFirst(TestWorld.issuer.count))
            }
            let token = try await TestClient(world).opaquePair().kms
            func introspect() async throws -> WebResponse {
                try await issuer.post(
                    try path("introspection_endpoint"), [("token", token)],
                    headers: [("Authorization", TestClient.basic("hds-kms", TestWorld.serviceSecret))])
            }
            let answer = try await introspect()
            #expect(answer.status == 200 && answer.header("Cache-Control") == "no-store")
            #expect(try answer.json["sub"]?.string == TestWorld.alice.id)
            #expect(try await issuer.post(try path("introspection_endpoint"), [("token", token)]).status == 401)
            #expect(try await issuer.get("/introspect").status == 405)
            #expect(
                try await issuer.post(try path("revocation_endpoint"), [("token", token)]).status == 200)
            #expect(try await introspect().text == #"{"active":false}"#)
            let list = try await issuer.get(try path("revocation_list_uri"))
            #expect(list.header("Content-Type") == "application/jwt" && list.header("Cache-Control") == "no-store")
            let keys = try JWKSet(json: try await issuer.get("/jwks.json").body)
            let document = try RevocationDocument.verify(
                list.text, keys: keys, allowing: [.es256], issuer: TestWorld.issuer)
            #expect(document.tokens.count == 1 && document.issued == world.clock.now)
            #expect(throws: DiagnosedError.coded("jwt-type")) {
                try JWT.verify(
                    list.text, keys: keys.verificationKey, allowing: [.es256], issuer: TestWorld.issuer,
                    audience: "kms", now: world.clock.now)
            }
        }
    }
}
