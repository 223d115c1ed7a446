internal import COpenSSL
internal import Diagnostics

/// A request for a certificate (PKCS#10, RFC 2986), signed by the key that it is for.
package enum CertificateRequest {
    /// The request in PEM, for a DNS name as common name and as the first and only dNSName: what every deployed client of a
    /// KMS demands of its certificate.
    ///
    /// - Parameter organisation: stands as O beside the common name; nil for none.
    package static func pem(host: String, organisation: String? = nil, key: PrivateKey) throws -> String {
        guard (1...64).contains(host.utf8.count), host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x2C }) else {
            throw DiagnosedError(
                .cryptographyFailure, fault: .configuration, "no certificate can be asked for under this name",
                expected: "a DNS name of at most 64 octets", found: String(host.prefix(80)))
        }
        let request = unsafe X509_REQ_new()
        let name = unsafe X509_NAME_new()
        let extensions = unsafe OPENSSL_sk_new_null()
        defer {
            unsafe OPENSSL_sk_free(extensions)
            unsafe X509_NAME_free(name)
            unsafe X509_REQ_free(request)
        }
        var parts: [(Int32, String)] = [(NID_commonName, host)]
        if let organisation, !organisation.isEmpty { parts.insert((NID_organizationName, organisation), at: 0) }
        for (nid, text) in parts {
            let octets = Array(text.utf8)
            guard unsafe X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, octets, Int32(octets.count), -1, 0) == 1
            else { throw failure() }
        }
        let usage: [(Int32, String)] = [
            (NID_subject_alt_name, "DNS:\(host)"), (NID_key_usage, "critical,digitalSignature,keyEncipherment"),
            (NID_ext_key_usage, "serverAuth"),
        ]
        var made: [OpaquePointer] = unsafe []
        defer { unsafe made.forEach { unsafe X509_EXTENSION_free($0) } }
        for (nid, text) in usage {
            guard let one = unsafe X509V3_EXT_conf_nid(nil, nil, nid, text) else { throw failure() }
            unsafe made.append(one)
            guard unsafe OPENSSL_sk_push(extensions, UnsafeRawPointer(one)) > 0 else { throw failure() }
        }
        let isSigned = unsafe key.withUnsafePointer { key in
            unsafe X509_REQ_set_version(request, 0) == 1 && X509_REQ_set_subject_name(request, name) == 1
                && X509_REQ_set_pubkey(request, key) == 1 && X509_REQ_add_extensions(request, extensions) == 1
                && X509_REQ_sign(request, key, EVP_sha256()) > 0
        }
        guard isSigned else { throw failure() }
        var encoded: UnsafeMutablePointer<UInt8>?
        let count = unsafe i2d_X509_REQ(request, &encoded)
        guard count > 0, let encoded = unsafe encoded else { throw failure() }
        defer { unsafe CRYPTO_free(encoded, nil, 0) }
        return PEMText.encode(
            "CERTIFICATE REQUEST", unsafe Array(UnsafeBufferPointer(start: encoded, count: Int(count))))
    }

    private static func failure() -> DiagnosedError {
        OpenSSLFailure.error(.cryptographyFailure, "the request for a certificate can not be made")
    }
}
