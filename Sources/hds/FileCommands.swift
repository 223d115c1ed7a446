import ArgumentParser
import Diagnostics
import Glibc
import HDSClient
import WireText

struct SendFileCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "send-file", abstract: "Send a file, encrypted under a key of its own.")

    @Argument(help: "Name, or beginning of the id.") var space: String
    @Argument(help: "The file.") var path: String
    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.withClient { client in
            let found = try await client.spaces.find(space)
            let sent = try await client.spaces.sendFile(path, to: found, progress: TransferProgress.show)
            Terminal.error.endProgress()
            TransferProgress.finish(sent, "Sent", asJSON: common.json)
        }
    }
}

struct GetFileCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get-file", abstract: "Fetch, decrypt and verify a file.",
        discussion: "The file appears only when every octet of it is what the sender encrypted.")

    @Argument(help: "Name, or beginning of the id.") var space: String
    @Argument(help: "Name of the file, or number of its entry such as #12.") var file: String
    @Option(
        name: [.customShort("o"), .long],
        help: ArgumentHelp("Where to write it (default: its name here).", valueName: "path"))
    var output: String?
    @Flag(help: "Replace a file that is there.") var force = false
    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.withClient { client in
            let found = try await client.spaces.find(space)
            let wanted = try await client.spaces.findFile(file, in: found)
            let name = Spaces.fileName(wanted.name)
            guard let target = output ?? (name.isEmpty ? nil : name) else {
                throw DiagnosedError(.fileUnusable, fault: .peer, "the file has no usable name", hint: "use --output")
            }
            let received = try await client.spaces.fetch(
                wanted, to: target, overwriting: force, progress: TransferProgress.show)
            Terminal.error.endProgress()
            TransferProgress.finish(received, "Received and verified", asJSON: common.json)
        }
    }
}

struct FilesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "files", abstract: "List the files of a space.")

    @Argument(help: "Name, or beginning of the id.") var space: String
    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.withClient { client in
            let found = try await client.spaces.find(space)
            var rows: [(entry: SpaceEntry, file: SpaceFile)] = []
            var since: Int64 = 0
            while true {
                let page = try await client.spaces.page(of: found, since: since, limit: 500)
                for entry in page.entries {
                    if case .files(let files) = entry.content { rows += files.map { (entry, $0) } }
                }
                guard let next = page.next else { break }
                since = next
            }
            if common.json {
                var json = JSONWriter()
                json.beginArray()
                for row in rows {
                    json.beginObject()
                    json.member("sequence", row.entry.sequence)
                    json.member("name", row.file.name)
                    if let size = row.file.size { json.member("size", size) }
                    json.member("published", row.entry.published.iso8601)
                    json.member("actor", row.entry.actor)
                    json.endObject()
                }
                json.endArray()
                Terminal.output.line(json.text())
            } else if rows.isEmpty {
                Terminal.output.line("There are no files in '\(space)'.")
            } else {
                Terminal.output.table(
                    rows.map { row in
                        [
                            "#\(row.entry.sequence)", row.file.size.map { Size.text(Int($0)) } ?? "?",
                            String(row.entry.published.iso8601.prefix(10)), Terminal.output.clean(row.file.name),
                        ]
                    }, header: ["NUMBER", "SIZE", "SENT", "NAME"])
            }
        }
    }
}

/// Progress and result of a file on its way.
enum TransferProgress {
    @Sendable static func show(_ step: FileTransfer.Step, _ done: Int, _ total: Int) {
        let verb =
            switch step {
            case .encrypting: "Encrypting"
            case .sending: "Sending"
            case .fetching: "Fetching"
            case .decrypting: "Decrypting"
            }
        let part = total > 0 && done > 0 ? " \(done * 100 / total) % of \(Size.text(total))" : "…"
        Terminal.error.progress(verb + part)
    }

    static func finish(_ transfer: FileTransfer, _ verb: String, asJSON: Bool) {
        if asJSON {
            var json = JSONWriter()
            json.beginObject()
            json.member("name", transfer.name)
            json.member("size", transfer.size)
            json.member("sha256", transfer.sha256)
            json.member("path", transfer.path)
            json.endObject()
            Terminal.output.line(json.text())
        } else {
            let out = Terminal.output
            out.line(out.styled(verb, .green) + " \(out.clean(transfer.path)), \(Size.text(transfer.size)).")
            out.line(out.styled("SHA-256 \(transfer.sha256)", .dim))
        }
    }
}

/// Small files that the command reads or writes by itself.
enum InputFile {
    static let maximumBytes = 64 << 20

    /// The whole content; `-` is standard input.
    static func read(_ path: String) throws -> [UInt8] {
        let descriptor = path == "-" ? 0 : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw DiagnosedError(
                .fileUnusable, fault: .client, "can not read \(path)", found: String(cString: strerror(errno)))
        }
        defer { if descriptor > 0 { close(descriptor) } }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Glibc.read(descriptor, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else {
                throw DiagnosedError(
                    .fileUnusable, fault: .client, "can not read \(path)", found: String(cString: strerror(errno)))
            }
            if count == 0 { return bytes }
            bytes += piece[..<count]
            guard bytes.count <= maximumBytes else {
                throw DiagnosedError(
                    .fileUnusable, fault: .client, "\(path) is too large for messages",
                    expected: "at most \(Size.text(maximumBytes))", hint: "send it as a file")
            }
        }
    }
}

enum OutputFile {
    static func write(_ text: String, to path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw DiagnosedError(
                .fileUnusable, fault: .client, "can not write \(path)", found: String(cString: strerror(errno)))
        }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        guard bytes.withUnsafeBytes({ Glibc.write(descriptor, $0.baseAddress, $0.count) }) == bytes.count else {
            throw DiagnosedError(.fileUnusable, fault: .client, "can not write \(path)")
        }
    }
}
