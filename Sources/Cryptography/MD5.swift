internal import COpenSSL

/// MD5 (RFC 1321), for HTTP Digest towards proxies that know nothing newer; it proves nothing and hides nothing.
///
/// Nil where the system's OpenSSL does not offer it, as under FIPS.
package enum MD5 {
    package static func hash(_ bytes: [UInt8]) -> [UInt8]? {
        defer { OpenSSLFailure.discard() }
        guard let digest = unsafe EVP_MD_fetch(nil, "MD5", nil) else { return nil }
        defer { unsafe EVP_MD_free(digest) }
        var output = [UInt8](repeating: 0, count: 16)
        guard unsafe EVP_Digest(bytes, bytes.count, &output, nil, digest, nil) == 1 else { return nil }
        return output
    }
}
