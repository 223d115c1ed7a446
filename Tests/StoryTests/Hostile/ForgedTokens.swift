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
}
