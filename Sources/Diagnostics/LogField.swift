/// The name of a structured field of a log record, as `journalctl NAME=value` finds it.
///
/// Upper case letters, digits and underscores, no leading underscore, at most 64 characters: journald drops any
/// other field without a word. All names of the project stand here, so that one list documents them. Used with
/// swift-log as a key of the metadata: `[LogField.status.name: "200"]`.
package struct LogField: Hashable, Sendable, CustomStringConvertible {
    package let name: String
    /// What the field holds, for the documentation page.
    package let meaning: String

    private init(_ name: String, _ meaning: String) {
        self.name = name
        self.meaning = meaning
    }

    package var description: String { name }
}

extension LogField {
    // A request to the KMS.
    package static let kmsMethod = LogField("KMS_METHOD", "create, retrieve, update or delete")
    package static let kmsType = LogField(
        "KMS_TYPE", "kind of object asked for, such as KEY_COLLECTION, EPHEMERAL_KEY_COLLECTION, KEY")
    package static let kmsURI = LogField("KMS_URI", "URI of the object asked for, its id as a pseudonym")
    package static let kmsRequestID = LogField("KMS_REQUEST_ID", "request id that the client chose")
    package static let trackingID = LogField("TRACKING_ID", "id that follows one request through all services")
    package static let userID = LogField("USER_ID", "who asked, as a pseudonym")
    package static let effectiveUserID = LogField("EFFECTIVE_USER_ID", "whose rights were judged, as a pseudonym")
    package static let clientID = LogField("CLIENT_ID", "device that asked, as a pseudonym")
    package static let auditID = LogField("AUDIT_ID", "id under which the decision stands in the audit trail")
    package static let rule = LogField("RULE", "name of the rule that decided")
    package static let status = LogField("STATUS", "status of the answer, as in HTTP")
    package static let durationMicroseconds = LogField("DURATION_US", "time taken in microseconds")
    package static let reason = LogField("REASON", "why something was refused or failed")

    // Alarms, errors, checks.
    package static let alarmID = LogField("ALARM_ID", "id of the alarm, such as HDS-CLOUD-UNREACHABLE")
    package static let alarmState = LogField("ALARM_STATE", "raised or cleared")
    package static let eventID = LogField("EVENT_ID", "id of the event, such as HDS-READY")
    package static let errorCode = LogField("ERROR_CODE", "stable code of a diagnosed error")
    package static let fault = LogField("FAULT", "client, peer, store, configuration or internal")
    package static let detail = LogField("DETAIL", "what was seen")
    package static let fix = LogField("FIX", "what to do about it")
    package static let check = LogField("CHECK", "id of a health check")

    // The process and its surroundings.
    package static let service = LogField("SERVICE", "name of the service, such as hds-kms")
    package static let version = LogField("VERSION", "version of the program")
    package static let logger = LogField("LOGGER", "part of the program that wrote the record")
    package static let file = LogField("FILE", "path of a file")
    package static let address = LogField("ADDRESS", "network address listened on or connected to")
    package static let node = LogField("NODE", "name of the node in the cluster")
    package static let organisation = LogField("ORGANISATION", "organisation id")
    package static let connectionID = LogField("CONNECTION_ID", "id of a connection to the core")
    package static let count = LogField("COUNT", "how many")
    package static let fingerprint = LogField("FINGERPRINT", "SHA-256 fingerprint of a certificate or a key")
    package static let action = LogField("ACTION", "command of an officer, such as reports.create")
    package static let digest = LogField("DIGEST", "SHA-256 in hexadecimal digits")
    package static let issuer = LogField("ISSUER", "issuer of a token")
    package static let subject = LogField("SUBJECT", "subject of a token, as a pseudonym")

    /// Every field, for the documentation page and the test of the names.
    package static let all: [LogField] = [
        .kmsMethod, .kmsType, .kmsURI, .kmsRequestID, .trackingID, .userID, .effectiveUserID, .clientID, .auditID,
        .rule, .status,
        .durationMicroseconds, .reason, .alarmID, .alarmState, .eventID, .errorCode, .fault, .detail, .fix, .check,
        .service, .version, .logger, .file, .address, .node, .organisation, .connectionID, .count, .fingerprint,
        .action, .digest, .issuer, .subject,
    ]
}

/// The fields of one record in the order written; a field whose value is nil is left out.
package struct LogFields: Sendable, ExpressibleByDictionaryLiteral {
    package private(set) var entries: [(field: LogField, value: Loggable)]

    package init(dictionaryLiteral elements: (LogField, Loggable?)...) {
        entries = []
        entries.reserveCapacity(elements.count)
        for case (let field, let value?) in elements { entries.append((field, value)) }
    }

    package subscript(field: LogField) -> Loggable? {
        get { entries.first { $0.field == field }?.value }
        set {
            let index = entries.firstIndex { $0.field == field }
            switch (index, newValue) {
            case (let index?, let value?): entries[index].value = value
            case (let index?, nil): entries.remove(at: index)
            case (nil, let value?): entries.append((field, value))
            case (nil, nil): break
            }
        }
    }
}
