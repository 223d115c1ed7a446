internal import COpenSSL
internal import Diagnostics
package import SecretMemory

// A private key that lies encrypted under a passphrase: PKCS#8 (RFC 5958) with PBES2 (RFC 8018), scrypt (RFC 7914) and
// AES-256-CBC. `openssl pkey` reads what is written here.
extension PrivateKey {
    /// What OpenSSL hands through for a passphrase, in octets.
    package static let maximumPassphraseBytes = 1024

    /// scrypt: 16 MiB of memory, five times. OpenSSL reads a file of at most 32 MiB, so more work is had by repetition.
    private static let cost: (n: UInt64, r: UInt64, p: UInt64) = (1 << 14, 8, 5)

    /// The key as one PEM block `ENCRYPTED PRIVATE KEY`.
    package func encryptedPEM(passphrase: borrowing SecretBytes) throws -> [UInt8] {
        try Self.check(passphrase)
        guard let salt = try? RandomBytes.bytes(16) else {
            throw DiagnosedError(.randomnessUnavailable, fault: .internal, "no salt can be made")
        }
        let text: [UInt8]? = unsafe passphrase.withUnsafeBytes { secret in
            var salt = salt
            guard
                let scheme = unsafe PKCS5_pbe2_set_scrypt(
                    EVP_aes_256_cbc(), &salt, Int32(salt.count), nil, Self.cost.n, Self.cost.r, Self.cost.p)
            else { return nil }
            guard let info = unsafe EVP_PKEY2PKCS8(handle.pointer) else {
                unsafe X509_ALGOR_free(scheme)
                return nil
            }
            defer { unsafe PKCS8_PRIV_KEY_INFO_free(info) }
            guard
                let sealed = unsafe PKCS8_set0_pbe(
                    secret.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(secret.count), info, scheme)
            else {
                unsafe X509_ALGOR_free(scheme)
                return nil
            }
            defer { unsafe X509_SIG_free(sealed) }
            let sink = unsafe BIO_new(BIO_s_mem())
            defer { unsafe BIO_free(sink) }
            var start: UnsafeMutableRawPointer?
            guard let sink = unsafe sink, unsafe PEM_write_bio_PKCS8(sink, sealed) == 1,
                case let count = unsafe BIO_ctrl(sink, BIO_CTRL_INFO, 0, &start), count > 0
            else { return nil }
            return unsafe Array(UnsafeRawBufferPointer(start: start, count: count))
        }
        guard let text else {
            throw OpenSSLFailure.error(.cryptographyFailure, "the private key can not be encrypted")
        }
        return text
    }

    /// The first block `ENCRYPTED PRIVATE KEY`. Keys in clear and the older forms with a weak digest are refused.
    package convenience init(encryptedPEM pem: [UInt8], passphrase: borrowing SecretBytes) throws {
        SecureHeap.initialize()
        try Self.check(passphrase)
        let text = String(decoding: pem.prefix(64 << 10), as: UTF8.self)
        guard pem.count <= 64 << 10, text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----"),
            !text.contains("-----BEGIN PRIVATE KEY-----"), !text.contains(" PRIVATE KEY-----\nProc-Type:")
        else {
            throw DiagnosedError(
                .privateKeyInvalid, fault: .configuration, "this is no encrypted private key",
                expected: "one PEM block ENCRYPTED PRIVATE KEY, and no other",
                hint: "openssl pkcs8 -topk8 -v2 aes-256-cbc -scrypt encrypts a key")
        }
        let key: OpaquePointer? = unsafe pem.withUnsafeBytes { pem in
            unsafe passphrase.withUnsafeBytes { secret in
                guard let source = unsafe BIO_new_mem_buf(pem.baseAddress, Int32(pem.count)) else { return nil }
                defer { unsafe BIO_free(source) }
                var secret = unsafe secret
                return unsafe PEM_read_bio_PrivateKey(
                    source, nil,
                    { buffer, size, _, context in
                        guard let buffer = unsafe buffer,
                            let secret = unsafe context?.assumingMemoryBound(to: UnsafeRawBufferPointer.self).pointee,
                            secret.count <= Int(size)
                        else { return -1 }
                        unsafe UnsafeMutableRawBufferPointer(start: buffer, count: Int(size)).copyMemory(from: secret)
                        return Int32(secret.count)
                    }, &secret)
            }
        }
        guard let key = unsafe key else {
            // No reason of OpenSSL's: whether padding or content was wrong is nobody's business.
            OpenSSLFailure.discard()
            throw DiagnosedError(
                .keyPassphraseWrong, fault: .configuration, "the private key can not be opened",
                expected: "the passphrase that it was encrypted with, and a file that nobody changed",
                hint: "type the passphrase again; without it the key is lost, and a new one has to be enrolled")
        }
        try self.init(owning: unsafe KeyHandle(owning: key))
    }

    private static func check(_ passphrase: borrowing SecretBytes) throws(DiagnosedError) {
        guard (1...maximumPassphraseBytes).contains(passphrase.count) else {
            throw DiagnosedError(
                .keyPassphraseWrong, fault: .configuration, "the passphrase can not be used",
                expected: "1 to \(maximumPassphraseBytes) octets", found: "\(passphrase.count) octets")
        }
    }
}
