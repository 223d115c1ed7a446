internal import COpenSSL
internal import Diagnostics

extension PublicKey {
    /// Whether the key's owner signed the message; false also for a key of another kind than the algorithm wants.
    ///
    /// An ES256 signature is r and s in 32 octets each (IEEE P1363), as JWS has it.
    package func isValidSignature(
        _ signature: [UInt8], for message: UnsafeRawBufferPointer, algorithm: SignatureAlgorithm
    ) -> Bool {
        guard algorithm.suits(kind) else { return false }
        let encoded: [UInt8]
        if algorithm == .es256 {
            guard let der = ECDSASignature.der(fromRaw: signature) else { return false }
            encoded = der
        } else {
            encoded = signature
        }
        guard let context = unsafe EVP_MD_CTX_new() else { return false }
        defer {
            unsafe EVP_MD_CTX_free(context)
            OpenSSLFailure.discard()
        }
        var keyContext: OpaquePointer?
        guard
            unsafe EVP_DigestVerifyInit(context, &keyContext, algorithm.digest.pointer, nil, handle.pointer) == 1,
            unsafe algorithm.configure(keyContext)
        else { return false }
        let start = unsafe message.baseAddress?.assumingMemoryBound(to: UInt8.self)
        return unsafe encoded.withUnsafeBufferPointer { encoded in
            unsafe EVP_DigestVerify(context, encoded.baseAddress, encoded.count, start, message.count) == 1
        }
    }

    package func isValidSignature(
        _ signature: [UInt8], for message: [UInt8], algorithm: SignatureAlgorithm
    ) -> Bool {
        unsafe message.withUnsafeBytes { unsafe isValidSignature(signature, for: $0, algorithm: algorithm) }
    }
}

extension PrivateKey {
    /// The signature in the form of JWS: for ES256 r and s in 32 octets each.
    package func sign(_ message: UnsafeRawBufferPointer, algorithm: SignatureAlgorithm) throws -> [UInt8] {
        guard algorithm.suits(publicKey.kind) else {
            throw DiagnosedError(
                .signatureFailure, fault: .internal, "the key can not make \(algorithm.rawValue) signatures",
                found: "a key of kind \(publicKey.kind)")
        }
        let signature = try unsafe encodedSignature(message, algorithm)
        guard algorithm == .es256 else { return signature }
        guard let raw = ECDSASignature.raw(fromDER: signature) else {
            throw OpenSSLFailure.error(.signatureFailure, "the signature can not be read back")
        }
        return raw
    }

    package func sign(_ message: [UInt8], algorithm: SignatureAlgorithm) throws -> [UInt8] {
        try unsafe message.withUnsafeBytes { try unsafe sign($0, algorithm: algorithm) }
    }

    private func encodedSignature(
        _ message: UnsafeRawBufferPointer, _ algorithm: SignatureAlgorithm
    ) throws -> [UInt8] {
        let context = unsafe EVP_MD_CTX_new()
        defer { unsafe EVP_MD_CTX_free(context) }
        var keyContext: OpaquePointer?
        guard let context = unsafe context,
            unsafe EVP_DigestSignInit(context, &keyContext, algorithm.digest.pointer, nil, handle.pointer) == 1,
            unsafe algorithm.configure(keyContext)
        else { throw OpenSSLFailure.error(.signatureFailure, "no signature can be made") }
        let start = unsafe message.baseAddress?.assumingMemoryBound(to: UInt8.self)
        let capacity = Int(unsafe EVP_PKEY_get_size(handle.pointer))
        return unsafe try [UInt8](unsafeUninitializedCapacity: capacity) { buffer, initialized in
            var count = capacity
            guard unsafe EVP_DigestSign(context, buffer.baseAddress, &count, start, message.count) == 1 else {
                throw OpenSSLFailure.error(.signatureFailure, "no signature can be made")
            }
            initialized = count
        }
    }
}

extension SignatureAlgorithm {
    /// Sets padding, mask function and salt; PKCS#1 v1.5 and ECDSA need no more than the digest.
    fileprivate func configure(_ context: OpaquePointer?) -> Bool {
        if self == .es256 { return true }
        guard isPSS else { return unsafe EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1 }
        return unsafe EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1
            && EVP_PKEY_CTX_set_rsa_mgf1_md(context, digest.pointer) == 1
            && EVP_PKEY_CTX_set_rsa_pss_saltlen(context, digestByteCount) == 1
    }
}

/// An ECDSA signature on P-256 between its two forms: r and s side by side, and OpenSSL's DER sequence.
enum ECDSASignature {
    static func der(fromRaw raw: [UInt8]) -> [UInt8]? {
        guard raw.count == 64 else { return nil }
        let body = integer(raw[..<32]) + integer(raw[32...])
        return [0x30, UInt8(body.count)] + body
    }

    static func raw(fromDER der: [UInt8]) -> [UInt8]? {
        let signature = unsafe der.withUnsafeBufferPointer { buffer in
            var position = buffer.baseAddress
            return unsafe d2i_ECDSA_SIG(nil, &position, buffer.count)
        }
        guard let signature = unsafe signature else { return nil }
        defer { unsafe ECDSA_SIG_free(signature) }
        return unsafe [UInt8](unsafeUninitializedCapacity: 64) { buffer, initialized in
            guard let base = buffer.baseAddress,
                unsafe BN_bn2binpad(ECDSA_SIG_get0_r(signature), base, 32) == 32,
                unsafe BN_bn2binpad(ECDSA_SIG_get0_s(signature), base + 32, 32) == 32
            else { return }
            initialized = 64
        }
    }

    /// A DER INTEGER: minimal, with a zero octet before a set high bit.
    private static func integer(_ number: ArraySlice<UInt8>) -> [UInt8] {
        var digits = Array(number.drop { $0 == 0 })
        if digits.first.map({ $0 & 0x80 != 0 }) ?? true { digits.insert(0, at: 0) }
        return [0x02, UInt8(digits.count)] + digits
    }
}
