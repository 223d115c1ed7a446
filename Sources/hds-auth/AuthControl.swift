import ControlSocket
import Diagnostics
import DirectoryModel
import ServiceLifecycle
import ServiceRuntime
import TokenIssuer
import WireText

/// The control socket of the authorization service: who is cut off, and how the directories are.
///
/// The operators' group is enough: whoever runs this service can end any account in its file anyhow. Who ordered what stands
/// in the database of people and in the journal.
struct AuthControl: Service {
    private let socket: ControlSocket

    /// Listens when it returns.
    init(
        _ section: ControlSocketSection, _ service: AuthorizationService, _ people: People, host: String
    ) throws(DiagnosedError) {
        socket = try ControlSocket(
            .init(
                path: section.socket.path,
                identity: .init(service: "hds-auth", host: host, node: host, version: Release.version),
                access: try section.group.map(ControlAccess.alsoGroup) ?? ControlAccess()),
            handler: Commands(service: service, syncs: people.syncs))
    }

    func run() async throws {
        try? await gracefulShutdown()
        await socket.stop()
    }

    private struct Commands: ControlHandler {
        let service: AuthorizationService
        let syncs: [DirectorySync]

        func perform(
            _ request: ControlRequest, peer: PeerCredentials, progress: ControlProgress
        ) async throws -> ControlAnswer {
            let arguments = request.arguments
            switch request.command {
            case "user-disable":
                let subject = try await subject(arguments)
                let report = try await service.cutOff(
                    subject, authority: .operators, by: "operator:\(peer.uid)",
                    reason: try text(arguments, "reason") ?? "ordered by an operator",
                    wipesClients: arguments["keepDevices"]?.boolean != true)
                return try await status(subject, report)
            case "user-wipe":
                let subject = try await subject(arguments)
                let report = try await service.wipe(subject, by: "operator:\(peer.uid)")
                return try await status(subject, nil) { json in
                    json.member("clientsToWipe", Int64(report.clients))
                    json.member("loginsEnded", Int64(report.logins))
                    json.member("opaqueTokensEnded", Int64(report.opaqueTokens))
                }
            case "user-enable":
                let subject = try await subject(arguments)
                let wasLifted = try await service.letIn(subject, authority: .operators)
                return try await status(subject, nil) { $0.member("lifted", wasLifted) }
            case "user-status": return try await status(try await subject(arguments), nil)
            case "directory-status": return directories()
            case "directory-accept":
                let wanted = try text(arguments, "directory")
                guard let sync = syncs.first(where: { wanted == nil || $0.source.name == wanted }),
                    wanted != nil || syncs.count == 1
                else {
                    throw DiagnosedError(
                        .controlMalformed, fault: .client, "which directory is not clear",
                        expected: syncs.map(\.source.name).joined(separator: ", "),
                        found: wanted.map(\.quotedForError) ?? "none")
                }
                progress("reading \(sync.source.name)")
                let count = await sync.accept()
                return ControlAnswer { json in
                    json.member("directory", sync.source.name)
                    json.member("accepted", Int64(count))
                    json.member("waiting", Int64(sync.standing.waiting.count))
                    json.member("trouble", ifPresent: sync.standing.trouble.map { Loggable($0).text })
                }
            default:
                throw DiagnosedError(
                    .controlUnknownCommand, fault: .client, "there is no command \(request.command.quotedForError)",
                    expected:
                        "user-disable, user-wipe, user-enable, user-status, directory-status, directory-accept")
            }
        }

        private func text(_ arguments: JSONNode, _ name: String) throws(DiagnosedError) -> String? {
            guard let node = arguments[name], !node.isNull else { return nil }
            guard let text = node.string, (1...256).contains(text.utf8.count) else {
                throw DiagnosedError(
                    .controlMalformed, fault: .client, "the argument \(name) is no text", expected: "1 to 256 octets")
            }
            return text
        }

        private func subject(_ arguments: JSONNode) async throws -> String {
            guard let named = try text(arguments, "user") else {
                throw DiagnosedError(.controlMalformed, fault: .client, "the argument user is missing")
            }
            guard let subject = try await service.subject(named: named) else {
                throw DiagnosedError(
                    .userUnknown, fault: .client, "there is no such user", expected: "an e-mail address or an id",
                    found: named.quotedForError)
            }
            return subject
        }

        private func status(
            _ subject: String, _ report: AuthorizationService.CutOffReport?,
            _ more: (inout JSONWriter) -> Void = { _ in }
        ) async throws -> ControlAnswer {
            let account = service.accounts.accounts.user(id: subject)
            let person = try await service.directory.person(id: subject)
            let orders = try await service.directory.cutOffs().filter { $0.subject == subject }
            let holdings = try await service.grants.holdings(of: subject)
            let wipes = try await service.grants.wipes(of: subject)
            let isDisabled = service.accounts.disabled[subject] != nil
            return ControlAnswer { json in
                json.member("id", subject)
                json.member("email", ifPresent: account?.email ?? person?.email)
                json.member("name", ifPresent: account?.name ?? person?.name)
                json.member("account", account != nil)
                json.member("disabled", isDisabled)
                json.member("disabledByFile", service.accounts.ofFile.user(id: subject)?.isDisabled ?? false)
                json.member("directory", ifPresent: person?.source)
                json.member("standing", ifPresent: person?.standing.rawValue)
                json.name("cutOff")
                json.beginArray()
                for order in orders {
                    json.beginObject()
                    json.member("authority", order.authority.name)
                    json.member("by", order.by)
                    json.member("since", order.since.iso8601)
                    json.member("reason", order.reason)
                    json.endObject()
                }
                json.endArray()
                json.member("logins", Int64(holdings.logins))
                json.member("opaqueTokens", Int64(holdings.tokens))
                json.name("wipes")
                json.beginArray()
                for order in wipes { Self.write(order, to: &json) }
                json.endArray()
                if let report {
                    json.member("clientsToWipe", Int64(report.wipes))
                    json.member("new", report.isNew)
                    json.member("loginsEnded", Int64(report.logins))
                    json.member("opaqueTokensEnded", Int64(report.opaqueTokens))
                    json.member("tokensEnd", report.tokensEnd.iso8601)
                    json.member("assertionSeconds", service.settings.lifetimes.assertion)
                    json.name("steps")
                    json.beginArray()
                    for step in report.steps {
                        json.beginObject()
                        json.member("what", step.what)
                        json.member("milliseconds", step.milliseconds)
                        json.endObject()
                    }
                    json.endArray()
                }
                more(&json)
            }
        }

        private static func write(_ order: WipeOrder, to json: inout JSONWriter) {
            json.beginObject()
            json.member("client", order.client)
            json.member("signedIn", order.signedIn.iso8601)
            json.member("ordered", order.ordered.iso8601)
            json.member("by", order.orderedBy)
            json.member("told", ifPresent: order.told?.iso8601)
            json.member("done", ifPresent: order.done?.iso8601)
            json.endObject()
        }

        private func directories() -> ControlAnswer {
            ControlAnswer { json in
                json.name("directories")
                json.beginArray()
                for sync in syncs {
                    let standing = sync.standing
                    json.beginObject()
                    json.member("name", sync.source.name)
                    json.member("seen", ifPresent: standing.seen?.iso8601)
                    json.member("read", ifPresent: standing.read?.iso8601)
                    json.member("people", Int64(standing.people))
                    json.member("unusable", Int64(standing.unusable))
                    json.member("contested", Int64(standing.contested))
                    json.member("trouble", ifPresent: standing.trouble.map { Loggable($0).text })
                    json.member("waitingCount", Int64(standing.waiting.count))
                    json.member("waiting", standing.waiting.prefix(1000).map(\.email))
                    json.endObject()
                }
                json.endArray()
            }
        }
    }
}

extension DiagnosedError.Code {
    /// A command names a user whom nobody knows.
    static let userUnknown: Self = "user-unknown"
}
