import ArgumentParser
import ControlSocket
import Diagnostics
import WireText

/// `hdsctl calendar`: how the calendar connector stands with its users.
struct CalendarCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "calendar", abstract: "How the calendar connector stands with its users, and what to do.",
        subcommands: [
            CalendarUsersCommand.self, CalendarWhyCommand.self, CalendarSyncCommand.self, CalendarReplayCommand.self,
        ])
}

/// What all of them share.
struct CalendarOptions: ParsableArguments {
    @Option(help: "The control socket of hds-calendar.", completion: .file())
    var socket = "/run/hds-calendar/control.sock"
    @Flag(help: "Print one JSON object.")
    var json = false

    func ask(_ command: String, _ arguments: [(String, String)]) throws(DiagnosedError) -> JSONNode {
        var writer = ArgumentsWriter()
        for (name, value) in arguments { writer.add(name, value) }
        do {
            // A user's first round reads all calendars.
            return try ControlClient(path: socket, timeout: 600_000).send(command, arguments: writer.node()) { _ in }
        } catch  where error.code == .serviceNotRunning {
            throw DiagnosedError(
                error.code, fault: error.fault, "hds-calendar does not listen there", expected: error.expected,
                found: error.found,
                hint: "set control.socket in hds-calendar.yaml and restart hds-calendar, or name its socket with "
                    + "--socket")
        }
    }
}

/// `hdsctl calendar users`
struct CalendarUsersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "users", abstract: "All users with their state.",
        discussion: """
            ok: up to date at the last round. pending: not read whole yet. error: somebody has to do something; `hdsctl calendar \
            why USER` says what. The node is the one that looks after the user now.
            """)

    @OptionGroup var options: CalendarOptions
    @Option(help: "Only those in this state: ok, pending, error or off.")
    var state: String?

    func run() throws {
        try reporting {
            let answer = try options.ask("users", state.map { [("state", $0)] } ?? [])
            guard !options.json else { return print(Terminal.plain(answer.rawText)) }
            show(Self.lines(answer))
        }
    }

    static func lines(_ answer: JSONNode) -> [String] {
        let users = answer.nodes("users")
        let rows = users.map { user in
            [
                user.text("email"), user.text("state"), user["code"]?.string ?? "", user.text("backend"),
                user["connector"]?.string ?? "nobody yet", user["lastRound"]?.string ?? "never",
            ]
        }
        var lines = Columns.lines([["USER", "STATE", "CODE", "BACKEND", "NODE", "LAST ROUND"]] + rows)
        lines.append("\(users.count) of \(answer.number("all")) users")
        return lines
    }
}

/// `hdsctl calendar why USER`
struct CalendarWhyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "why", abstract: "What is wrong with one user, and what to do about it.")

    @OptionGroup var options: CalendarOptions
    @Argument(help: "A mail address or an id.")
    var user: String

    func run() throws {
        try reporting {
            let answer = try options.ask("why", [("user", user)])
            guard !options.json else { return print(Terminal.plain(answer.rawText)) }
            show(Self.lines(answer))
        }
    }

    static func lines(_ answer: JSONNode) -> [String] {
        var lines = [
            "\(answer.text("email")) (\(answer.text("id"))) at \(answer.text("backend")): \(answer.text("state"))"
                + (answer["since"]?.string.map { " since \($0)" } ?? "")
        ]
        if let trouble = answer["trouble"]?.string {
            lines.append("Trouble: \(trouble)")
            if let fix = answer["fix"]?.string { lines.append("What to do: \(fix)") }
        }
        lines.append("Node: \(answer["connector"]?.string ?? "nobody yet, for some seconds")")
        lines.append("Last round: \(answer["lastRound"]?.string ?? "never")")
        lines.append(
            "\(answer.number("meetings")) meetings in the window, \(answer.number("events")) events wait for the core")
        for calendar in answer.nodes("calendars") {
            lines.append(
                "Calendar \"\(calendar.text("name"))\": \(calendar.number("objects")) objects, "
                    + (calendar["token"]?.boolean == true ? "changes are told" : "read whole each time")
                    + ", all versions compared \(calendar.text("compared"))")
        }
        for problem in answer["problems"]?.members ?? [] {
            lines.append("Not read: \(problem.value.rawText) of \(problem.name)")
        }
        return lines
    }
}

/// `hdsctl calendar sync USER`
struct CalendarSyncCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sync", abstract: "Look at one user's calendars now.")

    @OptionGroup var options: CalendarOptions
    @Argument(help: "A mail address or an id.")
    var user: String

    func run() throws {
        try reporting {
            let answer = try options.ask("sync", [("user", user)])
            guard !options.json else { return print(Terminal.plain(answer.rawText)) }
            show(Self.lines(answer))
        }
    }

    static func lines(_ answer: JSONNode) -> [String] {
        [
            "\(answer.number("calendars")) calendars looked at in \(answer.number("milliseconds")) ms: "
                + "\(answer.number("objects")) objects had changed, \(answer.number("events")) events for the core"
                + (answer.number("drift") > 0 ? ", \(answer.number("drift")) changes that the server had not told" : "")
        ]
    }
}

/// `hdsctl calendar replay USER`
struct CalendarReplayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay", abstract: "Tell the core all meetings of one user again.",
        discussion: """
            For a core that has lost them, or after a fault. Nothing in the calendar changes; meetings keep their ids, keys and \
            spaces.
            """)

    @OptionGroup var options: CalendarOptions
    @Argument(help: "A mail address or an id.")
    var user: String

    func run() throws {
        try reporting {
            let answer = try options.ask("replay", [("user", user)])
            guard !options.json else { return print(Terminal.plain(answer.rawText)) }
            show(CalendarSyncCommand.lines(answer))
        }
    }
}
