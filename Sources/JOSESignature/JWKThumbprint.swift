package import Cryptography
import WireText

extension JWK {
    /// The name of a key that can not be given to another one: RFC 7638, SHA-256 over the required members in the order
    /// of their names, as base64url. Nil for kinds of keys that this project does not use.
    package static func thumbprint(of key: PublicKey) -> String? {
        if let (x, y) = key.p256Coordinates { return thumbprint(p256X: x, y: y) }
        guard let n = key.rsaModulus, let e = key.rsaExponent else { return nil }
        var json = JSONWriter()
        json.beginObject()
        json.member("e", Base64URL.encode(e))
        json.member("kty", "RSA")
        json.member("n", Base64URL.encode(n))
        json.endObject()
        return Base64URL.encode(SHA256.hash(json.bytes()))
    }

    /// Of a point on P-256; coordinates that lack leading zeros get them.
    package static func thumbprint(p256X x: [UInt8], y: [UInt8]) -> String {
        func padded(_ octets: [UInt8]) -> [UInt8] { [UInt8](repeating: 0, count: max(0, 32 - octets.count)) + octets }
        var json = JSONWriter()
        json.beginObject()
        json.member("crv", "P-256")
        json.member("kty", "EC")
        json.member("x", Base64URL.encode(padded(x)))
        json.member("y", Base64URL.encode(padded(y)))
        json.endObject()
        return Base64URL.encode(SHA256.hash(json.bytes()))
    }

    /// Whether a text can be a thumbprint: 32 octets in base64url.
    package static func isThumbprint(_ text: String) -> Bool {
        text.utf8.count == 43 && Base64URL.decode(text)?.count == 32
    }
}
