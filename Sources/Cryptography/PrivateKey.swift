internal import COpenSSL
internal import Diagnostics
package import SecretMemory

/// A private key that signs, or that another module decrypts or agrees with: RSA of 2048 to 8192 bits, or P-256.
///
/// Its numbers stand on OpenSSL's secure heap. Both halves were seen to belong together when it was made. Immutable;
/// any thread may use it. It has no description and shows nothing to reflection.
package final class PrivateKey: Sendable, CustomReflectable {
    package let publicKey: PublicKey
    /// For the modules that hand the key to OpenSSL.
    package let handle: KeyHandle

    /// A key that OpenSSL has read, whose halves are checked here.
    convenience init(owning handle: KeyHandle) throws { try self.init(handle: handle) }

    private init(handle: KeyHandle) throws {
        self.handle = handle
        publicKey = try PublicKey(handle: handle)
        try checkHalves()
    }

    /// The first private key of a PEM text: PKCS#8, PKCS#1 or SEC 1, not encrypted.
    package convenience init(pem: UnsafeRawBufferPointer) throws {
        SecureHeap.initialize()
        guard pem.count <= 64 << 10 else {
            throw DiagnosedError(
                .privateKeyInvalid, fault: .configuration, "the private key's file is too large",
                expected: "at most 64 KiB", found: "\(pem.count) octets")
        }
        let source = unsafe BIO_new_mem_buf(pem.baseAddress ?? UnsafeRawPointer(bitPattern: 1), Int32(pem.count))
        defer { unsafe BIO_free(source) }
        var askedForPassword = false
        let key = unsafe withUnsafeMutablePointer(to: &askedForPassword) { asked in
            unsafe PEM_read_bio_PrivateKey(
                source, nil,
                { _, _, _, asked in
                    unsafe asked?.assumingMemoryBound(to: Bool.self).pointee = true
                    return -1
                }, asked)
        }
        guard let key = unsafe key else {
            throw OpenSSLFailure.error(
                .privateKeyInvalid, fault: .configuration, "the private key can not be read",
                expected: "an unencrypted PEM block: PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY",
                hint: askedForPassword ? "the key is encrypted: decrypt it with openssl pkey" : nil)
        }
        try self.init(handle: unsafe KeyHandle(owning: key))
    }

    package convenience init(pem: [UInt8]) throws {
        try self.init(pemIn: pem)
    }

    package convenience init(pem: String) throws {
        try self.init(pemIn: Array(pem.utf8))
    }

    private convenience init(pemIn bytes: [UInt8]) throws {
        let copy = SecretBytes(copying: bytes)
        try self.init(pem: copy)
    }

    package convenience init(pem: borrowing SecretBytes) throws {
        let handle = try unsafe pem.withUnsafeBytes { try unsafe PrivateKey(pem: $0).handle }
        try self.init(handle: handle)
    }

    /// An RSA key from its numbers (RFC 8017, section 3.2), big-endian: the primes p and q, their exponents and the
    /// coefficient qi as in a JWK.
    package convenience init(
        rsaModulus n: [UInt8], publicExponent e: [UInt8], privateExponent d: [UInt8], p: [UInt8], q: [UInt8],
        dp: [UInt8], dq: [UInt8], qi: [UInt8]
    ) throws {
        SecureHeap.initialize()
        let secrets: [(StaticString, [UInt8])] = [
            ("d", d), ("rsa-factor1", p), ("rsa-factor2", q), ("rsa-exponent1", dp), ("rsa-exponent2", dq),
            ("rsa-coefficient1", qi),
        ]
        let handle = try KeyHandle.build(type: "RSA", selection: KeyHandle.pairSelection) { numbers in
            numbers.add("n", public: n) && numbers.add("e", public: e)
                && secrets.allSatisfy { name, bytes in
                    unsafe bytes.withUnsafeBytes { unsafe numbers.add(name, secret: $0) }
                }
        }
        try self.init(handle: handle)
    }

    package convenience init(p256Scalar: UnsafeRawBufferPointer) throws {
        try self.init(handle: try unsafe KeyHandle.p256(scalar: p256Scalar))
    }

    package convenience init(p256Scalar: [UInt8]) throws {
        try self.init(handle: try unsafe p256Scalar.withUnsafeBytes { try unsafe KeyHandle.p256(scalar: $0) })
    }

    package static func generateRSA(bits: Int = 2048) throws -> PrivateKey {
        guard RSAKeyRules.allowedBits.contains(bits) else {
            throw DiagnosedError(
                .keyTooSmall, fault: .configuration, "no RSA key of this size is made",
                expected: "\(RSAKeyRules.allowedBits) bits", found: "\(bits)")
        }
        return try PrivateKey(
            handle: try unsafe KeyHandle.generate("RSA") {
                unsafe EVP_PKEY_CTX_set_rsa_keygen_bits($0, Int32(bits)) == 1
            })
    }

    package static func generateP256() throws -> PrivateKey {
        try PrivateKey(handle: try KeyHandle.generateP256())
    }

    /// The key as PKCS#8 in PEM, unencrypted.
    package func pem() throws -> SecretBytes {
        let sink = unsafe BIO_new(BIO_s_secmem())
        defer { unsafe BIO_free(sink) }
        var start: UnsafeMutableRawPointer?
        guard let sink = unsafe sink,
            unsafe PEM_write_bio_PKCS8PrivateKey(sink, handle.pointer, nil, nil, 0, nil, nil) == 1,
            case let count = unsafe BIO_ctrl(sink, BIO_CTRL_INFO, 0, &start), count > 0
        else { throw OpenSSLFailure.error(.cryptographyFailure, "the private key can not be encoded") }
        return unsafe SecretBytes(copying: UnsafeRawBufferPointer(start: start, count: count))
    }

    /// The pointer stays valid during `body`.
    package func withUnsafePointer<R, E: Error>(_ body: (OpaquePointer) throws(E) -> R) throws(E) -> R {
        try unsafe body(handle.pointer)
    }

    /// Nothing: a dump of any value that holds the key shows no key.
    package var customMirror: Mirror { Mirror(self, children: []) }

    /// Signs and verifies once: a file whose halves were mixed up is found at start and not by a peer.
    private func checkHalves() throws {
        let algorithm: SignatureAlgorithm = publicKey.kind == .p256 ? .es256 : .ps256
        let probe: [UInt8] = Array("the two halves of a key belong together".utf8)
        guard publicKey.kind == .p256 || handle.modulusIsProductOfPrimes,
            let signature = try? sign(probe, algorithm: algorithm),
            publicKey.isValidSignature(signature, for: probe, algorithm: algorithm)
        else {
            OpenSSLFailure.discard()
            throw DiagnosedError(
                .privateKeyInvalid, fault: .configuration, "the private and the public half of the key do not match")
        }
    }
}
