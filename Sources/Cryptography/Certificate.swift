internal import COpenSSL
package import Diagnostics
package import WireText

extension DiagnosedError.Code {
    package static let certificateMalformed: Self = "certificate-malformed"
}

/// An X.509 certificate (RFC 5280): strict DER of at most 64 KiB, its parts read once. Says nothing about trust.
///
/// Immutable; any thread may use it. Two certificates are equal when their bytes are. Whether one may be trusted is
/// for `CertificatePath` to say.
package final class Certificate: Sendable, Equatable {
    package static let maximumBytes = 64 << 10

    package let der: [UInt8]
    /// The subject's common name, if there is exactly one.
    package let commonName: String?
    /// In the certificate's order, with everything that is not a DNS name kept in place.
    package let subjectAlternativeNames: [SubjectAlternativeName]
    package let serialNumberDecimal: String
    package let notBefore: Timestamp
    package let notAfter: Timestamp
    /// Whether basicConstraints says so.
    package let isCA: Bool
    package let pathLengthConstraint: Int?
    /// Whether issuer and subject are the same name.
    package let isSelfIssued: Bool
    /// Whether the certificate was signed over SHA-1 or something weaker.
    package let signatureUsesSHA1: Bool
    private let handle: CertificateHandle
    private var pointer: OpaquePointer { unsafe handle.pointer }

    package init(der: [UInt8]) throws {
        guard der.count <= Self.maximumBytes, DERStructure.isWellFormed(der) else {
            throw DiagnosedError(
                .certificateMalformed, fault: .peer, "the certificate is not valid DER",
                expected: "one X.509 certificate of at most \(Self.maximumBytes) octets", found: "\(der.count) octets")
        }
        let parsed: OpaquePointer? = unsafe der.withUnsafeBufferPointer { buffer in
            var position = buffer.baseAddress
            return unsafe d2i_X509(nil, &position, buffer.count)
        }
        guard let parsed = unsafe parsed else { throw Self.malformed("it is no X.509 certificate") }
        handle = unsafe CertificateHandle(owning: parsed)
        self.der = der
        defer { OpenSSLFailure.discard() }
        guard let key = unsafe X509_get_pubkey(parsed) else { throw Self.malformed("its key can not be read") }
        publicKey = PublicKey(certificateKey: unsafe KeyHandle(owning: key))
        // Reads and caches the extensions; afterwards the object is only read.
        unsafe X509_check_purpose(parsed, -1, 0)
        let flags = unsafe X509_get_extension_flags(parsed)
        guard flags & UInt32(EXFLAG_INVALID) == 0 else { throw Self.malformed("an extension is not valid") }
        commonName = unsafe CertificateFields.commonName(parsed)
        subjectAlternativeNames = try unsafe CertificateFields.alternativeNames(parsed)
        serialNumberDecimal = try unsafe CertificateFields.serialNumber(parsed)
        notBefore = try unsafe CertificateFields.time(X509_get0_notBefore(parsed))
        notAfter = try unsafe CertificateFields.time(X509_get0_notAfter(parsed))
        isCA = flags & UInt32(EXFLAG_CA) != 0
        let pathLength = unsafe X509_get_pathlen(parsed)
        pathLengthConstraint = isCA && pathLength >= 0 ? pathLength : nil
        isSelfIssued = flags & UInt32(EXFLAG_SI) != 0
        signatureUsesSHA1 = unsafe CertificateFields.usesWeakDigest(parsed)
    }

    /// Every `CERTIFICATE` block of a PEM text, in order; refuses a text without one.
    package static func all(inPEM text: String) throws -> [Certificate] {
        let blocks = try PEMText.blocks("CERTIFICATE", in: text)
        guard !blocks.isEmpty else {
            throw DiagnosedError(
                .certificateMalformed, fault: .configuration, "the PEM text holds no certificate",
                expected: "at least one block CERTIFICATE")
        }
        return try blocks.map { try Certificate(der: $0) }
    }

    package var pem: String { PEMText.encode("CERTIFICATE", der) }

    package var fingerprintSHA256: [UInt8] { SHA256.hash(der) }

    /// The DNS names of subjectAltName, as they stand there.
    package var dnsNames: [String] {
        subjectAlternativeNames.compactMap { if case .dns(let name) = $0 { name } else { nil } }
    }

    /// The subject's key; of kind `unsupported` when the project does not use such keys, as with some authorities.
    package let publicKey: PublicKey

    /// SHA-256 of the SubjectPublicKeyInfo as it stands in the certificate: what a public-key pin compares.
    package var spkiSHA256: [UInt8] {
        var encoded: UnsafeMutablePointer<UInt8>?
        let count = unsafe i2d_X509_PUBKEY(X509_get_X509_PUBKEY(pointer), &encoded)
        guard count > 0, let encoded = unsafe encoded else {
            fatalError("OpenSSL can not encode a key that it read: \(OpenSSLFailure.drainReasons() ?? "")")
        }
        defer { unsafe CRYPTO_free(encoded, nil, 0) }
        return unsafe SHA256.hash(UnsafeRawBufferPointer(start: encoded, count: Int(count)))
    }

    /// The subject in one line (RFC 2253), for messages.
    package var subjectText: String { unsafe CertificateFields.text(X509_get_subject_name(pointer)) }
    package var issuerText: String { unsafe CertificateFields.text(X509_get_issuer_name(pointer)) }

    /// Whether the certificate is for this DNS name or IP address (RFC 6125): subjectAltName only, a wildcard as the
    /// whole first label only.
    package func isValid(forHost host: String) -> Bool {
        defer { OpenSSLFailure.discard() }
        guard !host.isEmpty, !host.utf8.contains(0), !host.utf8.contains(UInt8(ascii: "*")) else { return false }
        if unsafe X509_check_ip_asc(pointer, host, 0) == 1 { return true }
        let flags = UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT)
        return unsafe X509_check_host(pointer, host, host.utf8.count, flags, nil) == 1
    }

    /// The pointer (an `X509`) stays valid during `body`; it must not be changed.
    package func withUnsafePointer<R, E: Error>(_ body: (OpaquePointer) throws(E) -> R) throws(E) -> R {
        try unsafe body(pointer)
    }

    package static func == (left: Certificate, right: Certificate) -> Bool { left.der == right.der }

    static func malformed(_ reason: String) -> DiagnosedError {
        OpenSSLFailure.error(.certificateMalformed, fault: .peer, "the certificate can not be used: \(reason)")
    }
}

/// OpenSSL's object, freed with its last owner.
@safe
private final class CertificateHandle: @unchecked Sendable {  // owns an X509 that nobody changes
    let pointer: OpaquePointer

    init(owning pointer: OpaquePointer) {
        unsafe self.pointer = pointer
    }

    deinit { unsafe X509_free(pointer) }
}

/// One entry of subjectAltName.
package enum SubjectAlternativeName: Sendable, Hashable {
    case dns(String)
    case uri(String)
    case email(String)
    /// 4 or 16 octets.
    case ip([UInt8])
    /// otherName, directoryName and the like, by their tag.
    case other(tag: Int)
}
