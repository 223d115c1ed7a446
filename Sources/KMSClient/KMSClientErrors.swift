package import Diagnostics

/// Codes of what can go wrong on the client's half of the protocol.
extension DiagnosedError.Code {
    /// The details document breaks a rule of the protocol, section 3.
    package static let kmsDetails: Self = "kms-details"
    /// The details document or its key speaks for another KMS than the pinned one.
    package static let kmsHostMismatch: Self = "kms-host-mismatch"
    /// The static key's certificate does not lead to a pinned root.
    package static let kmsUntrusted: Self = "kms-untrusted"
    /// A signed message that the verified static key did not sign, or not with an algorithm that is allowed.
    package static let kmsSignature: Self = "kms-signature"
    /// An answer that the session's key does not open, or that names another session.
    /// The KMS did not answer; it may later.
    package static let kmsNoAnswer: Self = "kms-no-answer"
    package static let kmsForeignAnswer: Self = "kms-foreign-answer"
    /// One's own or somebody's request, sent back as if it were an answer.
    package static let kmsReflected: Self = "kms-reflected"
    /// An answer without the form of one.
    package static let kmsMalformedAnswer: Self = "kms-malformed-answer"
    /// An answer to another request, or about another object than was asked for.
    package static let kmsMismatch: Self = "kms-mismatch"
    /// A reset that is stale, of another session, or says neither.
    package static let kmsReset: Self = "kms-reset-refused"
    /// The answer that opens a session has a point, life or user that can not be.
    package static let kmsSession: Self = "kms-session"
    /// A text or file that its key does not open, or that was changed.
    package static let contentUnreadable: Self = "content-unreadable"
    /// A stored session that can not be restored.
    package static let kmsSessionRecord: Self = "kms-session-record"
}
