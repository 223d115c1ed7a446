import Cryptography
import Diagnostics
import JOSESignature
import OIDCRelyingParty
import Synchronization
import WireText

/// A provider in memory that says whatever a test wants, signed with a key that it publishes, or not.
final class FakeOpenIDProvider: Sendable {
    static let issuer = "https://id.example.com"
    static let client = "hds"
    static let secret = "secret-of-the-client-of-32-octets"

    struct Behaviour: Sendable {
        var metadata: [String: String] = [:]
        var withoutMetadata: Set<String> = []
        var algorithm = SignatureAlgorithm.es256
        var kid: String? = "key-1"
        var published = ["key-1"]
        var signing = "key-1"
        /// Members of the ID token in JSON; the nonce is put in by the provider.
        var claims: [String: String] = [:]
        var withoutClaims: Set<String> = []
        var typ: String? = "JWT"
        var nonce: String?
        /// Another token in the place of the ID token.
        var idToken: (@Sendable (_ claims: [UInt8]) throws -> String)?
        var tokenStatus = 200
        var userInfo: String?
        var isAway = false
    }

    let behaviour = Mutex(Behaviour())
    let requests = Mutex<[ProviderRequest]>([])
    private let keys: [String: PrivateKey]
    let clock: TestClock

    init(clock: TestClock = TestClock(start: Timestamp(seconds: 1_800_000_000))) throws {
        self.clock = clock
        keys = ["key-1": try PrivateKey.generateP256(), "key-2": try PrivateKey.generateP256()]
    }

    func change(_ change: (inout Behaviour) -> Void) { behaviour.withLock { change(&$0) } }

    func publicKey(_ name: String) throws -> PublicKey {
        guard let key = keys[name] else { throw DiagnosedError.coded("no-key") }
        return key.publicKey
    }

    func party(_ change: (inout OIDCSettings) -> Void = { _ in }) -> OIDCRelyingParty {
        var settings = OIDCSettings(
            issuer: Self.issuer, clientID: Self.client, redirectURI: LoginWorld.issuer + "/oidc/example/callback",
            signedOutURI: LoginWorld.issuer + "/signed-out")
        settings.clientSecret = Redacted(Self.secret)
        change(&settings)
        let clock = clock
        return OIDCRelyingParty(settings, transport: { try self.answer($0) }, now: { clock.now })
    }

    /// The claims of a token in JSON.
    func claims(_ changes: [String: String?], nonce: String? = nil) -> [UInt8] {
        let now = clock.now.seconds
        var claims: [String: String?] = [
            "iss": "\"\(Self.issuer)\"", "sub": "\"subject-alice\"", "aud": "\"\(Self.client)\"", "iat": "\(now)",
            "exp": "\(now + 300)", "email": "\"alice@example.com\"", "email_verified": "true",
            "nonce": nonce.map { "\"\($0)\"" },
        ]
        for (name, value) in changes { claims.updateValue(value, forKey: name) }
        let members = claims.compactMap { name, value in value.map { "\"\(name)\":\($0)" } }
        return Array("{\(members.sorted().joined(separator: ","))}".utf8)
    }

    func sign(
        _ claims: [UInt8], typ: String? = "JWT", kid: String? = "key-1", with name: String = "key-1"
    ) throws -> String {
        guard let key = keys[name] else { throw DiagnosedError.coded("no-key") }
        return try JWS.sign(claims, with: key, algorithm: .es256, kid: kid, typ: typ)
    }

    private func answer(_ request: ProviderRequest) throws -> ProviderAnswer {
        requests.withLock { $0.append(request) }
        let behaviour = behaviour.withLock { $0 }
        if behaviour.isAway { throw DiagnosedError(.oidcUnavailable, fault: .peer, "away") }
        switch request.url.dropFirst(Self.issuer.count) {
        case "/.well-known/openid-configuration": return ProviderAnswer(status: 200, body: metadata(behaviour))
        case "/keys": return ProviderAnswer(status: 200, body: try keySet(behaviour))
        case "/token":
            guard behaviour.tokenStatus == 200 else {
                return ProviderAnswer(status: behaviour.tokenStatus, body: Array("{\"error\":\"invalid_grant\"}".utf8))
            }
            var changes: [String: String?] = behaviour.claims.mapValues { $0 }
            for name in behaviour.withoutClaims { changes.updateValue(nil, forKey: name) }
            let claims = claims(changes, nonce: behaviour.nonce)
            let token =
                try behaviour.idToken?(claims)
                ?? sign(claims, typ: behaviour.typ, kid: behaviour.kid, with: behaviour.signing)
            return ProviderAnswer(
                status: 200,
                body: Array("{\"access_token\":\"access-1\",\"token_type\":\"Bearer\",\"id_token\":\"\(token)\"}".utf8))
        case "/userinfo": return ProviderAnswer(status: 200, body: Array((behaviour.userInfo ?? "{}").utf8))
        default: return ProviderAnswer(status: 404, body: [])
        }
    }

    private func metadata(_ behaviour: Behaviour) -> [UInt8] {
        var members = [
            "issuer": "\"\(Self.issuer)\"", "authorization_endpoint": "\"\(Self.issuer)/authorize?tenant=1\"",
            "token_endpoint": "\"\(Self.issuer)/token\"", "jwks_uri": "\"\(Self.issuer)/keys\"",
            "userinfo_endpoint": "\"\(Self.issuer)/userinfo\"", "end_session_endpoint": "\"\(Self.issuer)/end\"",
            "response_types_supported": "[\"code\"]",
        ]
        for (name, value) in behaviour.metadata { members[name] = value }
        for name in behaviour.withoutMetadata { members[name] = nil }
        return Array("{\(members.map { "\"\($0.key)\":\($0.value)" }.joined(separator: ","))}".utf8)
    }

    private func keySet(_ behaviour: Behaviour) throws -> [UInt8] {
        let texts = try behaviour.published.map { name -> String in
            guard let point = try publicKey(name).p256Coordinates else { throw DiagnosedError.coded("no-key") }
            return "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"\(name)\",\"use\":\"sig\","
                + "\"x\":\"\(Base64URL.encode(point.x))\",\"y\":\"\(Base64URL.encode(point.y))\"}"
        }
        return Array("{\"keys\":[\(texts.joined(separator: ","))]}".utf8)
    }
}
