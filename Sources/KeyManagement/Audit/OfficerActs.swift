package import AuditTrail
import MasterKey
package import WireText

/// What officers did, for the audit trail: a command that they signed, or a policy that took effect.
///
/// Their ids stand in clear, for they act in their office; what they asked for is sealed beside them.
package struct OfficerAct: Sendable {
    package var kind: AuditRecord.Kind
    /// Who signed first, and who confirmed or signed as well.
    package var officers: [String]
    /// Such as `freeze`.
    package var command: String
    /// The stable name of what happened, such as `officer:freeze`.
    package var rule: String
    /// SHA-256 of what was signed, in base64url.
    package var digest: String
    /// Sealed; for the KMS's own explanations.
    package var detail: String

    package init(
        _ kind: AuditRecord.Kind, by officers: [String], command: String, rule: String, digest: String, detail: String
    ) {
        self.kind = kind
        self.officers = officers
        self.command = command
        self.rule = rule
        self.digest = digest
        self.detail = detail
    }
}

extension DecisionAudit {
    private static let longestDetail = 12 << 10

    /// In the trail, synced, when it returns its id.
    @discardableResult
    package func keep(_ act: OfficerAct, now: Timestamp) async throws -> AuditID {
        var record = AuditRecord(act.kind, at: now)
        record.user = act.officers.first.map { "officer:" + $0 }
        record.effectiveUser = act.officers.count > 1 ? "officer:" + act.officers[1] : record.user
        record.type = act.command
        record.object = "sha256:" + act.digest
        record.rule = act.rule
        record.path = act.officers.isEmpty ? nil : "officers " + act.officers.joined(separator: ", ")
        record.status = 200
        var fields = FieldWriter(format: Decision.Details.format)
        let detail = String(decoding: act.detail.utf8.prefix(Self.longestDetail), as: UTF8.self)
        let texts: [String?] = [
            record.user, record.effectiveUser == record.user ? nil : record.effectiveUser, nil, act.command, detail,
        ]
        for text in texts { fields.field(optional: text) }
        try seal(fields, into: &record)
        try await keepAndWait(record)
        return record.id
    }
}
