package import Cryptography
import Diagnostics
import Encryption
package import JOSESignature
package import SecretMemory
import WireText

/// Encrypted texts in compact form (RFC 7516) with the two algorithms of the KMS protocol and A256GCM.
///
/// `dir`: under a key that both sides have. `RSA-OAEP`: under a fresh key that is wrapped to an RSA key (SHA-1 and
/// MGF1 with SHA-1, as RFC 7518 section 4.3 fixes it). The additional data is the header's text as received. Whatever
/// does not open gives one and the same error, `decryption-failed`. Stateless; any thread may call.
///
/// ```swift
/// let text = try JWE.encryptDirect(plaintext, key: key, kid: uri)
/// let message = try JWE.parse(text)
/// let opened = try JWE.decryptDirect(message, key: key)
/// ```
package enum JWE {
    package static let maximumBytes = 2 << 20
    private static let direct = "dir"
    private static let wrapped = "RSA-OAEP"
    static let content = "A256GCM"

    /// Looks at the form and the header only, so that the caller can find the key by `kid` first.
    package static func parse(_ compact: [UInt8]) throws -> JWECompact {
        try JWECompact(compact)
    }

    /// - Parameter header: what the text of the first part says, as an earlier `parse` of the same text has found.
    package static func parse(_ compact: [UInt8], header: JOSEHeader) throws -> JWECompact {
        try JWECompact(compact, header: header)
    }

    /// The ASCII text of a message under a shared 256-bit key.
    package static func encryptDirect(
        _ plaintext: UnsafeRawBufferPointer, key: SymmetricKey, kid: String?
    ) throws -> [UInt8] {
        try seal(plaintext, key: key, wrappedKey: [], header: header(direct, kid))
    }

    package static func decryptDirect(_ message: borrowing JWECompact, key: SymmetricKey) throws -> SecretBytes {
        try demand(direct, message.header)
        guard message.encryptedKey.isEmpty else {
            throw DiagnosedError.malformedJOSE("the message has a wrapped key although its algorithm is 'dir'")
        }
        return try message.open(key)
    }

    /// The ASCII text of a message to the owner of an RSA key.
    package static func encryptRSAOAEP(
        _ plaintext: UnsafeRawBufferPointer, to publicKey: PublicKey, kid: String?
    ) throws -> [UInt8] {
        let key = try SymmetricKey.random()
        let wrappedKey = try key.withUnsafeBytes { try RSAOAEP.encrypt($0, to: publicKey, digest: .sha1) }
        return try seal(plaintext, key: key, wrappedKey: wrappedKey, header: header(wrapped, kid))
    }

    /// A wrapped key that does not unwrap ends in the same error as a wrong tag, after the same work.
    package static func decryptRSAOAEP(_ message: borrowing JWECompact, with key: PrivateKey) throws -> SecretBytes {
        try demand(wrapped, message.header)
        return try message.open(RSAOAEP.unwrapKey(message.encryptedKey, with: key, digest: .sha1))
    }

    static func demand(_ algorithm: String, _ header: JOSEHeader) throws(DiagnosedError) {
        guard header.alg == algorithm, header.enc == content else {
            throw .refusedJOSE(
                "the encryption is not allowed here", expected: "\(algorithm) with \(content)",
                found: "\(header.alg.quotedForError) with \(header.enc?.quotedForError ?? "no 'enc'")")
        }
    }

    private static func header(_ algorithm: String, _ kid: String?) -> [UInt8] {
        var json = JSONWriter(reserving: 256)
        json.beginObject()
        json.member("alg", algorithm)
        json.member("kid", ifPresent: kid)
        json.member("enc", content)
        json.endObject()
        return json.withUnsafeBytes { Base64URL.encode($0) }
    }

    static func seal(
        _ plaintext: UnsafeRawBufferPointer, key: SymmetricKey, wrappedKey: [UInt8], header: [UInt8]
    ) throws -> [UInt8] {
        let nonce = try RandomBytes.bytes(AESGCM.nonceByteCount)
        let (ciphertext, tag) = try header.withUnsafeBytes {
            try AESGCM.seal(plaintext, key: key, nonce: nonce, aad: $0)
        }
        var text = header
        text.reserveCapacity(header.count + Base64URL.encodedCount(wrappedKey.count + ciphertext.count + 32) + 8)
        for part in [wrappedKey, nonce, ciphertext, tag] {
            text.append(UInt8(ascii: "."))
            text += part.withUnsafeBytes { Base64URL.encode($0) }
        }
        return text
    }
}

/// A compact JWE whose form and header have been checked and whose content has not been opened.
package struct JWECompact: Sendable {
    package let header: JOSEHeader
    let encryptedKey: [UInt8]
    private let text: [UInt8]
    private let parts: [Range<Int>]

    init(_ compact: [UInt8], header known: JOSEHeader? = nil) throws {
        guard compact.count <= JWE.maximumBytes else {
            throw DiagnosedError.malformedJOSE(
                "the encrypted text is too long", expected: "at most \(JWE.maximumBytes) octets",
                found: "\(compact.count)")
        }
        (parts, header, encryptedKey) = try compact.withUnsafeBytes { text in
            guard let parts = CompactParts.ranges(of: text, count: 5) else {
                throw DiagnosedError.malformedJOSE(
                    "the text is no compact JWE", expected: "five parts with full stops between")
            }
            let header = try known ?? JOSEHeader.parse(base64url: UnsafeRawBufferPointer(rebasing: text[parts[0]]))
            guard let key = Base64URL.decode(UnsafeRawBufferPointer(rebasing: text[parts[1]])), key.count <= 1024 else {
                throw DiagnosedError.malformedJOSE("the wrapped key is not base64url of at most 1024 octets")
            }
            return (parts, header, key)
        }
        text = compact
    }

    func open(_ key: SymmetricKey) throws -> SecretBytes {
        guard let nonce = part(2), let ciphertext = part(3), let tag = part(4), nonce.count == AESGCM.nonceByteCount,
            tag.count == AESGCM.tagByteCount
        else {
            throw DiagnosedError.malformedJOSE(
                "nonce, ciphertext or tag is malformed", expected: "base64url, a nonce of 12 and a tag of 16 octets")
        }
        return try AESGCM.open(ciphertext, tag: tag, key: key, nonce: nonce, aad: Array(text[parts[0]]))
    }

    /// The header's JSON, for what `JOSEHeader` does not keep.
    func headerDocument() throws -> JSONDocument { try JSONDocument(part(0) ?? []) }

    private func part(_ index: Int) -> [UInt8]? {
        text.withUnsafeBytes { Base64URL.decode(UnsafeRawBufferPointer(rebasing: $0[parts[index]])) }
    }
}
