package import Diagnostics
package import KMSProtocol

/// The KMS said no: status, reason and error code as it gave them (protocol, section 5).
package struct KMSRefusal: Error, Equatable, Sendable {
    package let status: Int
    package let reason: String
    package let errorCode: Int?

    package init(_ answer: KMSAnswer) {
        status = answer.status
        reason = answer.reason?.loggableReason ?? "no reason given"
        errorCode = answer.errorCode
    }

    /// The request was older than one that the KMS had seen, and had no effect.
    package var isStaleCounter: Bool { errorCode == KMSFailure.staleCounterCode }
    /// The clocks have come apart.
    package var isStaleTime: Bool { errorCode == KMSFailure.staleTimeCode }
    /// The customer's master key is revoked: alarm, not retry.
    package var isMasterKeyRevoked: Bool { status == 405 && (errorCode == 405_005 || errorCode == 405_006) }

    package var diagnosed: DiagnosedError {
        if isMasterKeyRevoked {
            return DiagnosedError(
                .kmsMasterKeyRevoked, fault: .client, "the customer's master key is revoked: no key can be read",
                found: "\(status) \(reason)", hint: "ask the administrator of the KMS")
        }
        let (code, hint): (DiagnosedError.Code, String?) =
            switch status {
            case 401: (.kmsUnauthorized, "log in again")
            case 403: (.kmsForbidden, nil)
            case 404: (.kmsNotFound, nil)
            case 409: (.kmsConflict, nil)
            case 429: (.kmsTooFast, "wait a little and try again")
            case 502: (.kmsFailed, "another KMS could not be reached; try again later")
            default: (.kmsFailed, nil)
            }
        return DiagnosedError(code, fault: .client, "the KMS refused", found: "\(status) \(reason)", hint: hint)
    }
}

extension DiagnosedError.Code {
    package static let kmsUnauthorized: Self = "kms-unauthorized"
    package static let kmsForbidden: Self = "kms-forbidden"
    package static let kmsNotFound: Self = "kms-not-found"
    package static let kmsConflict: Self = "kms-conflict"
    package static let kmsTooFast: Self = "kms-too-fast"
    package static let kmsFailed: Self = "kms-failed"
    package static let kmsMasterKeyRevoked: Self = "kms-master-key-revoked"
}

extension String {
    /// A reason is a sentence of the KMS that names user and resource; long enough for two URIs.
    fileprivate var loggableReason: String {
        String(decoding: utf8.prefix(400).map { (0x20..<0x7F).contains($0) ? $0 : 0x3F }, as: UTF8.self)
    }
}
