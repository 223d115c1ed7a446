import ArgumentParser
import Diagnostics
import HDSClient
import KMSClient
import WireText

struct SearchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "search", abstract: "Search the messages of your spaces.",
        discussion: """
            The words leave this machine sealed; your organisation's indexer opens them, and the cloud never sees them. Words \
            are found in all their forms. "a phrase" is looked for as written, start* by its beginning, w?rd with any letter, \
            word~ also misspelt, -word must not be there, OR is either; from:alice@example.com, type:content (files), \
            after:2026-11-01 and before:2026-12-01 narrow it down.
            """)

    @Argument(help: "What to look for.") var words: [String]
    @Option(help: ArgumentHelp("Only in this space: its name, or the beginning of its id.", valueName: "space"))
    var `in`: String?
    @Option(help: "At most so many.") var limit = 20
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard (1...100).contains(limit) else { throw ValidationError("--limit is 1 to 100.") }
        guard !words.isEmpty else { throw ValidationError("Say what to look for.") }
    }

    func run() async throws {
        // An argument with blanks in it was quoted for the shell, and is meant as a phrase when it is one of several.
        let query = words.map { words.count > 1 && $0.contains(" ") ? "\"\($0)\"" : $0 }.joined(separator: " ")
        try await common.withClient { client in
            let space = if let name = self.in { try await client.spaces.find(name) } else { Space?.none }
            let outcome = try await client.spaces.search(query, in: space, limit: limit)
            if common.json {
                for found in outcome.found { Terminal.output.line(Self.json(found)) }
                for left in outcome.leftOut {
                    var json = JSONWriter()
                    json.beginObject()
                    json.member("leftOut", left.space)
                    json.member("reason", left.reason)
                    json.endObject()
                    Terminal.output.line(json.text())
                }
                return
            }
            let printer = FoundPrinter(client: client, query: query)
            for found in outcome.found { await printer.print(found) }
            if outcome.found.isEmpty { Terminal.output.line("Nothing found.") }
            for left in outcome.leftOut {
                Terminal.error.line("not searched: \(Terminal.error.clean(left.space)) (\(left.reason))")
            }
        }
    }

    private static func json(_ found: FoundEntry) -> String {
        var json = JSONWriter()
        json.beginObject()
        json.member("space", found.space.id)
        json.member("spaceName", ifPresent: found.space.name)
        json.member("id", found.entry.id)
        json.member("sequence", found.entry.sequence)
        json.member("published", found.entry.published.iso8601)
        json.member("actor", found.entry.actor)
        switch found.entry.content {
        case .text(let text): json.member("text", text)
        case .files(let files): json.member("files", files.map(\.name))
        case .unreadable(let reason): json.member("unreadable", reason)
        case .added, .left, .keyChanged, .edited, .deleted, .tombstone: break
        }
        json.endObject()
        return json.text()
    }
}

/// Prints what was found, with the words that were looked for standing out.
private actor FoundPrinter {
    private let client: Client
    private let matches: MatchHighlighter
    private var names: [String: String] = [:]

    init(client: Client, query: String) {
        self.client = client
        matches = MatchHighlighter(query)
    }

    func print(_ found: FoundEntry) async {
        let out = Terminal.output
        let time = String(found.entry.published.iso8601.prefix(16).map { $0 == "T" ? " " : $0 })
        let head = out.styled("\(time)  ", .dim) + out.styled(out.clean(found.space.name ?? found.space.id), .bold)
        let actor = out.styled(await name(found.entry.actor), .cyan)
        switch found.entry.content {
        case .text(let text): out.line("\(head)  \(actor)  \(highlighted(text))")
        case .files(let files):
            for file in files { out.line("\(head)  \(actor)  file: \(highlighted(file.name))") }
        case .unreadable(let reason):
            out.line("\(head)  \(actor)  " + out.styled("can not be read: \(out.clean(reason))", .red))
        case .added, .left, .keyChanged, .edited, .deleted, .tombstone: break
        }
    }

    private func highlighted(_ text: String) -> String {
        let out = Terminal.output
        return matches.parts(text).map { part in
            let clean = out.clean(part.text, lines: true)
            return part.isMatch ? out.styled(clean, .bold, .green) : clean
        }.joined()
    }

    private func name(_ id: String) async -> String {
        if let known = names[id] { return known }
        let person = try? await client.spaces.person(id: id)
        let name = Terminal.output.clean(person?.name ?? String(id.prefix(8)))
        names[id] = name
        return name
    }
}
