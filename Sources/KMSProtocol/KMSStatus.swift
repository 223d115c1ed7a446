/// Status codes of answers (protocol, section 5).
package enum KMSStatus {
    package static let ok = 200
    package static let created = 201
    package static let noContent = 204
    package static let malformed = 400
    package static let unauthorized = 401
    package static let forbidden = 403
    package static let notFound = 404
    package static let methodNotAllowed = 405
    package static let conflict = 409
    package static let tooManyRequests = 429
    package static let reset = 499
    package static let internalError = 500
    package static let notImplemented = 501
    package static let badGateway = 502
}

/// A refusal that is answered to the client: status, a reason that names user and resource, never a secret.
package struct KMSFailure: Error, Equatable, Sendable {
    package let status: Int
    package let reason: String
    package let errorCode: Int?
    /// Stable name of the rule that refused it, for audit and explanations; it never goes to the client.
    package let rule: String?

    package init(_ status: Int, _ reason: String, errorCode: Int? = nil, rule: String? = nil) {
        self.status = status
        self.reason = reason
        self.errorCode = errorCode
        self.rule = rule
    }

    /// Error code of a mutating request whose counter is not higher than the last one (docs/kms-extensions.md).
    package static let staleCounterCode = 409_100
    /// Error code of a request whose time is too far from the KMS's clock (docs/kms-extensions.md).
    package static let staleTimeCode = 409_101
}
