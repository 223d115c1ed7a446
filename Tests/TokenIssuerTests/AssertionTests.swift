import Diagnostics
import HTTPTypes
import JOSESignature
import Testing
import TokenIssuer
import WireText

@Suite("Assertions for other organisations' KMSs")
struct AssertionTests {
    private static let partner = "kms://kms.partner.example.org"
    private static let other = "kms://kms.other.example.org"

    private static func accounts(
        partners: Set<String> = [partner], client: Set<String>? = nil, disabled: Bool = false
    ) -> Accounts {
        let alice = TestWorld.alice
        return Accounts(
            users: [
                UserAccount(
                    id: alice.id, email: alice.email, name: alice.name, organisation: alice.organisation,
                    passwordHash: alice.passwordHash, isDisabled: disabled, partners: partners)
            ],
            clients: [
                ClientRegistration(
                    id: "hds-cli", name: "hds", redirects: ClientRegistration.commandLine.redirects, partners: client)
            ])
    }

    private func exchange(
        _ client: TestClient, _ token: String, audience: String? = partner,
        _ changes: KeyValuePairs<String, String?> = [:]
    ) async -> Reply {
        var parameters: [(String, String?)] = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"), ("client_id", "hds-cli"),
            ("subject_token", token), ("subject_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
            ("audience", audience),
        ]
        for (name, value) in changes {
            parameters.removeAll { $0.0 == name }
            parameters.append((name, value))
        }
        return await client.token(parameters: parameters)
    }

    private func login(_ accounts: Accounts = accounts()) async throws -> (TestWorld, TestClient, refresh: String) {
        let world = try TestWorld().restarted(accounts: accounts)
        let client = TestClient(world)
        return (world, client, try #require(try await client.tokens()["refresh_token"]?.string))
    }

    @Test("A login gets an assertion of its user for the partner's KMS, short-lived and without anything else in it")
    func granted() async throws {
        let (world, client, refresh) = try await login()
        let reply = await exchange(client, refresh)
        #expect(reply.status == .ok)
        let answer = try reply.json
        #expect(answer["expires_in"]?.integer == 300 && answer["token_type"]?.string == "Bearer")
        #expect(answer["issued_token_type"]?.string == "urn:ietf:params:oauth:token-type:access_token")
        #expect(answer["refresh_token"] == nil && answer["user"] == nil)
        let text = try #require(answer["access_token"]?.string)
        #expect(try JWS.peekHeader(text).typ == "at+jwt")
        let claims = try world.claims(answer["access_token"])
        #expect(claims["aud"]?.string == Self.partner && claims["sub"]?.string == TestWorld.alice.id)
        #expect(claims["iss"]?.string == TestWorld.settings.issuer)
        #expect(claims["exp"]?.integer == world.clock.now.seconds + 300)
        #expect(claims["scope"] == nil && claims["email"] == nil && claims["name"] == nil)
        // The refresh token is as it was.
        #expect(await exchange(client, refresh).status == .ok)
        #expect(await client.refresh(refresh).status == .ok)
    }

    @Test("Nobody is told what it is worth, and it can not be used to get anything here")
    func worthNothingHere() async throws {
        let (world, client, refresh) = try await login()
        let text = try #require(try await exchange(client, refresh).json["access_token"]?.string)
        #expect(await client.refresh(text).error == "invalid_grant")
        #expect(await exchange(client, text).error == "invalid_grant")
        #expect(await client.revoke(["token": text]).status == .ok)
        #expect(try await world.service.grants.familyCount() == 1)
    }

    @Test("A KMS that is in no list, the own one, and lists of user and client that do not agree get nothing")
    func targets() async throws {
        let cases: [(Set<String>, Set<String>?, String?, String?)] = [
            ([Self.partner], nil, Self.partner, nil), ([Self.partner], [Self.partner], Self.partner, nil),
            ([Self.partner], nil, Self.other, "invalid_target"), ([], nil, Self.partner, "invalid_target"),
            ([Self.partner], [], Self.partner, "invalid_target"),
            ([Self.partner], [Self.other], Self.partner, "invalid_target"),
            ([Self.partner, Self.other], [Self.other], Self.other, nil),
            ([TestWorld.settings.kmsCluster], nil, TestWorld.settings.kmsCluster, "invalid_target"),
            ([Self.partner], nil, "kms", "invalid_target"), ([Self.partner], nil, "cloud", "invalid_target"),
            ([Self.partner], nil, Self.partner.uppercased(), "invalid_target"),
            ([Self.partner], nil, nil, "invalid_request"),
        ]
        for (user, clientList, audience, error) in cases {
            let (_, client, refresh) = try await login(Self.accounts(partners: user, client: clientList))
            let reply = await exchange(client, refresh, audience: audience)
            #expect(error == nil ? reply.status == .ok : reply.error == error, "\(audience ?? "none")")
        }
    }

    @Test("Only the login's newest refresh token asks; a copied one ends the login, one whose answer was lost does not")
    func subjects() async throws {
        let (world, client, first) = try await login()
        let answer = try await client.tokens()
        for member in ["access_token", "kms_access_token"] {
            let token = try #require(answer[member]?.string)
            #expect(await exchange(client, token).error == "invalid_grant", "\(member)")
        }
        #expect(await exchange(client, first, ["client_id": "nobody"]).error == "invalid_client")
        let second = try #require(try await client.refresh(first).json["refresh_token"]?.string)
        #expect(await exchange(client, first).error == "invalid_grant")
        #expect(await exchange(client, second).status == .ok, "the login is still there")
        let third = try #require(try await client.refresh(second).json["refresh_token"]?.string)
        #expect(await exchange(client, first).error == "invalid_grant")
        #expect(await exchange(client, third).error == "invalid_grant", "two hold tokens of this login")
        #expect(world.events.count(of: .refreshTokenReused) == 1)
    }

    @Test("What the request must not say is refused")
    func malformed() async throws {
        let (_, client, refresh) = try await login()
        let changes: [KeyValuePairs<String, String?>] = [
            ["subject_token_type": "urn:ietf:params:oauth:token-type:access_token"], ["subject_token_type": nil],
            ["requested_token_type": "urn:ietf:params:oauth:token-type:saml2"], ["scope": "hds"],
            ["actor_token": "x"], ["subject_token": nil],
        ]
        for change in changes {
            #expect(await exchange(client, refresh, change).error == "invalid_request", "\(change)")
        }
        #expect(await exchange(client, refresh).status == .ok)
    }

    @Test("A disabled account gets none, and its login ends")
    func disabled() async throws {
        let (world, _, refresh) = try await login()
        let after = TestClient(try world.restarted(accounts: Self.accounts(disabled: true)))
        #expect(await exchange(after, refresh).error == "invalid_grant")
        let back = TestClient(try world.restarted(accounts: Self.accounts()))
        #expect(await exchange(back, refresh).error == "invalid_grant")
    }

    @Test("The accounts file says for whom: all, one user, one client; what is no KMS is refused with its line")
    func accountsFile() throws {
        let hash = TestWorld.aliceHash
        func text(top: String = "", user: String = "", client: String = "") -> String {
            """
            organisation: o1
            \(top)
            users:
              - id: 5b1e3c4e-8f10-4c4c-9a3e-0a2c5f1d7b01
                email: alice@example.com
                name: Alice
                password-hash: \(hash)
                \(user)
              - id: 5b1e3c4e-8f10-4c4c-9a3e-0a2c5f1d7b02
                email: bob@example.com
                name: Bob
                password-hash: \(hash)
            clients:
              - id: app
                name: App
                redirect-uris: [http://127.0.0.1/callback]
                \(client)

            """
        }
        let file = try AccountFile.parse(
            text(
                top: "partner-kms: [\(Self.partner)]", user: "partner-kms: [\(Self.other)]",
                client: "partner-kms: []"), file: "accounts.yaml")
        #expect(file.user(email: "alice@example.com")?.partners == [Self.other])
        #expect(file.user(email: "bob@example.com")?.partners == [Self.partner])
        #expect(file.client(id: "app")?.partners == [] && file.client(id: "hds-cli")?.partners == nil)
        #expect(try AccountFile.parse(text(), file: "f").user(email: "bob@example.com")?.partners == [])
        for wrong in ["kms.partner.example.org", "kms://HOST.example.org", "kms://host", "kms://a.b/keys", "kms://"] {
            #expect(throws: (any Error).self, "\(wrong)") {
                try AccountFile.parse(text(top: "partner-kms: [\"\(wrong)\"]"), file: "f")
            }
        }
    }
}
