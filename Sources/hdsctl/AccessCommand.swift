import ArgumentParser
import ControlSocket
import Diagnostics
import WireText

/// `hdsctl access`: who can read a space, or what a user can read, now or then.
struct AccessCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "access",
        abstract: "Show who can read a space, or which spaces a user can read, by every path.",
        discussion: """
            With --at as it was at a time of the past. What is not kept, such as earlier policies, is said and not \
            guessed. That somebody asked is recorded in the audit trail.
            """)

    @Argument(help: "A space, as kms://HOST/resources/UUID, or a user's id.")
    var subject: String
    @Option(help: "A time of the past, as 2027-01-15T09:00:00Z.")
    var at: String?
    @OptionGroup var control: SocketOptions
    @Flag(help: "Print JSON, one object a line: many spaces come in parts.")
    var json = false

    func run() throws {
        try reporting {
            let client = try ControlClient(path: control.socket)
            let moment = try moment(at, "--at")
            var rows: [[String]] = []
            var gaps: [String] = []
            var next: String?
            var first: JSONNode?
            repeat {
                var arguments = ArgumentsWriter()
                arguments.add("subject", subject)
                arguments.add("at", moment)
                arguments.add("after", next)
                let answer = try client.send("access", arguments: arguments.node()) { announce($0) }
                next = answer["next"]?.string
                if json {
                    print(Terminal.plain(answer.rawText))
                    continue
                }
                first = first ?? answer
                rows += answer.nodes("ways").map(Self.row)
                for gap in answer.texts("gaps") where !gaps.contains(gap) { gaps.append(gap) }
            } while next != nil
            guard let first else { return }
            let tense = first["past"]?.boolean == true ? "could be read" : "can be read"
            show(["What \(tense) at \(first.text("at")): \(first.text("subject"))"])
            let head = ["READER", "HOW", "SPACE", "SINCE", "UNTIL", "ADDED BY", "ROLE"]
            show(
                rows.isEmpty
                    ? ["nothing, by nobody (users are named by the id in their tokens, not by address)"]
                    : Columns.lines([head] + rows))
            show(gaps.map { "Note: \($0)." })
        }
    }

    private static func row(_ way: JSONNode) -> [String] {
        let how =
            switch way.text("means") {
            case "nested": "through " + way.texts("through").joined(separator: ", ")
            case "everybody": "/public"
            case "unnamed": "bearer of an unnamed holder"
            case "service": "service, by policy"
            case "officer": "officer, by policy, on behalf of members"
            case let means: means
            }
        let reader = way.text("reader") + (way["partner"]?.string.map { " of \($0)" } ?? "")
        return [
            reader, how, way.text("space"), way.text("since"), way.text("until"), way.text("addedBy"),
            way.text("role"),
        ]
    }
}

/// `hdsctl export-metadata`: what the KMS knows about a user, beside keys.
struct ExportMetadataCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export-metadata",
        abstract: "Export what the KMS knows about a user as JSON: spaces, entries on lists, keys' URIs, sessions.",
        discussion: """
            Never key material. One JSON object a line: much comes in parts, the first has sessions and unbound keys. \
            That somebody exported it is recorded in the audit trail.
            """)

    @Argument(help: "The user's id.")
    var user: String
    @OptionGroup var control: SocketOptions

    func run() throws {
        try reporting {
            let client = try ControlClient(path: control.socket)
            var next: String?
            repeat {
                var arguments = ArgumentsWriter()
                arguments.add("user", user)
                arguments.add("after", next)
                let answer = try client.send("export-metadata", arguments: arguments.node()) { announce($0) }
                print(Terminal.plain(answer["part"]?.rawText ?? "{}"))
                next = answer["next"]?.string
            } while next != nil
        }
    }
}

extension AuditCommand {
    /// Asks the KMS under which pseudonym somebody or something stands in the trail.
    struct Lookup: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ask the KMS for the pseudonym of a user, an object or a client in trail and records.",
            discussion: """
                Then 'audit show --user' or '--object' finds the records. The lookup itself is recorded in the trail.
                """)

        @Option(help: "A user's id.")
        var user: String?
        @Option(help: "The URI of a space, a key or another object.")
        var object: String?
        @Option(help: "A client's id, as requests carry it.")
        var client: String?
        @OptionGroup var control: SocketOptions
        @Flag(help: "Print one JSON object.")
        var json = false

        func run() throws {
            try reporting {
                var arguments = ArgumentsWriter()
                arguments.add("user", user)
                arguments.add("object", object)
                arguments.add("client", client)
                let answer = try ControlClient(path: control.socket).send(
                    "audit-lookup", arguments: arguments.node())
                guard !json else { return print(Terminal.plain(answer.rawText)) }
                show(answer.texts("pseudonyms"))
                if object != nil { announce("clients name objects with or without the KMS's host: look for both") }
            }
        }
    }
}
