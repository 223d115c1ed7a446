import ArgumentParser
import ControlSocket
import Diagnostics
import WireText

/// `hdsctl explain`: why a key was given or refused, in a sentence.
struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Say why a key was given or refused, by which rule, and what can be done.",
        discussion: """
            The id is that of the decision, as the journal (AUDIT_ID) and the audit trail show it. With the request id of \
            a client all decisions that carry it are listed, newest first, under pseudonyms; explain the one that is \
            meant by its own id. That somebody asked is recorded in the audit trail. Where the policy leaves names to \
            two officers (explanations.fourEyes), give --officer-key and --request-out, and let a second one confirm.
            """)

    @Argument(help: "The id of a decision, or a client's request id.")
    var id: String
    @OptionGroup var officer: OfficerOptions
    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        try reporting {
            var arguments = ArgumentsWriter()
            arguments.add("id", id)
            let command = officer.officerKey == nil ? "explain" : "explain-opened"
            guard let answer = try officer.send(command, arguments: arguments.node()) else { return }
            if json { return print(Terminal.plain(answer.rawText)) }
            if let explanation = answer["explanation"] {
                show(Self.lines(explanation))
                if answer["opened"]?.boolean == false {
                    announce("the policy leaves names to two officers: give --officer-key and --request-out")
                }
                return
            }
            let rows = answer.nodes("hits").map { hit in
                [
                    hit.text("id"), hit.text("time"), String(hit.number("status")), hit.text("rule"),
                    hit.text("method"), hit.text("user"),
                ]
            }
            show(Columns.lines([["DECISION", "TIME", "STATUS", "RULE", "METHOD", "USER"]] + rows))
            announce("\(rows.count) decisions carry this request id: explain one of them by its own id")
        }
    }

    static func lines(_ explanation: JSONNode) -> [String] {
        var lines = [
            explanation.text("sentence"),
            "Rule \(explanation.text("rule")): \(explanation.text("because")).",
        ]
        if let path = explanation["path"]?.string { lines.append("Path: \(path).") }
        lines += explanation.texts("today").map { "Now: \($0)." }
        if let advice = explanation["advice"]?.string { lines.append("What to do: \(advice).") }
        return lines
    }
}
