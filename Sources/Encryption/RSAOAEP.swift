internal import COpenSSL
package import Cryptography
internal import Diagnostics
package import SecretMemory

/// RSAES-OAEP (RFC 8017, section 7.1) with MGF1 over the same digest.
///
/// Decryption has one outcome for every failure and leaves no reason behind; OpenSSL checks the padding in constant
/// time. Any thread may call. A decryption with RSA-2048 takes about 0.7 ms.
package enum RSAOAEP {
    package enum Digest: Sendable {
        /// What JWE calls `RSA-OAEP` (RFC 7518, section 4.3).
        case sha1
        case sha256

        fileprivate var primitive: Primitive {
            switch self {
            case .sha1: .sha1
            case .sha256: .sha256
            }
        }
    }

    package static func encrypt(
        _ message: UnsafeRawBufferPointer, to key: PublicKey, digest: Digest, label: [UInt8] = []
    ) throws -> [UInt8] {
        guard case .rsa(let bits) = key.kind else {
            throw DiagnosedError(.keyInvalid, fault: .peer, "RSA-OAEP needs an RSA key", found: "\(key.kind)")
        }
        guard let context = unsafe context(key.handle, digest, label, start: EVP_PKEY_encrypt_init) else {
            throw OpenSSLFailure.error(.cryptographyFailure, "RSA-OAEP can not be set up")
        }
        defer { unsafe EVP_PKEY_CTX_free(context) }
        let capacity = (bits + 7) / 8
        return try unsafe [UInt8](unsafeUninitializedCapacity: capacity) { target, initialized in
            var count = capacity
            let source = unsafe message.baseAddress?.assumingMemoryBound(to: UInt8.self)
            guard unsafe EVP_PKEY_encrypt(context, target.baseAddress, &count, source, message.count) == 1 else {
                throw OpenSSLFailure.error(.cryptographyFailure, "RSA-OAEP failed")
            }
            initialized = count
        }
    }

    package static func decrypt(
        _ ciphertext: [UInt8], with key: PrivateKey, digest: Digest, label: [UInt8] = []
    ) throws -> SecretBytes {
        guard case .rsa(let bits) = key.publicKey.kind else {
            throw DiagnosedError(.keyInvalid, fault: .internal, "RSA-OAEP needs an RSA key")
        }
        // The size is public, and OpenSSL would report a wrong one by another error.
        guard ciphertext.count == (bits + 7) / 8 else { throw AESGCM.failure() }
        guard let context = unsafe context(key.handle, digest, label, start: EVP_PKEY_decrypt_init) else {
            throw OpenSSLFailure.error(.cryptographyFailure, "RSA-OAEP can not be set up")
        }
        defer { unsafe EVP_PKEY_CTX_free(context) }
        return try unsafe SecretBytes(capacity: ciphertext.count) { target in
            var count = target.count
            let buffer = unsafe target.baseAddress?.assumingMemoryBound(to: UInt8.self)
            let result = unsafe EVP_PKEY_decrypt(context, buffer, &count, ciphertext, ciphertext.count)
            OpenSSLFailure.discard()
            guard result == 1 else { throw AESGCM.failure() }
            return count
        }
    }

    /// The content key that a sender wrapped, or a random one when the unwrapping fails or gives another size.
    ///
    /// What is opened with a random key fails just like a message with a wrong tag, so that a sender can not use the
    /// difference to decrypt another's message (RFC 7516, section 11.5).
    package static func unwrapKey(
        _ ciphertext: [UInt8], with key: PrivateKey, digest: Digest, count: Int = 32
    ) throws -> SymmetricKey {
        let substitute = try SymmetricKey.random(count: count)
        guard let unwrapped = try? decrypt(ciphertext, with: key, digest: digest), unwrapped.count == count else {
            return substitute
        }
        return SymmetricKey(unwrapped)
    }

    private static func context(
        _ key: KeyHandle, _ digest: Digest, _ label: [UInt8], start: (OpaquePointer?) -> Int32
    ) -> OpaquePointer? {
        guard let context = unsafe EVP_PKEY_CTX_new_from_pkey(nil, key.pointer, nil) else { return nil }
        let algorithm = digest.primitive
        guard unsafe start(context) == 1,
            unsafe EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1,
            unsafe EVP_PKEY_CTX_set_rsa_oaep_md(context, algorithm.pointer) == 1,
            unsafe EVP_PKEY_CTX_set_rsa_mgf1_md(context, algorithm.pointer) == 1,
            unsafe setLabel(label, of: context)
        else {
            unsafe EVP_PKEY_CTX_free(context)
            return nil
        }
        return unsafe context
    }

    private static func setLabel(_ label: [UInt8], of context: OpaquePointer) -> Bool {
        guard !label.isEmpty else { return true }
        // OpenSSL takes over the copy.
        guard let copy = unsafe CRYPTO_memdup(label, label.count, nil, 0) else { return false }
        if unsafe EVP_PKEY_CTX_set0_rsa_oaep_label(context, copy, Int32(label.count)) == 1 { return true }
        unsafe CRYPTO_free(copy, nil, 0)
        return false
    }
}
