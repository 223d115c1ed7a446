import Diagnostics
import EDiscoveryCollection
import WireText

// Retention, purge and erasure: what is destroyed, who said so, and what shows it afterwards.
extension OfficerCommands {
    static let previewSeconds: Int64 = 86_400
    static let everywhere = "organisation"

    func destructions(_ name: String, _ body: JSONNode?, _ asking: Asking) throws -> String {
        switch name {
        case "certificates.list", "certificates.get": break
        default: try Self.demandOrganisation(asking)
        }
        switch name {
        case "retention.list": return Self.list("rules", try mirror.documents("retention", under: asking.key))
        case "retention.set": return try proposeRetention(body, asking)
        case "retention.remove":
            let scope = try Self.scope(body)
            try mirror.deleteDocument("retention", scope)
            return Self.object { $0.member("removed", scope) }
        case "purge.preview": return try preview(body, asking)
        case "purge.get": return try document("preview", body, asking)
        case "purge.run": return try proposePurge(body, asking)
        case "subject.export": return try export(subject: body, asking)
        case "subject.erase": return try proposeErasure(body, asking)
        case "certificates.list":
            return Self.list("certificates", try mirror.documents("certificate", under: asking.key))
        case "certificates.get": return try document("certificate", body, asking)
        default: throw Refused(400, "there is no such command")
        }
    }

    private func document(_ kind: String, _ body: JSONNode?, _ asking: Asking) throws -> String {
        guard let id = body?["id"]?.string, let found = try mirror.document(kind, id, under: asking.key) else {
            throw Refused(404, "there is no such \(kind)")
        }
        return found.root.rawText
    }

    // MARK: - Retention

    /// The id of a space, or all of them.
    private static func scope(_ body: JSONNode?) throws -> String {
        guard let scope = body?["scope"]?.string?.lowercased(), scope == everywhere || UUIDText.isValid(scope) else {
            throw Refused(400, "scope is \"\(everywhere)\" or the id of a space")
        }
        return scope
    }

    private func proposeRetention(_ body: JSONNode?, _ asking: Asking) throws -> String {
        let scope = try Self.scope(body)
        guard let days = body?["days"]?.integer, (1...36_500).contains(days) else {
            throw Refused(400, "days is a number from 1 to 36,500; retention.remove takes a rule away")
        }
        return try propose(
            "retention.set", asking,
            Self.object { json in
                json.member("scope", scope)
                json.member("days", days)
            })
    }

    func setRetention(_ order: JSONNode, first: String, _ asking: Asking) throws -> String {
        let scope = try Self.scope(order)
        let text = Self.object { json in
            json.member("scope", scope)
            json.member("days", order["days"]?.integer ?? 36_500)
            json.member("set", now().iso8601)
            json.member("officer", first)
            json.member("second", asking.officer)
        }
        try mirror.put("retention", scope, Array(text.utf8), under: asking.key)
        return text
    }

    // MARK: - Purge and erasure

    private func selection(_ body: JSONNode?) throws -> Selection {
        var selection = Selection()
        selection.people = Set(try people(body?["subjects"]))
        if let role = body?["subjects"]?["role"]?.string {
            guard let known = Selection.Role(rawValue: role) else {
                throw Refused(400, "subjects.role is author or participant")
            }
            selection.role = known
        }
        selection.spaces = Set(try Self.texts(body?["spaces"], "spaces").map { $0.lowercased() })
        selection.start = try Self.moment(body?["range"]?["start"], "range.start")
        selection.end = try Self.moment(body?["range"]?["end"], "range.end")
        guard !selection.isEverything else {
            throw Refused(400, "a purge needs subjects, spaces or a range")
        }
        return selection
    }

    private func preview(_ body: JSONNode?, _ asking: Asking) throws -> String {
        let selection = try selection(body)
        let id = UUIDText.random()
        let until = try mirror.last()
        let text = Self.object { json in
            json.member("previewId", id)
            json.member("state", "counting")
            json.member("officer", asking.officer)
            json.member("created", now().iso8601)
            json.member("until", until)
            json.name("selection")
            selection.write(to: &json)
        }
        try mirror.put("preview", id, Array(text.utf8), under: asking.key)
        return text
    }

    private func proposePurge(_ body: JSONNode?, _ asking: Asking) throws -> String {
        let reason = try Self.reason(body)
        guard let id = body?["previewId"]?.string, let found = try mirror.document("preview", id, under: asking.key)
        else { throw Refused(404, "there is no such preview") }
        guard found.root["state"]?.string == "ready" else { throw Refused(409, "the preview is still counting") }
        guard let created = found.root["created"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            now() < created.adding(seconds: Self.previewSeconds)
        else { throw Refused(409, "the preview is older than a day: make a new one") }
        return try propose(
            "purge.run", asking,
            Self.object { json in
                json.member("reason", reason)
                for name in ["selection", "until", "items", "blockedByHold"] {
                    guard let value = found.root[name] else { continue }
                    json.member(name, value)
                }
            })
    }

    private func export(subject body: JSONNode?, _ asking: Asking) throws -> String {
        let persons = try people(body)
        guard persons.count == 1 else { throw Refused(400, "name one person by userIds or emails") }
        let request = Self.object { json in
            json.member("name", "data of \(persons[0])")
            json.name("subjects")
            json.beginObject()
            json.member("userIds", persons)
            json.member("role", "author")
            json.endObject()
            json.member("types", ["message", "file", "membership"])
            json.name("include")
            json.beginObject()
            json.member("attachments", true)
            json.endObject()
        }
        return try reports("reports.create", JSONDocument(text: request).root, asking)
    }

    private func proposeErasure(_ body: JSONNode?, _ asking: Asking) throws -> String {
        let reason = try Self.reason(body)
        let persons = try people(body)
        guard persons.count == 1 else { throw Refused(400, "name one person by userIds or emails") }
        guard (body?["mode"]?.string ?? "redact") == "redact" else {
            throw Refused(
                400, "mode is redact; the keys themselves are destroyed at the KMS by two officers: hdsctl erase")
        }
        guard (body?["except"]?.string ?? "holds") == "holds" else {
            throw Refused(400, "except is \"holds\": what is held is never erased")
        }
        let until = try mirror.last()
        return try propose(
            "subject.erase", asking,
            Self.object { json in
                json.member("reason", reason)
                json.member("until", until)
                json.name("selection")
                Selection(people: Set(persons)).write(to: &json)
            })
    }

    /// What the job of `Destroyer` works at from then on, by the id of the proposal.
    func beginDestruction(_ id: String, _ proposal: JSONNode, first: String, _ asking: Asking) throws -> String {
        if let begun = try mirror.document("destruction", id, under: asking.key) { return begun.root.rawText }
        guard let order = proposal["order"] else { throw Refused(409, "the proposal is not of its form") }
        let text = Self.object { json in
            json.member("id", id)
            json.member("kind", proposal["command"]?.string == "purge.run" ? "purge" : "erasure")
            json.member("state", "selecting")
            json.member("officer", first)
            json.member("second", asking.officer)
            json.member("begun", now().iso8601)
            for name in ["reason", "selection", "until"] {
                guard let value = order[name] else { continue }
                json.member(name, value)
            }
        }
        try mirror.put("destruction", id, Array(text.utf8), under: asking.key)
        return text
    }
}
