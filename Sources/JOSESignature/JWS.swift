package import Cryptography
import Diagnostics
import WireText

/// A signed text in compact form (RFC 7515) whose signature has been verified.
///
/// The caller says which algorithms it takes and finds the key; the header decides neither. Symmetric algorithms and
/// `none` do not exist here, so a public key can never be taken for a shared secret.
///
/// ```swift
/// let jws = try JWS.verify(text, allowing: [.ps256]) { header in try keys.verificationKey(for: header) }
/// ```
package struct JWS: Sendable {
    package let header: JOSEHeader
    package let payload: [UInt8]

    package static let maximumBytes = 1 << 20

    package static func verify(
        _ compact: String, allowing: Set<SignatureAlgorithm>, key: (JOSEHeader) throws -> PublicKey
    ) throws -> JWS {
        try verify(Array(compact.utf8), allowing: allowing, key: key)
    }

    /// - Parameter compact: the ASCII text.
    package static func verify(
        _ compact: [UInt8], allowing: Set<SignatureAlgorithm>, key: (JOSEHeader) throws -> PublicKey
    ) throws -> JWS {
        try compact.withUnsafeBytes { text in
            let parts = try parts(text)
            let header = try JOSEHeader.parse(base64url: UnsafeRawBufferPointer(rebasing: text[parts[0]]))
            guard let algorithm = SignatureAlgorithm(rawValue: header.alg), allowing.contains(algorithm) else {
                throw DiagnosedError.refusedJOSE(
                    "the signature algorithm is not allowed here",
                    expected: allowing.map(\.rawValue).sorted().joined(separator: " or "),
                    found: header.alg.quotedForError)
            }
            let key = try key(header)
            guard algorithm.suits(key.kind) else {
                throw DiagnosedError.refusedJOSE(
                    "the key can not make signatures of this algorithm", found: "\(algorithm.rawValue), \(key.kind)")
            }
            guard let signature = Base64URL.decode(UnsafeRawBufferPointer(rebasing: text[parts[2]])),
                let payload = Base64URL.decode(UnsafeRawBufferPointer(rebasing: text[parts[1]]))
            else { throw DiagnosedError.malformedJOSE("a part of the signed text is not base64url") }
            let signed = UnsafeRawBufferPointer(rebasing: text[..<parts[1].upperBound])
            guard key.isValidSignature(signature, for: signed, algorithm: algorithm) else {
                throw DiagnosedError(.joseSignatureInvalid, fault: .client, "the signature does not verify")
            }
            return JWS(header: header, payload: payload)
        }
    }

    /// With a key set: the key is the one of the header's `kid`, which must say nothing that speaks against its use.
    package static func verify(
        _ compact: String, allowing: Set<SignatureAlgorithm>, keys: JWKSet
    ) throws -> JWS {
        try verify(compact, allowing: allowing) { try keys.verificationKey(for: $0) }
    }

    /// The header without any verification: to find the key, never to believe it.
    package static func peekHeader(_ compact: String) throws -> JOSEHeader {
        try Array(compact.utf8).withUnsafeBytes { text in
            try JOSEHeader.parse(base64url: UnsafeRawBufferPointer(rebasing: text[try parts(text)[0]]))
        }
    }

    /// The payload without any verification: to find whom to ask, never to believe it.
    static func peekPayload(_ compact: String) -> [UInt8]? {
        Array(compact.utf8).withUnsafeBytes { text in
            (try? parts(text)).flatMap { Base64URL.decode(UnsafeRawBufferPointer(rebasing: text[$0[1]])) }
        }
    }

    private static func parts(_ text: UnsafeRawBufferPointer) throws(DiagnosedError) -> [Range<Int>] {
        guard text.count <= maximumBytes else {
            throw .malformedJOSE(
                "the signed text is too long", expected: "at most \(maximumBytes) octets", found: "\(text.count)")
        }
        guard let parts = CompactParts.ranges(of: text, count: 3) else {
            throw .malformedJOSE("the text is no compact JWS", expected: "three parts with full stops between")
        }
        return parts
    }

    /// Signs a payload; members that are nil or empty are left out of the header.
    package static func sign(
        _ payload: UnsafeRawBufferPointer, with key: PrivateKey, algorithm: SignatureAlgorithm, kid: String?,
        typ: String?, x5c: [[UInt8]] = []
    ) throws -> String {
        var header = JSONWriter()
        header.beginObject()
        header.member("alg", algorithm.rawValue)
        header.member("typ", ifPresent: typ)
        header.member("kid", ifPresent: kid)
        if !x5c.isEmpty { header.member("x5c", x5c.map { Base64.encode($0) }) }
        header.endObject()
        var text = header.withUnsafeBytes { Base64URL.encode($0) }
        text.append(UInt8(ascii: "."))
        text += Base64URL.encode(payload)
        let signature = try key.sign(text, algorithm: algorithm)
        text.append(UInt8(ascii: "."))
        text += signature.withUnsafeBytes { Base64URL.encode($0) }
        return String(decoding: text, as: UTF8.self)
    }

    package static func sign(
        _ payload: [UInt8], with key: PrivateKey, algorithm: SignatureAlgorithm, kid: String?, typ: String?,
        x5c: [[UInt8]] = []
    ) throws -> String {
        try payload.withUnsafeBytes {
            try sign($0, with: key, algorithm: algorithm, kid: kid, typ: typ, x5c: x5c)
        }
    }
}
