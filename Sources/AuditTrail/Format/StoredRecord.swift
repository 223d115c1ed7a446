package import Diagnostics
import WireText

/// A record as it stands in the trail, with its number, node and chain.
package struct StoredRecord: Sendable {
    package let seq: Int64
    package let node: String
    package let record: AuditRecord
    package let chain: [UInt8]
    /// The exact line, without its line feed.
    package let line: [UInt8]

    /// Reads a line strictly: it has to be exactly what the trail would write for the same values.
    package init(line: [UInt8]) throws(DiagnosedError) {
        guard let header = LineHeader(line), let time = header.time else {
            throw Self.malformed("it does not begin or end as a record does")
        }
        let root: JSONNode
        do {
            let limits = JSONDocument.Limits(
                maximumDepth: 2, maximumNodes: 100, maximumBytes: RecordBody.maximumLine)
            root = try JSONDocument(line, limits: limits).root
        } catch {
            throw Self.malformed(error.summary)
        }
        guard let node = root["node"]?.string else { throw Self.malformed("it names no node") }
        var record = AuditRecord(header.kind, id: header.id, at: time)
        record.user = root["user"]?.string
        record.effectiveUser = root["effectiveUser"]?.string
        record.client = root["client"]?.string
        record.method = root["method"]?.string
        record.type = root["type"]?.string
        record.object = root["object"]?.string
        record.requestId = root["requestId"]?.string
        record.rule = root["rule"]?.string
        record.path = root["path"]?.string
        record.status = root["status"]?.integer.flatMap { Int(exactly: $0) }
        record.durationUs = root["durationUs"]?.integer
        record.sealed = root["sealed"]?.string
        record.own = Self.own(root)
        // Writing it again finds every other member, order, form and white space.
        let expected = Array("{\"seq\":\(header.seq),".utf8) + RecordBody.encode(record, node: node) + [0x7D]
        guard header.hashedText == expected else {
            throw Self.malformed("its members, their order or their form are not those of a record")
        }
        seq = header.seq
        self.node = node
        self.record = record
        chain = header.chain
        self.line = line
    }

    private static func own(_ root: JSONNode) -> AuditRecord.Own {
        var own = AuditRecord.Own()
        own.source = root["source"]?.string
        own.count = root["count"]?.integer
        own.since = (root["since"]?.string).flatMap { Timestamp(iso8601: $0) }
        own.until = (root["until"]?.string).flatMap { Timestamp(iso8601: $0) }
        own.trail = root["trail"]?.string
        own.key = root["key"]?.string
        own.detail = root["detail"]?.string
        own.position = root["position"]?.integer
        own.jws = root["jws"]?.string
        return own
    }

    private static func malformed(_ reason: String) -> DiagnosedError {
        DiagnosedError(
            .auditLineMalformed, fault: .client, "a line is no record", expected: "one record in its canonical form",
            found: reason)
    }
}
