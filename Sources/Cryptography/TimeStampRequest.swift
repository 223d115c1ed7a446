internal import COpenSSL
package import Diagnostics

extension DiagnosedError.Code {
    /// Octets that are no answer of a time-stamping authority, or no token.
    package static let timeStampMalformed: Self = "time-stamp-malformed"
    /// The authority answered that it gives none.
    package static let timeStampRefused: Self = "time-stamp-refused"
    /// A token about something else, for another request, or by somebody who is not believed.
    package static let timeStampInvalid: Self = "time-stamp-invalid"
    /// The token's time and this machine's are too far apart.
    package static let timeStampClock: Self = "time-stamp-clock"
}

/// A request for a time stamp over a SHA-256 digest (RFC 3161, section 2.4.1), with a nonce and for a signed token that
/// carries its signer's certificate.
package struct TimeStampRequest: Sendable {
    package let digest: [UInt8]
    /// The one that the token must be under; nil leaves it to the authority.
    package let policy: String?
    /// What is sent as `application/timestamp-query`.
    package let der: [UInt8]

    package init(digest: [UInt8], policy: String? = nil) throws {
        try self.init(digest: digest, policy: policy, nonce: try RandomBytes.bytes(8))
    }

    /// - Parameter nonce: nil makes a request that is only ever compared with a token of long ago.
    init(digest: [UInt8], policy: String?, nonce: [UInt8]?) throws(DiagnosedError) {
        guard digest.count == SHA256.byteCount else {
            throw DiagnosedError(
                .cryptographyFailure, fault: .internal, "a time stamp is over a digest", expected: "32 octets",
                found: "\(digest.count)")
        }
        self.digest = digest
        self.policy = policy
        der = try Self.encode(digest, policy, nonce)
    }

    private static func encode(
        _ digest: [UInt8], _ policy: String?, _ nonce: [UInt8]?
    ) throws(DiagnosedError) -> [UInt8] {
        let request = unsafe TS_REQ_new()
        let imprint = unsafe TS_MSG_IMPRINT_new()
        let algorithm = unsafe X509_ALGOR_new()
        defer {
            unsafe X509_ALGOR_free(algorithm)
            unsafe TS_MSG_IMPRINT_free(imprint)
            unsafe TS_REQ_free(request)
        }
        var octets = digest
        // Everything that is set is copied.
        guard unsafe TS_REQ_set_version(request, 1) == 1,
            unsafe X509_ALGOR_set0(algorithm, OBJ_nid2obj(NID_sha256), V_ASN1_NULL, nil) == 1,
            unsafe TS_MSG_IMPRINT_set_algo(imprint, algorithm) == 1,
            unsafe TS_MSG_IMPRINT_set_msg(imprint, &octets, Int32(octets.count)) == 1,
            unsafe TS_REQ_set_msg_imprint(request, imprint) == 1, unsafe TS_REQ_set_cert_req(request, 1) == 1
        else { throw failure() }
        if let policy {
            let object = unsafe OBJ_txt2obj(policy, 1)
            defer { unsafe ASN1_OBJECT_free(object) }
            guard unsafe object != nil, unsafe TS_REQ_set_policy_id(request, object) == 1 else {
                OpenSSLFailure.discard()
                throw DiagnosedError(
                    .timeStampMalformed, fault: .configuration, "the policy of time stamps is no object identifier",
                    expected: "numbers with dots, such as 1.3.6.1.4.1.13762.3", found: String(policy.prefix(80)))
            }
        }
        if let nonce {
            let number = unsafe BN_bin2bn(nonce, Int32(nonce.count), nil)
            let integer = unsafe BN_to_ASN1_INTEGER(number, nil)
            defer {
                unsafe ASN1_INTEGER_free(integer)
                unsafe BN_free(number)
            }
            guard unsafe integer != nil, unsafe TS_REQ_set_nonce(request, integer) == 1 else { throw failure() }
        }
        var encoded: UnsafeMutablePointer<UInt8>?
        let count = unsafe i2d_TS_REQ(request, &encoded)
        guard count > 0, let encoded = unsafe encoded else { throw failure() }
        defer { unsafe CRYPTO_free(encoded, nil, 0) }
        return unsafe Array(UnsafeBufferPointer(start: encoded, count: Int(count)))
    }

    private static func failure() -> DiagnosedError {
        OpenSSLFailure.error(.cryptographyFailure, "no request for a time stamp can be made")
    }
}
