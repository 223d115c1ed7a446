import ArgumentParser
import Diagnostics
import FoundationEssentials
import HDSClient
import WireText

struct EDiscoveryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ediscovery", abstract: "For compliance officers: reports of what was written.",
        discussion: """
            Commands: create (takes a request from --request, or from standard input), list, show, pause, resume, cancel, delete, items, \
            audit. Command and answer are sealed between this machine and your organisation's worker. Prints JSON. \
            docs/ediscovery.md describes a request.
            """)

    enum Action: String, ExpressibleByArgument, CaseIterable {
        case create, list, show, pause, resume, cancel, delete, items, audit

        var command: String {
            switch self {
            case .show: "reports.get"
            case .audit: "audit.query"
            default: "reports." + rawValue
            }
        }
        var needsReport: Bool { ![.create, .list, .audit].contains(self) }
    }

    @Argument(help: "create, list, show, pause, resume, cancel, delete, items or audit.") var action: Action
    @Argument(help: "Id of the report.") var report: String?
    @Option(help: "The matter that your capacity as an officer is for.") var matter: String?
    @Option(help: ArgumentHelp("File with the request, JSON.", valueName: "file")) var request: String?
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard !action.needsReport || report.map(UUIDText.isValid) == true else {
            throw ValidationError("Say which report, by its id.")
        }
    }

    func run() async throws {
        var body: String?
        if action == .create { body = try requestText() }
        try await common.withClient { client in
            var after: Int64 = 0
            while true {
                if let report { body = "{\"id\":\"\(report.lowercased())\",\"after\":\(after)}" }
                let answer = try await client.spaces.ediscovery(action.command, matter: matter, body: body)
                guard answer.status == 200 else {
                    let reason = try JSONDocument(text: answer.body).root["reason"]?.string ?? "refused"
                    throw DiagnosedError(
                        .ediscoveryRefused, fault: answer.status == 403 ? .configuration : .client,
                        "the eDiscovery worker refuses", found: "\(answer.status) \(Terminal.error.clean(reason))")
                }
                guard action == .items else { return Terminal.output.line(answer.body) }
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
        if let request {
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
