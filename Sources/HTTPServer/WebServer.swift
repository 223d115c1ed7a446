package import Diagnostics
import HTTPTypes
package import Hummingbird
import HummingbirdCore
package import Logging
import NIOCore
import NIOHTTPTypes
import NIOPosix
import ServiceLifecycle
import Synchronization
package import TLSChannel

/// An HTTP/1.1 server of a router and of WebSocket routes, over TLS or plain on loopback.
///
/// A service: `run` listens until the graceful shutdown. Then idle connections end at once, WebSockets get close code
/// 1001, running requests are answered with `Connection: close`, and what is left after `deadlines.drain` is cut.
/// Requests for a WebSocket route that do not ask for an upgrade are answered 426; bodies over the limit 413; malformed
/// requests 400, too long heads 431.
package final class WebServer: Service {
    private let configuration: WebServerConfiguration
    private let routes: [WebSocketRoute]
    private let logger: Logger
    private let openChannels = OpenChannels()
    private let listening = ListeningPort()
    private let serve: @Sendable (WebServer) async throws -> Void
    /// What connections from now on are shown; nil: as the configuration has it, or plain.
    private let renewed = Mutex<TLSConfiguration?>(nil)

    package init<Context: RequestContext>(
        configuration: WebServerConfiguration, router: Router<Context>, webSockets: [WebSocketRoute] = [],
        logger: Logger? = nil
    ) where Context: InitializableFromSource<ApplicationRequestContextSource> {
        self.configuration = configuration
        routes = webSockets
        self.logger = logger ?? Self.quietLogger()
        let responder = router.buildResponder()
        serve = { server in
            try await server.application(responder).run()
        }
    }

    /// What `use` takes: a certificate with its key, judged by OpenSSL.
    package static func tls(_ identity: TLSServerIdentity) throws(DiagnosedError) -> TLSConfiguration {
        try TLSConfiguration.server(identity: identity, applicationProtocols: ["http/1.1", "http/1.0"])
    }

    /// Connections from now on are shown another certificate; those that are open go on. A plain server stays plain.
    package func use(_ tls: TLSConfiguration) { renewed.withLock { $0 = tls } }

    /// The port that is listened on, as soon as it is; throws when the server ends before.
    package var boundPort: Int {
        get async throws { try await listening.port() }
    }

    /// Connections that are open now.
    package var connectionCount: Int { openChannels.count }

    package func run() async throws {
        defer { listening.fail() }
        if configuration.identity == nil, !Self.isLoopback(configuration.host) {
            throw DiagnosedError(
                .serverPlainRefused, fault: .configuration, "plain HTTP is served on loopback only",
                expected: "a TLS identity, or a host such as 127.0.0.1", found: configuration.host)
        }
        if let identity = configuration.identity {
            let tls = try Self.tls(identity)
            renewed.withLock { $0 = $0 ?? tls }
        }
        let deadline = configuration.deadlines.drain
        let serving = Task { try await serve(self) }
        do {
            try await withTaskCancellationHandler {
                try await withGracefulShutdownHandler {
                    try await serving.value
                } onGracefulShutdown: { [openChannels] in
                    openChannels.beginClosing()
                    MultiThreadedEventLoopGroup.singleton.next().scheduleTask(in: deadline) {
                        openChannels.cut()
                        // Handlers that wait for something else than their connection.
                        serving.cancel()
                    }
                }
            } onCancel: {
                serving.cancel()
            }
        } catch let error as IOError {
            throw DiagnosedError(
                .serverBindFailed, fault: .configuration,
                "can not listen on \(configuration.host) port \(configuration.port)",
                found: String(describing: error), hint: "free the port, or configure another address")
        }
    }

    // MARK: - Helpers

    private func application<Responder: HTTPResponder>(
        _ responder: Responder
    ) -> Application<Responder> where Responder.Context: InitializableFromSource<ApplicationRequestContextSource> {
        Application(
            responder: responder,
            server: HTTPServerBuilder { [self] respond in
                WebChannel(
                    responder: limited(respond), configuration: configuration, routes: routes,
                    openChannels: openChannels
                ) { [self] in configuration.identity == nil ? nil : renewed.withLock { $0 } }
            },
            configuration: ApplicationConfiguration(
                address: .hostname(configuration.host, port: configuration.port), serverName: configuration.serverName,
                availableConnectionsDelegate: .maximum(configuration.maximumConnections, logger: logger)),
            onServerRunning: { [listening, logger] channel in
                try? await channel.eventLoop.submit {
                    try channel.pipeline.syncOperations.addHandler(AcceptGuard(logger: logger), position: .first)
                }.get()
                listening.succeed(channel.localAddress?.port ?? 0)
            },
            logger: logger)
    }

    /// Answers what no route is to see, and bounds the bodies of what it sees.
    private func limited(_ respond: @escaping HTTPChannelHandler.Responder) -> HTTPChannelHandler.Responder {
        { [configuration, routes] request, writer, channel in
            let path = UpgradeGate.split(request.head.path ?? "").path
            if routes.contains(where: { $0.matches(path) }) {
                return try await Self.refuse(
                    .upgradeRequired, "this is a WebSocket", [.upgrade: "websocket", .connection: "close"], writer)
            }
            let limit = configuration.bodyLimit(path: path)
            let announced = request.headers[.contentLength].flatMap { Int($0) } ?? 0
            guard announced <= limit else {
                return try await Self.refuse(
                    .contentTooLarge, "the body of the request is longer than \(limit) octets", [.connection: "close"],
                    writer)
            }
            var request = request
            if request.headers[.transferEncoding] != nil {
                request.body = RequestBody(asyncSequence: LimitedBody(body: request.body, limit: limit))
            }
            try await respond(request, writer, channel)
        }
    }

    @concurrent
    private static func refuse(
        _ status: HTTPResponse.Status, _ message: String, _ headers: HTTPFields, _ writer: consuming ResponseWriter
    ) async throws {
        let body = ByteBuffer(bytes: ErrorBody.json(message: message))
        var headers = headers
        headers[.contentType] = "application/json"
        headers[.contentLength] = String(body.readableBytes)
        try await writer.write(
            response: HTTPResponse(status: status, headerFields: headers), body: ResponseBody(byteBuffer: body))
    }

    private static func isLoopback(_ host: String) -> Bool {
        guard host != "localhost" else { return true }
        guard let address = try? SocketAddress(ipAddress: host, port: 0) else { return false }
        switch address {
        case .v4: return host.hasPrefix("127.")
        case .v6: return host == "::1"
        default: return false
        }
    }

    /// Hummingbird tells at `info` what the service tells itself.
    private static func quietLogger() -> Logger {
        var logger = Logger(label: "http-server")
        logger.logLevel = .notice
        return logger
    }
}

/// The port of a server, for those who wait until it listens.
private final class ListeningPort: Sendable {
    private enum State {
        case starting([CheckedContinuation<Int, any Error>])
        case listening(Int)
        case ended
    }

    private let state = Mutex(State.starting([]))

    func port() async throws -> Int {
        try await withCheckedThrowingContinuation { continuation in
            let result: Result<Int, any Error>? = state.withLock { state in
                switch state {
                case .starting(let waiters):
                    state = .starting(waiters + [continuation])
                    return nil
                case .listening(let port): return .success(port)
                case .ended: return .failure(Self.notRunning)
                }
            }
            if let result { continuation.resume(with: result) }
        }
    }

    func succeed(_ port: Int) { settle(.listening(port), .success(port)) }

    /// The server has ended; nobody waits for ever.
    func fail() { settle(.ended, .failure(Self.notRunning)) }

    private func settle(_ next: State, _ result: Result<Int, any Error>) {
        let waiters: [CheckedContinuation<Int, any Error>] = state.withLock { state in
            defer { state = next }
            if case .starting(let waiters) = state { return waiters }
            return []
        }
        for waiter in waiters { waiter.resume(with: result) }
    }

    private static let notRunning = DiagnosedError(
        .serverNotRunning, fault: .internal, "the server is not running")
}
