import Diagnostics
import Glibc
import Logging
import NIOPosix
import ServiceLifecycle
import TestServers
import Testing
import WireText

@testable import ServiceRuntime

/// A TCP connection with blocking calls, made on a thread where waiting is allowed.
struct RawConnection: Sendable {
    let descriptor: Int32

    init(port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { throw Failure(code: errno) }
    }

    struct Failure: Error { let code: Int32 }

    func send(_ text: String) {
        _ = text.withCString { Glibc.send(descriptor, $0, strlen($0), Int32(MSG_NOSIGNAL)) }
    }

    /// Everything until the server closes.
    func rest() -> String {
        var bytes: [UInt8] = []
        while true {
            let chunk = [UInt8](unsafeUninitializedCapacity: 65_536) {
                $1 = max(0, recv(descriptor, $0.baseAddress, $0.count, 0))
            }
            if chunk.isEmpty { return String(decoding: bytes, as: UTF8.self) }
            bytes += chunk
        }
    }
    func end() { close(descriptor) }
}

struct HTTPReply {
    let status: Int
    let headers: [String: String]
    let body: String

    init(_ text: String) {
        let parts = text.split(separator: "\r\n\r\n", maxSplits: 1, omittingEmptySubsequences: false)
        let lines = (parts.first ?? "").split(separator: "\r\n")
        status = lines.first.flatMap { Int($0.split(separator: " ").dropFirst().first ?? "") } ?? 0
        headers = Dictionary(
            lines.dropFirst().map { line in
                let pair = line.split(separator: ":", maxSplits: 1)
                return (pair[0].lowercased(), pair.count > 1 ? String(pair[1].drop { $0 == " " }) : "")
            }
        ) { first, _ in first }
        body = parts.count > 1 ? String(parts[1]) : ""
    }
}

@Suite("Health endpoint")
struct HealthEndpointTests {
    let metrics = MetricRegistry()
    let history = LoadHistory()
    let health: HealthRegistry
    private let clock = ManualClock()
    private let liveness: Liveness
    let store = HealthCheck("store", "the database", gate: .required)

    init() {
        health = HealthRegistry(events: RecordedEvents(), metrics: metrics)
        liveness = Liveness(maximumAge: .seconds(30), clock: clock)
    }

    /// Runs the endpoint on a free port while `body` works, then stops it and waits for its end.
    func withEndpoint(
        at wanted: Int = 0, handed: [HealthSocket.Handed] = [], _ body: (Int) async throws -> Void
    ) async throws {
        let (ports, found) = AsyncStream.makeStream(of: Int.self)
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let endpoint = HealthEndpoint(
            ServiceIdentity(name: "hds-test", version: "1.2"),
            address: NetworkAddress(host: "127.0.0.1", port: wanted), health: health, liveness: liveness,
            metrics: metrics, history: history, handed: handed, group: MultiThreadedEventLoopGroup.singleton,
            logger: logger, onListening: { found.yield($0.port) })
        let group = ServiceGroup(configuration: .init(services: [endpoint], logger: logger))
        try await withThrowingTaskGroup { tasks in
            tasks.addTask { try await group.run() }
            let port = try #require(await ports.first { _ in true })
            try await body(port)
            await group.triggerGracefulShutdown()
            try await tasks.next()
        }
    }

    func ask(_ port: Int, _ request: String) async throws -> HTTPReply {
        try await onOwnThread {
            let connection = try RawConnection(port: port)
            defer { connection.end() }
            connection.send(request)
            return HTTPReply(connection.rest())
        }
    }
    func ask(_ port: Int, path: String, method: String = "GET", accept: String = "*/*") async throws -> HTTPReply {
        let lines = ["\(method) \(path) HTTP/1.1", "Host: localhost", "Accept: \(accept)", "Connection: close"]
        return try await ask(port, lines.joined(separator: "\r\n") + "\r\n\r\n")
    }

    @Test("ready and alive are told apart, with reasons")
    func readiness() async throws {
        health.declare(store)
        try await withEndpoint { port in
            let waiting = try await ask(port, path: "/readyz")
            #expect(waiting.status == 503 && waiting.body == "not ready: the database: not known yet\n")
            let status1 = try await ask(port, path: "/livez").status
            #expect(status1 == 200)
            health.report(store, .ok("answers"))
            liveness.pass()
            let ready = try await ask(port, path: "/readyz?verbose")
            #expect(ready.status == 200 && ready.body == "ready\n")
            clock.advance(by: .seconds(31))
            let dead = try await ask(port, path: "/livez")
            #expect(dead.status == 503 && dead.body == "not live\n")
        }
    }

    @Test("the JSON tells every check, warning and alarm with its fix")
    func document() async throws {
        health.report(store, .fail("disk \"full\"", fix: "free space"))
        health.warn(StandingWarning("w", "weak", fix: "strengthen"))
        health.alarms.raise(.diskLow, about: "/var", "1 % left")
        try await withEndpoint { port in
            let reply = try await ask(port, path: "/healthz")
            #expect(reply.status == 503)
            #expect(reply.headers["content-type"] == "application/json")
            #expect(reply.headers["cache-control"] == "no-store")
            let root = try JSONDocument(Array(reply.body.utf8)).root
            #expect(root["service"]?.string == "hds-test" && root["version"]?.string == "1.2")
            #expect(root["status"]?.string == "fail")
            #expect(root["ready"]?.boolean == false && root["live"]?.boolean == true)
            #expect(root["started"]?.string.flatMap { Timestamp(iso8601: $0) } != nil)
            let check = try #require(root["checks"]?.elements?.first)
            #expect(check["id"]?.string == "store" && check["state"]?.string == "fail")
            #expect(check["detail"]?.string == "disk \"full\"" && check["fix"]?.string == "free space")
            #expect(check["gate"]?.string == "required")
            #expect(check["since"]?.string.flatMap { Timestamp(iso8601: $0) } != nil)
            #expect(root["warnings"]?.elements?.first?["fix"]?.string == "strengthen")
            let alarm = try #require(root["alarms"]?.elements?.first)
            #expect(alarm["id"]?.string == "HDS-DISK-LOW" && alarm["subject"]?.string == "/var")
            #expect(alarm["severity"]?.string == "error" && alarm["fix"]?.string == Alarm.diskLow.fix)

            health.report(store, .ok("fine"))
            let status2 = try await ask(port, path: "/healthz").status
            #expect(status2 == 200)
        }
    }

    @Test("metrics parse as Prometheus text")
    func metricsText() async throws {
        ProcessMetrics.register(in: metrics)
        metrics.counter(.kmsRequests, ["create", "KEY", "201"]).increment(by: 5)
        metrics.histogram(.kmsRequestTime, ["create", "KEY"]).observe(.microseconds(300))
        try await withEndpoint { port in
            let reply = try await ask(port, path: "/metrics")
            #expect(reply.status == 200)
            #expect(reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
            #expect(reply.body.hasSuffix("\n"))
            let sample = /[a-z_]+(\{([a-z]+="([^"\\]|\\.)*",?)+\})? (-?[0-9.e+-]+|NaN|[+-]Inf)/
            for line in reply.body.split(separator: "\n") where !line.hasPrefix("# ") {
                #expect(line.wholeMatch(of: sample) != nil, "\(line)")
            }
            #expect(reply.body.contains("\nhds_kms_requests_total{method=\"create\",type=\"KEY\",status=\"201\"} 5\n"))
            #expect(reply.body.contains("le=\"0.0005\"} 1\n"))
        }
    }

    @Test("HEAD has no body; other methods and paths are refused with what is there")
    func refusals() async throws {
        try await withEndpoint { port in
            let head = try await ask(port, path: "/livez", method: "HEAD")
            #expect(head.status == 200 && head.body.isEmpty && head.headers["content-length"] == "5")
            let post = try await ask(port, path: "/livez", method: "POST")
            #expect(post.status == 405 && post.headers["allow"] == "GET, HEAD")
            let lost = try await ask(port, path: "/favicon.ico")
            #expect(lost.status == 404 && lost.body.contains("/ /livez /readyz /healthz /metrics"))
        }
    }

    @Test("what is no HTTP is answered with 400, an endless header is too")
    func malformed() async throws {
        try await withEndpoint { port in
            let status3 = try await ask(port, "NONSENSE\r\n\r\n").status
            #expect(status3 == 400)
            let status4 = try await ask(port, "GET /livez HTTP/9.9\r\n\r\n").status
            #expect(status4 == 400)
            let long = "GET /livez HTTP/1.1\r\nX: \(String(repeating: "y", count: 100_000))\r\n\r\n"
            let longStatus = try await ask(port, long).status
            #expect([400, 431].contains(longStatus))
            let status5 = try await ask(port, path: "/livez").status
            #expect(status5 == 200)
        }
    }

    @Test("connections that never asked, or stopped in the middle, hold no shutdown")
    func idleConnections() async throws {
        var idle: [RawConnection] = []
        try await withEndpoint { port in
            for request in [
                "", "GET /li", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
                "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc",
            ] {
                let connection = try await onOwnThread { try RawConnection(port: port) }
                if !request.isEmpty { connection.send(request) }
                idle.append(connection)
            }
            // One whole exchange behind them, so that the server has met them all.
            let status6 = try await ask(port, path: "/livez").status
            #expect(status6 == 200)
        }
        // The endpoint has ended; each of them was closed by it.
        for connection in idle {
            _ = try await onOwnThread { connection.rest() }
            connection.end()
        }
    }

    @Test("an address in use is a fault of the configuration that names what to do")
    func addressInUse() async throws {
        try await withEndpoint { port in
            let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            let second = HealthEndpoint(
                ServiceIdentity(name: "hds-test", version: "1"), address: NetworkAddress(host: "127.0.0.1", port: port),
                health: health, liveness: liveness, metrics: metrics, group: MultiThreadedEventLoopGroup.singleton,
                logger: logger, onListening: { _ in })
            let error = await #expect(throws: DiagnosedError.self) { try await second.run() }
            #expect(error?.code == .healthAddressUnavailable && error?.fault == .configuration)
            #expect(error?.hint?.contains("runtime.health.address") == true)
        }
    }
}
