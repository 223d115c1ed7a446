package import AuditTrail
import MasterKey
package import WireText

/// What an operator looked up or an officer's command came to, for the audit trail.
///
/// Who asks stands in clear, for he acts in his office: `operator:UID` or `officer:ID`. Whom it is about stands as a
/// pseudonym, and sealed beside it.
package struct OversightAct: Sendable {
    package var kind: AuditRecord.Kind
    package var by: String
    /// Such as `explain`.
    package var command: String
    package var rule: String
    /// Whom it is about; or what, as a URI.
    package var user: String?
    package var object: String?
    package var client: String?
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
}

extension DecisionAudit {
    /// In the trail, synced, when it returns; what can not be kept is not to be done.
    @discardableResult
    package func keep(_ act: OversightAct, now: Timestamp) async throws -> AuditID {
        var record = AuditRecord(act.kind, at: now)
        record.user = act.by
        record.type = act.command
        record.rule = act.rule
        record.path = act.result.map { String(decoding: $0.utf8.prefix(1000), as: UTF8.self) }
        record.status = 200
        record.client = act.client.map(pseudonym(client:))
        record.object = act.user.map(pseudonym(user:)) ?? act.object.map(pseudonym(object:))
        var fields = FieldWriter(format: Decision.Details.format)
        let detail = act.detail.map { String(decoding: $0.utf8.prefix(8 << 10), as: UTF8.self) }
        for text in [act.by, nil, act.client, act.user ?? act.object, detail] { fields.field(optional: text) }
        try seal(fields, into: &record)
        try await keepAndWait(record)
        return record.id
    }
}
