import Diagnostics
import HummingbirdCore
import Logging
import NIOCore
import NIOExtras
import NIOPosix
import ServiceLifecycle

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
        let server = try await ServerBootstrap(group: group)
            .serverChannelInitializer { [maximumConnections] channel in
                channel.eventLoop.makeCompletedFuture {
                    let operations = channel.pipeline.syncOperations
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
            quiescing.initiateShutdown(promise: nil)
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
