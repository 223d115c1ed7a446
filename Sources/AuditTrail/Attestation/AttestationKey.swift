package import Cryptography
import Diagnostics
import JOSESignature
package import SecretMemory
package import WireText

/// The key that signs heads, roots, gaps, certificates and exports: P-256 or RSA, apart from every key of the KMS
/// protocol.
///
/// It is known by its fingerprint, the thumbprint of RFC 7638, which is published where auditors find it. Every
/// statement carries it as `kid` and its own `typ`. Immutable; any thread may use it.
package struct AttestationKey: Sendable {
    private let key: PrivateKey
    /// 43 characters of base64url.
    package let fingerprint: String

    package init(_ key: PrivateKey) {
        self.key = key
        fingerprint = Thumbprint.of(key.publicKey)
    }

    /// From the content of a key file, such as a systemd credential: PEM, not encrypted.
    package init(pem: borrowing SecretBytes) throws { self.init(try PrivateKey(pem: pem)) }

    package static func createP256() throws -> AttestationKey { AttestationKey(try .generateP256()) }
    package static func createRSA(bits: Int = 3072) throws -> AttestationKey {
        AttestationKey(try .generateRSA(bits: bits))
    }

    package var publicKey: PublicKey { key.publicKey }
    package func pem() throws -> SecretBytes { try key.pem() }

    /// The public half as a JWK in one line.
    package var jwk: String { Thumbprint.jwk(publicKey) }

    package func sign(_ payload: [UInt8], as type: StatementType) throws -> String {
        try JWS.sign(
            payload, with: key, algorithm: Thumbprint.algorithm(publicKey), kid: fingerprint, typ: type.rawValue)
    }

    /// The statement by which this key hands over to another one.
    package func succession(to next: PublicKey, at time: Timestamp) throws -> String {
        try sign(SuccessionStatement(previous: fingerprint, key: next, time: time).json(), as: .succession)
    }
}

/// "From now on that key signs": made by the key that steps back.
struct SuccessionStatement: Sendable {
    let previous: String
    let key: PublicKey
    let time: Timestamp

    func json() -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("previous", previous)
        json.member("next", Thumbprint.of(key))
        json.name("jwk")
        json.raw(Thumbprint.jwk(key))
        json.member("time", time.iso8601)
        json.endObject()
        return json.bytes()
    }

    init(previous: String, key: PublicKey, time: Timestamp) {
        self.previous = previous
        self.key = key
        self.time = time
    }

    init(_ payload: [UInt8]) throws {
        let json = try StatementReader(payload)
        previous = try json.text("previous")
        guard let node = json.root["jwk"] else { throw StatementReader.malformed("jwk") }
        key = try JWK(node).publicKey()
        guard Thumbprint.of(key) == (try json.text("next")) else { throw StatementReader.malformed("next") }
        time = try json.time("time")
    }
}

/// JWK thumbprints (RFC 7638) of the two kinds of keys.
enum Thumbprint {
    static func of(_ key: PublicKey) -> String { Base64URL.encode(SHA256.hash(Array(jwk(key).utf8))) }

    static func isOne(_ text: String) -> Bool { text.utf8.count == 43 && Base64URL.decode(text)?.count == 32 }

    /// The required members only, in lexicographic order: what RFC 7638 hashes, and a JWK.
    static func jwk(_ key: PublicKey) -> String {
        var json = JSONWriter()
        json.beginObject()
        if let point = key.p256Coordinates {
            json.member("crv", "P-256")
            json.member("kty", "EC")
            json.member("x", Base64URL.encode(point.x))
            json.member("y", Base64URL.encode(point.y))
        } else if let n = key.rsaModulus, let e = key.rsaExponent {
            json.member("e", Base64URL.encode(e))
            json.member("kty", "RSA")
            json.member("n", Base64URL.encode(n))
        }
        json.endObject()
        return json.text()
    }

    static func algorithm(_ key: PublicKey) -> SignatureAlgorithm { key.kind == .p256 ? .es256 : .ps256 }
}
