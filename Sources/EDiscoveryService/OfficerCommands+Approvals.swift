import Cryptography
import Diagnostics
import EDiscoveryCollection
import WireText

// Steps that need two officers: one proposes, another grants, by the digest of exactly what is proposed (security model, 31). A proposal
// is void after a week.
extension OfficerCommands {
    static let proposalSeconds: Int64 = 7 * 86_400

    func propose(_ command: String, _ asking: Asking, _ order: String) throws -> String {
        let id = UUIDText.random()
        let present = now()
        let text = Self.object { json in
            json.member("id", id)
            json.member("command", command)
            json.member("matter", ifPresent: asking.matter)
            json.member("officer", asking.officer)
            json.member("created", present.iso8601)
            json.member("until", present.adding(seconds: Self.proposalSeconds).iso8601)
            json.member("state", "proposed")
            // What the second officer says again, so that he grants what he has seen.
            json.member("digest", Self.digest(command, order))
            json.name("order")
            json.raw(order)
        }
        try mirror.put("approval", id, Array(text.utf8), under: asking.key)
        return text
    }

    private static func digest(_ command: String, _ order: String) -> String {
        Hexadecimal.encode(SHA256.hash(Array("\(command) \(order)".utf8)))
    }

    func approvals(_ name: String, _ body: JSONNode?, _ asking: Asking) throws -> String {
        switch name {
        case "approvals.list":
            return Self.list(
                "approvals",
                try mirror.documents("approval", under: asking.key)
                    .filter { $0.root["matter"]?.string == asking.matter })
        case "approvals.grant": return try grant(body, asking)
        case "approvals.refuse":
            let proposal = try proposal(body, asking)
            return try settle(proposal.root, "refused", asking, result: nil)
        default: throw Refused(400, "there is no such command")
        }
    }

    private func proposal(_ body: JSONNode?, _ asking: Asking) throws -> JSONDocument {
        guard let id = body?["id"]?.string, let found = try mirror.document("approval", id, under: asking.key),
            found.root["matter"]?.string == asking.matter
        else { throw Refused(404, "there is no such proposal in this matter") }
        guard found.root["state"]?.string == "proposed" else {
            throw Refused(409, "the proposal was \(found.root["state"]?.string ?? "settled") already")
        }
        guard let until = found.root["until"]?.string.flatMap({ Timestamp(iso8601: $0) }), now() < until else {
            throw Refused(409, "the proposal is older than a week: propose it anew")
        }
        return found
    }

    private func grant(_ body: JSONNode?, _ asking: Asking) throws -> String {
        let proposal = try proposal(body, asking).root
        guard let first = proposal["officer"]?.string, first.lowercased() != asking.officer.lowercased() else {
            throw Refused(403, "a second officer grants it, not the one who proposed it")
        }
        guard let order = proposal["order"], let id = proposal["id"]?.string else {
            throw Refused(409, "the proposal is not of its form")
        }
        guard body?["digest"]?.string == Self.digest(proposal["command"]?.string ?? "", order.rawText) else {
            throw Refused(409, "digest is not that of the proposal: look at it again (approvals.list)")
        }
        // Each of these can be done again: a worker that ends before the proposal is settled changes nothing.
        let result =
            switch proposal["command"]?.string {
            case "holds.release": try release(order, first: first, asking)
            case "retention.set": try setRetention(order, first: first, asking)
            case "purge.run", "subject.erase": try beginDestruction(id, proposal, first: first, asking)
            default: throw Refused(409, "the proposal is of another release")
            }
        return try settle(proposal, "granted", asking, result: result)
    }

    private func settle(_ proposal: JSONNode, _ state: String, _ asking: Asking, result: String?) throws -> String {
        let id = proposal["id"]?.string ?? ""
        let text = Self.object { json in
            for (name, value) in proposal.members ?? [] where name != "state" {
                json.member(name, value)
            }
            json.member("state", state)
            json.member("second", asking.officer)
            json.member("settled", now().iso8601)
            if let result {
                json.name("result")
                json.raw(result)
            }
        }
        try mirror.put("approval", id, Array(text.utf8), under: asking.key)
        return text
    }
}
