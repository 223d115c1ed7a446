import ArgumentParser
import Diagnostics
import FoundationEssentials
import Glibc
import HDSClient
import WireText

struct EDiscoveryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ediscovery", abstract: "For compliance officers: reports, holds, retention, purges, erasures.",
        discussion: """
            Of reports: create, estimate (take a request from --request, or from standard input), list, show, pause, resume, cancel, \
            delete, items; and audit. download fetches the sealed files of an export into --into, and goes on where it was cut off. console prints a link to the worker's page that is good once, token one for its HTTP interface. \
            Everything else by its name: holds.create, holds.list, holds.update, holds.release, \
            retention.set, retention.list, retention.remove, purge.preview, purge.get, purge.run, subject.export, \
            subject.erase, exports.create, exports.list, exports.get, exports.delete, approvals.list, approvals.grant, approvals.refuse, certificates.list, certificates.get; with an id, or with \
            a request. Command and answer are sealed between this machine and your organisation's worker. Prints JSON. \
            docs/ediscovery.md describes each request.
            """)

    static let reports = [
        "create", "estimate", "list", "show", "pause", "resume", "cancel", "delete", "items",
    ]

    @Argument(help: "What to do, such as create, items or holds.create.") var action: String
    @Argument(help: "Id of the report, or of what else it is about.") var id: String?
    @Option(help: "The matter that your capacity as an officer is for.") var matter: String?
    @Option(help: ArgumentHelp("File with the request, JSON; - for standard input.", valueName: "file"))
    var request: String?
    @Option(help: ArgumentHelp("Of approvals.grant: the digest of the proposal that you have seen.", valueName: "hex"))
    var digest: String?
    @Option(help: ArgumentHelp("Folder for what download fetches.", valueName: "folder")) var into: String?
    @OptionGroup var common: CommonOptions

    private var command: String {
        switch action {
        case "show": "reports.get"
        case "audit": "audit.query"
        case "download": "exports.get"
        case "console", "token": "api.open"
        default: Self.reports.contains(action) ? "reports." + action : action
        }
    }

    private var takesRequest: Bool { request != nil || ["create", "estimate"].contains(action) }

    func validate() throws {
        guard command.contains(".") else { throw ValidationError("There is no such command: \(action)") }
        let needsReport = Self.reports.contains(action) && !["create", "estimate", "list"].contains(action)
        guard !needsReport || id.map(UUIDText.isValid) == true else {
            throw ValidationError("Say which report, by its id.")
        }
        guard id.map({ !$0.contains { $0 == "\"" || $0 == "\\" || $0.isNewline } }) ?? true else {
            throw ValidationError("This is no id.")
        }
        guard
            digest.map({ Hexadecimal.decode($0)?.count == 32 })
                ?? (action != "approvals.grant" || takesRequest)
        else { throw ValidationError("Say the --digest of the proposal, as approvals.list shows it.") }
        guard action != "download" || (id != nil && into != nil) else {
            throw ValidationError("Say which export, and --into which folder.")
        }
        guard id == nil || !takesRequest else { throw ValidationError("Say an id or a request, not both.") }
    }

    func run() async throws {
        var body: String?
        if takesRequest { body = try requestText() }
        if command == "api.open" { body = "{\"kind\":\"\(action)\"}" }
        try await common.withClient { client in
            if action == "download" { return try await download(client) }
            var after: Int64 = 0
            while true {
                if let id { body = "{\"id\":\"\(id.lowercased())\",\"after\":\(after)}" }
                if let digest, let id { body = "{\"id\":\"\(id.lowercased())\",\"digest\":\"\(digest)\"}" }
                let answer = try await ask(client, command, body)
                guard action == "items" else { return Terminal.output.line(answer.body) }
                let root = try JSONDocument(
                    text: answer.body, limits: .init(maximumNodes: 500_000, maximumBytes: 4 << 20)
                ).root
                for item in root["items"]?.elements ?? [] { Terminal.output.line(item.rawText) }
                guard let next = root["next"]?.integer, next > after else { return }
                after = next
            }
        }
    }

    private func ask(
        _ client: Client, _ command: String, _ body: String?
    ) async throws -> Spaces.WorkerAnswer {
        let answer = try await client.spaces.ediscovery(command, matter: matter, body: body)
        guard answer.status == 200 else {
            let reason = try JSONDocument(text: answer.body).root["reason"]?.string ?? "refused"
            throw DiagnosedError(
                .ediscoveryRefused, fault: answer.status == 403 ? .configuration : .client,
                "the eDiscovery worker refuses", found: "\(answer.status) \(Terminal.error.clean(reason))")
        }
        return answer
    }

    /// Each file of the export, from where the one that is there already ends.
    private func download(_ client: Client) async throws {
        guard let id, let into else { return }
        let export = try JSONDocument(text: await ask(client, command, "{\"id\":\"\(id.lowercased())\"}").body).root
        guard export["state"]?.string == "completed" else {
            throw DiagnosedError(
                .ediscoveryRefused, fault: .client, "the export is not complete",
                found: Terminal.error.clean(export["state"]?.string ?? "unknown"), hint: "ask again later: exports.get")
        }
        for file in export["files"]?.elements ?? [] {
            // The worker's name for it is used for nothing but a plain name.
            guard let name = file["name"]?.string, let size = file["octets"]?.integer, !name.isEmpty,
                name.utf8.allSatisfy({ $0 != UInt8(ascii: "/") && $0 > 0x20 && $0 < 0x7F }), name.first != "."
            else {
                throw DiagnosedError(.ediscoveryRefused, fault: .peer, "the export has a file without a plain name")
            }
            let path = into + "/" + name
            let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
            guard descriptor >= 0 else {
                throw DiagnosedError(.ediscoveryRefused, fault: .client, "the file can not be made", found: path)
            }
            defer { close(descriptor) }
            var offset = Int64(lseek(descriptor, 0, SEEK_END))
            while offset < size {
                let body = "{\"id\":\"\(id.lowercased())\",\"file\":\"\(name)\",\"offset\":\(offset)}"
                let chunk = try JSONDocument(
                    text: await ask(client, "exports.chunk", body).body, limits: .init(maximumBytes: 4 << 20)
                ).root
                guard let octets = chunk["octets"]?.string.flatMap({ Base64URL.decode($0) }), !octets.isEmpty else {
                    throw DiagnosedError(.ediscoveryRefused, fault: .peer, "the export's file is shorter than was said")
                }
                // What is not written whole is gone on with from there the next time.
                let count = octets.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
                guard count == octets.count else {
                    throw DiagnosedError(
                        .ediscoveryRefused, fault: .client, "the file can not be written", found: path,
                        hint: "make room, and call it again")
                }
                offset += Int64(count)
            }
            Terminal.output.line("\(path), \(size) octets")
        }
    }

    private func requestText() throws -> String {
        let text: String
        if let request, request != "-" {
            guard let data = FileManager.default.contents(atPath: request) else {
                throw ValidationError("There is no such file: \(request)")
            }
            text = String(decoding: data, as: UTF8.self)
        } else {
            var lines = ""
            while let line = readLine(strippingNewline: false) { lines += line }
            text = lines
        }
        guard (try? JSONDocument(text: text).root.kind) == .object else {
            throw ValidationError("The request is no JSON object.")
        }
        return text
    }
}

extension DiagnosedError.Code {
    static let ediscoveryRefused: Self = "ediscovery-refused"
}
