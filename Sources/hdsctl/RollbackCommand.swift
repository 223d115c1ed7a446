import ArgumentParser
import ControlSocket
import WireText

/// `hdsctl rollback`: what shows that somebody else changed the database, and going on with it as it is.
struct RollbackCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback",
        abstract: "Show whether somebody put back, changed or deleted rows of the key store; go on with it as it is.",
        discussion: """
            hdsctl rollback status
            hdsctl rollback accept GAP --officer-key ada.pem

            While something stands here no key is released. Find out first who can write to the database, and whether a \
            backup is the better way: accepting takes the rows as they are. Authorizations that were removed and put \
            back are removed again. Needs an officer with the duty freeze.
            """,
        subcommands: [Status.self, Accept.self], defaultSubcommand: Status.self)

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show what was seen, and since when it is watched.")

        @OptionGroup var question: QuestionOptions

        func run() throws {
            try question.ask("rollback-status") { answer in
                RollbackCommand.tell(answer)
            }
        }
    }

    struct Accept: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Take the store as it is, and let keys go again.")

        @Argument(help: "The gap, as status names it: exactly what stands there is accepted.")
        var gap: String
        @OptionGroup var officer: OfficerOptions

        func run() throws {
            try reporting {
                var arguments = ArgumentsWriter()
                arguments.add("gap", gap)
                guard let answer = try officer.send("rollback-accept", arguments: arguments.node()) else { return }
                show(["accepted: \(gap)"])
                RollbackCommand.tell(answer)
            }
        }
    }

    fileprivate static func tell(_ answer: JSONNode) {
        let findings = answer.nodes("findings")
        if let gap = answer["gap"]?.string {
            show(["NO KEY IS RELEASED. What was seen:"] + findings.map { "  \($0.text("text"))" })
            show(["accept exactly this with: hdsctl rollback accept \(gap) --officer-key FILE"])
        } else {
            show(["nothing was put back, changed or deleted by somebody else, as far as this node sees"])
        }
        show(["this node remembers the store since \(answer.text("remembersSince")); what was before is not known here"]
        )
        show(["epoch: \(answer.text("epochCause")) at \(answer.text("epochSince")) \(answer.text("epochNote"))"])
        guard answer["scanned"] != nil else { return show(["all rows: not looked at yet"]) }
        show(["all rows: \(answer["rows"]?.integer ?? 0), looked at \(answer.text("scanned"))"])
    }
}
