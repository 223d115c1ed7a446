import Cryptography
import Diagnostics
import Encryption
import JOSEEncryption
import JOSESignature
import KMSProtocol
import KeyManagement
import KeyStore
import MasterKey
import Testing
import WireText

@testable import KMSClient

/// Services whose tokens are bound to a key (security model, rule 3; docs/kms-extensions.md).
@Suite("Key-bound credentials of services")
struct KeyBindingTests {
    /// Takes `bound <user> <thumbprint>` beside the tokens of `TestTokens`.
    private struct BoundTokens: BearerVerifier {
        func identity(of bearer: String, now: Timestamp) async throws(KMSFailure) -> TokenIdentity {
            guard bearer.hasPrefix("bound ") else { return try await TestTokens().identity(of: bearer, now: now) }
            let parts = bearer.split(separator: " ").map(String.init)
            return TokenIdentity(
                userID: parts[1], clientID: nil, scopes: [], issuer: "test", expires: now.adding(seconds: 3600),
                confirmation: parts[2])
        }
    }

    private static let service = "5e41ce00-0000-4000-8000-000000000001"
    private let key: PrivateKey
    private let print: String

    init() throws {
        key = try PrivateKey.generateP256()
        print = try #require(JWK.thumbprint(of: key.publicKey))
    }

    private func bound(_ print: String? = nil) -> String { "bound \(Self.service) \(print ?? self.print)" }

    private func start(store: (any KeyStore)? = nil, kek: KeyEncryptionKey? = nil) async throws -> TestKMS {
        try await TestKMS.start(
            store: store, kek: kek,
            signed: try TestPolicy.make(TestPolicy.consent(Self.service, #""operations": ["create"]"#)),
            verifier: BoundTokens())
    }

    /// What a request that opens a session may say in a wrong way.
    private struct Offer {
        var token: String
        var jwk: JWK?
        var key: PrivateKey?
        var requestID = UUIDText.random()
        var provenRequestID: String?
        var provenKMS: String?
        var provenPoint: (x: [UInt8], y: [UInt8])?
        var age: Int64 = 0
        var typ = ServiceProof.type
        var proof: String?
    }

    private func open(_ kms: TestKMS, _ offer: Offer) async throws -> (status: Int, reply: String) {
        let own = try P256Agreement.generate()
        let point = offer.provenPoint ?? (own.publicX, own.publicY)
        let subject = ServiceProof.Subject(
            ephemeralX: point.x, y: point.y, requestID: offer.provenRequestID ?? offer.requestID,
            staticKey: offer.provenKMS ?? kms.staticKey.kid)
        var proof = offer.proof
        if let key = offer.key {
            proof = try ServiceProof.make(for: subject, with: key, at: kms.clock.now.adding(seconds: -offer.age))
            if offer.typ != ServiceProof.type, let text = proof {
                let payload = try #require(
                    text.split(separator: ".").dropFirst().first.flatMap { Base64URL.decode($0) })
                proof = try JWS.sign(payload, with: key, algorithm: .es256, kid: nil, typ: offer.typ)
            }
        }
        var json = JSONWriter()
        json.beginObject()
        json.member("requestId", offer.requestID)
        json.member("method", "create")
        json.member("uri", "/ecdhe")
        json.name("jwk")
        JWK(
            publicKey: try PublicKey(p256X: own.publicX, y: own.publicY), kid: nil
        ).write(to: &json)
        json.name("client")
        json.beginObject()
        json.member("clientId", "https://indexer")
        json.name("credential")
        json.beginObject()
        json.member("bearer", offer.token)
        if let jwk = offer.jwk {
            json.name("jwk")
            jwk.write(to: &json)
        }
        json.member("proof", ifPresent: proof)
        json.endObject()
        json.endObject()
        json.endObject()
        let text = try json.withUnsafeBytes {
            try JWE.encryptRSAOAEP($0, to: kms.staticPublicKey, kid: kms.staticKey.kid)
        }
        let answer = try kms.openSigned(await kms.handler.reply(to: text, source: "s"))
        return (answer.status, answer.reason ?? "")
    }

    /// A session through the client's own code.
    private func session(
        _ kms: TestKMS, token: String, key: ServiceKey?
    ) async throws -> (session: KMSClientSession, credential: KMSCredential) {
        let verified = VerifiedStaticKey(
            kid: kms.staticKey.kid, host: TestKMS.host, publicKey: kms.staticPublicKey, path: kms.staticKey.chain,
            machineAccountID: "m")
        let credential = KMSCredential(
            clientID: "https://indexer", userID: Self.service, bearer: .init(token), serviceKey: key)
        let opening = try SessionOpening(to: verified, as: credential, at: kms.clock.now)
        let answer = try kms.openSigned(
            await kms.handler.reply(to: Array(opening.text.utf8), source: "s"))
        return (try opening.finish(answer, at: kms.clock.now), credential)
    }

    private func ask(
        _ kms: TestKMS, _ session: KMSClientSession, _ credential: KMSCredential, token: String
    ) async throws -> KMSAnswer {
        var credential = credential
        credential.bearer = .init(token)
        let request = try session.wrap(.createKeys(count: 1), as: credential, at: kms.clock.now)
        guard case .answer(let text) = await kms.handler.reply(to: Array(request.text.utf8), source: "s") else {
            throw TestKMS.Unexpected(reply: "declined")
        }
        return try session.open(String(decoding: text, as: UTF8.self))
    }

    @Test("a service with its key opens a session and works in it, with P-256, RSA, and a certificate beside it")
    func works() async throws {
        let kms = try await start()
        let rsa = try PrivateKey.generateRSA()
        let identity = try TestIdentity.shared()
        for service in [
            ServiceKey(key), ServiceKey(rsa), ServiceKey(identity.privateKey, chain: identity.chain),
        ] {
            let print = try #require(JWK.thumbprint(of: service.publicKey))
            let (session, credential) = try await session(kms, token: bound(print), key: service)
            #expect(try await ask(kms, session, credential, token: bound(print)).status == 201)
        }
    }

    @Test("without a proof, with another key, or with a proof of something else there is no session")
    func refused() async throws {
        let kms = try await start()
        let jwk = JWK(publicKey: key.publicKey, kid: nil)
        let thief = try PrivateKey.generateP256()
        let good = Offer(token: bound(), jwk: jwk, key: key)
        #expect(try await open(kms, good).status == 201, "the control: nothing is wrong with this one")
        func changed(_ change: (inout Offer) throws -> Void) rethrows -> Offer {
            var offer = good
            try change(&offer)
            return offer
        }
        let other = try P256Agreement.generate()
        let bad: [(String, Offer)] = [
            ("no proof", changed { $0.key = nil }), ("no key shown", changed { $0.jwk = nil }),
            ("the thief's own key", changed { ($0.jwk, $0.key) = (JWK(publicKey: thief.publicKey, kid: nil), thief) }),
            ("the service's key shown, the thief's used", changed { $0.key = thief }),
            (
                "the thief's certificate beside it",
                try changed { offer in
                    offer.jwk = JWK(publicKey: key.publicKey, kid: nil, x5c: try TestIdentity.shared().chain.map(\.der))
                }
            ),
            ("another ephemeral key", changed { $0.provenPoint = (other.publicX, other.publicY) }),
            ("another request", changed { $0.provenRequestID = "other" }),
            ("another KMS", changed { $0.provenKMS = "kms://kms.other.example.com/statickeys/1" }),
            ("too old", changed { $0.age = 61 }), ("of the future", changed { $0.age = -61 }),
            ("another type", changed { $0.typ = "at+jwt" }),
            ("garbage", changed { ($0.key, $0.proof) = (nil, "a.b.c") }),
            ("a key for encryption", changed { $0.jwk = JWK(publicKey: key.publicKey, kid: nil, use: "enc") }),
            ("a proof with a token that is not bound", changed { $0.token = TestTokens.token(Self.service) }),
        ]
        for (name, offer) in bad {
            let (status, reason) = try await open(kms, offer)
            #expect(status == 403, "\(name)")
            #expect(reason == "the bearer token's key is not proven in this session", "\(name)")
        }
        for age in [Int64(-60), 60] { #expect(try await open(kms, changed { $0.age = age }).status == 201) }
    }

    @Test("a bound token is worth nothing in a session without its key, and the session of a service takes no other")
    func stolenToken() async throws {
        let kms = try await start()
        let plain = TestTokens.token(Self.service)
        let (bare, bareCredential) = try await session(kms, token: plain, key: nil)
        #expect(try await ask(kms, bare, bareCredential, token: plain).status == 201)
        #expect(try await ask(kms, bare, bareCredential, token: bound()).status == 403)
        let (own, credential) = try await session(kms, token: bound(), key: ServiceKey(key))
        #expect(try await ask(kms, own, credential, token: bound()).status == 201)
        #expect(try await ask(kms, own, credential, token: plain).status == 403)
        let other = try #require(JWK.thumbprint(of: try PrivateKey.generateP256().publicKey))
        #expect(try await ask(kms, own, credential, token: bound(other)).status == 403)
    }

    @Test("what a session has proven survives a restart of the KMS")
    func restart() async throws {
        let store = MemoryKeyStore()
        let kek = try KeyEncryptionKey.create()
        let first = try await start(store: store, kek: kek)
        let (own, credential) = try await session(first, token: bound(), key: ServiceKey(key))
        let second = try await start(store: store, kek: kek)
        #expect(try await ask(second, own, credential, token: bound()).status == 201)
        #expect(try await ask(second, own, credential, token: TestTokens.token(Self.service)).status == 403)
    }
}
