import HTTPClient
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import TLSChannel
import WireText

/// An HTTP server on a real socket that a test plays request by request; what it does not answer itself goes to a real
/// calendar server behind it.
final class CalendarProxy: Sendable {
    struct Request: Sendable {
        /// Counted from 0 over all connections.
        let number: Int
        let method: String
        let path: String
        let headers: [(String, String)]
        let body: [UInt8]

        var text: String { String(decoding: body, as: UTF8.self) }
        func header(_ name: String) -> String? { headers.first { $0.0.lowercased() == name.lowercased() }?.1 }
    }

    indirect enum Action: Sendable {
        /// To the server behind, its answer perhaps changed.
        case forward(@Sendable (inout WebResponse) -> Void)
        case answer(WebResponse)
        /// The same, octet by octet.
        case drip(WebResponse)
        /// These octets as they are, then the end of the connection.
        case raw(String)
        /// 200 with these pieces as they come, to the end of them.
        case stream(AsyncStream<String>)
        /// That many octets of a body that is announced with no length.
        case flood(Int)
        /// No answer as long as the proxy lives.
        case hang
        /// To the server behind, and then the end of the connection instead of its answer.
        case loseAnswer
        /// First this, then as it says.
        case after(@Sendable () async -> Void, Action)

        static let pass = Action.forward { _ in }
    }

    typealias Script = @Sendable (Request) -> Action

    fileprivate struct State {
        var script: Script
        var requests: [Request] = []
    }

    let port: Int
    private let listener: any Channel
    private let shared: Shared

    final class Shared: Sendable {
        private let state: Mutex<State>
        let target: Int?
        let translatesUsers: Bool
        let client = WebClient(trust: nil)
        let port = Mutex(0)
        fileprivate init(_ state: State, _ target: Int?, _ translatesUsers: Bool) {
            self.state = Mutex(state)
            self.target = target
            self.translatesUsers = translatesUsers
        }
        fileprivate func withLock<R>(_ body: (inout State) -> R) -> R { state.withLock { body(&$0) } }
    }

    private let isSecure: Bool

    /// - Parameters:
    ///   - tls: speaks TLS as `localhost`.
    ///   - target: the port of the server behind; nil: all is played.
    ///   - translatesUsers: asks for Basic with `NAME` and `NAMEpw`, and tells the server behind in X-Remote-User.
    init(
        tls: TLSConfiguration? = nil, to target: Int? = nil, translatesUsers: Bool = false,
        _ script: @escaping Script = { _ in .pass }
    ) async throws {
        let shared = Shared(State(script: script), target, translatesUsers)
        self.shared = shared
        isSecure = tls != nil
        listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls { try channel.pipeline.syncOperations.addHandler(TLSChannelHandler(tls)) }
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(withErrorHandling: true)
                    try channel.pipeline.syncOperations.addHandler(Handler(shared))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        port = listener.localAddress?.port ?? 0
        shared.port.withLock { [port] in $0 = port }
    }

    var url: String { isSecure ? "https://localhost:\(port)" : "http://127.0.0.1:\(port)" }
    var requests: [Request] { shared.withLock { $0.requests } }
    func play(_ script: @escaping Script) { shared.withLock { $0.script = script } }
    func close() async {
        try? await listener.close()
        await shared.client.close()
    }

    /// An answer with XML.
    static func xml(_ status: Int, _ body: String, type: String = "application/xml; charset=utf-8") -> WebResponse {
        WebResponse(status: status, headers: [("Content-Type", type)], body: Array(body.utf8))
    }

    private final class Handler: ChannelInboundHandler, Sendable {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let shared: Shared
        private let received = Mutex<(head: HTTPRequestHead?, body: [UInt8])>((nil, []))

        init(_ shared: Shared) { self.shared = shared }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head): received.withLock { $0 = (head, []) }
            case .body(let part): received.withLock { $0.body.append(contentsOf: part.readableBytesView) }
            case .end:
                let (head, body) = received.withLock { $0 }
                guard let head else { return }
                let (request, action) = shared.withLock { state -> (Request, Action) in
                    let request = Request(
                        number: state.requests.count, method: head.method.rawValue, path: head.uri,
                        headers: head.headers.map { ($0.name, $0.value) }, body: body)
                    state.requests.append(request)
                    return (request, state.script(request))
                }
                let channel = context.channel
                Task { [shared] in await Self.act(action, on: request, channel, shared) }
            }
        }

        private static func act(
            _ action: Action, on request: Request, _ channel: any Channel, _ shared: Shared
        ) async {
            switch action {
            case .forward(let change):
                var response = await forward(request, shared)
                change(&response)
                await write(response, channel)
            case .answer(let response): await write(response, channel)
            case .drip(let response): await write(response, channel, pieces: 1)
            case .raw(let text):
                // Below the codec, which would correct it.
                try? await channel.eventLoop.flatSubmit {
                    do {
                        let context = try channel.pipeline.syncOperations.context(
                            handlerType: HTTPResponseEncoder.self)
                        let promise = channel.eventLoop.makePromise(of: Void.self)
                        context.writeAndFlush(NIOAny(channel.allocator.buffer(string: text)), promise: promise)
                        return promise.futureResult
                    } catch {
                        return channel.eventLoop.makeFailedFuture(error)
                    }
                }.get()
                try? await channel.close()
            case .stream(let pieces):
                let head = HTTPResponseHead(version: .http1_1, status: .ok, headers: ["Content-Type": "text/xml"])
                do {
                    try await channel.writeAndFlush(HTTPServerResponsePart.head(head))
                    for await piece in pieces {
                        let buffer = channel.allocator.buffer(string: piece)
                        try await channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(buffer)))
                    }
                    try await channel.writeAndFlush(HTTPServerResponsePart.end(nil))
                } catch {
                    // The client has gone.
                }
            case .flood(let count):
                try? await channel.writeAndFlush(
                    HTTPServerResponsePart.head(
                        HTTPResponseHead(
                            version: .http1_1, status: .multiStatus, headers: ["Content-Type": "application/xml"])))
                let piece = channel.allocator.buffer(bytes: [UInt8](repeating: 0x20, count: 1 << 16))
                var left = count
                while left > 0,
                    (try? await channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(piece)))) != nil
                {
                    left -= 1 << 16
                }
                try? await channel.close()
            case .hang: break
            case .loseAnswer:
                _ = await forward(request, shared)
                try? await channel.close()
            case .after(let first, let next):
                await first()
                await act(next, on: request, channel, shared)
            }
        }

        private static func forward(_ request: Request, _ shared: Shared) async -> WebResponse {
            guard let target = shared.target else { return WebResponse(status: 404) }
            var headers = request.headers
            if shared.translatesUsers {
                guard let user = user(of: request) else {
                    return WebResponse(status: 401, headers: [("WWW-Authenticate", "Basic realm=\"test\"")])
                }
                headers.removeAll { ["authorization", "x-remote-user"].contains($0.0.lowercased()) }
                headers.append(("X-Remote-User", user))
            }
            do {
                var response = try await shared.client.send(
                    WebRequest(
                        method: request.method, url: "http://127.0.0.1:\(target)\(request.path)", headers: headers,
                        body: request.body, maximumResponseBytes: 64 << 20))
                response.headers.removeAll {
                    ["transfer-encoding", "connection", "content-length"].contains($0.0.lowercased())
                }
                // The server behind sees the proxy's own Host, unlike behind a good one.
                let text = String(decoding: response.body, as: UTF8.self)
                if text.contains("http://127.0.0.1:\(target)/") {
                    let own = shared.port.withLock { $0 }
                    response.body = Array(
                        text.replacing("http://127.0.0.1:\(target)/", with: "http://127.0.0.1:\(own)/").utf8)
                }
                return response
            } catch {
                return WebResponse(status: 502, body: Array("\(error)".utf8))
            }
        }

        private static func user(of request: Request) -> String? {
            guard let field = request.header("Authorization"), field.hasPrefix("Basic "),
                let octets = Base64.decode(String(field.dropFirst(6)))
            else { return nil }
            let parts = String(decoding: octets, as: UTF8.self).split(separator: ":", maxSplits: 1)
            return parts.count == 2 && parts[1] == parts[0] + "pw" ? String(parts[0]) : nil
        }

        private static func write(_ response: WebResponse, _ channel: any Channel, pieces: Int? = nil) async {
            var headers = HTTPHeaders(response.headers)
            headers.replaceOrAdd(name: "Content-Length", value: String(response.body.count))
            let head = HTTPResponseHead(
                version: .http1_1, status: HTTPResponseStatus(statusCode: response.status), headers: headers)
            do {
                try await channel.writeAndFlush(HTTPServerResponsePart.head(head))
                let size = pieces ?? max(1, response.body.count)
                var start = 0
                while start < response.body.count {
                    let end = min(start + size, response.body.count)
                    let piece = channel.allocator.buffer(bytes: response.body[start..<end])
                    try await channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(piece)))
                    start = end
                }
                try await channel.writeAndFlush(HTTPServerResponsePart.end(nil))
            } catch {
                // The client has gone: its test says why.
            }
        }
    }
}
