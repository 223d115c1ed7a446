import TestServers
import CloudCore
import Cryptography
import HTTPServer
import HTTPTypes
import Hummingbird
import JOSESignature
import NIOCore
import ServiceLifecycle
import Synchronization
import TLSChannel
import WireText

/// An authorization service of one customer, reduced to a key set over TLS and the making of tokens.
final class TestIssuer: Sendable {
    let organisation: String
    let issuer: String
    private let state: Mutex<State>
    private let running: RunningService
    let port: Int

    private struct State {
        var keys: [(kid: String, key: PrivateKey)]
        var published: [JWK]
        var fetches = 0
    }

    init(organisation: String = "acme", name: String = "auth.acme.example.com") async throws {
        self.organisation = organisation
        issuer = "https://\(name)"
        let key = try PrivateKey.generateP256()
        state = Mutex(
            State(
                keys: [("k1", key)],
                published: [JWK(publicKey: key.publicKey, kid: "k1", use: "sig", alg: "ES256")]))
        let router = Router()
        let source = KeySetSource()
        router.get("jwks.json") { _, _ -> Response in
            Response(status: .ok, body: ResponseBody(byteBuffer: ByteBuffer(string: source.text())))
        }
        let server = WebServer(
            configuration: WebServerConfiguration(host: "127.0.0.1", port: 0, identity: try TestPKI.shared.get().auth),
            router: router)
        running = RunningService([server])
        port = try await server.boundPort
        source.hold(self)
    }

    /// The closure of the route is made before the issuer is.
    private final class KeySetSource: Sendable {
        private struct Weak: Sendable { weak let issuer: TestIssuer? }
        private let held = Mutex<Weak?>(nil)
        func hold(_ issuer: TestIssuer) { held.withLock { $0 = Weak(issuer: issuer) } }
        func text() -> String { held.withLock { $0?.issuer }?.keySet() ?? "{\"keys\":[]}" }
    }

    func stop() async { await running.stop() }

    /// How often the key set was asked for.
    var fetches: Int { state.withLock { $0.fetches } }

    /// A new key signs from now on, and is published.
    func roll() throws {
        let key = try PrivateKey.generateP256()
        state.withLock { state in
            let kid = "k\(state.keys.count + 1)"
            state.keys.append((kid, key))
            state.published.append(JWK(publicKey: key.publicKey, kid: kid, use: "sig", alg: "ES256"))
        }
    }

    func configuration(domain: String = "acme.example.com", cluster: String = RelayBench.destination) throws
        -> CloudCoreConfiguration.Organisation
    {
        CloudCoreConfiguration.Organisation(
            id: organisation, domains: [domain], authorizationServer: issuer, issuer: issuer,
            jwksURL: "https://localhost:\(port)/jwks.json", kmsCluster: cluster,
            trust: TLSTrust(roots: [try TestPKI.shared.get().customerRoot]))
    }

    struct Claims {
        var subject: String
        var audience = "cloud"
        var email: String?
        var scope = ""
        var organisation: String?
        var issuer: String?
        var expiresIn: Int64 = 3_600
        var type = "at+jwt"
        var kid: String?
    }

    func token(_ claims: Claims, key: PrivateKey? = nil) throws -> String {
        let now = Timestamp.now()
        var json = JSONWriter()
        json.beginObject()
        json.member("iss", claims.issuer ?? issuer)
        json.member("sub", claims.subject)
        json.member("aud", claims.audience)
        json.member("exp", now.seconds + claims.expiresIn)
        json.member("iat", now.seconds)
        json.member("nbf", now.seconds)
        json.member("jti", UUIDText.random())
        json.member("client_id", "hds-cli")
        if !claims.scope.isEmpty { json.member("scope", claims.scope) }
        json.member("org", claims.organisation ?? organisation)
        if let email = claims.email {
            json.member("email", email)
            json.member("name", "Name of \(email)")
        }
        json.endObject()
        let current = state.withLock { $0.keys[$0.keys.count - 1] }
        return try JWS.sign(
            json.bytes(), with: key ?? current.key, algorithm: .es256, kid: claims.kid ?? current.kid,
            typ: claims.type)
    }

    func userToken(_ person: TestPerson, expiresIn: Int64 = 3_600) throws -> String {
        try token(Claims(subject: person.id, email: person.email, expiresIn: expiresIn))
    }

    func serviceToken(scope: String = "link:kms") throws -> String {
        try token(Claims(subject: "hds-kms", scope: scope))
    }

    private func keySet() -> String {
        let keys = state.withLock { state in
            state.fetches += 1
            return state.published
        }
        var json = JSONWriter()
        json.beginObject()
        json.name("keys")
        json.beginArray()
        for key in keys { key.write(to: &json) }
        json.endArray()
        json.endObject()
        return json.text()
    }
}

struct TestPerson: Sendable {
    let id: String
    let email: String

    static let alice = TestPerson(id: "aaaaaaaa-0000-4000-8000-000000000001", email: "alice@acme.example.com")
    static let bob = TestPerson(id: "bbbbbbbb-0000-4000-8000-000000000002", email: "bob@acme.example.com")
    static let eve = TestPerson(id: "eeeeeeee-0000-4000-8000-000000000003", email: "eve@other.example.com")
}
