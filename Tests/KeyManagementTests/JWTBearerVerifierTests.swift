import Cryptography
import JOSESignature
import KMSProtocol
import KeyManagement
import SecretMemory
import Testing
import WireText

/// Whose tokens the KMS believes (protocol, section 6; security model, rules 1 and 2).
@Suite("Bearer tokens")
struct JWTBearerVerifierTests {
    private static let issuer = "https://auth.example.com"
    private let now = Timestamp(milliseconds: 1_900_000_000_000)
    private let key: PrivateKey
    private let fetches = Shared(0)

    init() throws { key = try PrivateKey.generateP256() }

    private func verifier(_ keys: Shared<[(String, PublicKey)]>? = nil) -> JWTBearerVerifier {
        let published = keys ?? Shared([("k1", key.publicKey)])
        return JWTBearerVerifier(issuers: [
            TrustedIssuer(issuer: Self.issuer, audience: "kms", isCustomerControlled: true) { [fetches] _ in
                fetches.withLock { $0 += 1 }
                return JWKSet(
                    keys: published.value.map { JWK(publicKey: $0.1, kid: $0.0, use: "sig", alg: "ES256") })
            }
        ])
    }

    private func token(
        _ changes: [String: String?] = [:], kid: String = "k1", typ: String? = "at+jwt", key: PrivateKey? = nil
    ) throws -> String {
        var claims: [String: String] = [
            "iss": "\"\(Self.issuer)\"", "sub": "\"\(People.alice)\"", "aud": "\"kms\"", "exp": "\(now.seconds + 600)",
            "iat": "\(now.seconds)", "nbf": "\(now.seconds)", "client_id": "\"hds-cli\"", "scope": "\"a b\"",
        ]
        for (name, value) in changes { claims[name] = value }
        let text = "{" + claims.map { "\"\($0.key)\":\($0.value)" }.joined(separator: ",") + "}"
        return try JWS.sign(Array(text.utf8), with: key ?? self.key, algorithm: .es256, kid: kid, typ: typ)
    }

    private func status(_ bearer: String, _ verifier: JWTBearerVerifier, at moment: Timestamp? = nil) async -> Int {
        do {
            _ = try await verifier.identity(of: bearer, now: moment ?? now)
            return 200
        } catch {
            return error.status
        }
    }

    @Test("a token of the issuer for the KMS names its user, client and scopes")
    func good() async throws {
        let identity = try await verifier().identity(of: token(), now: now)
        #expect(identity.userID == People.alice && identity.clientID == "hds-cli" && identity.scopes == ["a", "b"])
        #expect(identity.issuer == Self.issuer)
    }

    @Test("tokens for the cloud, of strangers, expired, early, without subject or of another type are 401")
    func bad() async throws {
        let verifier = verifier()
        let stranger = try PrivateKey.generateP256()
        let bad: [(String, String)] = [
            ("audience cloud", try token(["aud": "\"cloud\""])), ("no audience", try token(["aud": nil])),
            ("other issuer", try token(["iss": "\"https://evil.example.com\""])),
            ("no issuer", try token(["iss": nil])),
            ("expired", try token(["exp": "\(now.seconds - 61)"])), ("no expiry", try token(["exp": nil])),
            ("early", try token(["nbf": "\(now.seconds + 61)"])), ("no subject", try token(["sub": nil])),
            ("empty subject", try token(["sub": "\"\""])), ("type JWT", try token(typ: "JWT")),
            ("no type", try token(typ: nil)),
            ("unknown kid", try token(kid: "k2")), ("stranger's key", try token(key: stranger)), ("empty", ""),
            ("garbage", "a.b.c"), ("opaque", "tok-secret_PF84_org"),
        ]
        for (name, bearer) in bad { #expect(await status(bearer, verifier) == 401, "\(name)") }
        #expect(await status(try token(["aud": "[\"cloud\",\"kms\"]"]), verifier) == 200)
        #expect(await status(try token(["exp": "\(now.seconds - 30)"]), verifier) == 200, "within the leeway")
    }

    @Test("alg none, HMAC with the public key and a changed signature are 401")
    func confusion() async throws {
        let verifier = verifier()
        let parts = try token().split(separator: ".").map(String.init)
        func header(_ json: String) -> String { Base64URL.encode(Array(json.utf8)) }
        let none = header(#"{"alg":"none","typ":"at+jwt","kid":"k1"}"#) + "." + parts[1] + "."
        let hmacHeader = header(#"{"alg":"HS256","typ":"at+jwt","kid":"k1"}"#)
        let tag = HMACSHA256.code(
            for: Array("\(hmacHeader).\(parts[1])".utf8), key: .init(copying: Array(key.publicKey.pem.utf8)))
        let hmac = "\(hmacHeader).\(parts[1]).\(Base64URL.encode(tag))"
        let flipped = parts[0] + "." + parts[1] + "." + (parts[2].hasPrefix("A") ? "B" : "A") + parts[2].dropFirst()
        for bearer in [none, none + "AA", hmac, flipped, parts[0] + "." + parts[1]] {
            #expect(await status(bearer, verifier) == 401)
        }
    }

    @Test("outcomes are remembered: a good token for a minute and never past its end, a bad one for five seconds")
    func memory() async throws {
        let published = Shared([("k1", key.publicKey)])
        let verifier = verifier(published)
        let good = try token()
        let short = try token(["exp": "\(now.seconds + 10)"])
        #expect(await status(good, verifier) == 200)
        #expect(await status(short, verifier) == 200)
        let asked = fetches.value
        #expect(await status(good, verifier) == 200)
        #expect(fetches.value == asked, "remembered")
        published.withLock { $0 = [] }
        #expect(await status(good, verifier, at: now.adding(seconds: 59)) == 200)
        #expect(await status(good, verifier, at: now.adding(seconds: 60)) == 401, "the key was withdrawn")
        #expect(await status(short, verifier, at: now.adding(seconds: 11)) == 401, "never past its end")
        published.withLock { $0 = [("k1", key.publicKey)] }
        let withdrawn = now.adding(seconds: 62)
        #expect(await status(good, verifier, at: withdrawn) == 401, "a refusal is remembered")
        #expect(await status(good, verifier, at: withdrawn.adding(seconds: 4)) == 200)
    }

    @Test("when the keys can not be fetched the answer is 500 and nothing is remembered")
    func unavailable() async throws {
        struct Away: Error {}
        let isAway = Shared(true)
        let key = key
        let verifier = JWTBearerVerifier(issuers: [
            TrustedIssuer(issuer: Self.issuer, audience: "kms", isCustomerControlled: false) { _ in
                if isAway.value { throw Away() }
                return JWKSet(keys: [JWK(publicKey: key.publicKey, kid: "k1")])
            }
        ])
        #expect(await status(try token(), verifier) == 500)
        isAway.withLock { $0 = false }
        #expect(await status(try token(), verifier) == 200)
        #expect(!verifier.isCustomerControlled)
    }
}
