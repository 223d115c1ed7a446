import ArgumentParser
import ControlSocket
import Diagnostics
import WireText

/// `hdsctl freeze`: stops the release of keys, and lets it go on.
struct FreezeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "freeze",
        abstract: "Stop the release of keys, at once and on all nodes; reversible.",
        discussion: """
            hdsctl freeze --user anna@example.com --reason "lost laptop" --simulate
            hdsctl freeze --user anna@example.com --reason "lost laptop" --officer-key ada.pem
            hdsctl freeze list
            hdsctl freeze lift ID --officer-key ada.pem

            Stops every answer with key bytes; lists and removing somebody go on. Needs an officer with the duty \
            freeze; where the policy says so for large ones, a second officer: see --request-out.
            """,
        subcommands: [Order.self, Lift.self, List.self], defaultSubcommand: Order.self)

    struct Order: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "order",
            abstract: "Freeze a space, a user, a device, a time, a service, a partner or everything.")

        @Flag(help: "Everything: no key leaves this KMS.")
        var everything = false
        @Option(help: "The keys of a space, and whatever is read through it.")
        var space: String?
        @Option(help: "A user, also as who is asked for.")
        var user: String?
        @Option(help: "A device, as the client's id in requests.")
        var device: String?
        @Option(help: "Keys that were bound from this time on.")
        var boundFrom: String?
        @Option(help: "Keys that were bound before this time.")
        var boundUntil: String?
        @Option(help: "A service, by its name in the policy.")
        var service: String?
        @Option(help: "A partner, by its host.")
        var partner: String?
        @Option(help: "Why; shown to whoever lists or explains it.")
        var reason: String?
        @Flag(help: "Only count what would be hit.")
        var simulate = false
        @OptionGroup var officer: OfficerOptions
        @Flag(help: "Print one JSON object.")
        var json = false

        func run() throws {
            try reporting {
                guard simulate || reason != nil else {
                    throw DiagnosedError("usage", fault: .client, "a freeze needs a reason", hint: "give --reason TEXT")
                }
                var arguments = ArgumentsWriter()
                arguments.add("everything", if: everything)
                arguments.add("space", space)
                arguments.add("user", user)
                arguments.add("device", device)
                arguments.add("boundFrom", try moment(boundFrom, "--bound-from"))
                arguments.add("boundUntil", try moment(boundUntil, "--bound-until"))
                arguments.add("service", service)
                arguments.add("partner", partner)
                arguments.add("reason", reason)
                let node = try arguments.node()
                guard !simulate else { return try count(node) }
                guard let answer = try officer.send("freeze", arguments: node) else { return }
                guard !json else { return print(Terminal.plain(answer.rawText)) }
                let freeze = answer["freeze"]
                show([
                    "frozen: \(freeze.map(FreezeCommand.scope) ?? "-")",
                    "lift it with: hdsctl freeze lift \(freeze?.text("id") ?? "-") --officer-key FILE",
                ])
            }
        }

        private func count(_ arguments: JSONNode) throws {
            let answer = try ControlClient(path: officer.control.socket).send(
                "freeze-simulate", arguments: arguments
            ) { announce($0) }
            guard !json else { return print(Terminal.plain(answer.rawText)) }
            show([answer.text("sentence")] + answer.texts("notes").map { "note: \($0)" })
            if answer["needsSecondOfficer"]?.boolean == true { show(["a second officer has to confirm it"]) }
        }
    }

    struct Lift: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "End a freeze; clients ask again by themselves.")

        @Argument(help: "The freeze's id.")
        var id: String
        @OptionGroup var officer: OfficerOptions
        @Flag(help: "Print one JSON object.")
        var json = false

        func run() throws {
            try reporting {
                var arguments = ArgumentsWriter()
                arguments.add("id", id)
                guard let answer = try officer.send("freeze-lift", arguments: arguments.node()) else { return }
                guard !json else { return print(Terminal.plain(answer.rawText)) }
                show(["lifted: \(answer["lifted"].map(FreezeCommand.scope) ?? "-")"])
            }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show the freezes that stand.")

        @OptionGroup var question: QuestionOptions

        func run() throws {
            try question.ask("freeze-list") { answer in
                let freezes = answer.nodes("freezes")
                guard !freezes.isEmpty else { return print("nothing is frozen") }
                let rows = freezes.map { freeze in
                    [
                        freeze.text("id"), FreezeCommand.scope(freeze), freeze.text("since"),
                        freeze.text("orderedBy"), freeze.text("reason"),
                    ]
                }
                show(Columns.lines([["FREEZE", "OF", "SINCE", "ORDERED BY", "REASON"]] + rows))
            }
        }
    }

    fileprivate static func scope(_ freeze: JSONNode) -> String {
        if freeze["everything"]?.boolean == true { return "everything" }
        for name in ["space", "user", "device", "service", "partner"] {
            if let text = freeze[name]?.string { return name == "space" ? text : "\(name) \(text)" }
        }
        let from = freeze["boundFrom"]?.string.map { " from \($0)" } ?? ""
        let until = freeze["boundUntil"]?.string.map { " until \($0)" } ?? ""
        return "keys bound\(from)\(until)"
    }
}
