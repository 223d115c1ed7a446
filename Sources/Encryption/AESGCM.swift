internal import COpenSSL
internal import Cryptography
package import Diagnostics
package import SecretMemory

extension DiagnosedError.Code {
    /// A ciphertext does not open. One outcome for every cause, so that nobody learns which part was wrong.
    package static let decryptionFailed: Self = "decryption-failed"
    /// A key, nonce or tag of a size that the project does not use.
    package static let encryptionParameters: Self = "encryption-parameters"
}

/// AES-256-GCM (NIST SP 800-38D) with a 96-bit nonce and a 128-bit tag; other sizes are refused.
///
/// A nonce must never be used twice with a key: callers draw it at random for a key that seals few messages. Stateless;
/// any thread may call.
package enum AESGCM {
    package static let keyByteCount = 32
    package static let nonceByteCount = 12
    package static let tagByteCount = 16

    package static func seal(
        _ plaintext: UnsafeRawBufferPointer, key: SymmetricKey, nonce: [UInt8], aad: UnsafeRawBufferPointer
    ) throws -> (ciphertext: [UInt8], tag: [UInt8]) {
        var tag = [UInt8](repeating: 0, count: tagByteCount)
        let ciphertext = try unsafe [UInt8](unsafeUninitializedCapacity: plaintext.count) { target, initialized in
            try unsafe tag.withUnsafeMutableBytes { tag in
                try unsafe seal(
                    plaintext, key: key, nonce: nonce, aad: aad, into: UnsafeMutableRawBufferPointer(target), tag: tag)
            }
            initialized = plaintext.count
        }
        return (ciphertext, tag)
    }

    /// Writes the ciphertext to the start of `target`, which may be where the plaintext stands, and the tag to `tag`.
    package static func seal(
        _ plaintext: UnsafeRawBufferPointer, key: SymmetricKey, nonce: [UInt8], aad: UnsafeRawBufferPointer,
        into target: UnsafeMutableRawBufferPointer, tag: UnsafeMutableRawBufferPointer
    ) throws {
        precondition(target.count >= plaintext.count && tag.count >= tagByteCount, "no room for the ciphertext")
        var cipher = try unsafe GCMCipher.start(.seal, key: key, nonce: nonce, aad: aad)
        guard unsafe cipher.update(plaintext, into: target.baseAddress),
            unsafe cipher.finishSealing(tag: tag)
        else { throw OpenSSLFailure.error(.cryptographyFailure, "AES-256-GCM failed") }
    }

    package static func open(
        _ ciphertext: UnsafeRawBufferPointer, tag: [UInt8], key: SymmetricKey, nonce: [UInt8],
        aad: UnsafeRawBufferPointer
    ) throws -> SecretBytes {
        try checkTag(tag)
        return try unsafe SecretBytes(count: ciphertext.count) { target in
            var cipher = try unsafe GCMCipher.start(.open, key: key, nonce: nonce, aad: aad)
            guard unsafe cipher.update(ciphertext, into: target.baseAddress),
                cipher.finishOpening(tag: tag)
            else { throw failure() }
        }
    }

    package static func seal(
        _ plaintext: [UInt8], key: SymmetricKey, nonce: [UInt8], aad: [UInt8] = []
    ) throws -> (ciphertext: [UInt8], tag: [UInt8]) {
        try unsafe plaintext.withUnsafeBytes { plaintext in
            try unsafe aad.withUnsafeBytes { try unsafe seal(plaintext, key: key, nonce: nonce, aad: $0) }
        }
    }

    package static func open(
        _ ciphertext: [UInt8], tag: [UInt8], key: SymmetricKey, nonce: [UInt8], aad: [UInt8] = []
    ) throws -> SecretBytes {
        try checkTag(tag)
        return try unsafe SecretBytes(count: ciphertext.count) { target in
            var cipher = try GCMCipher.start(.open, key: key, nonce: nonce, aad: aad)
            guard unsafe ciphertext.withUnsafeBytes({ unsafe cipher.update($0, into: target.baseAddress) }),
                cipher.finishOpening(tag: tag)
            else { throw failure() }
        }
    }

    /// The one error for every ciphertext that does not open.
    static func failure() -> DiagnosedError {
        OpenSSLFailure.discard()
        return DiagnosedError(.decryptionFailed, fault: .peer, "the ciphertext does not open")
    }

    static func checkTag(_ tag: [UInt8]) throws(DiagnosedError) {
        guard tag.count == tagByteCount else {
            throw DiagnosedError(
                .encryptionParameters, fault: .peer, "the tag has the wrong size", expected: "\(tagByteCount) octets",
                found: "\(tag.count)")
        }
    }
}
