import KMSClient
import ArgumentParser
import Diagnostics
import HDSClient
import WireText

struct PostCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "post", abstract: "Post messages.",
        discussion: """
            The words given are one message. Without words, or with --lines, every line of standard input or of the file is \
            a message of its own, also an empty one. Everything is checked before the first is sent.
            """)

    @Argument(help: "Name, or beginning of the id.") var space: String
    @Argument(help: "The message.") var text: [String] = []
    @Option(help: ArgumentHelp("File whose lines are messages.", valueName: "file")) var lines: String?
    @OptionGroup var common: CommonOptions

    func validate() throws {
        if lines != nil, !text.isEmpty { throw ValidationError("Give either a text or --lines.") }
    }

    func run() async throws {
        let messages = try messages()
        for message in messages { try Spaces.checkLength(message) }
        try await common.withClient { client in
            let found = try await client.spaces.find(space)
            var last: Int64 = 0
            for (index, message) in messages.enumerated() {
                if messages.count > 1 { Terminal.error.progress("Posting \(index + 1) of \(messages.count)") }
                last = try await client.spaces.post(message, in: found)
            }
            Terminal.error.endProgress()
            if common.json {
                var json = JSONWriter()
                json.beginObject()
                json.member("posted", messages.count)
                json.member("last", last)
                json.endObject()
                Terminal.output.line(json.text())
            } else {
                let what = messages.count == 1 ? "1 message" : "\(messages.count) messages"
                Terminal.output.line("Posted \(what) to '\(space)', encrypted.")
            }
        }
    }

    private func messages() throws -> [String] {
        guard lines != nil || text.isEmpty else { return [text.joined(separator: " ")] }
        let bytes = try InputFile.read(lines ?? "-")
        var parts = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        if parts.last?.isEmpty == true { parts.removeLast() }
        return try parts.enumerated().map { index, part in
            guard let text = String(validating: part, as: UTF8.self) else {
                throw DiagnosedError(
                    .fileUnusable, fault: .client, "line \(index + 1) is not UTF-8", hint: "send it as a file")
            }
            return text
        }
    }
}

struct EditCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "edit", abstract: "Give one of your messages another text.",
        discussion: """
            Everybody in the space reads the new text in the place of the old one, and sees that it was edited. The number \
            of a message is what 'hds read' shows before it.
            """)

    @Argument(help: "Name, or beginning of the id.") var space: String
    @Argument(help: "Number of the message.") var number: Int64
    @Argument(help: "The new text.") var text: [String]
    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.withClient { client in
            let found = try await client.spaces.find(space)
            let entry = try await client.spaces.entry(number, in: found)
            try await client.spaces.edit(entry.id, to: text.joined(separator: " "), in: found)
            common.tellDone("Message \(number) of '\(space)' has its new text, encrypted.", "edited", number)
        }
    }
}

struct DeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Delete one of your messages, or what you shared.",
        discussion: "Who sent it and when stays, what it said goes. The number is what 'hds read' shows before it.")

    @Argument(help: "Name, or beginning of the id.") var space: String
    @Argument(help: "Number of the message.") var number: Int64
    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.withClient { client in
            let found = try await client.spaces.find(space)
            try await client.spaces.delete(try await client.spaces.entry(number, in: found).id, in: found)
            common.tellDone("Message \(number) of '\(space)' is deleted.", "deleted", number)
        }
    }
}

extension CommonOptions {
    fileprivate func tellDone(_ text: String, _ member: String, _ number: Int64) {
        guard json else { return Terminal.output.line(text) }
        var json = JSONWriter()
        json.beginObject()
        json.member(member, number)
        json.endObject()
        Terminal.output.line(json.text())
    }
}

struct ReadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "read", abstract: "Read the messages of a space.",
        discussion: """
            --raw prints the texts of messages alone, one after the other with a line feed, octet for octet as they were \
            posted; also control characters. If anything can not be decrypted the command ends with 65.
            """)

    @Argument(help: "Name, or beginning of the id.") var space: String
    @Flag(help: "Stay and print what comes.") var follow = false
    @Option(help: ArgumentHelp("Begin after the entry of this number.", valueName: "number")) var since: Int64 = 0
    @Flag(help: "Print texts only.") var raw = false
    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.withClient { client in
            let found = try await client.spaces.find(space)
            let printer = EntryPrinter(client: client, isRaw: raw, asJSON: common.json)
            let changes = follow ? try await client.changes(in: found.id) : nil
            var last = try await print(found, after: since, client, printer)
            if let changes {
                for await _ in changes { last = try await print(found, after: last, client, printer) }
            }
            let unreadable = await printer.unreadable
            if unreadable > 0 {
                throw DiagnosedError(
                    .contentUnreadable, fault: .peer, "\(unreadable) entries could not be decrypted",
                    hint: raw ? "run it without --raw to see which and why" : nil)
            }
        }
    }

    private func print(
        _ found: Space, after start: Int64, _ client: Client, _ printer: EntryPrinter
    ) async throws -> Int64 {
        var last = start
        while true {
            let page = try await client.spaces.page(of: found, since: last)
            for entry in page.entries { await printer.print(entry) }
            guard let next = page.next else { return last }
            last = next
        }
    }
}

/// Prints the entries of a space in one of three forms.
actor EntryPrinter {
    private let client: Client
    private let isRaw: Bool
    private let asJSON: Bool
    private var names: [String: String] = [:]
    private(set) var unreadable = 0

    init(client: Client, isRaw: Bool, asJSON: Bool) {
        self.client = client
        self.isRaw = isRaw
        self.asJSON = asJSON
    }

    func print(_ entry: SpaceEntry) async {
        if case .unreadable = entry.content { unreadable += 1 }
        if isRaw {
            if case .text(let text) = entry.content { Terminal.output.line(text) }
        } else if asJSON {
            Terminal.output.line(json(entry))
        } else {
            await printPlain(entry)
        }
    }

    private func json(_ entry: SpaceEntry) -> String {
        var json = JSONWriter()
        json.beginObject()
        json.member("sequence", entry.sequence)
        json.member("id", entry.id)
        json.member("published", entry.published.iso8601)
        json.member("actor", entry.actor)
        switch entry.content {
        case .text(let text): json.member("text", text)
        case .files(let files):
            json.name("files")
            json.beginArray()
            for file in files {
                json.beginObject()
                json.member("name", file.name)
                if let size = file.size { json.member("size", size) }
                json.endObject()
            }
            json.endArray()
        case .added(let person): json.member("added", person)
        case .left(let person): json.member("left", person)
        case .keyChanged: json.member("keyChanged", true)
        case .edited(let message, let text):
            json.member("edits", message)
            json.member("text", text)
        case .deleted(let message): json.member("deletes", message)
        case .tombstone: json.member("deleted", true)
        case .unreadable(let reason): json.member("unreadable", reason)
        }
        json.member("edited", ifPresent: entry.edited?.iso8601)
        json.endObject()
        return json.text()
    }

    private func printPlain(_ entry: SpaceEntry) async {
        let out = Terminal.output
        let actor = await name(entry.actor)
        let time = String(entry.published.iso8601.prefix(16)).replacingT()
        let head = out.styled("#\(entry.sequence)  \(time)  ", .dim)
        switch entry.content {
        case .text(let text):
            let mark = entry.edited == nil ? "" : out.styled("  (edited)", .dim)
            out.line(head + out.styled(actor, .cyan) + "  " + out.clean(text, lines: true) + mark)
        case .files(let files):
            for file in files {
                let size = file.size.map { " (\(Size.text(Int($0))))" } ?? ""
                out.line(head + out.styled(actor, .cyan) + "  file: " + out.styled(out.clean(file.name), .bold) + size)
            }
        case .added(let person):
            let who = await name(person)
            out.line(head + out.styled("\(actor) added \(who)", .dim))
        case .left(let person):
            let who = await name(person)
            out.line(head + out.styled(person == entry.actor ? "\(who) left" : "\(actor) took \(who) out", .dim))
        case .edited(_, let text):
            out.line(head + out.styled("\(actor) edited a message: ", .dim) + out.clean(text, lines: true))
        case .deleted: out.line(head + out.styled("\(actor) deleted a message", .dim))
        case .tombstone: out.line(head + out.styled(actor, .cyan) + "  " + out.styled("deleted", .dim))
        case .keyChanged: out.line(head + out.styled("\(actor) changed the key", .dim))
        case .unreadable(let reason):
            out.line(head + out.styled(actor, .cyan) + "  " + out.styled("can not be read: \(out.clean(reason))", .red))
        }
    }

    private func name(_ id: String) async -> String {
        if let known = names[id] { return known }
        let person = try? await client.spaces.person(id: id)
        let name = Terminal.output.clean(person?.name ?? String(id.prefix(8)))
        names[id] = name
        return name
    }
}

extension String {
    fileprivate func replacingT() -> String { String(map { $0 == "T" ? " " : $0 }) }
}
