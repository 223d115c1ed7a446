import Diagnostics
import HummingbirdCore
import Logging
import NIOCore
import NIOExtras
import NIOPosix
import ServiceLifecycle
import Synchronization

/// An HTTP/1.1 server on a socket that listens already. On the graceful shutdown it accepts nothing more: what waits in the
/// socket's queue is for the next process, if systemd keeps it. What it accepted before is answered.
struct HealthServer {
    let socket: HealthSocket
    let maximumConnections: Int
    let group: any EventLoopGroup
    let logger: Logger
    let channel: HTTP1Channel

    func run(onListening: () -> Void) async throws {
        let quiescing = ServerQuiescingHelper(group: group)
        let gate = AcceptGate()
        let server = try await ServerBootstrap(group: group)
            .serverChannelInitializer { [maximumConnections] channel in
                channel.eventLoop.makeCompletedFuture {
                    let operations = channel.pipeline.syncOperations
                    try operations.addHandler(gate.handler())
                    try operations.addHandler(
                        AvailableConnectionsChannelHandler(delegate: MaximumAvailableConnections(maximumConnections)))
                    try operations.addHandler(quiescing.makeServerChannelHandler(channel: channel))
                }
            }
            .childChannelOption(ChannelOptions.allowRemoteHalfClosure, value: true)
            .bind(socket.descriptor) { [channel, logger] connection in
                connection.eventLoop.makeCompletedFuture {
                    try connection.pipeline.syncOperations.addHandler(FirstRequestGrace())
                }.flatMap { channel.setup(channel: connection, logger: logger) }
            }
        onListening()
        await withGracefulShutdownHandler {
            await withDiscardingTaskGroup { [channel, logger] connections in
                do {
                    try await server.executeThenClose { accepted in
                        for try await connection in accepted {
                            gate.handedOver(connection.channel)
                            connections.addTask {
                                // Detached, so that it does not hear of the stop by itself: Hummingbird would close a
                                // connection whose first request is on its way. The pipeline hears of it, in order.
                                let task = Task.detached { await channel.handle(value: connection, logger: logger) }
                                await withTaskCancellationHandler {
                                    await task.value
                                } onCancel: {
                                    task.cancel()
                                }
                            }
                        }
                    }
                } catch {
                    logger.debug("the health address accepts nothing more", metadata: ["error": "\(error)"])
                }
            }
        } onGracefulShutdown: {
            gate.close(server.channel) { quiescing.initiateShutdown(promise: nil) }
        }
    }
}

/// Counts what was accepted and is not yet in the hands of who serves it, and holds the stop until nothing is.
///
/// swift-nio sets a connection up on an event loop of its own, and closes one whose server channel was closed meanwhile
/// (ServerBootstrap's AcceptHandler), or loses its writer (NIOAsyncChannelHandler), which ends the process.
private final class AcceptGate: Sendable {
    private let pending = Mutex<Set<ObjectIdentifier>>([])

    /// The first of a server channel's handlers.
    func handler() -> some ChannelHandler { Handler(gate: self) }

    func handedOver(_ connection: any Channel) {
        pending.withLock { _ = $0.remove(ObjectIdentifier(connection)) }
    }

    /// Accepts nothing more; then `onClosed`, when all that was accepted is handed over.
    func close(_ server: any Channel, onClosed: @escaping @Sendable () -> Void) {
        server.setOption(.autoRead, value: false).whenComplete { _ in
            server.eventLoop.execute {
                server.pipeline.fireUserInboundEventTriggered(Closing())
                self.whenHandedOver(on: server.eventLoop, onClosed)
            }
        }
    }

    private func whenHandedOver(on loop: any EventLoop, _ onClosed: @escaping @Sendable () -> Void) {
        guard pending.withLock({ !$0.isEmpty }) else { return onClosed() }
        loop.scheduleTask(in: .milliseconds(1)) { self.whenHandedOver(on: loop, onClosed) }
    }

    private struct Closing {}

    private final class Handler: ChannelDuplexHandler {
        typealias InboundIn = any Channel
        typealias OutboundIn = Never

        private let gate: AcceptGate
        private var isClosed = false

        init(gate: AcceptGate) { self.gate = gate }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let connection = unwrapInboundIn(data)
            let id = ObjectIdentifier(connection)
            gate.pending.withLock { _ = $0.insert(id) }
            // One that never gets there: its client was away before it was set up.
            connection.closeFuture.whenComplete { [gate] _ in gate.pending.withLock { _ = $0.remove(id) } }
            context.fireChannelRead(data)
        }

        /// Somebody asks beside the automatic reads: the bound of connections, when one of them ends.
        func read(context: ChannelHandlerContext) {
            if !isClosed { context.read() }
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if event is Closing { isClosed = true } else { context.fireUserInboundEventTriggered(event) }
        }
    }
}

/// Lets the first request of a connection arrive that was accepted just before the stop: whoever opened it has sent it, or
/// does so within half a second.
private final class FirstRequestGrace: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private struct Over: Sendable {}

    private var hasRead = false
    private var isStopping = false

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        hasRead = true
        context.fireChannelRead(data)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        if hasRead { stop(context) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent where !hasRead:
            isStopping = true
            let channel = context.channel
            channel.eventLoop.scheduleTask(in: .milliseconds(500)) {
                channel.pipeline.fireUserInboundEventTriggered(Over())
            }
        case is Over: stop(context)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    private func stop(_ context: ChannelHandlerContext) {
        guard isStopping else { return }
        isStopping = false
        context.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
    }
}
