package import Diagnostics

extension DiagnosedError.Code {
    /// Nothing can be kept now: the disk is full or failing, or the spool is at its limit.
    package static let auditBlocked: Self = "audit-blocked"
    package static let auditClosed: Self = "audit-closed"
    /// A record that the trail does not take: too long, or of a kind that only the trail itself writes.
    package static let auditRecordInvalid: Self = "audit-record-invalid"
    package static let auditFolder: Self = "audit-folder"
    /// Another process writes to the same folder.
    package static let auditLocked: Self = "audit-locked"
    /// A witness knows more than the folder holds: it was put back, emptied or cut.
    package static let auditRolledBack: Self = "audit-rolled-back"
    package static let auditUnreadable: Self = "audit-unreadable"

    // What the verification finds first.
    package static let auditLineMalformed: Self = "audit-line-malformed"
    package static let auditChainBroken: Self = "audit-chain-broken"
    package static let auditSequenceBroken: Self = "audit-sequence-broken"
    package static let auditSegmentMissing: Self = "audit-segment-missing"
    package static let auditHeadInvalid: Self = "audit-head-invalid"
    package static let auditRootInvalid: Self = "audit-root-invalid"
    package static let auditWitnessContradicts: Self = "audit-witness-contradicts"
    package static let auditTrailForeign: Self = "audit-trail-foreign"
    package static let auditProofInvalid: Self = "audit-proof-invalid"

    // The attestation key and what it signs.
    package static let attestationKeyFile: Self = "attestation-key-file"
    package static let attestationKeyUnknown: Self = "attestation-key-unknown"
    /// A signed statement of another kind than the one that belongs here.
    package static let attestationTypeWrong: Self = "attestation-type-wrong"
    package static let attestationInvalid: Self = "attestation-invalid"
}

extension DiagnosedError {
    static func blocked(_ summary: String, expected: String? = nil, found: String?, fix: String) -> DiagnosedError {
        DiagnosedError(.auditBlocked, fault: .store, summary, expected: expected, found: found, hint: fix)
    }

    /// The operating system refused; `path` and the reason are for the operator.
    static func auditFile(
        _ what: String, _ path: String, errno code: Int32, as kind: DiagnosedError.Code = .auditFolder,
        fault: Fault = .store, fix: String = "see whether the folder is there and belongs to the service's user"
    ) -> DiagnosedError {
        DiagnosedError(kind, fault: fault, "\(path): \(what)", found: systemText(code), hint: fix)
    }
}
