import Cryptography
import JOSESignature
package import WireText

/// What an access token says, whatever form it has: a signed JWT, or a secret that the service knows by its digest.
///
/// A token for the cloud and one for the KMS are never taken for each other: each names its audience, where it is read
/// and where it is asked about.
package struct AccessToken: Sendable, Equatable {
    /// `jti`: 128 random bits.
    package var id: String
    package var subject: String
    package var client: String
    package var organisation: String
    package var scope: [String]
    package var audience: Audience
    /// Whole seconds.
    package var issued: Timestamp
    package var expires: Timestamp
    /// RFC 7638 thumbprint of the key that its holder has to prove (`cnf.jkt`, RFC 7800 and RFC 9449).
    package var confirmation: String?
    /// The login that it came from; nil for services.
    package var family: String?
    /// Digest of the hash that its holder proved: with another password or secret an opaque token is over.
    package var credential: String

    package init(
        id: String, subject: String, client: String, organisation: String, scope: [String], audience: Audience,
        issued: Timestamp, expires: Timestamp, confirmation: String? = nil, family: String? = nil, credential: String
    ) {
        self.id = id
        self.subject = subject
        self.client = client
        self.organisation = organisation
        self.scope = scope
        self.audience = audience
        self.issued = issued
        self.expires = expires
        self.confirmation = confirmation
        self.family = family
        self.credential = credential
    }

    /// The claims that stand in a JWT (RFC 9068) and in an answer of the introspection endpoint (RFC 7662) alike.
    /// - Parameter partner: `aud` of an assertion for another organisation's KMS.
    func writeClaims(to json: inout JSONWriter, issuer: String, person: UserAccount?, partner: String? = nil) {
        json.member("iss", issuer)
        json.member("sub", subject)
        json.member("aud", partner ?? audience.rawValue)
        json.member("exp", expires.seconds)
        json.member("iat", issued.seconds)
        json.member("nbf", issued.seconds)
        json.member("jti", id)
        json.member("client_id", client)
        // An empty scope is no scope (RFC 6749, section 3.3).
        if !scope.isEmpty { json.member("scope", scope.joined(separator: " ")) }
        json.member("org", organisation)
        if let confirmation {
            json.name("cnf")
            json.beginObject()
            json.member("jkt", confirmation)
            json.endObject()
        }
        // The core shows people to each other; the KMS knows ids, and the domain that decides about partners.
        if let person {
            switch audience {
            case .cloud:
                json.member("email", person.email)
                json.member("name", person.name)
            case .kms:
                if let at = person.email.lastIndex(of: "@") {
                    json.member("domain", person.email[person.email.index(after: at)...].lowercased())
                }
            }
        }
    }
}

/// Makes access tokens, each for one audience. Pure but for the signature: time and random ids come from outside.
package struct AccessTokens: Sendable {
    package let issuer: String
    /// Seconds that a token lives.
    package let lifetime: Int64

    package init(issuer: String, lifetime: Int64) {
        self.issuer = issuer
        self.lifetime = lifetime
    }

    func token(
        user: UserAccount, grant: Grant, scope: [String], audience: Audience, id: String, now: Timestamp
    ) -> AccessToken {
        AccessToken(
            id: id, subject: user.id, client: grant.client, organisation: user.organisation, scope: scope,
            audience: audience, issued: Timestamp(seconds: now.seconds), expires: expiry(now), family: grant.family,
            credential: grant.credential)
    }

    func token(
        service: ServiceAccount, scope: [String], audience: Audience, id: String, now: Timestamp
    ) -> AccessToken {
        AccessToken(
            id: id, subject: service.id, client: service.id, organisation: service.organisation, scope: scope,
            audience: audience, issued: Timestamp(seconds: now.seconds), expires: expiry(now),
            confirmation: service.keyThumbprint, credential: SecretDigest.of(service.secretHash))
    }

    private func expiry(_ now: Timestamp) -> Timestamp { Timestamp(seconds: now.seconds + lifetime) }

    /// A JWT of type `at+jwt` (RFC 9068) under ES256.
    func signed(
        _ token: AccessToken, person: UserAccount?, key: SigningKeyRing.SigningKey, audience partner: String? = nil
    ) throws -> String {
        var claims = JSONWriter()
        claims.beginObject()
        token.writeClaims(to: &claims, issuer: issuer, person: person, partner: partner)
        claims.endObject()
        return try JWS.sign(
            claims.bytes(), with: key.privateKey, algorithm: .es256, kid: key.kid, typ: "at+jwt")
    }
}
