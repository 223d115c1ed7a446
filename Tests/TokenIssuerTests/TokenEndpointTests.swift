import Diagnostics
import Foundation
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

@Suite("Token endpoint: refresh")
struct RefreshTests {
    @Test("A refresh token gives new tokens and its successor")
    func rotation() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        var token = try #require(try await client.tokens()["refresh_token"]?.string)
        var seen = [token]
        for _ in 0..<5 {
            world.clock.advance(seconds: 3600)
            let reply = await client.refresh(token)
            #expect(reply.status == .ok)
            let answer = try reply.json
            #expect(try world.claims(answer["access_token"])["exp"]?.integer == world.clock.now.seconds + 3600)
            #expect(try world.claims(answer["kms_access_token"])["aud"]?.string == "kms")
            #expect(answer["user"]?["id"]?.string == TestWorld.alice.id)
            token = try #require(answer["refresh_token"]?.string)
            seen.append(token)
        }
        #expect(Set(seen).count == seen.count)
    }

    @Test("A refresh token that is used again ends the whole family, and no other")
    func reuse() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let first = try #require(try await client.tokens()["refresh_token"]?.string)
        let other = try #require(try await client.tokens()["refresh_token"]?.string)
        let second = try #require(try await client.refresh(first).json["refresh_token"]?.string)
        let third = try #require(try await client.refresh(second).json["refresh_token"]?.string)
        let reused = await client.refresh(first)
        #expect(reused.status == .badRequest && reused.error == "invalid_grant")
        for token in [first, second, third] { #expect(await client.refresh(token).error == "invalid_grant") }
        #expect(await client.refresh(other).status == .ok)
        #expect(world.events.count(of: .refreshTokenReused) == 1)
    }

    @Test("Another client can not use it, and does not end it")
    func foreignClient() async throws {
        let client = TestClient(try TestWorld())
        let token = try #require(try await client.tokens()["refresh_token"]?.string)
        #expect(await client.refresh(token, client: "web-app").error == "invalid_grant")
        #expect(await client.refresh(token).status == .ok)
    }

    @Test("It ends when nobody uses it, and the login ends in any case")
    func lifetimes() async throws {
        var settings = TestWorld.settings
        settings.lifetimes.refreshToken = 100
        settings.lifetimes.login = 250
        let world = try TestWorld(settings: settings)
        let client = TestClient(world)
        let idle = try #require(try await client.tokens()["refresh_token"]?.string)
        var used = try #require(try await client.tokens()["refresh_token"]?.string)
        for _ in 0..<2 {
            world.clock.advance(seconds: 99)
            used = try #require(try await client.refresh(used).json["refresh_token"]?.string)
        }
        #expect(await client.refresh(idle).error == "invalid_grant")
        world.clock.advance(seconds: 60)
        #expect(await client.refresh(used).error == "invalid_grant")
    }

    @Test("Less scope can be asked for, more can not and costs nothing")
    func scope() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let token = try #require(try await client.tokens()["refresh_token"]?.string)
        #expect(await client.refresh(token, scope: "hds admin").error == "invalid_scope")
        #expect(await client.refresh(token, scope: "hds\u{E4}").error == "invalid_scope")
        #expect(try await client.refresh(token, scope: "hds").json["scope"]?.string == "hds")
    }

    @Test("A new password, a removed and a disabled account end the login")
    func accountChanges() async throws {
        let alice = TestWorld.alice
        func changed(hash: String = TestWorld.aliceHash, disabled: Bool = false) -> Accounts {
            Accounts(users: [
                UserAccount(
                    id: alice.id, email: alice.email, name: alice.name, organisation: alice.organisation,
                    passwordHash: hash, isDisabled: disabled)
            ])
        }
        for accounts in [changed(hash: TestWorld.bobHash), changed(disabled: true), Accounts(users: [])] {
            let world = try TestWorld()
            let token = try #require(try await TestClient(world).tokens()["refresh_token"]?.string)
            let after = TestClient(try world.restarted(accounts: accounts))
            #expect(await after.refresh(token).error == "invalid_grant")
            let back = TestClient(try world.restarted())
            #expect(await back.refresh(token).error == "invalid_grant", "the family is gone, not only paused")
        }
    }

    @Test("A restart keeps refresh tokens and codes valid, and knows what was used")
    func restart() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let code = try await client.code()
        let first = try #require(try await client.tokens()["refresh_token"]?.string)
        let second = try #require(try await client.refresh(first).json["refresh_token"]?.string)
        let restarted = TestClient(try world.restarted())
        #expect(await restarted.exchange(code).status == .ok)
        #expect(await restarted.refresh(second).status == .ok)
        let again = TestClient(try world.restarted())
        #expect(await again.exchange(code).error == "invalid_grant")
        #expect(await again.refresh(first).error == "invalid_grant")
        #expect(try await world.service.grants.familyCount() == 0)
    }

    @Test("What has expired is forgotten, what lives stays")
    func purge() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        _ = try await client.code()
        let token = try #require(try await client.tokens()["refresh_token"]?.string)
        #expect(try await world.service.grants.familyCount() == 2)
        world.clock.advance(seconds: 61)
        try await world.service.purge()
        #expect(try await world.service.grants.familyCount() == 1)
        #expect(await client.refresh(token).status == .ok)
        world.clock.advance(seconds: 31 * 86_400)
        try await world.service.purge()
        #expect(try await world.service.grants.familyCount() == 0)
    }
}

@Suite("Token endpoint: services")
struct ServiceTokenTests {
    private let basic = TestClient.basic("hds-kms", TestWorld.serviceSecret)

    @Test("A service gets a token for an audience of its own, with its scopes")
    func token() async throws {
        let world = try TestWorld()
        let reply = await TestClient(world).token(
            ["grant_type": "client_credentials", "audience": "cloud"], authorization: basic)
        #expect(reply.status == .ok)
        let answer = try reply.json
        #expect(answer["scope"]?.string == "link:kms link:status")
        #expect(answer["refresh_token"] == nil && answer["kms_access_token"] == nil)
        let claims = try world.claims(answer["access_token"])
        #expect(claims["sub"]?.string == "hds-kms" && claims["client_id"]?.string == "hds-kms")
        #expect(claims["aud"]?.string == "cloud" && claims["org"]?.string == "org-1")
        #expect(claims["scope"]?.string == "link:kms link:status")
        #expect(claims["email"] == nil)
    }

    @Test("Less scope can be asked for")
    func narrowed() async throws {
        let reply = await TestClient(try TestWorld()).token(
            ["grant_type": "client_credentials", "audience": "cloud", "scope": "link:kms"], authorization: basic)
        #expect(try reply.json["scope"]?.string == "link:kms")
    }

    @Test(
        "What is not allowed is refused",
        arguments: [
            ("kms", nil, "invalid_target"), ("everything", nil, "invalid_target"), ("Cloud", nil, "invalid_target"),
            ("cloud", "hds", "invalid_scope"), ("cloud", "link:kms hds", "invalid_scope"),
            ("cloud", " link:kms", "invalid_scope"), (nil, nil, "invalid_request"),
        ] as [(String?, String?, String)])
    func refused(_ audience: String?, _ scope: String?, _ error: String) async throws {
        let reply = await TestClient(try TestWorld()).token(
            ["grant_type": "client_credentials", "audience": audience, "scope": scope], authorization: basic)
        #expect(reply.status == .badRequest)
        #expect(reply.error == error)
    }

    @Test("Two audiences in one request are refused")
    func twoAudiences() async throws {
        let reply = await TestClient(try TestWorld()).token(
            ["grant_type": "client_credentials", "audience": "cloud", "audience": "kms"], authorization: basic)
        #expect(reply.error == "invalid_request")
    }

    @Test(
        "Without the right secret there is no token, and the answer is the same for an unknown id",
        arguments: [
            nil, "Basic", "Basic !!!", "Bearer x", "Basic " + Base64.encode(Array("hds-kms".utf8)),
            TestClient.basic("hds-kms", "wrong"), TestClient.basic("hds-kms", ""), TestClient.basic("nobody", "x"),
            TestClient.basic("", TestWorld.serviceSecret), TestClient.basic("hds-cli", ""),
            TestClient.basic("alice@example.com", TestWorld.alicePassword),
            TestClient.basic(TestWorld.alice.id, TestWorld.alicePassword), TestClient.basic("hds-kms", "%zz"),
        ])
    func wrongSecret(_ authorization: String?) async throws {
        let reply = await TestClient(try TestWorld()).token(
            ["grant_type": "client_credentials", "audience": "cloud", "client_id": nil], authorization: authorization)
        #expect(reply.status == .unauthorized)
        #expect(reply.error == "invalid_client")
        #expect(reply.headers[.wwwAuthenticate] == "Basic realm=\"hds-auth\", charset=\"UTF-8\"")
        #expect(reply.headers[.cacheControl] == "no-store")
    }

    @Test("Id and secret are form-encoded inside the header")
    func encodedCredential() async throws {
        let encoded = TestClient.basic("hds%2Dkms", TestWorld.serviceSecret.replacing("-", with: "%2D"))
        let reply = await TestClient(try TestWorld()).token(
            ["grant_type": "client_credentials", "audience": "cloud"], authorization: encoded)
        #expect(reply.status == .ok)
    }

    @Test("Guessing a secret is limited, and the limit is told")
    func limit() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let wrong = TestClient.basic("hds-kms", "wrong")
        for _ in 0..<5 {
            let reply = await client.token(
                ["grant_type": "client_credentials", "audience": "cloud"], authorization: wrong)
            #expect(reply.status == .unauthorized)
        }
        let limited = await client.token(
            ["grant_type": "client_credentials", "audience": "cloud"], authorization: basic)
        #expect(limited.status == .tooManyRequests)
        #expect(limited.headers[.retryAfter] == "60")
    }

    @Test("A disabled service gets nothing")
    func disabled() async throws {
        let kms = TestWorld.kms
        let accounts = Accounts(
            users: [],
            services: [
                ServiceAccount(
                    id: kms.id, name: kms.name, organisation: kms.organisation, secretHash: kms.secretHash,
                    audiences: kms.audiences, isDisabled: true)
            ])
        let reply = await TestClient(try TestWorld(accounts: accounts)).token(
            ["grant_type": "client_credentials", "audience": "cloud"], authorization: basic)
        #expect(reply.error == "invalid_client")
    }
}

@Suite("Token endpoint: form of requests")
struct TokenRequestTests {
    @Test("Grants that the service does not have are named so", arguments: ["password", "implicit", "CODE", "urn:x"])
    func unknownGrant(_ grant: String) async throws {
        let reply = await TestClient(try TestWorld()).token(["grant_type": grant, "client_id": "hds-cli"])
        #expect(reply.status == .badRequest && reply.error == "unsupported_grant_type")
    }

    @Test("A repeated parameter is refused")
    func repeated() async throws {
        let client = TestClient(try TestWorld())
        let reply = await client.token([
            "grant_type": "refresh_token", "grant_type": "refresh_token", "refresh_token": "x", "client_id": "hds-cli",
        ])
        #expect(reply.error == "invalid_request")
    }

    @Test("An unknown client is refused as such, a service can not act for a user")
    func clients() async throws {
        let client = TestClient(try TestWorld())
        let unknown = await client.refresh("x", client: "nobody")
        #expect(unknown.status == .unauthorized && unknown.error == "invalid_client")
        #expect(unknown.headers[.wwwAuthenticate] != nil)
        let service = await client.refresh("x", client: "hds-kms")
        #expect(service.status == .badRequest && service.error == "unauthorized_client")
        let basic = await client.token(
            ["grant_type": "refresh_token", "refresh_token": "x", "client_id": "hds-cli"],
            authorization: TestClient.basic("hds-cli", ""))
        #expect(basic.status == .unauthorized && basic.error == "invalid_client")
    }

    @Test("Only a form is read", arguments: ["application/json", "text/plain", "multipart/form-data; boundary=x", nil])
    func contentType(_ type: String?) async throws {
        let world = try TestWorld()
        let reply = await world.service.token(
            body: Array("grant_type=refresh_token".utf8), visitor: Visitor(address: "192.0.2.1", contentType: type))
        #expect(reply.status == .badRequest && reply.error == "invalid_request")
        let charset = await world.service.token(
            body: Array("grant_type=x".utf8),
            visitor: Visitor(address: "192.0.2.1", contentType: "Application/X-WWW-Form-Urlencoded; charset=UTF-8"))
        #expect(charset.error == "unsupported_grant_type")
    }

    @Test("No answer repeats what came")
    func noEcho() async throws {
        let world = try TestWorld()
        let marker = "MARKER\"\r\n<x>"
        for name in ["grant_type", "client_id", "code", "refresh_token", "scope", "audience"] {
            for grant in ["authorization_code", "refresh_token", "client_credentials"] {
                let pairs = [("grant_type", grant), ("client_id", "hds-cli"), ("code", "c"), ("refresh_token", "r")]
                    .filter { $0.0 != name }
                let reply = await world.service.token(
                    body: TestClient.bytes(pairs.map { (name: $0.0, value: $0.1) } + [(name, marker)]),
                    visitor: Visitor(address: "192.0.2.1", contentType: "application/x-www-form-urlencoded"))
                #expect(!reply.text.contains("MARKER"))
                #expect(!reply.headers.contains { $0.value.contains("MARKER") })
                #expect(reply.status.code >= 400 && reply.status.code < 500)
            }
        }
    }
}

@Suite("Revocation endpoint")
struct RevocationTests {
    @Test("Revoking a refresh token ends its login, whichever of its tokens it is")
    func revoke() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        for useFirst in [false, true] {
            let first = try #require(try await client.tokens()["refresh_token"]?.string)
            let second = try #require(try await client.refresh(first).json["refresh_token"]?.string)
            let reply = await client.revoke(["token": useFirst ? first : second, "client_id": "hds-cli"])
            #expect(reply.status == .ok)
            #expect(await client.refresh(second).error == "invalid_grant")
        }
        #expect(try await world.service.grants.familyCount() == 0)
    }

    @Test("A token that means nothing is answered with 200, with or without a client", arguments: ["x", "a.b.c", "é"])
    func unknown(_ token: String) async throws {
        let client = TestClient(try TestWorld())
        #expect(await client.revoke(["token": token]).status == .ok)
        #expect(
            await client.revoke(["token": token, "token_type_hint": "whatever", "client_id": "hds-cli"]).status == .ok)
    }

    @Test("Another client can not revoke it")
    func foreign() async throws {
        let client = TestClient(try TestWorld())
        let token = try #require(try await client.tokens()["refresh_token"]?.string)
        #expect(await client.revoke(["token": token, "client_id": "web-app"]).error == "invalid_grant")
        #expect(await client.revoke(["token": token, "client_id": "nobody"]).error == "invalid_client")
        let service = await client.revoke(
            ["token": token], authorization: TestClient.basic("hds-kms", TestWorld.serviceSecret))
        #expect(service.error == "invalid_grant")
        let wrong = await client.revoke(["token": token], authorization: TestClient.basic("hds-kms", "wrong"))
        #expect(wrong.status == .unauthorized && wrong.error == "invalid_client")
        #expect(await client.refresh(token).status == .ok)
    }

    @Test("An access token is said to be of a kind that can not be revoked")
    func accessToken() async throws {
        let client = TestClient(try TestWorld())
        let token = try #require(try await client.tokens()["access_token"]?.string)
        let reply = await client.revoke(["token": token])
        #expect(reply.status == .badRequest && reply.error == "unsupported_token_type")
    }

    @Test("Without a token the request is bad")
    func missing() async throws {
        #expect(await TestClient(try TestWorld()).revoke(["client_id": "hds-cli"]).error == "invalid_request")
    }
}
