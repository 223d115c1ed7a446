internal import COpenSSL
internal import Diagnostics
package import SecretMemory

/// A private key with its certificates from a PKCS#12 file (RFC 7292), as certification authorities and Windows machines
/// hand them over.
package struct KeyContainer: Sendable {
    package let privateKey: PrivateKey
    /// The leaf first, then each one's issuer as far as they are in the file, without a root.
    package let chain: [Certificate]

    package static let maximumBytes = 1 << 20

    /// The key has to be the leaf's. Containers under RC2 or DES, as older tools write them, are refused.
    package init(pkcs12 octets: [UInt8], passphrase: borrowing SecretBytes) throws {
        SecureHeap.initialize()
        guard octets.count <= Self.maximumBytes, !octets.isEmpty else { throw Self.malformed }
        let container: OpaquePointer? = unsafe octets.withUnsafeBufferPointer { buffer in
            var position = buffer.baseAddress
            return unsafe d2i_PKCS12(nil, &position, buffer.count)
        }
        guard let container = unsafe container else {
            OpenSSLFailure.discard()
            throw Self.malformed
        }
        defer { unsafe PKCS12_free(container) }
        // A C string: the octets with a zero behind them, wiped with their memory.
        let text = unsafe SecretBytes(count: passphrase.count + 1) { target in
            unsafe passphrase.withUnsafeBytes { unsafe target.copyMemory(from: $0) }
        }
        var key: OpaquePointer?
        var leaf: OpaquePointer?
        var others: OpaquePointer?
        let isOpen = unsafe text.withUnsafeBytes {
            unsafe PKCS12_parse(container, $0.baseAddress?.assumingMemoryBound(to: CChar.self), &key, &leaf, &others)
                == 1
        }
        defer {
            unsafe X509_free(leaf)
            while let one = unsafe OPENSSL_sk_pop(others) { unsafe X509_free(OpaquePointer(one)) }
            unsafe OPENSSL_sk_free(others)
        }
        guard isOpen else {
            throw DiagnosedError(
                .keyPassphraseWrong, fault: .configuration, "the PKCS#12 file can not be opened",
                expected: "its passphrase, and AES inside of it", found: OpenSSLFailure.drainReasons(),
                hint:
                    "type the passphrase again; a file of an older tool is written anew by: openssl pkcs12 -legacy -in OLD "
                    + "-nodes | openssl pkcs12 -export -out NEW")
        }
        guard let key = unsafe key, let leaf = unsafe leaf else { throw Self.malformed }
        privateKey = try PrivateKey(owning: unsafe KeyHandle(owning: key))
        var rest: [Certificate] = []
        for index in 0..<(unsafe OPENSSL_sk_num(others)) {
            guard let one = unsafe OPENSSL_sk_value(others, index) else { continue }
            rest.append(try unsafe Self.certificate(OpaquePointer(one)))
        }
        chain = Self.ordered(try unsafe Self.certificate(leaf), rest)
        guard chain[0].publicKey == privateKey.publicKey else { throw Self.malformed }
    }

    /// From the leaf upwards; who issued nothing in it, and a root, are left out.
    private static func ordered(_ leaf: Certificate, _ others: [Certificate]) -> [Certificate] {
        var chain = [leaf]
        while chain.count < 16, let last = chain.last,
            let issuer = others.first(where: { !chain.contains($0) && last.isIssued(by: $0) }), !issuer.isSelfIssued
        {
            chain.append(issuer)
        }
        return chain
    }

    private static func certificate(_ pointer: OpaquePointer) throws -> Certificate {
        var encoded: UnsafeMutablePointer<UInt8>?
        let count = unsafe i2d_X509(pointer, &encoded)
        guard count > 0, let encoded = unsafe encoded else { throw malformed }
        defer { unsafe CRYPTO_free(encoded, nil, 0) }
        return try Certificate(der: unsafe Array(UnsafeBufferPointer(start: encoded, count: Int(count))))
    }

    private static var malformed: DiagnosedError {
        DiagnosedError(
            .privateKeyInvalid, fault: .configuration,
            "this is no PKCS#12 file with one private key and its certificate",
            expected: "a .p12 or .pfx file of at most 1 MiB", hint: "export key and certificate together")
    }
}
