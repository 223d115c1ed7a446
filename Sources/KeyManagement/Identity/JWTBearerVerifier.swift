import Cryptography
import Diagnostics
package import JOSESignature
import KMSProtocol
import WireText

/// Verifies tokens of one issuer that are JWTs.
///
/// Rules, before those of `TokenPolicy`:
/// 1. The token is a JWT signed with ES256, PS256 or RS256 by a key of the issuer; symmetric algorithms do not exist
///    here. A key that the set lacks has the set fetched again; `keys` keeps that from happening too often.
/// 2. Its type is `at+jwt`: an ID token, a list of revocations or whatever else an issuer signs is no access token.
/// 3. Its issuer is this one.
///
/// When keys can not be fetched the answer is 500. It remembers nothing: `BearerDirectory` does.
package struct JWTBearerVerifier: Sendable {
    package let policy: TokenPolicy
    /// The key set; `refresh` asks for one fetched now, because a token names a key that the last one lacks.
    private let keys: @Sendable (_ refresh: Bool) async throws -> JWKSet

    package init(policy: TokenPolicy, keys: @escaping @Sendable (_ refresh: Bool) async throws -> JWKSet) {
        self.policy = policy
        self.keys = keys
    }

    /// Algorithms of signatures that an issuer may use.
    static let algorithms: Set<SignatureAlgorithm> = [.es256, .ps256, .rs256]

    func verified(_ bearer: String, now: Timestamp) async throws(KMSFailure) -> TokenIdentity {
        guard let header = try? JWS.peekHeader(bearer) else { throw TokenRule.malformed.failure }
        guard let kid = header.kid else { throw TokenRule.keyUnknown.failure }
        for refresh in [false, true] {
            let set: JWKSet
            do {
                set = try await keys(refresh)
            } catch {
                throw TokenRule.unchecked.failure
            }
            if set[kid] != nil { return try judge(bearer, set, now) }
        }
        throw TokenRule.keyUnknown.failure
    }

    private func judge(_ bearer: String, _ keys: JWKSet, _ now: Timestamp) throws(KMSFailure) -> TokenIdentity {
        let token: JWT
        do {
            token = try JWT.verify(
                bearer, keys: { try keys.verificationKey(for: $0) }, allowing: Self.algorithms, issuer: policy.issuer,
                audience: policy.audience, now: now, leeway: policy.clockSkew)
        } catch {
            throw Self.rule(error).failure
        }
        guard let subject = token.subject, !subject.isEmpty, let expires = token.expires else {
            throw TokenRule.malformed.failure
        }
        let root = token.document.root
        let identity = TokenIdentity(
            userID: subject, clientID: token.clientID, scopes: Set(token.scope), issuer: policy.issuer,
            expires: expires, tokenID: token.id, organisation: root["org"]?.string, audience: token.audience,
            isCustomerControlled: policy.isCustomerControlled, issued: token.issuedAt,
            confirmation: try Confirmation.thumbprint(root["cnf"]), domain: root["domain"]?.string)
        try policy.judge(identity, notBefore: token.notBefore, now: now)
        return identity
    }

    private static func rule(_ error: any Error) -> TokenRule {
        switch (error as? DiagnosedError)?.code {
        case .jwtExpired: .expired
        case .jwtNotYetValid: .notYetValid
        case .jwtAudience: .wrongAudience
        case .jwtIssuer: .unknownIssuer
        case .jwtType: .wrongType
        case .joseSignatureInvalid, .joseRefused, .jwkPurpose, .jwkInvalid: .badSignature
        default: .malformed
        }
    }
}

/// The claim `cnf` (RFC 7800): to which key a token is bound.
enum Confirmation {
    /// Nil without the claim. A binding that is not understood is none that could be ignored.
    static func thumbprint(_ node: JSONNode?) throws(KMSFailure) -> String? {
        guard let node, !node.isNull else { return nil }
        guard let thumbprint = node["jkt"]?.string, JWK.isThumbprint(thumbprint) else {
            throw TokenRule.malformed.failure
        }
        return thumbprint
    }
}
