import Diagnostics
import EDiscoveryCollection
import WireText

// Holds of a matter. Anybody who is an officer for it may begin or widen one; to let one go takes two.
extension OfficerCommands {
    func holds(_ name: String, _ body: JSONNode?, _ asking: Asking) throws -> String {
        switch name {
        case "holds.create": return try create(hold: body, asking)
        case "holds.list":
            return Self.list(
                "holds",
                try mirror.documents("hold", under: asking.key).filter { $0.root["matter"]?.string == asking.matter })
        case "holds.update": return try widen(body, asking)
        case "holds.release":
            let reason = try Self.reason(body)
            let hold = try hold(body, asking)
            guard hold.released == nil else { throw Refused(409, "the hold was released already") }
            return try propose(
                "holds.release", asking,
                Self.object { json in
                    json.member("id", hold.id)
                    json.member("reason", reason)
                })
        default: throw Refused(400, "there is no such command")
        }
    }

    private func create(hold body: JSONNode?, _ asking: Asking) throws -> String {
        guard let name = body?["name"]?.string, !name.isEmpty, name.utf8.count <= 256 else {
            throw Refused(400, "a hold needs a name of 1 to 256 octets")
        }
        let custodians = try people(body?["custodians"])
        let spaces = try Self.texts(body?["spaces"], "spaces").map { $0.lowercased() }
        guard !custodians.isEmpty || !spaces.isEmpty || body?["everything"]?.boolean == true else {
            throw Refused(400, "a hold needs custodians or spaces; to hold everything say \"everything\": true")
        }
        let start = try Self.moment(body?["start"], "start"), end = try Self.moment(body?["end"], "end")
        if let start, let end, start >= end { throw Refused(400, "the hold ends before it begins") }
        let hold = LegalHold(
            id: UUIDText.random(), matter: asking.matter, name: name, officer: asking.officer, created: now(),
            custodians: custodians, spaces: spaces, start: start, end: end)
        return try keep(hold, asking)
    }

    private func keep(_ hold: LegalHold, _ asking: Asking) throws -> String {
        var json = JSONWriter()
        hold.write(to: &json)
        try mirror.put("hold", hold.id, json.bytes(), under: asking.key)
        var text = JSONWriter()
        hold.write(to: &text)
        return text.text()
    }

    private func hold(_ body: JSONNode?, _ asking: Asking) throws -> LegalHold {
        guard let id = body?["id"]?.string, let found = try mirror.document("hold", id, under: asking.key) else {
            throw Refused(404, "there is no such hold in this matter")
        }
        let hold = try LegalHold(found.root)
        guard hold.matter == asking.matter else { throw Refused(404, "there is no such hold in this matter") }
        return hold
    }

    /// More custodians, more spaces, more time: never less.
    private func widen(_ body: JSONNode?, _ asking: Asking) throws -> String {
        var hold = try hold(body, asking)
        guard hold.released == nil else { throw Refused(409, "the hold was released: make a new one") }
        let custodians = try people(body?["addCustodians"])
        let spaces = try Self.texts(body?["addSpaces"], "addSpaces").map { $0.lowercased() }
        guard hold.custodians.isEmpty == false || custodians.isEmpty, hold.spaces.isEmpty == false || spaces.isEmpty
        else {
            throw Refused(409, "the hold is for everybody, or for all spaces, already: naming some would narrow it")
        }
        hold.custodians = Set(hold.custodians + custodians).sorted()
        hold.spaces = Set(hold.spaces + spaces).sorted()
        if let start = try Self.moment(body?["start"], "start") {
            guard let present = hold.start, start <= present else {
                throw Refused(409, "a later start would narrow it")
            }
            hold.start = start
        }
        if let end = try Self.moment(body?["end"], "end") {
            guard let present = hold.end, end >= present else { throw Refused(409, "an earlier end would narrow it") }
            hold.end = end
        }
        return try keep(hold, asking)
    }

    /// By the second officer. What it held is looked at again.
    func release(_ order: JSONNode, first: String, _ asking: Asking) throws -> String {
        let id = order["id"]?.string ?? ""
        let changed = try mirror.change("hold", id, under: asking.key) { node in
            var hold = try LegalHold(node)
            if hold.released == nil {
                hold.released = .init(
                    at: now(), officer: first, second: asking.officer, reason: order["reason"]?.string ?? "")
            }
            var json = JSONWriter()
            hold.write(to: &json)
            return json.bytes()
        }
        guard let changed else { throw Refused(404, "there is no such hold") }
        try mirror.put("again", "holds", Array("{}".utf8), under: asking.key)
        return changed.root.rawText
    }
}
