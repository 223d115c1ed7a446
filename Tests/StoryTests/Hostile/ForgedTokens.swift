import Cryptography
import Foundation
import JOSESignature
import SecretMemory
import Testing
import WireText

/// Tokens that look like a genuine one and are none.
struct ForgedTokens {
    struct Forgery: Sendable {
        let name: String
        let token: String
    }

    /// - Parameter keySet: what the issuer publishes, which everybody can read.
    static func all(from genuine: String, keySet: [UInt8]) throws -> [Forgery] {
        let parts = genuine.split(separator: ".").map(String.init)
        let payload = try #require(Base64URL.decode(parts[1]))
        let kid = try #require(try JWS.peekHeader(genuine).kid)
        let published = try #require(try JWKSet(json: keySet)[kid]).publicKey()
        let stranger = try PrivateKey.generateP256()
        func hmac(_ key: [UInt8]) -> String {
            let head = Base64URL.encode(Array(#"{"alg":"HS256","typ":"at+jwt","kid":"\#(kid)"}"#.utf8)) + "." + parts[1]
            let code = HMACSHA256.code(for: Array(head.utf8), key: SymmetricKey(copying: key))
            return head + "." + Base64URL.encode(code)
        }
        let none = Base64URL.encode(Array(#"{"alg":"none","typ":"at+jwt"}"#.utf8)) + "." + parts[1] + "."
        let point = try #require(published.p256Coordinates)
        let expired = String(decoding: payload, as: UTF8.self)
            .replacing(/"exp":[0-9]+/, with: { _ in #""exp":1000000000"# })
        var changed = try #require(Base64URL.decode(parts[2]))
        changed[changed.count - 1] ^= 1
        func signed(_ payload: [UInt8], kid: String, _ algorithm: SignatureAlgorithm = .es256) throws -> String {
            try JWS.sign(payload, with: stranger, algorithm: algorithm, kid: kid, typ: "at+jwt")
        }
        return [
            .init(name: "alg none", token: none),
            .init(name: "alg none with the genuine signature", token: none + parts[2]),
            .init(name: "HS256 keyed with the public key as DER", token: hmac(published.subjectPublicKeyInfo)),
            .init(name: "HS256 keyed with the public key as PEM", token: hmac(Array(published.pem.utf8))),
            .init(name: "HS256 keyed with the public point", token: hmac(point.x + point.y)),
            .init(name: "HS256 keyed with the key set", token: hmac(keySet)),
            .init(name: "an unknown kid", token: try signed(payload, kid: "a-key-that-nobody-publishes")),
            .init(name: "the kid of the issuer, another key", token: try signed(payload, kid: kid)),
            .init(name: "expired, another key", token: try signed(Array(expired.utf8), kid: kid)),
            .init(
                name: "a signature changed in one bit", token: "\(parts[0]).\(parts[1]).\(Base64URL.encode(changed))"),
            .init(name: "no token at all", token: "x"),
        ]
    }

    /// Tokens signed with the issuer's own key, as its administrator could: only what they say is wrong.
    ///
    /// - Returns: the forgeries, and one in which nothing is wrong: it shows that the others fail for what they say.
    static func signedByIssuer(
        _ genuine: String, signingKeys pem: String, now: Int64
    ) throws -> (wrong: [Forgery], right: String) {
        let kid = try #require(try JWS.peekHeader(genuine).kid)
        let payload = try #require(genuine.split(separator: ".").dropFirst().first.flatMap { Base64URL.decode($0) })
        let claims = String(decoding: payload, as: UTF8.self)
        let begin = "-----BEGIN PRIVATE KEY-----"
        let end = "-----END PRIVATE KEY-----"
        let keys = try pem.components(separatedBy: begin).dropFirst().map { rest in
            try PrivateKey(pem: begin + (rest.components(separatedBy: end).first ?? "") + end + "\n")
        }
        // The right one of them is the one that the genuine token verifies with.
        let key = try #require(
            keys.first { key in (try? JWS.verify(genuine, allowing: [.es256]) { _ in key.publicKey }) != nil })
        func sign(_ claims: String, type: String = "at+jwt") throws -> String {
            try JWS.sign(Array(claims.utf8), with: key, algorithm: .es256, kid: kid, typ: type)
        }
        func changing(_ name: String, _ value: String) throws -> String {
            let pattern = try Regex("\"\(name)\":(\"[^\"]*\"|[0-9]+|\\[[^\\]]*\\])")
            let changed = claims.replacing(pattern, with: { _ in "\"\(name)\":\(value)" })
            #expect(changed != claims, "the token has a claim \(name)")
            return changed
        }
        let wrong = [
            Forgery(name: "expired two minutes ago", token: try sign(try changing("exp", "\(now - 120)"))),
            Forgery(name: "not valid before tomorrow", token: try sign(try changing("nbf", "\(now + 86_400)"))),
            Forgery(name: "another issuer", token: try sign(try changing("iss", "\"https://elsewhere.example.com\""))),
            Forgery(name: "another audience", token: try sign(try changing("aud", "\"other\""))),
            Forgery(name: "another type", token: try sign(claims, type: "JWT")),
        ]
        return (wrong, try sign(try changing("jti", "\"\(UUIDText.random())\"")))
    }
}
