internal import COpenSSL
internal import Diagnostics
internal import Glibc
package import WireText

/// A time stamp (RFC 3161): an authority's signed word that a digest existed at a time. A value of this type is verified.
///
/// Verified are, by OpenSSL: the imprint, the nonce and the policy asked for, the signature, the signer's certificate
/// that the token itself names (RFC 5035), its path to one of the given roots, and that it may do nothing but stamp
/// times (extended key usage, critical and alone). Here: SHA-256 or better for the signature, 112 bits of strength on
/// the path. Revocation is not consulted. Immutable; any thread.
package struct TimeStampToken: Sendable, Equatable {
    /// Answers that are longer are not looked at.
    package static let maximumBytes = 24 << 10
    /// Seconds that the authority's clock and this machine's may differ when a token is taken.
    package static let tolerance: Int64 = 300

    /// The token (CMS), as `openssl ts -verify -token_in` reads it.
    package let der: [UInt8]
    package let time: Timestamp
    /// Dotted numbers.
    package let policy: String
    /// The subject of the certificate that signed.
    package let signer: String

    /// What an authority answered to a request just made: the path is judged by this machine's clock.
    package static func granted(
        in response: [UInt8], to request: TimeStampRequest, roots: [Certificate], now: Timestamp
    ) throws -> TimeStampToken {
        defer { OpenSSLFailure.discard() }
        guard response.count <= maximumBytes else {
            throw malformed("an answer", expected: "at most \(maximumBytes) octets", found: "\(response.count)")
        }
        let parsed: OpaquePointer? = unsafe response.withUnsafeBufferPointer { buffer in
            var position = buffer.baseAddress
            let parsed = unsafe d2i_TS_RESP(nil, &position, buffer.count)
            guard unsafe position == buffer.baseAddress?.advanced(by: buffer.count) else {
                unsafe TS_RESP_free(parsed)
                return nil
            }
            return unsafe parsed
        }
        guard let parsed = unsafe parsed else {
            throw malformed("an answer", expected: "TimeStampResp", found: "\(response.count) octets of another form")
        }
        defer { unsafe TS_RESP_free(parsed) }
        if let refusal = unsafe TimeStampRefusal.of(parsed) { throw refusal }
        let token = unsafe TS_RESP_get_token(parsed)
        try unsafe demandStrongDigest(token)
        try unsafe verifying(request, roots, at: now) { context in
            unsafe TS_RESP_verify_response(context, parsed) == 1
        }
        let result = try unsafe TimeStampToken(token, TS_RESP_get_tst_info(parsed))
        guard abs(result.time.milliseconds - now.milliseconds) <= tolerance * 1000 else {
            throw DiagnosedError(
                .timeStampClock, fault: .peer, "the authority's clock and this machine's do not agree",
                expected: "\(now), give or take \(tolerance) s", found: "\(result.time)",
                hint: "see which clock is wrong: timedatectl")
        }
        return result
    }

    /// A token that was stored: the path is judged at the token's own time.
    package init(der: [UInt8], over digest: [UInt8], policy: String? = nil, roots: [Certificate]) throws {
        defer { OpenSSLFailure.discard() }
        guard der.count <= Self.maximumBytes else {
            throw Self.malformed("a token", expected: "at most \(Self.maximumBytes) octets", found: "\(der.count)")
        }
        let parsed: UnsafeMutablePointer<PKCS7>? = unsafe der.withUnsafeBufferPointer { buffer in
            var position = buffer.baseAddress
            let parsed = unsafe d2i_PKCS7(nil, &position, buffer.count)
            guard unsafe position == buffer.baseAddress?.advanced(by: buffer.count) else {
                unsafe PKCS7_free(parsed)
                return nil
            }
            return unsafe parsed
        }
        guard let parsed = unsafe parsed else {
            throw Self.malformed("a token", expected: "CMS signed data", found: "\(der.count) octets of another form")
        }
        defer { unsafe PKCS7_free(parsed) }
        let info = unsafe PKCS7_to_TS_TST_INFO(parsed)
        defer { unsafe TS_TST_INFO_free(info) }
        guard unsafe info != nil else {
            throw Self.malformed("a token", expected: "TSTInfo inside", found: "something else")
        }
        try unsafe Self.demandStrongDigest(parsed)
        // Not verified yet; the signature is over it, so a wrong time is found out below.
        let time = try unsafe CertificateFields.time(TS_TST_INFO_get_time(info))
        let request = try TimeStampRequest(digest: digest, policy: policy, nonce: nil)
        try unsafe Self.verifying(request, roots, at: time) { context in
            unsafe TS_RESP_verify_token(context, parsed) == 1
        }
        try unsafe self.init(parsed, info)
    }

    /// Of a verified token.
    private init(_ token: UnsafeMutablePointer<PKCS7>?, _ info: OpaquePointer?) throws {
        var encoded: UnsafeMutablePointer<UInt8>?
        let count = unsafe i2d_PKCS7(token, &encoded)
        guard count > 0, let encoded = unsafe encoded else {
            throw OpenSSLFailure.error(.cryptographyFailure, "a verified time stamp can not be encoded")
        }
        defer { unsafe CRYPTO_free(encoded, nil, 0) }
        der = unsafe Array(UnsafeBufferPointer(start: encoded, count: Int(count)))
        time = try unsafe CertificateFields.time(TS_TST_INFO_get_time(info))
        var text = [CChar](repeating: 0, count: 128)
        _ = unsafe OBJ_obj2txt(&text, Int32(text.count), TS_TST_INFO_get_policy_id(info), 1)
        policy = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let signers = unsafe PKCS7_get0_signers(token, nil, 0)
        defer { unsafe OPENSSL_sk_free(signers) }
        let certificate = unsafe OPENSSL_sk_value(signers, 0).map { OpaquePointer($0) }
        signer = unsafe certificate.map { unsafe CertificateFields.text(X509_get_subject_name($0)) } ?? ""
    }

    // MARK: - Helpers

    private static func verifying(
        _ request: TimeStampRequest, _ roots: [Certificate], at time: Timestamp, _ verify: (OpaquePointer) -> Bool
    ) throws {
        let parsed: OpaquePointer? = unsafe request.der.withUnsafeBufferPointer { buffer in
            var position = buffer.baseAddress
            return unsafe d2i_TS_REQ(nil, &position, buffer.count)
        }
        defer { unsafe TS_REQ_free(parsed) }
        guard let parsed = unsafe parsed, let context = unsafe TS_REQ_to_TS_VERIFY_CTX(parsed, nil),
            let store = unsafe X509_STORE_new()
        else { throw OpenSSLFailure.error(.cryptographyFailure, "no time stamp can be verified") }
        // Takes the store over.
        defer { unsafe TS_VERIFY_CTX_free(context) }
        unsafe TS_VERIFY_CTX_set_store(context, store)
        unsafe TS_VERIFY_CTX_add_flags(context, Int32(TS_VFY_SIGNATURE))
        for root in roots { _ = unsafe root.withUnsafePointer { unsafe X509_STORE_add_cert(store, $0) } }
        let parameters = unsafe X509_STORE_get0_param(store)
        unsafe X509_VERIFY_PARAM_set_time(parameters, Int(time.seconds))
        unsafe X509_VERIFY_PARAM_set_depth(parameters, 8)
        // Level 2 of OpenSSL: at least 112 bits of strength.
        unsafe X509_VERIFY_PARAM_set_auth_level(parameters, 2)
        OpenSSLFailure.discard()
        guard unsafe verify(context) else {
            throw DiagnosedError(
                .timeStampInvalid, fault: .peer, "the time stamp does not hold",
                expected: "one about this digest, for this request, by an authority under the given roots",
                found: drainReasons(),
                hint: "compare the authority's address, its CA certificates and its policy with the configuration")
        }
    }

    /// As `OpenSSLFailure.drainReasons`, with the reason why a certificate was not accepted, a fixed text as well.
    private static func drainReasons() -> String? {
        var reasons: [String] = []
        var data: UnsafePointer<CChar>?
        var flags: Int32 = 0
        while case let code = unsafe ERR_get_error_all(nil, nil, nil, &data, &flags), code != 0 {
            guard reasons.count < 4, let text = unsafe ERR_reason_error_string(code) else { continue }
            let reason = unsafe String(cString: text)
            let isCertificate =
                ERR_GET_LIB(code) == ERR_LIB_TS && ERR_GET_REASON(code) == TS_R_CERTIFICATE_VERIFY_ERROR
            let detail =
                unsafe isCertificate && flags & ERR_TXT_STRING != 0 ? data.map { unsafe String(cString: $0) } : nil
            reasons.append(detail.map { "\(reason): \($0)" } ?? reason)
        }
        return reasons.isEmpty ? nil : reasons.joined(separator: ", ")
    }

    /// OpenSSL takes what the signer chose; a signature over SHA-1 proves nothing any more.
    private static func demandStrongDigest(_ token: UnsafeMutablePointer<PKCS7>?) throws(DiagnosedError) {
        let signers = unsafe token.flatMap { unsafe PKCS7_get_signer_info($0) }
        guard unsafe OPENSSL_sk_num(signers) == 1, let value = unsafe OPENSSL_sk_value(signers, 0) else {
            throw malformed("a token", expected: "one signer", found: "another number")
        }
        let signer = unsafe value.assumingMemoryBound(to: PKCS7_SIGNER_INFO.self)
        let digest = unsafe OBJ_obj2nid(signer.pointee.digest_alg.pointee.algorithm)
        guard [NID_sha256, NID_sha384, NID_sha512].contains(digest) else {
            throw DiagnosedError(
                .timeStampInvalid, fault: .peer, "the time stamp is signed over a digest that is too weak",
                expected: "SHA-256, SHA-384 or SHA-512",
                found: unsafe OBJ_nid2sn(digest).map { unsafe String(cString: $0) })
        }
    }

    private static func malformed(_ what: String, expected: String, found: String) -> DiagnosedError {
        DiagnosedError(
            .timeStampMalformed, fault: .peer, "\(what) of a time-stamping authority can not be read",
            expected: expected, found: found)
    }
}

/// What an authority says when it gives no time stamp (RFC 3161, section 2.4.2).
private enum TimeStampRefusal {
    private static let failures: [(bit: Int32, name: String)] = [
        (TS_INFO_BAD_ALG, "badAlg"), (TS_INFO_BAD_REQUEST, "badRequest"), (TS_INFO_BAD_DATA_FORMAT, "badDataFormat"),
        (TS_INFO_TIME_NOT_AVAILABLE, "timeNotAvailable"), (TS_INFO_UNACCEPTED_POLICY, "unacceptedPolicy"),
        (TS_INFO_UNACCEPTED_EXTENSION, "unacceptedExtension"),
        (TS_INFO_ADD_INFO_NOT_AVAILABLE, "addInfoNotAvailable"), (TS_INFO_SYSTEM_FAILURE, "systemFailure"),
    ]
    private static let statuses = [
        "granted", "grantedWithMods", "rejection", "waiting", "revocationWarning", "revocationNotification",
    ]

    /// Nil when there is a token. One with modifications is taken: what counts in it is verified like any other.
    static func of(_ response: OpaquePointer) -> DiagnosedError? {
        let info = unsafe TS_RESP_get_status_info(response)
        let status = unsafe ASN1_INTEGER_get(TS_STATUS_INFO_get0_status(info))
        let isGranted = status == TS_STATUS_GRANTED || status == TS_STATUS_GRANTED_WITH_MODS
        if isGranted, unsafe TS_RESP_get_token(response) != nil { return nil }
        let bits = unsafe TS_STATUS_INFO_get0_failure_info(info)
        let names = failures.filter { unsafe bits != nil && ASN1_BIT_STRING_get_bit(bits, $0.bit) == 1 }
        let name = statuses.indices.contains(status) ? statuses[status] : "status \(status)"
        return DiagnosedError(
            .timeStampRefused, fault: .peer, "the time-stamping authority gives no time stamp", expected: "a token",
            found: ([name] + names.map(\.name)).joined(separator: ", "),
            hint: names.contains { $0.name == "unacceptedPolicy" }
                ? "configure a policy that the authority has" : "ask the authority's operator")
    }
}
