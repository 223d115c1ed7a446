import Cryptography
import Introspection
import JOSESignature
package import KMSProtocol
package import WireText

/// Says whose a bearer token is: finds who can tell, remembers for a short time, and never overlooks a revocation.
///
/// Rules, in this order:
/// 1. A token in three parts with full stops that names an issuer is a JWT and goes to the verifier of that issuer. An
///    issuer that is not configured is not asked, and no other one is tried: a token is never shown to a stranger.
/// 2. Any other token is opaque. Of its three fields joined by `_` the second, the cluster, chooses the endpoint; without
///    such an endpoint the one that takes any opaque token is asked; at most one is.
/// 3. A token that is revoked is refused, whatever is remembered.
///
/// Good outcomes are remembered for at most 60 s and never past the token's end, refusals for 5 s, apart from each
/// other, so that a flood of bad tokens does not push the good ones out; both under the SHA-256 of the token. What could
/// not be checked is not remembered (security model, rule 2).
package final class BearerDirectory: BearerVerifier {
    private enum Expert {
        case jwt(JWTBearerVerifier)
        case opaque(IntrospectionVerifier)
    }

    private struct Known: Sendable {
        let identity: TokenIdentity
        let until: Timestamp
    }

    private struct Refused: Sendable {
        let failure: KMSFailure
        let until: Timestamp
    }

    private let issuers: [JWTBearerVerifier]
    private let endpoints: [IntrospectionVerifier]
    private let revocations: [RevocationList]
    private let known: TwoGenerationCache<OctetKey, Known>
    private let refused: TwoGenerationCache<OctetKey, Refused>

    package static let knownFor: Int64 = 60
    package static let refusedFor: Int64 = 5
    private static let longestOpaqueToken = 4096

    package init(
        issuers: [JWTBearerVerifier], endpoints: [IntrospectionVerifier] = [], revocations: [RevocationList] = [],
        capacity: Int = 20_000
    ) {
        self.issuers = issuers
        self.endpoints = endpoints
        self.revocations = revocations
        known = TwoGenerationCache(capacity: capacity)
        refused = TwoGenerationCache(capacity: capacity)
    }

    /// Whether only the customer can say who somebody is.
    package var isCustomerControlled: Bool {
        (issuers.map(\.policy) + endpoints.map(\.policy)).allSatisfy(\.isCustomerControlled)
    }

    package func remembered(_ bearer: String, now: Timestamp) throws(KMSFailure) -> TokenIdentity? {
        guard let known = known[OctetKey(Self.digest(bearer))], now < known.until else { return nil }
        return try unlessRevoked(known.identity)
    }

    private static func digest(_ bearer: String) -> [UInt8] {
        var bearer = bearer
        return bearer.withUTF8 { SHA256.hash(UnsafeRawBufferPointer($0)) }
    }

    package func identity(of bearer: String, now: Timestamp) async throws(KMSFailure) -> TokenIdentity {
        let digest = Self.digest(bearer)
        let key = OctetKey(digest)
        if let known = known[key], now < known.until { return try unlessRevoked(known.identity) }
        if let refused = refused[key], now < refused.until { throw refused.failure }
        do {
            let identity: TokenIdentity
            switch try expert(for: bearer) {
            case .jwt(let verifier): identity = try await verifier.verified(bearer, now: now)
            case .opaque(let verifier): identity = try await verifier.verified(bearer, digest: digest, now: now)
            }
            let until = min(now.adding(seconds: Self.knownFor), identity.expires)
            if now < until { known[key] = Known(identity: identity, until: until) }
            return try unlessRevoked(identity)
        } catch {
            if error.status == KMSStatus.unauthorized {
                refused[key] = Refused(failure: error, until: now.adding(seconds: Self.refusedFor))
            }
            throw error
        }
    }

    private func unlessRevoked(_ identity: TokenIdentity) throws(KMSFailure) -> TokenIdentity {
        for list in revocations where list.issuer == identity.issuer && list.revokes(identity) {
            throw TokenRule.revoked.failure
        }
        return identity
    }

    private func expert(for bearer: String) throws(KMSFailure) -> Expert {
        if let named = JWT.unverifiedIssuer(bearer) {
            if let issuer = issuers.first(where: { $0.policy.issuer == named }) { return .jwt(issuer) }
            // Some issuers want to be asked about their JWTs, too.
            if let endpoint = endpoints.first(where: { $0.policy.issuer == named }) { return .opaque(endpoint) }
            throw TokenRule.unknownIssuer.failure
        }
        guard bearer.utf8.count <= Self.longestOpaqueToken,
            bearer.utf8.allSatisfy({ (0x21...0x7E).contains($0) }), !endpoints.isEmpty
        else { throw TokenRule.malformed.failure }
        let fields = bearer.split(separator: "_", omittingEmptySubsequences: false)
        if fields.count == 3, fields.allSatisfy({ !$0.isEmpty }),
            let endpoint = endpoints.first(where: { $0.clusters.contains(String(fields[1])) })
        {
            return .opaque(endpoint)
        }
        guard let endpoint = endpoints.first(where: { $0.clusters.isEmpty }) else {
            throw TokenRule.unknownIssuer.failure
        }
        return .opaque(endpoint)
    }
}
