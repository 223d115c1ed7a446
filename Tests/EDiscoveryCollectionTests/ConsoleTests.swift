import Diagnostics
import HTTPServer
import KMSClient
import LinkedService
import Synchronization
import TestServers
import Testing
import WireText

@testable import EDiscoveryService

@Suite("The HTTP interface of the console, over a real server") struct ConsoleTests {
    private struct World: Sendable {
        let folder = TemporaryFolder()
        let kms = FakeKMS()
        let sessions = OfficerSessions()
        let port: Int
        let running: RunningService

        init() async throws {
            let mirror = try Mirror(path: folder.path + "/mirror.sqlite")
            let port = try LoopbackPort.take()
            let server = ConsoleServer(
                sessions: sessions,
                api: ConsoleAPI(
                    commands: OfficerCommands(mirror: mirror, directory: Directory()),
                    consent: Consent(kms) { _ in }, kms: kms, sessions: sessions),
                base: "http://127.0.0.1:\(port)")
            let web = WebServer(
                configuration: WebServerConfiguration(host: "127.0.0.1", port: port), router: server.router())
            self.port = port
            running = RunningService([web])
            _ = try await web.boundPort
        }

        func session(_ officer: String = "carol", matter: String? = "m7", seconds: Int64 = 60)
            -> OfficerSessions.Session
        {
            .init(
                officer: officer, matter: matter, resource: kms.space, until: Timestamp.now().adding(seconds: seconds))
        }

        func send(
            _ method: String, _ path: String, _ headers: [(String, String)] = [], body: String? = nil
        ) async throws -> (status: Int, text: String, headers: [(String, String)]) {
            try await RawHTTP.send(port, method, path, headers, body)
        }

        func asCarol(_ method: String, _ path: String, _ body: String? = nil) async throws -> (
            status: Int, root: JSONNode
        ) {
            let secret = try await sessions.begin(session())
            let answer = try await send(method, path, [("Authorization", "Bearer " + secret)], body: body)
            return (answer.status, try JSONDocument(text: answer.text).root)
        }
    }

    @Test("Nothing but the empty page is given without a session; a link is good once, and a session ends")
    func sessions() async throws {
        let world = try await World()
        let page = try await world.send("GET", "/")
        #expect(page.status == 200 && page.text.contains("<title>eDiscovery</title>"))
        let headers = Dictionary(page.headers.map { ($0.0.lowercased(), $0.1) }, uniquingKeysWith: { $1 })
        #expect(headers["cache-control"] == "no-store" && headers["x-content-type-options"] == "nosniff")
        #expect(headers["content-security-policy"]?.hasPrefix("default-src 'none'") == true)
        for path in ["/api/v1/session", "/api/v1/reports", "/api/v1/audit"] {
            #expect(try await world.send("GET", path).status == 401, "\(path)")
        }
        let ticket = try await world.sessions.ticket(for: world.session())
        let body = #"{"ticket":"\#(ticket)"}"#
        #expect(try await world.send("POST", "/enter", body: body).status == 403, "without the page's own header")
        let ours = [("x-hds-console", "1")]
        let entered = try await world.send("POST", "/enter", ours, body: body)
        #expect(entered.status == 200)
        #expect(try await world.send("POST", "/enter", ours, body: body).status == 401)
        let cookie = try #require(entered.headers.first { $0.0.lowercased() == "set-cookie" }?.1)
        #expect(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"))
        let held = ("Cookie", "other=1; " + cookie.prefix { $0 != ";" })
        #expect(try await world.send("GET", "/api/v1/session", [held]).status == 403, "as another site could")
        let mine = try await world.send("GET", "/api/v1/session", [held] + ours)
        #expect(mine.status == 200 && mine.text.contains("carol") && mine.text.contains("m7"))
        #expect(try await world.send("POST", "/api/v1/leave", [held] + ours, body: "{}").status == 200)
        #expect(try await world.send("GET", "/api/v1/session", [held] + ours).status == 401)
        let over = try await world.sessions.begin(world.session(seconds: -1))
        #expect(try await world.send("GET", "/api/v1/session", [("Authorization", "Bearer " + over)]).status == 401)
        let stranger = try await RawHTTP.send(world.port, "GET", "/", [("Host", "evil.example")], nil)
        #expect(stranger.status == 421, "a name that was pointed here")
        await world.running.stop()
    }

    @Test("Each route is its command, each command asks the KMS anew, and what is malformed is told")
    func routes() async throws {
        let world = try await World()
        let made = try await world.asCarol("POST", "/api/v1/reports", #"{"name":"r","caseId":"m7"}"#)
        #expect(made.status == 201)
        let id = made.root["id"]?.string ?? ""
        #expect(try await world.asCarol("GET", "/api/v1/reports").root["reports"]?.elements?.count == 1)
        #expect(try await world.asCarol("GET", "/api/v1/reports/\(id)").root["name"]?.string == "r")
        #expect(try await world.asCarol("POST", "/api/v1/reports/\(id)/pause", "{}").root["state"]?.string == "paused")
        #expect(try await world.asCarol("POST", "/api/v1/reports/\(id)/pause", "{}").status == 400)
        #expect(try await world.asCarol("GET", "/api/v1/reports/\(id)/items?after=0&limit=5").root["items"] != nil)
        #expect(
            try await world.asCarol("POST", "/api/v1/estimates", #"{"name":"e","caseId":"m7"}"#).root["items"]?.integer
                == 0)
        #expect(try await world.asCarol("DELETE", "/api/v1/reports/\(id)").status == 200)
        #expect(try await world.asCarol("GET", "/api/v1/reports/\(id)").status == 404)
        #expect(try await world.asCarol("POST", "/api/v1/reports", "{").status == 400)
        #expect(try await world.asCarol("POST", "/api/v1/reports", "[]").status == 400)
        #expect(try await world.asCarol("GET", "/api/v1/nothing").status == 404)
        let hold = try await world.asCarol("POST", "/api/v1/holds", #"{"name":"h","spaces":["s"]}"#)
        #expect(hold.status == 201)
        let release = try await world.asCarol(
            "POST", "/api/v1/holds/\(hold.root["id"]?.string ?? "")/release", #"{"reason":"r"}"#)
        let proposal = release.root["id"]?.string ?? ""
        #expect(try await world.asCarol("POST", "/api/v1/approvals/\(proposal)/grant", "{}").status == 403)
        // The id of the path counts, not that of the body.
        let refused = try await world.asCarol("POST", "/api/v1/approvals/\(proposal)/refuse", #"{"id":"another"}"#)
        #expect(refused.root["state"]?.string == "refused")
        #expect(try await world.asCarol("GET", "/api/v1/retention").status == 403, "of one matter only")
        let entries = try await world.asCarol("GET", "/api/v1/audit?action=holds.create").root["entries"]?.elements
        #expect(entries?.count == 1)

        // Somebody whose capacity is another's.
        let secret = try await world.sessions.begin(world.session("mallory"))
        let answer = try await world.send("GET", "/api/v1/reports", [("Authorization", "Bearer " + secret)])
        #expect(answer.status == 403 && answer.text.contains("not-an-agent"))
        world.kms.consents.withLock { $0 = false }
        let other = try await world.sessions.begin(world.session())
        #expect(try await world.send("GET", "/api/v1/reports", [("Authorization", "Bearer " + other)]).status != 500)
        await world.running.stop()
    }
}
