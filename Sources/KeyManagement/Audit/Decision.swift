import AuditTrail
import KMSProtocol
import WireText

/// One request judged: who asked for what, by which rule it was decided, and how it ended. In clear; what leaves this
/// module is an `AuditRecord` with pseudonyms, and the sealed details.
struct Decision: Sendable {
    let id: AuditID
    let time: Timestamp
    var user: String?
    var effectiveUser: String?
    var client: String?
    var method: String?
    var type: String?
    var object: String?
    var requestID: String?
    var rule: String
    var status: Int
    var reason: String?
    var way: String?
    var durationMicroseconds: Int64

    init(_ entry: RequestLogEntry, status: Int, reason: String?, rule: String, time: Timestamp) {
        id = entry.auditID
        self.time = time
        user = entry.user
        effectiveUser = entry.effectiveUser
        client = entry.clientID
        method = entry.method
        type = entry.type
        object = entry.uri.map(\.absoluteText)
        requestID = entry.requestID
        self.rule = rule
        self.status = status
        self.reason = reason ?? entry.errand
        way = entry.way
        durationMicroseconds = entry.elapsedMicroseconds
    }

    /// What `explain` and a lookup need in clear, for the seal.
    func details() -> FieldWriter {
        var fields = FieldWriter(format: Details.decisionFormat)
        for text in [user, effectiveUser, client, object, reason, way] { fields.field(optional: text) }
        return fields
    }

    /// The clear part of a record that this KMS sealed.
    package struct Details: Sendable, Equatable {
        /// 1: without the way, as records of what is no decision still are.
        static let format: UInt8 = 1
        static let decisionFormat: UInt8 = 2

        package let user: String?
        package let effectiveUser: String?
        package let client: String?
        package let object: String?
        package let reason: String?
        /// Which space was read, and through which others.
        package let way: String?

        init?(_ bytes: UnsafeRawBufferPointer) {
            let format = bytes.first == Self.decisionFormat ? Self.decisionFormat : Self.format
            guard var fields = FieldReader(bytes, format: format), let user = fields.optionalText(),
                let effectiveUser = fields.optionalText(), let client = fields.optionalText(),
                let object = fields.optionalText(), let reason = fields.optionalText(),
                let way = format == Self.format ? .some(nil) : fields.optionalText(), fields.isAtEnd
            else { return nil }
            self.user = user
            self.effectiveUser = effectiveUser
            self.client = client
            self.object = object
            self.reason = reason
            self.way = way
        }
    }
}

// How a ledger entry carries a record that the trail may lack after a crash.
extension AuditRecord {
    private static let format: UInt8 = 1

    func ledgerForm() -> FieldWriter {
        var fields = FieldWriter(format: Self.format)
        fields.field(id.description)
        fields.field(time)
        for text in [user, effectiveUser, client, method, type, object, requestId, rule, path, sealed] {
            fields.field(optional: text)
        }
        fields.field(Int64(status ?? 0))
        fields.field(durationUs ?? 0)
        return fields
    }

    init?(ledgerForm bytes: UnsafeRawBufferPointer) {
        guard var fields = FieldReader(bytes, format: Self.format), let id = fields.text().flatMap({ AuditID($0) }),
            let time = fields.time()
        else { return nil }
        self.init(.decision, id: id, at: time)
        for member in [
            \AuditRecord.user, \.effectiveUser, \.client, \.method, \.type, \.object, \.requestId, \.rule, \.path,
            \.sealed,
        ] {
            guard let text = fields.optionalText() else { return nil }
            self[keyPath: member] = text
        }
        guard let status = fields.number(), let duration = fields.number(), fields.isAtEnd else { return nil }
        self.status = Int(status)
        durationUs = duration
    }
}
