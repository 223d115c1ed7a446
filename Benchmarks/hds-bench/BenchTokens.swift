import Cryptography
import JOSESignature
import WireText

/// Tokens as the authorization service makes them, for a run of the benchmark.
enum BenchTokens {
    static let issuer = "https://auth.bench.example.com"
    static let kid = "bench-1"

    static func keySet(_ key: PrivateKey) throws -> JWKSet { try JWKSet(json: Array(keySetJSON(key).utf8)) }

    static func keySetJSON(_ key: PrivateKey) -> String {
        var json = JSONWriter()
        json.beginObject()
        json.name("keys")
        json.beginArray()
        JWK(publicKey: key.publicKey, kid: kid, use: "sig", alg: "ES256").write(to: &json)
        json.endArray()
        json.endObject()
        return json.text()
    }

    static func token(
        _ subject: String, key: PrivateKey, audience: String = "kms", scope: String? = nil, issuer: String = issuer,
        organisation: String = "bench", email: String? = nil
    ) throws -> String {
        let now = Timestamp.now().seconds
        var claims = JSONWriter()
        claims.beginObject()
        claims.member("iss", issuer)
        claims.member("sub", subject)
        claims.member("aud", audience)
        claims.member("exp", now + 3600)
        claims.member("iat", now)
        claims.member("nbf", now)
        claims.member("jti", UUIDText.random())
        claims.member("client_id", "hds-cli")
        claims.member("scope", ifPresent: scope)
        claims.member("email", ifPresent: email)
        claims.member("org", organisation)
        claims.endObject()
        return try JWS.sign(claims.bytes(), with: key, algorithm: .es256, kid: kid, typ: "at+jwt")
    }
}
