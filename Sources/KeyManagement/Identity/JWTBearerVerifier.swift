import Cryptography
package import JOSESignature
package import KMSProtocol
package import WireText

/// Whose token it is, as an issuer that the administrator trusts has signed it.
package struct TokenIdentity: Sendable, Equatable {
    package let userID: String
    /// Client that the token was issued to, where it says so.
    package let clientID: String?
    package let scopes: Set<String>
    package let issuer: String
    package let expires: Timestamp

    package init(userID: String, clientID: String?, scopes: Set<String>, issuer: String, expires: Timestamp) {
        self.userID = userID
        self.clientID = clientID
        self.scopes = scopes
        self.issuer = issuer
        self.expires = expires
    }
}

/// An issuer of KMS tokens.
package struct TrustedIssuer: Sendable {
    package let issuer: String
    package let audience: String
    /// Whether the customer runs it; with one that the cloud runs, the cloud can impersonate users (rule 1).
    package let isCustomerControlled: Bool
    /// The key set; `refresh` asks for one fetched now, because a token names a key that the last one lacks.
    package let keys: @Sendable (_ refresh: Bool) async throws -> JWKSet

    package init(
        issuer: String, audience: String, isCustomerControlled: Bool,
        keys: @escaping @Sendable (_ refresh: Bool) async throws -> JWKSet
    ) {
        self.issuer = issuer
        self.audience = audience
        self.isCustomerControlled = isCustomerControlled
        self.keys = keys
    }
}

/// Says whose a bearer token is, on every request (protocol, section 6).
package protocol BearerVerifier: Sendable {
    /// Throws a `KMSFailure` of status 401 for a token that is not good, of status 500 when that can not be told now.
    func identity(of bearer: String, now: Timestamp) async throws(KMSFailure) -> TokenIdentity
}

/// Validates bearer tokens that are JWTs, with a short memory.
///
/// Rules, in this order:
/// 1. The token is a JWT of type `at+jwt` signed with ES256, PS256 or RS256 by a key of the issuer that it names.
/// 2. The issuer is one of the configured ones, and the audience is the one configured for it. A token for the cloud
///    has another audience: the cloud, which sees those, can not use them here.
/// 3. It is valid now, give or take a minute of clock skew.
///
/// Positive outcomes are remembered for at most 60 s and never past the token's end, negative ones for 5 s, under the
/// SHA-256 of the token. When keys can not be fetched the answer is 500 and nothing is remembered.
package final class JWTBearerVerifier: BearerVerifier {
    private enum Remembered: Sendable {
        case identity(TokenIdentity, until: Timestamp)
        case refused(KMSFailure, until: Timestamp)
    }

    private let issuers: [TrustedIssuer]
    private let cache = TwoGenerationCache<[UInt8], Remembered>(capacity: 20_000)

    package init(issuers: [TrustedIssuer]) { self.issuers = issuers }

    /// Whether only the customer can say who somebody is.
    package var isCustomerControlled: Bool { issuers.allSatisfy(\.isCustomerControlled) }

    package func identity(of bearer: String, now: Timestamp) async throws(KMSFailure) -> TokenIdentity {
        var bearer = bearer
        let digest = bearer.withUTF8 { SHA256.hash(UnsafeRawBufferPointer($0)) }
        switch cache[digest] {
        case .identity(let identity, let until) where now < until: return identity
        case .refused(let failure, let until) where now < until: throw failure
        default: break
        }
        do {
            let identity = try await verified(bearer, now)
            cache[digest] = .identity(identity, until: min(now.adding(seconds: 60), identity.expires))
            return identity
        } catch {
            if error.status == KMSStatus.unauthorized {
                cache[digest] = .refused(error, until: now.adding(seconds: 5))
            }
            throw error
        }
    }

    private func verified(_ bearer: String, _ now: Timestamp) async throws(KMSFailure) -> TokenIdentity {
        guard let named = JWT.unverifiedIssuer(bearer), let trusted = issuers.first(where: { $0.issuer == named })
        else {
            throw Self.refusal
        }
        for refresh in [false, true] {
            let keys: JWKSet
            do {
                keys = try await trusted.keys(refresh)
            } catch {
                throw KMSFailure(KMSStatus.internalError, "the bearer token can not be checked now")
            }
            guard let header = try? JWS.peekHeader(bearer) else { throw Self.refusal }
            guard let kid = header.kid, keys[kid] != nil else { continue }
            do {
                let token = try JWT.verify(
                    bearer, keys: { try keys.verificationKey(for: $0) }, allowing: [.es256, .ps256, .rs256],
                    issuer: trusted.issuer, audience: trusted.audience, now: now)
                guard let subject = token.subject, !subject.isEmpty, let expires = token.expires else {
                    throw Self.refusal
                }
                return TokenIdentity(
                    userID: subject, clientID: token.clientID, scopes: Set(token.scope), issuer: trusted.issuer,
                    expires: expires)
            } catch {
                throw Self.refusal
            }
        }
        throw Self.refusal
    }

    private static let refusal = KMSFailure(KMSStatus.unauthorized, "Failed to authenticate the bearer token")
}
