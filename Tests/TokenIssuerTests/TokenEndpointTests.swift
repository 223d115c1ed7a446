import HTTPTypes
import JOSESignature
import Testing
import TokenIssuer
import WireText

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

    @Test("An access token is revoked by its id, and only by its own client")
    func accessToken() async throws {
        let world = try TestWorld()
        let client = TestClient(world)
        let token = try #require(try await client.tokens()["access_token"]?.string)
        #expect(await client.revoke(["token": token, "client_id": "web-app"]).error == "invalid_grant")
        #expect(try await world.revocations().tokens.isEmpty)
        #expect(await client.revoke(["token": token]).status == .ok)
        let id = try #require(try world.claims(token)["jti"]?.string)
        #expect(try await world.revocations().tokens.keys.contains(id))
    }

    @Test("Without a token the request is bad")
    func missing() async throws {
        #expect(await TestClient(try TestWorld()).revoke(["client_id": "hds-cli"]).error == "invalid_request")
    }
}
