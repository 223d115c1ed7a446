package import Diagnostics

extension DiagnosedError.Code {
    /// A policy document is not what it should be: a member is unknown, missing, out of its bounds or at odds with another.
    package static let policyMalformed: Self = "policy-malformed"
    /// A policy file or a line of it is no signature over the policy by officers who may sign it.
    package static let policySignature: Self = "policy-signature"
    /// Fewer officers signed than the configuration demands.
    package static let policySignaturesMissing: Self = "policy-signatures-missing"
    /// A policy older than one that was in force, or another one of the same version.
    package static let policyRollback: Self = "policy-rollback"
    package static let policyOrganisation: Self = "policy-organisation"
    package static let policyNotYetValid: Self = "policy-not-yet-valid"
    /// There is no policy file although a policy was in force before.
    package static let policyMissing: Self = "policy-missing"
    package static let policyUnreadable: Self = "policy-unreadable"

    /// The file of the enrolled officers can not be used.
    package static let officersMalformed: Self = "officers-malformed"
    /// A signature by a key that no enrolled officer has.
    package static let officerUnknown: Self = "officer-unknown"
    /// An officer who is enrolled, but not for this.
    package static let officerDuty: Self = "officer-duty"

    /// A signed request or confirmation is not what it should be.
    package static let requestMalformed: Self = "request-malformed"
    /// A command that needs an officer came without a signature.
    package static let requestUnsigned: Self = "request-unsigned"
    /// The signature is over another request, for another service or for another node.
    package static let requestMismatch: Self = "request-mismatch"
    package static let requestExpired: Self = "request-expired"
    package static let requestReplayed: Self = "request-replayed"
    /// A command that needs two officers has no confirmation, or one that does not count.
    package static let confirmationMissing: Self = "confirmation-missing"
}

extension DiagnosedError {
    static func policy(
        _ code: Code, _ summary: String, expected: String? = nil, found: String? = nil, hint: String? = nil
    ) -> DiagnosedError {
        DiagnosedError(code, fault: .configuration, summary, expected: expected, found: found, hint: hint)
    }

    static func request(
        _ code: Code, _ summary: String, expected: String? = nil, found: String? = nil, hint: String? = nil
    ) -> DiagnosedError {
        DiagnosedError(code, fault: .client, summary, expected: expected, found: found, hint: hint)
    }
}
