import Diagnostics
import HTTPClient
import HTTPServer
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import ServiceLifecycle
import Synchronization
import TLSChannel
import WebSocketChannel

/// A running `WebServer` of a test and a client that trusts it.
struct WebServerFixture: Sendable {
    let server: WebServer
    let group: ServiceGroup
    let port: Int
    let isSecure: Bool
    let client: WebClient
    let running: Task<Void, any Error>

    /// Runs `body` against a server with these routes, then shuts it down.
    static func run(
        isSecure: Bool = true, webSockets: [WebSocketRoute] = [],
        adjust: (inout WebServerConfiguration) -> Void = { _ in },
        routes: (Router<BasicRequestContext>) -> Void = { _ in },
        _ body: (WebServerFixture) async throws -> Void
    ) async throws {
        let fixture = try await start(isSecure: isSecure, webSockets: webSockets, adjust: adjust, routes: routes)
        do {
            try await body(fixture)
        } catch {
            await fixture.stop()
            throw error
        }
        await fixture.stop()
        try await fixture.running.value
    }

    static func start(
        isSecure: Bool, webSockets: [WebSocketRoute], adjust: (inout WebServerConfiguration) -> Void,
        routes: (Router<BasicRequestContext>) -> Void
    ) async throws -> WebServerFixture {
        let pki = try TestPKI.shared.get()
        let router = Router()
        router.get("hello") { _, _ in "hello" }
        router.post("echo") { request, _ -> Response in
            Response(
                status: .ok, headers: [.contentType: "application/octet-stream"],
                body: ResponseBody(asyncSequence: request.body))
        }
        router.post("count") { request, _ -> String in
            var count = 0
            for try await part in request.body { count += part.readableBytes }
            return String(count)
        }
        routes(router)
        var configuration = WebServerConfiguration(
            host: "127.0.0.1", port: 0, identity: isSecure ? try pki.identity("server", "issuing") : nil)
        // Tests of the deadlines set their own: elsewhere a client may wait long for its thread.
        configuration.deadlines.firstRequest = .minutes(5)
        configuration.deadlines.idle = .minutes(5)
        adjust(&configuration)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let server = WebServer(configuration: configuration, router: router, webSockets: webSockets, logger: logger)
        let group = ServiceGroup(services: [server], logger: logger)
        let running = Task { try await group.run() }
        return WebServerFixture(
            server: server, group: group, port: try await server.boundPort, isSecure: isSecure,
            client: WebClient(trust: try pki.trust()), running: running)
    }

    func url(_ path: String) -> String { "\(isSecure ? "https" : "http")://localhost:\(port)\(path)" }
    func socketURL(_ path: String) -> String { "\(isSecure ? "wss" : "ws")://localhost:\(port)\(path)" }

    /// A connection that speaks what the test writes.
    func wire() async throws -> Wire {
        guard isSecure else { return try await Wire.plain(to: port) }
        return try await Wire.tls(to: port, .client(trust: TestPKI.shared.get().trust()))
    }

    func stop() async {
        await client.close()
        await group.triggerGracefulShutdown()
        _ = try? await running.value
    }
}

/// A value that a test waits for.
final class Awaited<Value: Sendable>: Sendable {
    private let state = Mutex<(value: Value?, waiters: [CheckedContinuation<Value, Never>])>((nil, []))

    func set(_ value: Value) {
        let waiters = state.withLock { state in
            if state.value == nil { state.value = value }
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume(returning: value) }
    }

    var value: Value {
        get async {
            await withCheckedContinuation { continuation in
                let now: Value? = state.withLock { state in
                    if state.value == nil { state.waiters.append(continuation) }
                    return state.value
                }
                if let now { continuation.resume(returning: now) }
            }
        }
    }
}
