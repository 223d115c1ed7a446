import COpenSSL
import Cryptography
import Diagnostics
import WireText

/// Judges the path from a server's certificate to the roots, in the middle of the handshake.
///
/// OpenSSL builds and validates the path, name, purpose and dates; then the validated path, and nothing that was
/// merely sent, is held against the pins and the demand on the issuing CA. A refusal ends the handshake with an alert
/// before the client has sent its Finished, and is left with the connection as a `DiagnosedError`.
final class PathVerifier: Sendable {
    /// What is told of a path that was accepted.
    struct Verdict {
        var matchedPins: [SPKIPin] = []
        var inspection: TLSInspection.Seen?
    }

    private let pins: Set<SPKIPin>
    private let requirePathLengthZero: Bool
    private let inspection: TLSInspection?

    init(trust: TLSTrust) {
        pins = Set(trust.pins)
        requirePathLengthZero = trust.requirePathLengthZero
        inspection = trust.inspection
    }

    func verify(_ store: OpaquePointer) -> Bool {
        let isValid = unsafe X509_verify_cert(store) == 1
        var verdict = Verdict()
        let rejection = isValid ? unsafe judge(store, &verdict) : unsafe diagnose(store)
        let connection = unsafe connection(of: store)
        guard let rejection else {
            connection?.verdict = verdict
            return true
        }
        if isValid { unsafe X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION) }
        connection?.rejection = rejection
        return false
    }

    private func connection(of store: OpaquePointer) -> TLSConnection? {
        guard let ssl = unsafe X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()) else {
            return nil
        }
        return unsafe TLSConnection.of(OpaquePointer(ssl))
    }

    // MARK: - The validated path

    private func judge(_ store: OpaquePointer, _ verdict: inout Verdict) -> DiagnosedError? {
        let path = unsafe certificates(X509_STORE_CTX_get0_chain(store))
        if let inspection, let anchor = unsafe path.last, unsafe isAuthority(anchor, of: inspection) {
            return unsafe judge(path, inspectedBy: inspection, &verdict)
        }
        verdict.matchedPins = unsafe path.compactMap { unsafe pin(of: $0) }.filter(pins.contains)
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

    // MARK: - Inspected TLS

    /// By the anchor alone: a path to a root of the server never counts as an inspected one, nor the reverse.
    private func isAuthority(_ certificate: OpaquePointer, of inspection: TLSInspection) -> Bool {
        guard let pin = unsafe pin(of: certificate) else { return false }
        return inspection.authorities.contains { $0.spkiSHA256 == pin.digest }
    }

    private func judge(
        _ path: [OpaquePointer], inspectedBy inspection: TLSInspection, _ verdict: inout Verdict
    ) -> DiagnosedError? {
        guard inspection.now() < inspection.until else {
            return DiagnosedError(
                .tlsInspectionOver, fault: .configuration,
                "TLS is inspected by \(inspection.name), and the exception for it is over",
                expected: "the server itself since \(inspection.until.iso8601)", found: unsafe describe(path),
                hint: "let the device pass this connection without inspection, or decide anew for core.inspection")
        }
        verdict.inspection = TLSInspection.Seen(name: inspection.name, until: inspection.until)
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
            // The one that is not configured: what the topmost certificate names as its issuer.
            let top = unsafe (built.isEmpty ? certificates(X509_STORE_CTX_get0_untrusted(store)) : built).last
            guard let top = unsafe top else {
                return DiagnosedError(
                    .tlsUntrusted, fault: .peer, "the server shows no certificate", expected: "a path to a root",
                    found: found)
            }
            return DiagnosedError(
                .tlsUntrusted, fault: .peer,
                "the server's certificate leads to an authority that is not configured: "
                    + (unsafe name(X509_get_issuer_name(top))),
                expected: "a path to one of the configured roots",
                found: "\(found), topmost key " + (unsafe pin(of: top)?.text ?? "?"),
                hint:
                    "if that is the name of a device of your own that inspects TLS, and its administrator reads you the "
                    + "same key, let this connection pass it without inspection (docs/networks.md); if it is the server's "
                    + "new authority, its operator says so by another way; else somebody stands between. Never configure "
                    + "what the connection shows")
        }
    }

    private func expectedName(_ store: OpaquePointer) -> String? {
        unsafe connection(of: store)?.serverName
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
        unsafe name(X509_get_subject_name(certificate))
    }

    private func name(_ name: OpaquePointer?) -> String {
        var line = [CChar](repeating: 0, count: 256)
        // The function escapes what is not printable and cuts at the end of the buffer.
        guard unsafe X509_NAME_oneline(name, &line, Int32(line.count)) != nil else { return "?" }
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
