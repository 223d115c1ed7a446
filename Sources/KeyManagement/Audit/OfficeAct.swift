package import AuditTrail
import MasterKey
package import WireText

/// What somebody did in his office, for the audit trail: an operator's look-up, a command that officers signed and what
/// it came to, a policy that took effect.
///
/// Who acts stands in clear, as `operator:UID` or `officer:ID`. Whom it is about stands as a pseudonym, and sealed beside
/// it with the rest of what was asked for.
package struct OfficeAct: Sendable {
    package var kind: AuditRecord.Kind
    /// Nil: the service itself.
    package var by: String?
    /// Who confirmed or signed as well; of a single officer's signed command he himself.
    package var second: String?
    /// Such as `explain` or `freeze`.
    package var command: String
    /// The stable name of what happened, such as `officer:freeze`.
    package var rule: String
    /// Whom it is about; or what, as a URI.
    package var user: String?
    package var object: String?
    package var client: String?
    /// SHA-256 of what was signed, in base64url; in clear.
    package var digest: String?
    /// Sealed.
    package var detail: String?
    /// In clear, such as counts.
    package var result: String?

    package init(_ kind: AuditRecord.Kind, by: String, command: String, rule: String? = nil) {
        self.kind = kind
        self.by = by
        self.command = command
        self.rule = rule ?? "lookup:\(command)"
    }

    /// What officers signed.
    package init(
        _ kind: AuditRecord.Kind, signedBy officers: [String], command: String, rule: String, digest: String,
        detail: String
    ) {
        self.kind = kind
        by = officers.first.map { "officer:" + $0 }
        second = officers.count > 1 ? "officer:" + officers[1] : by
        self.command = command
        self.rule = rule
        self.digest = digest
        self.detail = detail
        result = officers.isEmpty ? nil : "officers " + officers.joined(separator: ", ")
    }
}

extension DecisionAudit {
    private static let longestDetail = 12 << 10
    private static let longestResult = 1000

    /// In the trail, synced, when it returns its id; what can not be kept is not to be done.
    @discardableResult
    package func keep(_ act: OfficeAct, now: Timestamp) async throws -> AuditID {
        var record = AuditRecord(act.kind, at: now)
        record.user = act.by
        record.effectiveUser = act.second
        record.type = act.command
        record.rule = act.rule
        record.path = act.result.map { String(decoding: $0.utf8.prefix(Self.longestResult), as: UTF8.self) }
        record.status = 200
        record.client = act.client.map(pseudonym(client:))
        record.object =
            act.digest.map { "sha256:" + $0 } ?? act.user.map(pseudonym(user:)) ?? act.object.map(pseudonym(object:))
        var fields = FieldWriter(format: Decision.Details.format)
        let subject = act.digest == nil ? act.user ?? act.object : act.command
        let detail = act.detail.map { String(decoding: $0.utf8.prefix(Self.longestDetail), as: UTF8.self) }
        for text in [act.by, act.second == act.by ? nil : act.second, act.client, subject, detail] {
            fields.field(optional: text)
        }
        try seal(fields, into: &record)
        try await keepAndWait(record)
        return record.id
    }
}
