import NIOCore
import NIOPosix
import Synchronization

/// A proxy that a test plays request by request; what it opens a tunnel for goes to one port of this machine.
final class ScriptedProxy: Sendable {
    enum Answer: Sendable {
        /// `HTTP/1.1 200`, then these octets at once, then the tunnel.
        case tunnel(early: [UInt8] = [])
        /// As written; the connection stays.
        case text(String)
        /// As written, then the end.
        case last(String)
        case silence
    }

    struct Request: Sendable {
        /// Counted over all connections, from 0.
        let number: Int
        /// Of this proxy, from 0.
        let connection: Int
        let head: String

        /// The value of a field, its name in lower case.
        func field(_ name: String) -> String? {
            head.split(separator: "\r\n").first { $0.lowercased().hasPrefix(name + ":") }
                .map { String($0.drop { $0 != ":" }.dropFirst(2)) }
        }
    }

    fileprivate struct State {
        var requests: [Request] = []
        var connections = 0
    }

    let port: Int
    private let listener: any Channel
    private let shared: Shared

    final class Shared: Sendable {
        private let state = Mutex(State())
        fileprivate func withLock<R>(_ body: (inout State) -> R) -> R { state.withLock { body(&$0) } }
    }

    init(
        to target: Int, host: String = "127.0.0.1", below: @escaping @Sendable (any Channel) throws -> Void = { _ in },
        _ script: @escaping @Sendable (Request) -> Answer
    ) async throws {
        let shared = Shared()
        self.shared = shared
        listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try below(channel)
                    try channel.pipeline.syncOperations.addHandler(Handler(target, shared, script))
                }
            }
            .bind(host: host, port: 0).get()
        port = listener.localAddress?.port ?? 0
    }

    var requests: [Request] { shared.withLock { $0.requests } }
    var connections: Int { shared.withLock { $0.connections } }
    func close() async { try? await listener.close() }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let target: Int
        private let shared: Shared
        private let script: @Sendable (Request) -> Answer
        private var received = ByteBuffer()
        private var connection = 0
        private var far: (any Channel)?

        init(_ target: Int, _ shared: Shared, _ script: @escaping @Sendable (Request) -> Answer) {
            (self.target, self.shared, self.script) = (target, shared, script)
        }

        func channelActive(context: ChannelHandlerContext) {
            connection = shared.withLock { state in
                state.connections += 1
                return state.connections - 1
            }
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            if let far { return far.writeAndFlush(unwrapInboundIn(data), promise: nil) }
            received.writeImmutableBuffer(unwrapInboundIn(data))
            let text = String(buffer: received)
            guard let end = text.firstRange(of: "\r\n\r\n") else { return }
            received.moveReaderIndex(forwardBy: text[..<end.upperBound].utf8.count)
            let connection = connection
            let request = shared.withLock { state in
                let request = Request(
                    number: state.requests.count, connection: connection, head: String(text[..<end.lowerBound]))
                state.requests.append(request)
                return request
            }
            switch script(request) {
            case .silence: break
            case .text(let text): write(text, context)
            case .last(let text):
                write(text, context)
                context.close(promise: nil)
            case .tunnel(let early):
                let near = context.channel
                let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
                ClientBootstrap(group: context.eventLoop)
                    .channelInitializer { far in
                        far.eventLoop.makeCompletedFuture { try far.pipeline.syncOperations.addHandler(Back(near)) }
                    }
                    .connect(host: "127.0.0.1", port: target).whenSuccess { far in
                        let (handler, context) = bound.value
                        handler.far = far
                        var answer = ByteBuffer(string: "HTTP/1.1 200 Connection established\r\n\r\n")
                        answer.writeBytes(early)
                        context.writeAndFlush(handler.wrapOutboundOut(answer), promise: nil)
                        if handler.received.readableBytes > 0 { far.writeAndFlush(handler.received, promise: nil) }
                    }
            }
        }

        func channelInactive(context: ChannelHandlerContext) { far?.close(promise: nil) }

        private func write(_ text: String, _ context: ChannelHandlerContext) {
            context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
        }
    }

    private final class Back: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let near: any Channel
        init(_ near: any Channel) { self.near = near }
        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            near.writeAndFlush(unwrapInboundIn(data), promise: nil)
        }
        func channelInactive(context: ChannelHandlerContext) { near.close(promise: nil) }
    }
}
