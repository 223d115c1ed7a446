import Cryptography
import JOSESignature
import KMSProtocol
import KeyManagement
import Synchronization
import WireText

/// An issuer without network: its keys, what it signs, and how often it was asked for its key set.
final class TestIssuer: Sendable {
    static let now = Timestamp(seconds: 1_900_000_000)

    let name: String
    let key: PrivateKey
    let fetches = Shared(0)
    /// What the key set holds now.
    let published: Shared<[(String, PublicKey)]>
    let isAway = Shared(false)

    struct Away: Error {}

    init(_ name: String = "https://auth.example.com") throws {
        self.name = name
        key = try PrivateKey.generateP256()
        published = Shared([("k1", key.publicKey)])
    }

    @Sendable func keySet(_ refresh: Bool) async throws -> JWKSet {
        fetches.withLock { $0 += 1 }
        if isAway.value { throw Away() }
        return JWKSet(
            keys: published.value.map {
                JWK(publicKey: $0.1, kid: $0.0, use: "sig", alg: $0.1.kind == .p256 ? "ES256" : nil)
            })
    }

    func policy(_ change: (inout TokenPolicy) -> Void = { _ in }) -> TokenPolicy {
        var policy = TokenPolicy(issuer: name, isCustomerControlled: true)
        change(&policy)
        return policy
    }

    func verifier(_ change: (inout TokenPolicy) -> Void = { _ in }) -> JWTBearerVerifier {
        JWTBearerVerifier(policy: policy(change), keys: { try await self.keySet($0) })
    }

    /// The claims of a good token, each of which a test can change (JSON) or leave out (nil).
    func claims(_ changes: [String: String?] = [:]) -> String {
        let now = Self.now.seconds
        var claims: [String: String] = [
            "iss": "\"\(name)\"", "sub": "\"\(People.alice)\"", "aud": "\"kms\"", "exp": "\(now + 600)",
            "iat": "\(now)", "nbf": "\(now)", "client_id": "\"hds-cli\"", "scope": "\"a b\"", "jti": "\"t1\"",
            "org": "\"o1\"",
        ]
        for (name, value) in changes { claims[name] = value }
        return "{" + claims.map { "\"\($0.key)\":\($0.value)" }.sorted().joined(separator: ",") + "}"
    }

    func token(
        _ changes: [String: String?] = [:], kid: String? = "k1", typ: String? = "at+jwt", key: PrivateKey? = nil,
        algorithm: SignatureAlgorithm = .es256
    ) throws -> String {
        try JWS.sign(
            Array(claims(changes).utf8), with: key ?? self.key, algorithm: algorithm, kid: kid, typ: typ)
    }
}

extension BearerVerifier {
    /// `ok`, or the rule that refused the token; what was remembered before has to agree with it.
    func verdict(_ bearer: String, at now: Timestamp = TestIssuer.now) async -> String {
        var known: TokenIdentity?
        var refusal: KMSFailure?
        do throws(KMSFailure) { known = try remembered(bearer, now: now) } catch { refusal = error }
        do throws(KMSFailure) {
            let found = try await identity(of: bearer, now: now)
            return refusal == nil && (known ?? found) == found ? "ok" : "something else was remembered"
        } catch {
            return known == nil ? error.rule ?? "no rule" : "a refused token was remembered"
        }
    }
}
