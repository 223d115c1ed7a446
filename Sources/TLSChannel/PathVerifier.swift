import COpenSSL
import Cryptography
import Diagnostics

/// Judges the path from a server's certificate to the roots, in the middle of the handshake.
///
/// OpenSSL builds and validates the path, name, purpose and dates; then the validated path, and nothing that was
/// merely sent, is held against the pins and the demand on the issuing CA. A refusal ends the handshake with an alert
/// before the client has sent its Finished, and is left with the connection as a `DiagnosedError`.
final class PathVerifier: Sendable {
    private let pins: Set<SPKIPin>
    private let requirePathLengthZero: Bool

    init(trust: TLSTrust) {
        pins = Set(trust.pins)
        requirePathLengthZero = trust.requirePathLengthZero
    }

    func verify(_ store: OpaquePointer) -> Bool {
        let isValid = unsafe X509_verify_cert(store) == 1
        let rejection = isValid ? unsafe judge(store) : unsafe diagnose(store)
        guard let rejection else { return true }
        if isValid { unsafe X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION) }
        if let ssl = unsafe X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()) {
            unsafe TLSConnection.of(OpaquePointer(ssl))?.rejection = rejection
        }
        return false
    }

    // MARK: - The validated path

    private func judge(_ store: OpaquePointer) -> DiagnosedError? {
        let path = unsafe certificates(X509_STORE_CTX_get0_chain(store))
        if !pins.isEmpty, unsafe !path.contains(where: { unsafe isPinned($0) }) {
            return DiagnosedError(
                .tlsPinMismatch, fault: .peer, "no key on the validated path is pinned",
                expected: "one of " + pins.map(\.text).sorted().joined(separator: ", "),
                found: unsafe describe(path),
                hint: "either the server's keys were changed and the pins must follow, or someone stands between")
        }
        guard requirePathLengthZero else { return nil }
        guard unsafe path.count >= 2 else {
            return DiagnosedError(
                .tlsPathLength, fault: .peer, "the server's certificate was issued by no CA of the path",
                expected: "an issuing CA with pathLenConstraint 0", found: unsafe describe(path),
                hint: "let a CA with pathLenConstraint 0 issue the server's certificate")
        }
        let length = unsafe X509_get_pathlen(path[1])
        guard length == 0 else {
            return DiagnosedError(
                .tlsPathLength, fault: .peer, "the issuing CA could issue further CAs",
                expected: "pathLenConstraint 0",
                found: (length < 0 ? "no pathLenConstraint" : "pathLenConstraint \(length)")
                    + " on " + (unsafe subject(of: path[1])) + "; path " + (unsafe describe(path)),
                hint: "let a CA with pathLenConstraint 0 issue the server's certificate")
        }
        return nil
    }

    // MARK: - What OpenSSL refused

    private func diagnose(_ store: OpaquePointer) -> DiagnosedError {
        let error = unsafe X509_STORE_CTX_get_error(store)
        let depth = unsafe X509_STORE_CTX_get_error_depth(store)
        let reason = unsafe String(cString: X509_verify_cert_error_string(Int(error)))
        let built = unsafe certificates(X509_STORE_CTX_get0_chain(store))
        let seen = unsafe describe(built.isEmpty ? certificates(X509_STORE_CTX_get0_untrusted(store)) : built)
        let found = "\(reason) at depth \(depth): \(seen)"
        switch error {
        case X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH:
            return DiagnosedError(
                .tlsNameMismatch, fault: .peer, "the server's certificate is for another name",
                expected: unsafe expectedName(store), found: (unsafe names(of: built)) + "; " + seen,
                hint: "connect by a name that the certificate carries, or renew the certificate with this name")
        case X509_V_ERR_CERT_HAS_EXPIRED:
            return DiagnosedError(
                .tlsExpired, fault: .peer, "a certificate of the server has expired", found: found,
                hint: "renew it, or set this machine's clock")
        case X509_V_ERR_CERT_NOT_YET_VALID:
            return DiagnosedError(
                .tlsNotYetValid, fault: .peer, "a certificate of the server is not valid yet", found: found,
                hint: "set this machine's clock")
        default:
            return DiagnosedError(
                .tlsUntrusted, fault: .peer, "the server's certificate does not lead to a configured root",
                expected: "a path to one of the configured roots", found: found,
                hint: "configure the root that the server's operator names; never one that the connection shows")
        }
    }

    private func expectedName(_ store: OpaquePointer) -> String? {
        guard let ssl = unsafe X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()) else {
            return nil
        }
        return unsafe TLSConnection.of(OpaquePointer(ssl))?.serverName
    }

    // MARK: - Certificates

    private func certificates(_ stack: OpaquePointer?) -> [OpaquePointer] {
        let count = unsafe OPENSSL_sk_num(stack)
        guard count > 0 else { return unsafe [] }
        return unsafe (0..<count).compactMap { index in
            unsafe OPENSSL_sk_value(stack, index).map { OpaquePointer($0) }
        }
    }

    private func pin(of certificate: OpaquePointer) -> SPKIPin? {
        unsafe encoded(X509_get_X509_PUBKEY(certificate), i2d_X509_PUBKEY).flatMap {
            SPKIPin(digest: SHA256.hash($0))
        }
    }

    private func isPinned(_ certificate: OpaquePointer) -> Bool {
        unsafe pin(of: certificate).map { pins.contains($0) } ?? false
    }

    private func describe(_ path: [OpaquePointer]) -> String {
        let parts = unsafe path.prefix(8).map {
            "[" + (unsafe subject(of: $0)) + " " + (unsafe pin(of: $0)?.text ?? "?") + "]"
        }
        return parts.isEmpty ? "no certificate" : parts.joined(separator: " <- ")
    }

    private func subject(of certificate: OpaquePointer) -> String {
        var line = [CChar](repeating: 0, count: 256)
        // The function escapes what is not printable and cuts at the end of the buffer.
        guard unsafe X509_NAME_oneline(X509_get_subject_name(certificate), &line, Int32(line.count)) != nil else {
            return "?"
        }
        return String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The DNS names of the first certificate, as text for an operator.
    private func names(of path: [OpaquePointer]) -> String {
        guard let leaf = unsafe path.first, let der = unsafe encoded(leaf, i2d_X509),
            let certificate = try? Certificate(der: der)
        else { return "no readable names" }
        let names = certificate.dnsNames.prefix(20)
        return names.isEmpty ? "no DNS name" : "names " + names.joined(separator: ", ")
    }

    private func encoded(
        _ certificate: OpaquePointer,
        _ encode: (OpaquePointer?, UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>?) -> Int32
    ) -> [UInt8]? {
        var der: UnsafeMutablePointer<UInt8>?
        let count = unsafe encode(certificate, &der)
        guard count > 0, let der = unsafe der else { return nil }
        defer { unsafe CRYPTO_free(der, #file, #line) }
        return unsafe Array(UnsafeBufferPointer(start: der, count: Int(count)))
    }
}
