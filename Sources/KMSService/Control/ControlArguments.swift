import Diagnostics
import JOSESignature
import WireText

/// The arguments of a command, read strictly: a member that is not known is refused.
struct ControlArguments {
    private let node: JSONNode

    init(_ node: JSONNode, _ names: [String]) throws(DiagnosedError) {
        for member in node.members ?? [] where !names.contains(member.name) {
            throw Self.malformed(
                "an argument is not known", expected: names.isEmpty ? "none" : names.joined(separator: ", "),
                found: member.name.quotedForError)
        }
        self.node = node
    }

    func text(_ name: String, upTo maximum: Int = 2048) throws(DiagnosedError) -> String {
        guard let text = try optional(name, upTo: maximum) else {
            throw Self.malformed("the argument \(name) is missing")
        }
        return text
    }

    func optional(_ name: String, upTo maximum: Int = 2048) throws(DiagnosedError) -> String? {
        guard let value = node[name], !value.isNull else { return nil }
        guard let text = value.string, !text.isEmpty, text.utf8.count <= maximum else {
            throw Self.malformed("the argument \(name) is no text", expected: "1 to \(maximum) octets")
        }
        return text
    }

    /// False when it is missing.
    func flag(_ name: String) throws(DiagnosedError) -> Bool {
        guard let value = node[name], !value.isNull else { return false }
        guard let flag = value.boolean else {
            throw Self.malformed("the argument \(name) is no truth value", expected: "true or false")
        }
        return flag
    }

    func moment(_ name: String) throws(DiagnosedError) -> Timestamp? {
        guard let text = try optional(name) else { return nil }
        guard let moment = Timestamp(iso8601: text) else {
            throw Self.malformed(
                "the argument \(name) is no time", expected: "such as 2027-01-15T09:00:00Z",
                found: text.quotedForError)
        }
        return moment
    }

    static func malformed(_ what: String, expected: String? = nil, found: String? = nil) -> DiagnosedError {
        DiagnosedError("control-argument", fault: .client, what, expected: expected, found: found)
    }
}
