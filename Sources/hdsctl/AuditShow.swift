import ArgumentParser
import AuditTrail
import Diagnostics
import WireText

extension AuditCommand {
    /// Reads records; the files hold pseudonyms only.
    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print records of a trail, one a line.",
            discussion: """
                Reads and does not verify: see 'audit verify'. Identifiers are pseudonyms (u:, o:, c:); the KMS tells \
                the pseudonym of a name.
                """)

        @Argument(help: "The folder of the trail.", completion: .directory)
        var folder: String
        @Option(help: "Pseudonym of the user or the effective user.")
        var user: String?
        @Option(help: "Pseudonym of the object.")
        var object: String?
        @Option(help: "The id of one record.")
        var id: String?
        @Option(help: "The request id that the client chose; several hits are usual.")
        var request: String?
        @Option(help: "Kind of the records, such as decision or refusals.")
        var kind: String?
        @Option(help: "From this time on, as 2026-11-26T12:00:00Z.")
        var since: String?
        @Option(help: "Before this time.")
        var until: String?
        @Flag(help: "The newest first.")
        var newestFirst = false
        @Option(help: "At most so many.")
        var limit = Int.max
        @Flag(help: "Print the lines as they stand in the trail.")
        var json = false

        func run() throws {
            try reporting {
                let query = try query()
                try TrailReader(folder: folder).forEach(query) { stored in
                    print(json ? String(decoding: stored.line, as: UTF8.self) : stored.text)
                }
            }
        }

        private func query() throws(DiagnosedError) -> AuditQuery {
            var query = AuditQuery()
            query.id = try parsed(id, "--id", "a UUID of version 7 in lower case") { AuditID($0) }
            query.kind = try parsed(
                kind, "--kind", AuditRecord.Kind.allCases.map(\.rawValue).joined(separator: ", ")
            ) { AuditRecord.Kind(rawValue: $0) }
            query.since = try parsed(since, "--since", "a time as 2026-11-26T12:00:00Z") { Timestamp(iso8601: $0) }
            query.until = try parsed(until, "--until", "a time as 2026-11-26T12:00:00Z") { Timestamp(iso8601: $0) }
            query.requestId = request
            query.user = user
            query.object = object
            query.newestFirst = newestFirst
            query.limit = limit
            return query
        }

        private func parsed<Value>(
            _ text: String?, _ option: String, _ expected: String, _ parse: (String) -> Value?
        ) throws(DiagnosedError) -> Value? {
            guard let text else { return nil }
            guard let value = parse(text) else {
                throw DiagnosedError("usage", fault: .client, "\(option) is not usable", expected: expected)
            }
            return value
        }
    }
}

extension StoredRecord {
    /// One line for a terminal: control characters can not get through.
    var text: String {
        var line = "\(seq) \(record.time) \(record.kind.rawValue) \(record.id)"
        func add(_ name: String, _ value: String?) {
            guard let value else { return }
            let safe = String(
                decoding: value.utf8.map { (0x21...0x7E).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
            line += " \(name)=\(safe)"
        }
        add("rule", record.rule)
        add("status", record.status.map(String.init))
        add("user", record.user)
        add("effectiveUser", record.effectiveUser)
        add("client", record.client)
        add("method", record.method)
        add("type", record.type)
        add("object", record.object)
        add("path", record.path)
        add("requestId", record.requestId)
        add("source", record.source)
        add("count", record.count.map(String.init))
        add("since", record.since?.iso8601)
        add("until", record.until?.iso8601)
        add("position", record.position.map(String.init))
        add("detail", record.detail)
        return line
    }
}
