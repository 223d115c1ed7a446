import ControlSocket
import Diagnostics
import SearchIndexing
import SearchProtocol
import ServiceLifecycle
package import ServiceRuntime
import WireText

/// Where the operators' tool talks to the indexer.
package struct IndexerControlSection: Decodable, Sendable {
    package let socket: FileLocation

    package enum CodingKeys: String, CodingKey, CaseIterable { case socket }

    package init(from decoder: any Decoder) throws {
        socket = try decoder.container(keyedBy: CodingKeys.self).value(.socket)
    }
}

/// The indexer's control socket: root and the service's own user ask, for one report at a time.
struct IndexerControl: Service {
    private let socket: ControlSocket

    /// Listens when it returns.
    init(_ section: IndexerControlSection, node: String, organisation: String, _ reporter: LeakReporter) throws {
        socket = try ControlSocket(
            .init(
                path: section.socket.path,
                identity: .init(
                    service: IndexerAssembly.identity.name, host: organisation, node: node,
                    version: IndexerAssembly.identity.version)),
            handler: IndexerCommands(reporter: reporter))
    }

    func run() async throws {
        try? await gracefulShutdown()
        await socket.stop()
    }
}

struct IndexerCommands: ControlHandler {
    let reporter: LeakReporter

    func perform(
        _ request: ControlRequest, peer: PeerCredentials, progress: ControlProgress
    ) async throws -> ControlAnswer {
        guard request.command == "leak-report" else {
            throw DiagnosedError(
                .controlUnknownCommand, fault: .client, "the indexer does not know the command",
                expected: "leak-report",
                found: request.command.quotedForError)
        }
        let wish = try Self.wish(request.arguments)
        let report: LeakReporter.Report
        do {
            report = try await reporter.report(wish) { progress($0) }
        } catch let error as DiagnosedError {
            throw error
        } catch {
            throw DiagnosedError(
                "leak-report", fault: .peer, "messages and entries can not be read at present",
                hint: "see the checks link, consent and index of hds-indexer")
        }
        return ControlAnswer { Self.write(report, to: &$0) }
    }

    static func wish(_ arguments: JSONNode) throws(DiagnosedError) -> LeakReporter.Wish {
        var wish = LeakReporter.Wish()
        func malformed(_ expected: String) -> DiagnosedError {
            DiagnosedError(.controlMalformed, fault: .client, "the request is malformed", expected: expected)
        }
        for member in arguments.members ?? [] {
            switch member.name {
            case "messages":
                guard let text = member.value.string, let count = Int(text),
                    (100...LeakReporter.Wish.mostMessages).contains(count)
                else { throw malformed("messages from 100 to \(LeakReporter.Wish.mostMessages)") }
                wish.messages = count
            case "known":
                let parts = (member.value.string ?? "").split(separator: ",").map { Int($0) }
                guard (1...5).contains(parts.count), parts.allSatisfy({ (1...500).contains($0 ?? 0) }) else {
                    throw malformed("known as at most five numbers from 1 to 500, in per mille")
                }
                wish.known = parts.compactMap { $0 }
            default: throw malformed("messages, known")
            }
        }
        return wish
    }

    static func write(_ report: LeakReporter.Report, to json: inout JSONWriter) {
        json.member("profile", report.profile.name)
        json.member("rooms", report.rooms)
        json.member("messages", report.messages)
        json.member("missing", report.missing)
        json.member("notAuthentic", report.notAuthentic)
        json.name("figures")
        json.beginArray()
        for one in report.figures {
            json.beginObject()
            json.member("name", one.name)
            json.member("stored", one.isStored)
            json.member("knownMessages", one.figure.knownMessages)
            json.member("unknownMessages", one.figure.unknownMessages)
            json.member("queries", one.figure.queries)
            json.member("occurrences", one.figure.occurrences)
            json.member("right", one.figure.right)
            json.member("wrong", one.figure.wrong)
            json.endObject()
        }
        json.endArray()
    }
}
