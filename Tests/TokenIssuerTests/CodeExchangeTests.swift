import Diagnostics
import HTTPTypes
import Testing
import TokenIssuer
import WireText

@Suite("Token endpoint: authorization code")
struct CodeExchangeTests {
    @Test("A code gives two tokens with different audiences, a refresh token and the user")
    func twoTokens() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let reply = await client.exchange(try await client.code())
        #expect(reply.status == .ok)
        #expect(reply.headers[.contentType] == "application/json")
        #expect(reply.headers[.cacheControl] == "no-store" && reply.headers[HTTPField.Name("Pragma")!] == "no-cache")
        let answer = try reply.json
        #expect(answer["token_type"]?.string == "Bearer" && answer["expires_in"]?.integer == 3600)
        #expect(answer["scope"]?.string == "hds")
        #expect(answer["user"]?["id"]?.string == TestWorld.alice.id)
        #expect(answer["user"]?["email"]?.string == "alice@example.com")
        #expect(answer["user"]?["name"]?.string == "Alice Example")
        #expect(answer["refresh_token"]?.string?.count == 43)

        let cloud = try world.claims(answer["access_token"])
        let kms = try world.claims(answer["kms_access_token"])
        for claims in [cloud, kms] {
            #expect(claims["iss"]?.string == TestWorld.issuer)
            #expect(claims["sub"]?.string == TestWorld.alice.id)
            #expect(claims["client_id"]?.string == "hds-cli")
            #expect(claims["scope"]?.string == "hds")
            #expect(claims["org"]?.string == "org-1")
            let now = world.clock.now.seconds
            #expect(claims["iat"]?.integer == now && claims["nbf"]?.integer == now)
            #expect(claims["exp"]?.integer == now + 3600)
        }
        #expect(cloud["aud"]?.string == "cloud" && kms["aud"]?.string == "kms")
        #expect(cloud["email"]?.string == "alice@example.com" && cloud["name"]?.string == "Alice Example")
        #expect(kms["email"] == nil && kms["name"] == nil, "the KMS token names nobody")
        #expect(cloud["jti"]?.string != nil && cloud["jti"]?.string != kms["jti"]?.string)
    }

    @Test(
        "A request that does not repeat what the code is bound to is refused, and the code is spent",
        arguments: [
            ("code_verifier", String(repeating: "a", count: 43)), ("code_verifier", "short"),
            ("code_verifier", TestClient.verifier + "\u{E4}"), ("code_verifier", TestClient.challenge),
            ("redirect_uri", "http://127.0.0.1:50124/callback"), ("redirect_uri", "http://127.0.0.1:50123/callback/"),
            ("client_id", "web-app"),
        ])
    func bindings(_ name: String, _ value: String) async throws {
        let client = TestClient(try TestWorld())
        let code = try await client.code()
        let wrong = await client.exchange(code, name == "client_id" ? ["client_id": value] : [name: value])
        #expect(wrong.status == .badRequest)
        #expect(wrong.error == "invalid_grant")
        let right = await client.exchange(code)
        #expect(right.error == "invalid_grant", "a code is good for one attempt")
    }

    @Test(
        "A missing parameter is a bad request and does not spend the code",
        arguments: ["code_verifier", "redirect_uri", "client_id", "code", "grant_type"])
    func missing(_ name: String) async throws {
        let client = TestClient(try TestWorld())
        let code = try await client.code()
        for value in [nil, ""] as [String?] {
            let changes: KeyValuePairs<String, String?> = [name: value]
            let reply = await client.exchange(code, changes)
            #expect(reply.status == .badRequest)
            #expect(reply.error == "invalid_request")
        }
        #expect(await client.exchange(code).status == .ok)
    }

    @Test("A code that is used twice ends what the first use gave")
    func replay() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let code = try await client.code()
        let first = try await client.exchange(code).json
        let refreshed = try await client.refresh(try #require(first["refresh_token"]?.string)).json
        let second = await client.exchange(code)
        #expect(second.status == .badRequest && second.error == "invalid_grant")
        let end = await client.refresh(try #require(refreshed["refresh_token"]?.string))
        #expect(end.error == "invalid_grant")
        #expect(world.events.count(of: .refreshTokenReused) == 1)
        #expect(try await world.service.grants.familyCount() == 0)
    }

    @Test("Also a late or wrong second use ends what the first gave")
    func lateReplay() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let code = try await client.code()
        let first = try await client.exchange(code).json
        world.clock.advance(seconds: 5 * 86_400)
        try await world.service.purge()
        #expect(
            await client.exchange(code, ["code_verifier": String(repeating: "b", count: 50)]).error == "invalid_grant")
        #expect(await client.refresh(try #require(first["refresh_token"]?.string)).error == "invalid_grant")
    }

    @Test("Of many exchanges at once exactly one gets tokens, and its login ends with the replay")
    func race() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let code = try await client.code()
        let replies = await withTaskGroup(of: Reply.self) { group in
            for _ in 0..<16 { group.addTask { await client.exchange(code) } }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(replies.count { $0.status == .ok } == 1)
        #expect(replies.count { $0.error == "invalid_grant" } == 15)
        #expect(try await world.service.grants.familyCount() == 0)
    }

    @Test("A code lives for 60 seconds")
    func expiry() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let (first, second) = (try await client.code(), try await client.code())
        world.clock.advance(seconds: 59)
        #expect(await client.exchange(first).status == .ok)
        world.clock.advance(seconds: 1)
        #expect(await client.exchange(second).error == "invalid_grant")
    }

    @Test("A code of an account that was disabled meanwhile gives nothing")
    func disabledMeanwhile() async throws {
        let world = try TestWorld()
        let code = try await TestClient(world).code()
        let alice = TestWorld.alice
        let disabled = UserAccount(
            id: alice.id, email: alice.email, name: alice.name, organisation: alice.organisation,
            passwordHash: alice.passwordHash, isDisabled: true)
        let restarted = try world.restarted(accounts: Accounts(users: [disabled]))
        #expect(await TestClient(restarted).exchange(code).error == "invalid_grant")
    }
}
