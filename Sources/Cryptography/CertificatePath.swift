internal import COpenSSL
package import Diagnostics
package import WireText

extension DiagnosedError.Code {
    /// No path from the certificate to one of the roots, or a signature on it does not verify.
    package static let certificateUntrusted: Self = "certificate-untrusted"
    package static let certificateExpired: Self = "certificate-expired"
    package static let certificateNotYetValid: Self = "certificate-not-yet-valid"
    /// A certificate on the path may not be used for this purpose, or an authority may not issue below it.
    package static let certificatePurpose: Self = "certificate-purpose"
}

/// Path validation (RFC 5280, section 6) by OpenSSL at a given time, with the caller's roots and no others.
///
/// The validated path is what pins and further rules must look at, never the list that a peer sent: a peer may send
/// anything beside its path. Revocation is not consulted, as by all clients of the protocol. Signatures over SHA-1 and
/// keys below 112 bits of strength are refused on the whole path but for the root's own signature.
package enum CertificatePath {
    package enum Purpose: Sendable {
        /// extKeyUsage, where present, must hold serverAuth; key usage must fit.
        case tlsServer
        /// The certificate of a static key: any use.
        case kms
    }

    package static let maximumIntermediates = 16

    /// The path from the leaf to the root.
    package static func validate(
        leaf: Certificate, intermediates: [Certificate], roots: [Certificate], at time: Timestamp, purpose: Purpose
    ) throws -> [Certificate] {
        guard intermediates.count <= maximumIntermediates else {
            throw DiagnosedError(
                .certificateUntrusted, fault: .peer, "too many certificates were sent",
                expected: "at most \(maximumIntermediates)", found: "\(intermediates.count)")
        }
        guard let store = unsafe X509_STORE_new(), let context = unsafe X509_STORE_CTX_new(),
            let untrusted = unsafe OPENSSL_sk_new_null()
        else { throw OpenSSLFailure.error(.cryptographyFailure, "no certificate can be validated") }
        defer {
            unsafe OPENSSL_sk_free(untrusted)
            unsafe X509_STORE_CTX_free(context)
            unsafe X509_STORE_free(store)
        }
        for root in roots {
            _ = unsafe root.withUnsafePointer { unsafe X509_STORE_add_cert(store, $0) }
        }
        for intermediate in intermediates {
            // The stack borrows: `intermediates` outlives it.
            _ = unsafe intermediate.withUnsafePointer { unsafe OPENSSL_sk_push(untrusted, UnsafeRawPointer($0)) }
        }
        return try unsafe leaf.withUnsafePointer { target in
            guard unsafe X509_STORE_CTX_init(context, store, target, untrusted) == 1 else {
                throw OpenSSLFailure.error(.cryptographyFailure, "no certificate can be validated")
            }
            unsafe demand(purpose, at: time, of: context)
            guard unsafe X509_verify_cert(context) == 1 else { throw unsafe failure(context) }
            return try unsafe path(context)
        }
    }

    private static func demand(_ purpose: Purpose, at time: Timestamp, of context: OpaquePointer) {
        let parameters = unsafe X509_STORE_CTX_get0_param(context)
        unsafe X509_VERIFY_PARAM_set_time(parameters, Int(time.seconds))
        unsafe X509_VERIFY_PARAM_set_depth(parameters, 8)
        // Level 2 of OpenSSL: at least 112 bits of strength.
        unsafe X509_VERIFY_PARAM_set_auth_level(parameters, 2)
        let code = purpose == .tlsServer ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_ANY
        unsafe X509_VERIFY_PARAM_set_purpose(parameters, code)
    }

    private static func path(_ context: OpaquePointer) throws -> [Certificate] {
        let chain = unsafe X509_STORE_CTX_get0_chain(context)
        return try (0..<(unsafe OPENSSL_sk_num(chain))).map { index in
            let certificate = unsafe OpaquePointer(OPENSSL_sk_value(chain, index))
            var encoded: UnsafeMutablePointer<UInt8>?
            let count = unsafe i2d_X509(certificate, &encoded)
            guard count > 0, let encoded = unsafe encoded else {
                throw OpenSSLFailure.error(.cryptographyFailure, "a validated certificate can not be encoded")
            }
            defer { unsafe CRYPTO_free(encoded, nil, 0) }
            return try Certificate(der: unsafe Array(UnsafeBufferPointer(start: encoded, count: Int(count))))
        }
    }

    private static func failure(_ context: OpaquePointer) -> DiagnosedError {
        let error = unsafe X509_STORE_CTX_get_error(context)
        let depth = unsafe X509_STORE_CTX_get_error_depth(context)
        let reason = unsafe String(cString: X509_verify_cert_error_string(Int(error)))
        let subject = unsafe X509_STORE_CTX_get_current_cert(context).map {
            unsafe CertificateFields.text(X509_get_subject_name($0))
        }
        OpenSSLFailure.discard()
        let code: DiagnosedError.Code =
            switch error {
            case X509_V_ERR_CERT_HAS_EXPIRED: .certificateExpired
            case X509_V_ERR_CERT_NOT_YET_VALID: .certificateNotYetValid
            case X509_V_ERR_INVALID_PURPOSE, X509_V_ERR_PATH_LENGTH_EXCEEDED, X509_V_ERR_INVALID_CA,
                X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
                .certificatePurpose
            default: .certificateUntrusted
            }
        return DiagnosedError(
            code, fault: .peer, "the certificate is not accepted",
            found: "\(reason) at depth \(depth)" + (subject.map { " (\($0))" } ?? ""))
    }
}
