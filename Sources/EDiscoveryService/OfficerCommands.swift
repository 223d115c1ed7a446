import Diagnostics
import EDiscoveryCollection
import SecretMemory
import WireText

/// What compliance officers ask for, once it is known who asks: the same commands over the sealed channel and over HTTP.
///
/// Who asks was judged by the KMS before. What concerns a whole organisation (retention, purge, erasure) is for officers of no single
/// matter; what destroys, or lets destroy, needs a second one (`approvals.grant`).
struct OfficerCommands: Sendable {
    /// Who asks.
    struct Asking: Sendable {
        let officer: String
        let matter: String?
        /// What the worker seals under.
        let key: SymmetricKey
    }

    struct Refused: Error {
        let status: Int
        let reason: String

        init(_ status: Int, _ reason: String) { (self.status, self.reason) = (status, reason) }
    }

    let mirror: Mirror
    let directory: Directory
    /// Where sealed exports are; nil: none are made.
    let exportFolder: String?
    let now: @Sendable () -> Timestamp
    /// Told of each entry of the audit: action, outcome and the chain behind it, nothing of persons.
    let noted: @Sendable (_ action: String, _ outcome: String, _ chain: [UInt8]) -> Void

    init(
        mirror: Mirror, directory: Directory, exportFolder: String? = nil,
        now: @escaping @Sendable () -> Timestamp = { .now() },
        noted: @escaping @Sendable (_ action: String, _ outcome: String, _ chain: [UInt8]) -> Void = { _, _, _ in }
    ) {
        (self.mirror, self.directory, self.exportFolder) = (mirror, directory, exportFolder)
        (self.now, self.noted) = (now, noted)
    }

    /// Notes the command, then does it. The answer is JSON.
    func perform(_ name: String, _ body: JSONNode?, _ asking: Asking) throws -> String {
        // It goes to the journal as it is.
        guard name.utf8.count <= 40, name.utf8.allSatisfy({ (0x61...0x7A).contains($0) || $0 == 0x2E }) else {
            throw Refused(400, "there is no such command")
        }
        try note(name, asking.officer, asking.matter, body?["id"]?.string, "taken", under: asking.key)
        switch name {
        case let name where name.hasPrefix("reports."): return try reports(name, body, asking)
        case let name where name.hasPrefix("exports."): return try exports(name, body, asking)
        case let name where name.hasPrefix("holds."): return try holds(name, body, asking)
        case let name where name.hasPrefix("approvals."): return try approvals(name, body, asking)
        case let name where ["retention", "purge", "subject", "certificates"].contains { name.hasPrefix($0 + ".") }:
            return try destructions(name, body, asking)
        case "audit.query": return try audit(body, asking)
        case "findings.list":
            try Self.demandOrganisation(asking)
            return Self.list("findings", Array(try mirror.documents("finding", under: asking.key).suffix(1000)))
        default: throw Refused(400, "there is no such command")
        }
    }

    private func audit(_ body: JSONNode?, _ asking: Asking) throws -> String {
        var entries = try mirror.audited(newest: 500, under: asking.key)
        for (name, member) in [("actor", "officer"), ("action", "action")] {
            guard let wanted = body?[name]?.string else { continue }
            entries = entries.filter { (try? JSONDocument(text: $0).root[member]?.string) == wanted }
        }
        for (name, isEarly) in [("from", true), ("to", false)] {
            guard let wanted = try Self.moment(body?[name], name) else { continue }
            entries = entries.filter {
                let time = (try? JSONDocument(text: $0).root["time"]?.string).flatMap { Timestamp(iso8601: $0) }
                return time.map { isEarly ? wanted <= $0 : $0 < wanted } ?? false
            }
        }
        return "{\"entries\":[" + entries.joined(separator: ",") + "]}"
    }

    func note(
        _ name: String, _ officer: String, _ matter: String?, _ id: String?, _ outcome: String, under key: SymmetricKey
    ) throws {
        var json = JSONWriter()
        json.beginObject()
        json.member("time", now().iso8601)
        json.member("officer", officer)
        json.member("action", name)
        json.member("matter", ifPresent: matter)
        json.member("report", ifPresent: id)
        json.member("outcome", outcome)
        json.endObject()
        noted(name, outcome, try mirror.audit(json.bytes(), under: key))
    }

    // MARK: - For all

    static func object(_ members: (inout JSONWriter) throws -> Void) rethrows -> String {
        var json = JSONWriter(reserving: 2048)
        json.beginObject()
        try members(&json)
        json.endObject()
        return json.text()
    }

    static func list(_ name: String, _ documents: [JSONDocument]) -> String {
        "{\"\(name)\":[" + documents.map(\.root.rawText).joined(separator: ",") + "]}"
    }

    static func moment(_ node: JSONNode?, _ place: String) throws -> Timestamp? {
        guard let node, !node.isNull else { return nil }
        guard let time = node.string.flatMap({ Timestamp(iso8601: $0) }) else {
            throw Refused(400, "\(place) is no time such as 2026-11-27T00:00:00Z")
        }
        return time
    }

    static func texts(_ node: JSONNode?, _ place: String) throws -> [String] {
        guard let node, !node.isNull else { return [] }
        guard let texts = node.strings, texts.count <= 1000 else {
            throw Refused(400, "\(place) is no list of at most 1,000 texts")
        }
        return texts
    }

    /// What somebody has to say: why something is destroyed or let go.
    static func reason(_ body: JSONNode?) throws -> String {
        guard let reason = body?["reason"]?.string, !reason.isEmpty, reason.utf8.count <= 1000 else {
            throw Refused(400, "a reason is needed, of 1 to 1,000 octets")
        }
        return reason
    }

    /// Persons of `emails` and `userIds`; addresses that nobody has are an error that lists them.
    func people(_ node: JSONNode?) throws -> [String] {
        let ids = try Self.texts(node?["userIds"], "userIds").map { $0.lowercased() }
        return try directory.ids(Self.texts(node?["emails"], "emails").map { $0.lowercased() }, and: ids)
    }

    /// Refused to officers of one matter only.
    static func demandOrganisation(_ asking: Asking) throws {
        guard asking.matter == nil else {
            throw Refused(403, "this is for officers of the whole organisation: ask without a matter")
        }
    }
}
