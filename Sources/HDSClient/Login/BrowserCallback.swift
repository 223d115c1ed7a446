import Diagnostics
import NIOCore
import NIOPosix
import Synchronization
import WireText

/// Listens on 127.0.0.1 for the one redirect with which a browser brings the authorization code (RFC 8252, section 7.3).
///
/// It takes `GET /callback?…` of at most 16 KiB, answers with a page that says to go back to the terminal, and hands the
/// query over; whatever else comes is answered 404. Whether the query is the right one is judged elsewhere: any page in
/// the browser can send others here, so more than one may come.
final class BrowserCallback: Sendable {
    let redirectURI: String
    private let channel: any Channel
    private let connections: Connections
    private let queries: AsyncStream<String>
    private let source: AsyncStream<String>.Continuation

    /// Listens on a port that the system chooses.
    static func listen() async throws -> BrowserCallback {
        let (queries, source) = AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingNewest(16))
        let connections = Connections()
        let channel: any Channel
        do {
            channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(CallbackHandler(source))
                        connections.add(channel)
                    }
                }
                .bind(host: "127.0.0.1", port: 0).get()
        } catch {
            throw DiagnosedError(
                .loginRefused, fault: .configuration, "no port of this machine can be listened on for the browser",
                hint: "log in without --browser")
        }
        guard let port = channel.localAddress?.port else {
            throw DiagnosedError(.loginRefused, fault: .internal, "the listening port is not known")
        }
        return BrowserCallback(
            port: port, channel: channel, connections: connections, queries: queries, source: source)
    }

    private init(
        port: Int, channel: any Channel, connections: Connections, queries: AsyncStream<String>,
        source: AsyncStream<String>.Continuation
    ) {
        redirectURI = "http://127.0.0.1:\(port)/callback"
        self.channel = channel
        self.connections = connections
        self.queries = queries
        self.source = source
    }

    /// The first query that `judge` takes; ends listening. A query that does not belong to this login is passed over.
    func receive<R: Sendable>(
        within milliseconds: Int64, sleep: Sleep, judge: (String) throws -> R
    ) async throws -> R {
        let timer = Task { [source] in
            try? await sleep.milliseconds(milliseconds)
            source.finish()
        }
        defer {
            timer.cancel()
            channel.close(promise: nil)
            connections.close()
        }
        for await query in queries {
            do {
                return try judge(query)
            } catch let error as DiagnosedError where error.code == .loginRedirect {
                continue
            }
        }
        try Task.checkCancellation()
        throw DiagnosedError(
            .loginTimeout, fault: .client, "no login came back from the browser",
            expected: "within \(milliseconds / 60_000) minutes", hint: "begin again")
    }
}

/// The browser's connections, of which those that have not asked anything end with the listening.
private final class Connections: Sendable {
    private let open = Mutex<[ObjectIdentifier: any Channel]?>([:])

    /// On the channel's event loop.
    func add(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        let isLate = open.withLock { open in
            open?[id] = channel
            return open == nil
        }
        if isLate { return channel.close(promise: nil) }
        channel.closeFuture.whenComplete { [self] _ in open.withLock { _ = $0?.removeValue(forKey: id) } }
    }

    func close() {
        let channels = open.withLock { open in
            defer { open = nil }
            return open.map { Array($0.values) } ?? []
        }
        for channel in channels { channel.triggerUserOutboundEvent(CallbackHandler.Ended(), promise: nil) }
    }
}

private final class CallbackHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// The login is over.
    struct Ended: Sendable {}

    private static let maximumBytes = 16 << 10
    private let queries: AsyncStream<String>.Continuation
    private var received: [UInt8] = []
    private var isAnswered = false

    init(_ queries: AsyncStream<String>.Continuation) { self.queries = queries }

    func channelActive(context: ChannelHandlerContext) {
        // A connection that says nothing is not kept.
        let channel = context.channel
        context.eventLoop.scheduleTask(in: .seconds(20)) { channel.close(promise: nil) }
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isAnswered else { return }
        received += Array(unwrapInboundIn(data).readableBytesView)
        guard received.count <= Self.maximumBytes else {
            return answer(context, "431 Request Header Fields Too Large", "")
        }
        guard let end = received.firstRange(of: Array("\r\n\r\n".utf8)) else { return }
        let line = received[..<end.lowerBound].prefix { $0 != 0x0D }
        let words = String(decoding: line, as: UTF8.self).split(separator: " ")
        guard words.count == 3, words[0] == "GET", words[2].hasPrefix("HTTP/1."), words[1].hasPrefix("/callback?")
        else {
            return answer(context, "404 Not Found", "There is nothing here.")
        }
        answer(
            context, "200 OK",
            "Thank you. Close this page and go back to the terminal, which says whether you are signed in.")
        queries.yield(String(words[1].dropFirst("/callback?".count)))
    }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        guard event is Ended else { return context.triggerUserOutboundEvent(event, promise: promise) }
        // An answer that is on its way closes the connection itself.
        if !isAnswered { context.close(promise: nil) }
        promise?.succeed()
    }

    private func answer(_ context: ChannelHandlerContext, _ status: String, _ text: String) {
        isAnswered = true
        let body = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>hds</title><p>\(text)</p></html>\n"
        let head =
            "HTTP/1.1 \(status)\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: \(body.utf8.count)\r\n"
            + "Content-Security-Policy: default-src 'none'\r\nReferrer-Policy: no-referrer\r\nCache-Control: no-store\r\n"
            + "Connection: close\r\n\r\n"
        let channel = context.channel
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: head + body))).whenComplete { _ in
            channel.close(promise: nil)
        }
    }
}

// The flow with a browser.
extension AuthorizationClient {
    /// Logs in with a browser: `show` gets the URL to open.
    package func loginWithBrowser(
        email: String, sleep: Sleep, show: (String) -> Void
    ) async throws -> TokenAnswer {
        let server = try await server()
        let callback = try await BrowserCallback.listen()
        let attempt = try AuthorizationAttempt(
            server: server, clientID: clientID, redirectURI: callback.redirectURI, loginHint: email)
        show(attempt.url)
        let code = try await callback.receive(within: 600_000, sleep: sleep) { try attempt.code(fromQuery: $0) }
        return try await redeem(code: code, attempt, server)
    }
}
