import NIOCore
import NIOPosix
import Synchronization
import TLSChannel
import TestServers

/// Stands before a server of a test with the server's own certificate, and does to requests what the test says.
///
/// It takes TLS off, waits for each whole request, and passes it to the server on plain loopback. So what a cut or a
/// forged answer does to a client is seen with a real server behind that has had the request, or has not.
final class Middleman: Sendable {
    enum Treatment: Sendable {
        /// The server has the request; instead of its answer the connection ends.
        case loseAnswer
        /// The connection ends when the whole request is there; the server never sees it.
        case loseRequest
        /// These octets come instead of the server's answer, which never sees the request.
        case answer(String)
        /// The head of the server's answer, changed.
        case change(@Sendable (String) -> String)
    }

    private struct State {
        var serverPort: Int?
        var rules: [(start: String, treatment: Treatment)] = []
        /// Whoever shows it gets 401.
        var refusedToken: String?
        var requests: [String] = []
        var heard: [UInt8] = []
        var tunnels: [ObjectIdentifier: any Channel] = [:]
        var cutsNextEvent = false
    }

    private let listener: any Channel
    private let state: SharedState

    private final class SharedState: Sendable {
        let value = Mutex(State())
    }

    init(_ identity: TLSServerIdentity) async throws {
        let tls = try TLSConfiguration.server(identity: identity, applicationProtocols: ["http/1.1"])
        let state = SharedState()
        self.state = state
        listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers([TLSChannelHandler(tls), FrontHandler(state)])
                }
            }.bind(host: "127.0.0.1", port: 0).get()
    }

    var port: Int { listener.localAddress?.port ?? 0 }
    var url: String { "https://localhost:\(port)" }

    func pass(to serverPort: Int) { state.value.withLock { $0.serverPort = serverPort } }
    func close() async { try? await listener.close() }

    /// The next request that begins so is treated so; several in the order of being told.
    func expect(_ start: String, _ treatments: Treatment...) {
        state.value.withLock { $0.rules += treatments.map { (start, $0) } }
    }

    /// From now on the server does not take this token.
    func refuse(token: String) { state.value.withLock { $0.refusedToken = token } }

    /// All expectations were met.
    var isDone: Bool { state.value.withLock { $0.rules.isEmpty } }
    /// Forgets what did not come.
    func expectNothing() { state.value.withLock { $0.rules = [] } }

    /// How many whole requests came that begin so.
    func count(_ start: String) -> Int { state.value.withLock { $0.requests.count { $0.hasPrefix(start) } } }
    /// Everything that clients have said, WebSocket frames apart.
    func hasHeard(_ text: String) -> Bool {
        state.value.withLock { $0.heard.firstRange(of: Array(text.utf8)) != nil }
    }

    var openSockets: Int { state.value.withLock { $0.tunnels.count } }
    /// Cuts every WebSocket without a close frame.
    func cutSockets() { for channel in state.value.withLock({ $0.tunnels.values }) { channel.close(promise: nil) } }
    /// What the server says next on a WebSocket is lost, and the WebSocket with it.
    func loseNextEvent() { state.value.withLock { $0.cutsNextEvent = true } }

    // MARK: - Connections

    /// The client's side. Both sides live on one event loop.
    private final class FrontHandler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let state: SharedState
        private var context: ChannelHandlerContext?
        private var back: EventLoopFuture<any Channel>?
        private var received: [UInt8] = []
        private var answerHead: [UInt8] = []
        private var treatment: Treatment?
        private var isTunnel = false

        init(_ state: SharedState) { self.state = state }

        func handlerAdded(context: ChannelHandlerContext) { self.context = context }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            received += Array(unwrapInboundIn(data).readableBytesView)
            if isTunnel { return forward(context) }
            guard let end = received.firstRange(of: Array("\r\n\r\n".utf8)) else { return }
            let head = String(decoding: received[..<end.lowerBound], as: UTF8.self)
            guard received.count >= end.upperBound + Self.bodyCount(head) else { return }
            let whole = received
            let isUpgrade = head.lowercased().contains("\r\nupgrade:")
            treatment = state.value.withLock { state in
                state.requests.append(String(head.prefix { $0 != "\r\n" }))
                state.heard += whole
                if let token = state.refusedToken, head.contains(token) { return .status(401) }
                guard let index = state.rules.firstIndex(where: { head.hasPrefix($0.start) }) else { return nil }
                return state.rules.remove(at: index).treatment
            }
            switch treatment {
            case .loseRequest: context.close(promise: nil)
            case .answer(let text):
                received = []
                context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
            case .loseAnswer, .change, nil:
                if isUpgrade, treatment == nil { becomeTunnel(context.channel) }
                forward(context)
            }
        }

        func channelInactive(context: ChannelHandlerContext) {
            state.value.withLock { $0.tunnels[ObjectIdentifier(context.channel)] = nil }
            back?.whenSuccess { $0.close(promise: nil) }
        }

        func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        /// What the server says.
        fileprivate func answered(_ buffer: ByteBuffer) {
            guard let context else { return }
            let isLost =
                isTunnel
                && state.value.withLock { state in
                    defer { state.cutsNextEvent = false }
                    return state.cutsNextEvent
                }
            switch treatment {
            case _ where isLost: context.close(promise: nil)
            case .loseAnswer: context.close(promise: nil)
            case .change(let change):
                answerHead += Array(buffer.readableBytesView)
                guard let end = answerHead.firstRange(of: Array("\r\n\r\n".utf8)) else { return }
                let head = change(String(decoding: answerHead[..<end.lowerBound], as: UTF8.self))
                let rest = answerHead[end.lowerBound...]
                (treatment, answerHead) = (nil, [])
                context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: Array(head.utf8) + rest)), promise: nil)
            default: context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
            }
        }

        fileprivate func serverEnded() { context?.close(promise: nil) }

        private func becomeTunnel(_ channel: any Channel) {
            isTunnel = true
            state.value.withLock { $0.tunnels[ObjectIdentifier(channel)] = channel }
        }

        private func forward(_ context: ChannelHandlerContext) {
            let buffer = ByteBuffer(bytes: received)
            received = []
            server(context).whenComplete { result in
                if case .success(let channel) = result { channel.writeAndFlush(buffer, promise: nil) }
            }
        }

        private func server(_ context: ChannelHandlerContext) -> EventLoopFuture<any Channel> {
            if let back { return back }
            let front = NIOLoopBound(self, eventLoop: context.eventLoop)
            let port = state.value.withLock { $0.serverPort } ?? 0
            let connected = ClientBootstrap(group: context.eventLoop)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(BackHandler(front.value))
                    }
                }.connect(host: "127.0.0.1", port: port)
            connected.whenFailure { _ in front.value.serverEnded() }
            back = connected
            return connected
        }

        private static func bodyCount(_ head: String) -> Int {
            for line in head.split(separator: "\r\n") where line.lowercased().hasPrefix("content-length:") {
                return Int(line.dropFirst("content-length:".count).drop { $0 == " " }) ?? 0
            }
            return 0
        }
    }

    private final class BackHandler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let front: FrontHandler
        init(_ front: FrontHandler) { self.front = front }
        func channelRead(context: ChannelHandlerContext, data: NIOAny) { front.answered(unwrapInboundIn(data)) }
        func channelInactive(context: ChannelHandlerContext) { front.serverEnded() }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}

extension Middleman.Treatment {
    /// An answer of that status with a JSON body or another one.
    static func status(_ status: Int, _ body: String = "{}", headers: [String] = []) -> Self {
        let fields = ["Content-Length: \(body.utf8.count)", "Content-Type: application/json"] + headers
        return .answer("HTTP/1.1 \(status) X\r\n" + fields.joined(separator: "\r\n") + "\r\n\r\n" + body)
    }
}
