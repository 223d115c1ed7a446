import Diagnostics
import WireText

/// A record as JSON without its sequence number and its chain, which are known only when its turn comes.
///
/// Made on the caller's thread, so that the writing thread only hashes and copies.
struct RecordBody: Sendable {
    /// `"id":"…",…` without braces.
    let text: [UInt8]
    let id: AuditID
    let time: Timestamp
    let kind: AuditRecord.Kind
    let share: SpoolQuota.Share

    /// A line with its line feed.
    static let maximumLine = 64 << 10
    private static let maximumText = 1024
    private static let maximumPath = 4096
    private static let maximumSealed = 32 << 10

    init(_ record: AuditRecord, node: String, share: SpoolQuota.Share? = nil) throws(DiagnosedError) {
        try Self.check(record)
        text = Self.encode(record, node: node)
        guard text.count <= Self.maximumLine - 256 else { throw Self.tooLong("the record", text.count) }
        id = record.id
        time = record.time
        kind = record.kind
        self.share = share ?? (record.kind.isKept ? record.isRefusal ? .ordinary : .reserved : .own)
    }

    static func encode(_ record: AuditRecord, node: String) -> [UInt8] {
        var json = JSONWriter(reserving: 1024)
        json.member("id", record.id.description)
        json.member("time", record.time.iso8601)
        json.member("kind", record.kind.rawValue)
        json.member("node", node)
        json.member("user", ifPresent: record.user)
        json.member("effectiveUser", ifPresent: record.effectiveUser)
        json.member("client", ifPresent: record.client)
        json.member("method", ifPresent: record.method)
        json.member("type", ifPresent: record.type)
        json.member("object", ifPresent: record.object)
        json.member("requestId", ifPresent: record.requestId)
        json.member("rule", ifPresent: record.rule)
        json.member("path", ifPresent: record.path)
        if let status = record.status { json.member("status", status) }
        if let duration = record.durationUs { json.member("durationUs", duration) }
        if !record.kind.isKept { encode(record.own, to: &json) }
        json.member("sealed", ifPresent: record.sealed)
        return json.bytes()
    }

    private static func encode(_ own: AuditRecord.Own, to json: inout JSONWriter) {
        json.member("source", ifPresent: own.source)
        if let count = own.count { json.member("count", count) }
        json.member("since", ifPresent: own.since?.iso8601)
        json.member("until", ifPresent: own.until?.iso8601)
        json.member("trail", ifPresent: own.trail)
        json.member("key", ifPresent: own.key)
        json.member("detail", ifPresent: own.detail)
        if let position = own.position { json.member("position", position) }
        json.member("jws", ifPresent: own.jws)
    }

    private static func check(_ record: AuditRecord) throws(DiagnosedError) {
        try checkText(record.user)
        try checkText(record.effectiveUser)
        try checkText(record.client)
        try checkText(record.method)
        try checkText(record.type)
        try checkText(record.object)
        try checkText(record.requestId)
        try checkText(record.rule)
        try checkText(record.own.source)
        try checkText(record.own.detail)
        if let path = record.path, path.utf8.count > maximumPath { throw tooLong("'path'", path.utf8.count) }
        guard let sealed = record.sealed else { return }
        guard sealed.utf8.count <= maximumSealed else { throw tooLong("'sealed'", sealed.utf8.count) }
        var text = sealed
        guard text.withUTF8(isBase64URL) else {
            throw DiagnosedError(
                .auditRecordInvalid, fault: .internal, "'sealed' of an audit record is not base64url")
        }
    }

    private static func checkText(_ text: String?) throws(DiagnosedError) {
        if let count = text?.utf8.count, count > maximumText { throw tooLong("a text", count) }
    }

    /// The alphabet as bits of the octets from 0 and from 64: some hundred octets of each record are looked at.
    private static let alphabet: (low: UInt64, high: UInt64) = {
        var bits: (low: UInt64, high: UInt64) = (0, 0)
        for octet in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8 {
            if octet < 64 { bits.low |= 1 << UInt64(octet) } else { bits.high |= 1 << UInt64(octet - 64) }
        }
        return bits
    }()

    private static func isBase64URL(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        let (low, high) = alphabet
        var isValid: UInt64 = 1
        for octet in text {
            let bits = octet & 0x80 != 0 ? 0 : octet & 0x40 != 0 ? high : low
            isValid &= bits >> UInt64(octet & 0x3F)
        }
        return isValid & 1 == 1
    }

    private static func tooLong(_ what: String, _ count: Int) -> DiagnosedError {
        DiagnosedError(
            .auditRecordInvalid, fault: .client, "\(what) of an audit record is too long", found: "\(count) octets")
    }
}
