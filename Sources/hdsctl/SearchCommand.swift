import ArgumentParser
import ControlSocket
import Diagnostics
import WireText

/// `hdsctl search`: what concerns the encrypted search.
struct SearchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "search", abstract: "What the encrypted search tells whoever owns the cloud.",
        subcommands: [LeakReportCommand.self])
}

/// `hdsctl search leak-report`: the attack of docs/search-leak.md on the organisation's own entries.
struct LeakReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leak-report",
        abstract: "Attack the organisation's own search entries, and say how many words that names.",
        discussion: """
            The attacker owns the cloud, knows some messages word for word, drawn at random, and has seen a number of \
            searches. The running indexer reads messages and their stored entries, and counts how many words of the other \
            messages the attacker names right; for the profile in use, the other profiles, and one key for everything, \
            where the attack has to work. No text leaves the indexer, only these numbers. Needs control.socket in \
            hds-indexer.yaml.
            """)

    @Option(help: "The control socket of hds-indexer.", completion: .file())
    var socket = "/run/hds-indexer/control.sock"
    @Option(help: "At most so many messages, room by room (100 to 50000).")
    var messages = 5_000
    @Option(help: "What the attacker knows, in per mille of the messages, at most five numbers.")
    var known = "10,50"
    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        try reporting {
            var arguments = ArgumentsWriter()
            arguments.add("messages", "\(messages)")
            arguments.add("known", known)
            // An attack on many messages takes minutes; it tells each step.
            let client = try connect()
            let answer = try client.send("leak-report", arguments: arguments.node()) { if !json { announce($0) } }
            guard !json else { return print(Terminal.plain(answer.rawText)) }
            show(Self.lines(answer))
        }
    }

    private func connect() throws(DiagnosedError) -> ControlClient {
        do {
            return try ControlClient(path: socket, timeout: 600_000)
        } catch  where error.code == .serviceNotRunning {
            throw DiagnosedError(
                error.code, fault: error.fault, "hds-indexer does not listen there", expected: error.expected,
                found: error.found,
                hint: "set control.socket in hds-indexer.yaml and restart hds-indexer, or name its socket with --socket"
            )
        }
    }

    static func lines(_ answer: JSONNode) -> [String] {
        var lines = [
            "\(answer.number("messages")) messages of \(answer.number("rooms")) rooms, profile \(answer.text("profile")); "
                + "\(answer.number("missing")) without an entry of their last version, "
                + "\(answer.number("notAuthentic")) with one that is not authentic",
            "Words of other messages that an attacker names right who owns the cloud and knows so much:", "",
        ]
        let rows = answer.nodes("figures").map { figure -> [String] in
            let known = figure.number("knownMessages")
            let all = known + figure.number("unknownMessages")
            return [
                figure.text("name"), figure["stored"]?.boolean == true ? "stored" : "made",
                "\(known) (\(percent(known, of: all)))", "\(figure.number("queries"))",
                percent(figure.number("right"), of: figure.number("occurrences")), "\(figure.number("wrong"))",
            ]
        }
        lines += Columns.lines([["PROFILE", "ENTRIES", "KNOWN", "QUERIES SEEN", "NAMED RIGHT", "WRONG"]] + rows)
        return lines
    }

    private static func percent(_ part: Int64, of whole: Int64) -> String {
        guard whole > 0 else { return "-" }
        let tenths = (part * 2_000 / whole + 1) / 2
        return "\(tenths / 10).\(tenths % 10) %"
    }
}
