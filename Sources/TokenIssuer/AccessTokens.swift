import Cryptography
import JOSESignature
package import WireText

/// Makes access tokens: JWTs of type `at+jwt` (RFC 9068) under ES256, each for one audience.
///
/// A token for the cloud tells the core who its user is; a token for the KMS carries no name and no address, and neither is
/// taken where the other is due. Pure but for the signature: time and the random id come from outside.
package struct AccessTokens: Sendable {
    package let issuer: String
    /// Seconds that a token lives.
    package let lifetime: Int64

    package init(issuer: String, lifetime: Int64) {
        self.issuer = issuer
        self.lifetime = lifetime
    }

    package func token(
        user: UserAccount, client: String, scope: [String], audience: Audience, id: String, now: Timestamp,
        key: SigningKeyRing.SigningKey
    ) throws -> String {
        try sign(
            subject: user.id, client: client, organisation: user.organisation, scope: scope, audience: audience, id: id,
            now: now, person: audience == .cloud ? user : nil, key: key)
    }

    package func token(
        service: ServiceAccount, scope: [String], audience: Audience, id: String, now: Timestamp,
        key: SigningKeyRing.SigningKey
    ) throws -> String {
        try sign(
            subject: service.id, client: service.id, organisation: service.organisation, scope: scope,
            audience: audience, id: id, now: now, person: nil, key: key)
    }

    private func sign(
        subject: String, client: String, organisation: String, scope: [String], audience: Audience, id: String,
        now: Timestamp, person: UserAccount?, key: SigningKeyRing.SigningKey
    ) throws -> String {
        var claims = JSONWriter()
        claims.beginObject()
        claims.member("iss", issuer)
        claims.member("sub", subject)
        claims.member("aud", audience.rawValue)
        claims.member("exp", now.seconds + lifetime)
        claims.member("iat", now.seconds)
        claims.member("nbf", now.seconds)
        claims.member("jti", id)
        claims.member("client_id", client)
        // An empty scope is no scope (RFC 6749, section 3.3).
        if !scope.isEmpty { claims.member("scope", scope.joined(separator: " ")) }
        claims.member("org", organisation)
        if let person {
            claims.member("email", person.email)
            claims.member("name", person.name)
        }
        claims.endObject()
        return try JWS.sign(
            claims.bytes(), with: key.privateKey, algorithm: .es256, kid: key.kid, typ: "at+jwt")
    }
}
