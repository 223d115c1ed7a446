import ArgumentParser
import Diagnostics
import FoundationEssentials
import HDSClient
import WireText

struct EDiscoveryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ediscovery", abstract: "For compliance officers: reports, holds, retention, purges, erasures.",
        discussion: """
            Of reports: create, estimate (take a request from --request, or from standard input), list, show, pause, resume, cancel, \
            delete, items; and audit. console prints a link to the worker's page that is good once, token one for its HTTP interface. \
            Everything else by its name: holds.create, holds.list, holds.update, holds.release, \
            retention.set, retention.list, retention.remove, purge.preview, purge.get, purge.run, subject.export, \
            subject.erase, approvals.list, approvals.grant, approvals.refuse, certificates.list, certificates.get; with an id, or with \
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
    @OptionGroup var common: CommonOptions

    private var command: String {
        switch action {
        case "show": "reports.get"
        case "audit": "audit.query"
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
        guard id == nil || !takesRequest else { throw ValidationError("Say an id or a request, not both.") }
    }

    func run() async throws {
        var body: String?
        if takesRequest { body = try requestText() }
        if command == "api.open" { body = "{\"kind\":\"\(action)\"}" }
        try await common.withClient { client in
            var after: Int64 = 0
            while true {
                if let id { body = "{\"id\":\"\(id.lowercased())\",\"after\":\(after)}" }
                let answer = try await client.spaces.ediscovery(command, matter: matter, body: body)
                guard answer.status == 200 else {
                    let reason = try JSONDocument(text: answer.body).root["reason"]?.string ?? "refused"
                    throw DiagnosedError(
                        .ediscoveryRefused, fault: answer.status == 403 ? .configuration : .client,
                        "the eDiscovery worker refuses", found: "\(answer.status) \(Terminal.error.clean(reason))")
                }
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
