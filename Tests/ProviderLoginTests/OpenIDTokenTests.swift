import Cryptography
import Diagnostics
import JOSESignature
import OIDCRelyingParty
import SecretMemory
import Synchronization
import Testing
import WireText

@Suite("ID tokens")
struct OpenIDTokenTests {
    private let provider: FakeOpenIDProvider
    private let party: OIDCRelyingParty

    init() throws {
        provider = try FakeOpenIDProvider()
        party = provider.party()
    }

    /// A whole login; the provider says the nonce of the request unless the test has another one.
    private func login(
        _ party: OIDCRelyingParty? = nil, issuer: String? = nil, nonce: String? = nil
    ) async throws -> OIDCIdentity {
        let party = party ?? self.party
        let (_, pending) = try await party.begin(hint: nil)
        provider.change { $0.nonce = nonce ?? pending.nonce }
        return try await party.finish(code: "code-1", issuer: issuer, pending)
    }

    @Test("The request has state, nonce and proof key, each of 256 bits, and the provider's own query stays")
    func request() async throws {
        let (address, pending) = try await party.begin(hint: "alice@example.com")
        let query = address.queryParameters
        #expect(address.hasPrefix(FakeOpenIDProvider.issuer + "/authorize?tenant=1&"))
        #expect(query["response_type"] == "code" && query["client_id"] == "hds")
        #expect(query["scope"] == "openid email profile")
        #expect(query["redirect_uri"] == LoginWorld.issuer + "/oidc/example/callback")
        #expect(query["login_hint"] == "alice@example.com")
        #expect(query["code_challenge_method"] == "S256")
        #expect(query["code_challenge"] == Base64URL.encode(SHA256.hash(Array(pending.verifier.utf8))))
        #expect(Set([pending.state, pending.nonce, pending.verifier]).count == 3)
        #expect(query["state"] == pending.state && query["nonce"] == pending.nonce && pending.state.count == 43)
    }

    @Test("A good token says who; the code goes with verifier and secret, and nowhere else")
    func good() async throws {
        provider.change { $0.claims = ["sid": "\"session-1\"", "name": "\"Alice\""] }
        let identity = try await login()
        #expect(identity.subject == "subject-alice" && identity.address == "alice@example.com")
        #expect(identity.session == "session-1" && identity.name == "Alice")
        let request = try #require(provider.requests.withLock { $0.first { $0.url.hasSuffix("/token") } })
        #expect(String(decoding: request.body, as: UTF8.self).contains("code_verifier="))
        let basic = Base64.encode(Array("hds:\(FakeOpenIDProvider.secret)".utf8))
        #expect(request.headers.contains { $0 == ("Authorization", "Basic " + basic) })
        #expect(!String(decoding: request.body, as: UTF8.self).contains(FakeOpenIDProvider.secret))
    }

    @Test(
        "A token with a claim that must not be is refused",
        arguments: [
            ("iss", "\"https://evil.example\"", "jwt-issuer"), ("aud", "\"other\"", "jwt-audience"),
            ("aud", "[\"hds\",\"other\"]", "oidc-id-token"), ("azp", "\"other\"", "oidc-id-token"),
            ("exp", "1799999900", "jwt-expired"), ("iat", "1800000061", "oidc-id-token"),
            ("iat", "1799999000", "oidc-id-token"), ("nbf", "1800000061", "jwt-not-yet-valid"),
            ("nonce", "\"another\"", "oidc-id-token"), ("at_hash", "\"AAAAAAAAAAAAAAAAAAAAAA\"", "oidc-id-token"),
            ("events", "{}", "oidc-id-token"), ("sub", "\"\"", "oidc-id-token"), ("sub", "7", "jwt-malformed"),
            ("sub", "\"a\\nb\"", "oidc-id-token"),
        ])
    func claims(_ name: String, _ value: String, _ code: String) async throws {
        provider.change { $0.claims = [name: value] }
        await #expect(throws: DiagnosedError.coded(.init(rawValue: code))) { try await login() }
    }

    @Test("A token without a claim that it needs is refused", arguments: ["iss", "aud", "exp", "iat", "nonce", "sub"])
    func missing(_ name: String) async throws {
        provider.change { $0.withoutClaims = [name] }
        await #expect(throws: DiagnosedError.self) { try await login() }
    }

    @Test("A token of another kind is refused", arguments: ["at+jwt", "logout+jwt", "application/at+jwt"])
    func kinds(_ typ: String) async throws {
        provider.change { $0.typ = typ }
        await #expect(throws: DiagnosedError.coded(.oidcIDToken)) { try await login() }
    }

    @Test("A token that is not signed, by a shared secret, or by a key that is not published is refused")
    func signatures() async throws {
        @Sendable func header(_ algorithm: String) -> String {
            Base64URL.encode(Array("{\"alg\":\"\(algorithm)\",\"kid\":\"key-1\"}".utf8))
        }
        @Sendable func hmac(_ claims: [UInt8], _ secret: String) -> String {
            let text = header("HS256") + "." + Base64URL.encode(claims)
            let code = HMACSHA256.code(
                for: Array(text.utf8), key: SymmetricKey(copying: Array(secret.utf8)))
            return text + "." + Base64URL.encode(code)
        }
        let pem = try provider.publicKey("key-1").pem
        let tokens: [@Sendable ([UInt8]) throws -> String] = [
            { header("none") + "." + Base64URL.encode($0) + "." },
            { header("None") + "." + Base64URL.encode($0) + ".AAAA" },
            { hmac($0, FakeOpenIDProvider.secret) }, { hmac($0, pem) },
            { try self.provider.sign($0, with: "key-2") }, { try self.provider.sign($0, kid: "key-2", with: "key-2") },
            { try self.provider.sign($0) + "A" }, { _ in "no.token" }, { _ in "" },
        ]
        for (index, token) in tokens.enumerated() {
            provider.change { $0.idToken = token }
            await #expect(throws: DiagnosedError.self, "\(index)") { try await login() }
        }
        provider.change { $0.idToken = nil }
        #expect(try await login().subject == "subject-alice")
    }

    @Test("A new key of the provider counts when a token names it, an old one no more when it is gone")
    func rotation() async throws {
        #expect(try await login().subject == "subject-alice")
        provider.change {
            ($0.published, $0.signing, $0.kid) = (["key-2"], "key-2", "key-2")
        }
        // Not asked for at once again and again.
        provider.clock.advance(seconds: 11)
        #expect(try await login().subject == "subject-alice")
        provider.change { ($0.signing, $0.kid) = ("key-1", "key-1") }
        provider.clock.advance(seconds: 11)
        await #expect(throws: DiagnosedError.coded(.joseRefused)) { try await login() }
    }

    @Test("Without a key's name the only key that fits is meant, and of two none")
    func unnamedKey() async throws {
        provider.change { $0.kid = nil }
        #expect(try await login().subject == "subject-alice")
        provider.change { $0.published = ["key-1", "key-2"] }
        let other = provider.party()
        await #expect(throws: DiagnosedError.coded(.joseRefused)) { try await login(other) }
    }

    @Test("The answer's issuer has to be this provider, and is demanded of one that says so")
    func mixUp() async throws {
        #expect(try await login(issuer: FakeOpenIDProvider.issuer).subject == "subject-alice")
        await #expect(throws: DiagnosedError.coded(.oidcRefused)) { try await login(issuer: "https://evil.example") }
        provider.change { $0.metadata = ["authorization_response_iss_parameter_supported": "true"] }
        await #expect(throws: DiagnosedError.coded(.oidcRefused)) { try await login(provider.party()) }
    }

    @Test("An address that is not verified is none, unless the configuration trusts it")
    func verified() async throws {
        for value in ["false", "\"false\"", "null", "1"] {
            provider.change {
                $0.claims = ["email_verified": value]
                $0.userInfo = "{\"sub\":\"subject-alice\",\"email\":\"alice@example.com\"}"
            }
            #expect(try await login().address == nil)
        }
        provider.change { $0.claims = ["email_verified": "\"true\""] }
        #expect(try await login().address == "alice@example.com")
        provider.change { $0.claims = ["email_verified": "false"] }
        #expect(try await login(provider.party { $0.wantsVerifiedAddress = false }).address == "alice@example.com")
    }

    @Test("What the token does not say is asked for, and the answer has to be of the same subject")
    func userInfo() async throws {
        provider.change {
            $0.withoutClaims = ["email"]
            $0.userInfo = "{\"sub\":\"subject-alice\",\"email\":\"alice@example.com\",\"email_verified\":true}"
        }
        #expect(try await login().address == "alice@example.com")
        provider.change { $0.userInfo = $0.userInfo?.replacing("subject-alice", with: "subject-bob") }
        await #expect(throws: DiagnosedError.coded(.oidcIDToken)) { try await login() }
    }

    @Test("An age of the sign-in that was asked for is looked at")
    func age() async throws {
        let strict = provider.party { $0.maximumAge = 600 }
        #expect(try await strict.begin(hint: nil).address.queryParameters["max_age"] == "600")
        await #expect(throws: DiagnosedError.coded(.oidcIDToken)) { try await login(strict) }
        provider.change { $0.claims = ["auth_time": "1799999300"] }
        await #expect(throws: DiagnosedError.coded(.oidcIDToken)) { try await login(strict) }
        provider.change { $0.claims = ["auth_time": "1799999900"] }
        #expect(try await login(strict).subject == "subject-alice")
    }

    @Test(
        "Metadata that must not be are refused",
        arguments: [
            ("issuer", "\"https://id.example.com/\""), ("token_endpoint", "\"http://id.example.com/token\""),
            ("jwks_uri", "\"http://localhost/keys\""), ("authorization_endpoint", "\"javascript:alert(1)\""),
            ("token_endpoint", "7"), ("response_types_supported", "[\"id_token\"]"),
            ("id_token_signing_alg_values_supported", "[\"HS256\",\"none\"]"),
        ])
    func metadata(_ name: String, _ value: String) async throws {
        provider.change { $0.metadata = [name: value] }
        await #expect(throws: DiagnosedError.coded(.oidcMetadata)) { try await party.begin(hint: nil) }
    }

    @Test("Metadata that are held go on for a day while the provider is away")
    func away() async throws {
        _ = try await party.begin(hint: nil)
        provider.change { $0.isAway = true }
        provider.clock.advance(seconds: 80_000)
        _ = try await party.begin(hint: nil)
        provider.clock.advance(seconds: 10_000)
        await #expect(throws: DiagnosedError.coded(.oidcUnavailable)) { try await party.begin(hint: nil) }
    }

    @Test("A code that the provider does not take is its refusal, told by its code")
    func refusedCode() async throws {
        provider.change { $0.tokenStatus = 400 }
        do {
            _ = try await login()
            Issue.record("it was taken")
        } catch let error as DiagnosedError {
            #expect(error.code == .oidcRefused && error.description.contains("invalid_grant"))
            #expect(!error.description.contains(FakeOpenIDProvider.secret))
        }
    }

    @Test(
        "Issuers are https, or plain on this machine",
        arguments: [
            ("https://id.example.com", true), ("https://id.example.com/tenant/1", true),
            ("http://localhost:9400", true),
            ("http://127.0.0.1:9400", true), ("http://id.example.com", false), ("https://", false),
            ("http://localhost.example.com", false), ("https://a@b.example.com", false), ("https://a.example?b", false),
            ("https://a.example#b", false), ("id.example.com", false), ("http://127.0.0.1@evil.example", false),
        ])
    func issuers(_ text: String, _ isGood: Bool) { #expect(OIDCSettings.isIssuer(text) == isGood) }
}
