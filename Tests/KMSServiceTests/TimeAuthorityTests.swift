import AuditTrail
import Cryptography
import Diagnostics
import HTTPClient
import HTTPServer
import Hummingbird
import ServiceRuntime
import Synchronization
import TestServers
import Testing
import WireText

@testable import KMSService

/// A web server that stamps times, or does something else.
private final class StampServer: Sendable {
    enum Manner { case stamps, answers(Int, type: String, octets: Int) }

    let authority: TestTimeAuthority
    let url: String
    private let types = Box()
    private let running: RunningService

    init(_ manner: Manner) async throws {
        let authority = try await onOwnThread { try TestTimeAuthority() }
        self.authority = authority
        let types = types
        let router = Router()
        router.post("tsr") { request, _ -> Response in
            types.seen.withLock { $0.append(request.headers[.contentType] ?? "") }
            let query = Array(buffer: try await request.body.collect(upTo: 1 << 16))
            switch manner {
            case .stamps:
                let reply = try await onOwnThread { try authority.reply(to: query) }
                return Response(
                    status: .ok, headers: [.contentType: "application/timestamp-reply"],
                    body: ResponseBody(byteBuffer: ByteBuffer(bytes: reply)))
            case .answers(let status, let type, let octets):
                return Response(
                    status: .init(code: status), headers: [.contentType: type],
                    body: ResponseBody(byteBuffer: ByteBuffer(repeating: 0x30, count: octets)))
            }
        }
        let server = WebServer(configuration: WebServerConfiguration(host: "127.0.0.1", port: 0), router: router)
        running = RunningService([server])
        url = "http://127.0.0.1:\(try await server.boundPort)/tsr"
    }

    var seen: [String] { types.seen.withLock { $0 } }
    func stop() async { await running.stop() }

    private final class Box: Sendable {
        let seen = Mutex<[String]>([])
    }
}

@Suite("Witnesses of the audit trail, as they are configured")
struct TimeAuthorityTests {
    private let folder = TemporaryFolder()

    /// `audit.witnesses` of a configuration file.
    private struct Sample: Decodable {
        let witnesses: [AuditWitnessSection]
        enum CodingKeys: String, CodingKey, CaseIterable { case witnesses }
    }

    private func sections(_ lines: String...) throws -> [AuditWitnessSection] {
        let text = "witnesses:\n" + lines.map { "  \($0)\n" }.joined()
        return try ConfigurationFile.decode(
            Array(text.utf8), file: "hds-kms.yaml", folder: folder.path, as: Sample.self
        )
        .witnesses
    }

    private func timeStamp(_ server: StampServer) throws -> [AuditWitnessSection] {
        try sections(
            "- kind: timestamp", "  file: stamps", "  url: \(server.url)",
            "  ca: \(server.authority.folder.path)/root.pem", "  policy: \(TestTimeAuthority.policy)")
    }

    /// A trail with one record and one head for the witness; what became of it.
    private func outcome(_ section: AuditWitnessSection) async throws -> AuditTrailState.Witness? {
        let key = try AttestationKey.createP256()
        var settings = AuditTrailConfiguration(folder: folder.path + "/audit", node: "kms-1", key: key)
        settings.witnesses = [try section.witness(.direct)]
        let trail = try await AuditTrail.open(settings)
        try await trail.keep(AuditRecord(.decision, at: .now()))
        try await trail.sealHead(now: .now())
        await trail.witnessesSettled()
        let report = try TrailVerifier(
            folder: folder.path + "/audit", trust: AttestationTrust(keys: [key.publicKey])
        ).verify()
        #expect(report.last == 3, "the trail goes on whatever its witness does")
        return trail.state.witnesses.first
    }

    @Test("A head goes to the configured authority over HTTP, and its stamp into the file")
    func stamps() async throws {
        let server = try await StampServer(.stamps)
        let section = try #require(try timeStamp(server).first)
        let state = try await outcome(section)
        await server.stop()
        #expect(state?.failure == nil && state?.deliveredThrough == 2)
        #expect(server.seen == ["application/timestamp-query"])
        #expect(try folder.contents(of: "stamps").hasPrefix("{\"head\":\"ey"))
    }

    @Test(
        "What is no time stamp is told as it is, and nothing is stored",
        arguments: [
            (500, "application/timestamp-reply", 10, DiagnosedError.Code.timeStampRefused),
            (200, "text/html", 10, .timeStampRefused),
            (200, "application/timestamp-reply", 10, .timeStampMalformed),
            (200, "application/timestamp-reply", 0, .timeStampMalformed),
            (200, "application/timestamp-reply", 4 << 20, "http-response-too-large"),
        ])
    func refused(_ status: Int, _ type: String, _ octets: Int, _ code: DiagnosedError.Code) async throws {
        let server = try await StampServer(.answers(status, type: type, octets: octets))
        let section = try #require(try timeStamp(server).first)
        let state = try await outcome(section)
        await server.stop()
        #expect(state?.failure?.code == code && state?.failures == 1 && state?.deliveredThrough == nil)
        #expect(!folder.names(in: ".").contains("stamps"))
    }

    @Test("An authority that nobody can reach blocks nothing")
    func unreachable() async throws {
        let server = try await StampServer(.stamps)
        let section = try #require(try timeStamp(server).first)
        await server.stop()
        let state = try await outcome(section)
        // A backlog that outlives its server may take the connection and drop it.
        #expect(["http-connect-failed", "http-connection-lost"].contains(state?.failure?.code.rawValue ?? "none"))
    }

    @Test("A path alone is a file of heads; a mistake is told with its line")
    func configuration() throws {
        guard case .file(let file) = try #require(try sections("- /mnt/other/heads").first) else {
            Issue.record("no file")
            return
        }
        #expect(file.path == "/mnt/other/heads")
        for (lines, complaint) in [
            (["- kind: timestamp", "  file: a", "  url: ftp://tsa.example.com", "  ca: b"], "url"),
            (
                ["- kind: timestamp", "  file: a", "  url: http://tsa.example.com", "  ca: b", "  policy: acme"],
                "policy"
            ),
            (["- kind: notary", "  file: a", "  url: http://tsa.example.com", "  ca: b"], "kind"),
            (["- kind: timestamp", "  file: a", "  url: http://tsa.example.com"], "ca"),
            (["- kind: timestamp", "  file: a", "  url: http://tsa.example.com", "  ca: b", "  x: y"], "x"),
        ] {
            let text = "witnesses:\n" + lines.map { "  \($0)\n" }.joined()
            let error = #expect(throws: ConfigurationError.self) {
                try ConfigurationFile.decode(Array(text.utf8), file: "/etc/hds-kms.yaml", as: Sample.self)
            }
            #expect(error.map { "\($0)".contains("witnesses[0].\(complaint)") || "\($0)".contains(complaint) } == true)
        }
    }
}
