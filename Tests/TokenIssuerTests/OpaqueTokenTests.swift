import Cryptography
import Diagnostics
import HTTPTypes
import JOSESignature
import Synchronization
import Testing
import TokenIssuer
import WireText

extension TestWorld {
    static let indexerKey = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"

    /// Users as elsewhere; a KMS that may ask about its own tokens, a core that may ask about its, and a service of which
    /// tokens are bound to a key.
    static func opaqueAccounts(
        users: [UserAccount] = [alice, bob], kmsSecret: String = serviceHash, indexerDisabled: Bool = false
    ) -> Accounts {
        Accounts(
            users: users,
            services: [
                ServiceAccount(
                    id: "hds-kms", name: "KMS", organisation: "org-1", secretHash: kmsSecret,
                    audiences: [.cloud: ["link:kms"]], introspects: [.kms]),
                ServiceAccount(
                    id: "hds-core", name: "Core", organisation: "org-1", secretHash: serviceHash, audiences: [:],
                    introspects: [.cloud]),
                ServiceAccount(
                    id: "indexer", name: "Indexer", organisation: "org-1", secretHash: serviceHash,
                    audiences: [.kms: ["index"]], keyThumbprint: indexerKey, tokenFormats: [.kms: .jwt],
                    isDisabled: indexerDisabled),
            ], clients: [web])
    }

    static var opaqueSettings: IssuerSettings {
        var settings = settings
        settings.tokenFormats.cloud = .opaque
        settings.tokenFormats.kms = .opaque
        settings.tokenFormats.cluster = "P1"
        return settings
    }

    static func opaque() throws -> TestWorld { try TestWorld(accounts: opaqueAccounts(), settings: opaqueSettings) }

    /// The list of revocations as a KMS takes it: verified with the published keys.
    func revocations() async throws -> RevocationDocument {
        let reply = await service.revocationList()
        try #require(reply.status == .ok)
        return try RevocationDocument.verify(
            reply.text, keys: try JWKSet(json: service.keySet()), allowing: [.es256], issuer: Self.issuer)
    }
}

extension TestClient {
    func introspect(_ token: String, as service: String = "hds-kms", secret: String = TestWorld.serviceSecret) async
        -> Reply
    {
        await world.service.introspect(
            body: Self.bytes([("token", token), ("token_type_hint", "access_token")]),
            visitor: Visitor(
                address: "192.0.2.7", authorization: Self.basic(service, secret),
                contentType: "application/x-www-form-urlencoded"))
    }

    func isActive(_ token: String, as service: String = "hds-kms") async throws -> Bool {
        let reply = await introspect(token, as: service)
        try #require(reply.status == .ok)
        let found: Bool? = try reply.json["active"]?.boolean
        #expect(found != nil)
        let isActive = found == true
        if !isActive { #expect(reply.text == #"{"active":false}"#, "nothing is told about why") }
        return isActive
    }

    func opaquePair() async throws -> (cloud: String, kms: String, refresh: String) {
        let answer = try await tokens()
        return (
            try #require(answer["access_token"]?.string), try #require(answer["kms_access_token"]?.string),
            try #require(answer["refresh_token"]?.string)
        )
    }
}

@Suite("Opaque access tokens")
struct OpaqueTokenTests {
    @Test("An opaque token has exactly three fields, its secret 256 bits, and only its digest is kept")
    func form() async throws {
        let world = try TestWorld.opaque()
        var seen: Set<Substring> = []
        for _ in 0..<8 {
            let pair = try await TestClient(world).opaquePair()
            for token in [pair.cloud, pair.kms] {
                let fields = token.split(separator: "_", omittingEmptySubsequences: false)
                #expect(fields.count == 3)
                #expect(fields[1] == "P1" && fields[2] == "org-1")
                #expect(Hexadecimal.decode(fields[0])?.count == 32)
                #expect(seen.insert(fields[0]).inserted, "each is new")
                let kept = try await world.service.grants.accessToken(
                    digest: Base64URL.encode(SHA256.hash(Array(token.utf8))), now: world.clock.now)
                #expect(kept?.subject == TestWorld.alice.id)
            }
        }
    }

    @Test("Client and service choose the form for themselves, each audience apart")
    func formats() async throws {
        var settings = TestWorld.settings
        settings.tokenFormats.kms = .opaque
        let plain = try await TestClient(
            try TestWorld(accounts: TestWorld.opaqueAccounts(), settings: settings)
        ).opaquePair()
        #expect(plain.kms.split(separator: "_").count == 3)
        #expect(plain.cloud.split(separator: ".").count == 3)
        let own = ClientRegistration(
            id: "hds-cli", name: "hds", redirects: [.loopback(pathAndQuery: "/callback")],
            tokenFormats: [.kms: .jwt, .cloud: .opaque])
        let world = try TestWorld(accounts: Accounts(users: [TestWorld.alice], clients: [own]), settings: settings)
        let pair = try await TestClient(world).opaquePair()
        #expect(try world.claims(pair.kms)["aud"]?.string == "kms")
        #expect(pair.cloud.hasSuffix("_hds_org-1"))
    }

    @Test("An organisation that would break the three fields is refused before a token is made")
    func organisation() throws {
        let user = UserAccount(
            id: TestWorld.alice.id, email: "a@example.com", name: "A", organisation: "my_org",
            passwordHash: TestWorld.aliceHash)
        #expect(throws: DiagnosedError.coded(.accountsFile)) {
            try TestWorld.opaqueSettings.requireUsableOrganisations(of: Accounts(users: [user]))
        }
        try TestWorld.settings.requireUsableOrganisations(of: Accounts(users: [user]))
        for text in ["", "a_b", "a b", "ä", String(repeating: "a", count: 65), "a/b"] {
            #expect(!OpaqueToken.isField(text), "\(text)")
        }
        #expect(OpaqueToken.isField("1eb65fdf-9643-417f-9974-ad72cae0e10f"))
    }

    @Test("Introspection tells the asking service what a token of its audience says")
    func introspection() async throws {
        let world = try TestWorld.opaque()
        let client = TestClient(world)
        let pair = try await client.opaquePair()
        let answer = try await client.introspect(pair.kms).json
        #expect(answer["active"]?.boolean == true)
        #expect(answer["sub"]?.string == TestWorld.alice.id && answer["client_id"]?.string == "hds-cli")
        #expect(answer["aud"]?.string == "kms" && answer["iss"]?.string == TestWorld.issuer)
        #expect(answer["scope"]?.string == "hds" && answer["org"]?.string == "org-1")
        #expect(answer["token_type"]?.string == "Bearer" && answer["jti"]?.string?.isEmpty == false)
        #expect(answer["iat"]?.integer == world.clock.now.seconds)
        #expect(answer["exp"]?.integer == world.clock.now.seconds + 3600)
        #expect(answer["email"] == nil && answer["name"] == nil, "the KMS knows ids, and domains")
        #expect(answer["domain"]?.string == "example.com" && answer["domain"]?.string != nil)
        let cloud = try await client.introspect(pair.cloud, as: "hds-core").json
        #expect(cloud["aud"]?.string == "cloud" && cloud["email"]?.string == "alice@example.com")
        #expect(cloud["domain"] == nil)
    }

    @Test("A token of another audience is inactive: the core can not have a KMS token confirmed, nor the reverse")
    func foreignAudience() async throws {
        let client = TestClient(try TestWorld.opaque())
        let pair = try await client.opaquePair()
        #expect(try await client.isActive(pair.kms))
        #expect(try await !client.isActive(pair.kms, as: "hds-core"))
        #expect(try await client.isActive(pair.cloud, as: "hds-core"))
        #expect(try await !client.isActive(pair.cloud))
        let jwt = try await TestClient(try TestWorld(accounts: TestWorld.opaqueAccounts())).opaquePair()
        #expect(try await !client.isActive(jwt.kms), "another issuer's key")
    }

    @Test("JWTs are answered like opaque tokens")
    func jwt() async throws {
        let client = TestClient(try TestWorld(accounts: TestWorld.opaqueAccounts()))
        let pair = try await client.opaquePair()
        #expect(try await client.introspect(pair.kms).json["sub"]?.string == TestWorld.alice.id)
        #expect(try await !client.isActive(pair.cloud))
        client.world.clock.advance(seconds: 3600)
        #expect(try await !client.isActive(pair.kms))
    }

    @Test(
        "Garbage is inactive",
        arguments: ["x", "a_b_c", "a.b.c", "é", String(repeating: "f", count: 4000), "__", "eyJhbGciOiJub25lIn0.e30."])
    func garbage(_ token: String) async throws {
        #expect(try await !TestClient(try TestWorld.opaque()).isActive(token))
    }

    @Test("A token is over at its end, to the second")
    func end() async throws {
        let client = TestClient(try TestWorld.opaque())
        let token = try await client.opaquePair().kms
        client.world.clock.advance(seconds: 3599)
        #expect(try await client.isActive(token))
        client.world.clock.advance(seconds: 1)
        #expect(try await !client.isActive(token))
    }

    @Test("Who may not ask, or can not say who he is, is told that and nothing about the token")
    func callers() async throws {
        let client = TestClient(try TestWorld.opaque())
        let token = try await client.opaquePair().kms
        let stranger = await client.introspect(token, as: "indexer")
        #expect(stranger.status == .badRequest && stranger.error == "unauthorized_client")
        #expect(!stranger.text.contains("active"))
        let wrong = await client.introspect(token, secret: "wrong")
        #expect(wrong.status == .unauthorized && wrong.error == "invalid_client")
        let nobody = await client.world.service.introspect(
            body: Array("token=x".utf8),
            visitor: Visitor(address: "192.0.2.7", contentType: "application/x-www-form-urlencoded"))
        #expect(nobody.status == .unauthorized)
        let missing = await client.world.service.introspect(
            body: [],
            visitor: Visitor(
                address: "192.0.2.7", authorization: TestClient.basic("hds-kms", TestWorld.serviceSecret),
                contentType: "application/x-www-form-urlencoded"))
        #expect(missing.error == "invalid_request")
    }

    @Test("A proven secret is compared by scrypt once, and a changed one is proven anew")
    func provenSecret() async throws {
        let count = Counter()
        let passwords = try PasswordCheck(decoy: TestWorld.otherHash) { password, hash in
            count.increment()
            return PasswordHash.verify(password, against: hash)
        }
        let world = try TestWorld(accounts: TestWorld.opaqueAccounts(), passwords: passwords)
        let client = TestClient(world)
        for _ in 0..<5 { #expect(await client.introspect("x").status == .ok) }
        #expect(count.value == 1)
        #expect(await client.introspect("x", secret: "wrong").status == .unauthorized)
        #expect(count.value == 2)
        let other = try TestWorld(
            accounts: TestWorld.opaqueAccounts(kmsSecret: TestWorld.otherHash), passwords: passwords)
        #expect(await TestClient(other).introspect("x").status == .unauthorized)
    }

    @Test("A disabled account, a new password and a client that is gone end its opaque tokens at once")
    func account() async throws {
        let world = try TestWorld.opaque()
        let token = try await TestClient(world).opaquePair().kms
        func changed(_ hash: String, disabled: Bool) -> UserAccount {
            UserAccount(
                id: TestWorld.alice.id, email: "alice@example.com", name: "A", organisation: "org-1",
                passwordHash: hash, isDisabled: disabled)
        }
        for (user, isActive) in [
            (changed(TestWorld.aliceHash, disabled: false), true),
            (changed(TestWorld.aliceHash, disabled: true), false),
            (changed(TestWorld.otherHash, disabled: false), false),
        ] {
            let later = try world.restarted(
                accounts: TestWorld.opaqueAccounts(users: [user]), settings: TestWorld.opaqueSettings)
            #expect(try await TestClient(later).isActive(token) == isActive)
        }
        let gone = try world.restarted(
            accounts: TestWorld.opaqueAccounts(users: []), settings: TestWorld.opaqueSettings)
        #expect(try await !TestClient(gone).isActive(token))
    }

    @Test("Tokens of a service with a key name the key, as JWT and when asked about")
    func confirmation() async throws {
        let world = try TestWorld.opaque()
        let client = TestClient(world)
        let answer = await client.token(
            ["grant_type": "client_credentials", "audience": "kms"],
            authorization: TestClient.basic("indexer", TestWorld.serviceSecret))
        let token = try #require(try answer.json["access_token"]?.string)
        #expect(try world.claims(token)["cnf"]?["jkt"]?.string == TestWorld.indexerKey)
        #expect(try await client.introspect(token).json["cnf"]?["jkt"]?.string == TestWorld.indexerKey)
        let user = try await client.opaquePair().kms
        #expect(try await client.introspect(user).json["cnf"] == nil)
    }
}

/// Counts from any thread.
final class Counter: Sendable {
    private let mutex = Mutex(0)
    func increment() { mutex.withLock { $0 += 1 } }
    var value: Int { mutex.withLock { $0 } }
}
