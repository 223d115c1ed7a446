import Logging
import NIOCore

/// Keeps a listening channel alive when accepting fails for a while, as when file descriptors run out.
///
/// Without it one such error would end the whole server. It waits a moment, for the condition does not go by itself.
final class AcceptGuard: ChannelDuplexHandler {
    typealias InboundIn = any Channel
    typealias OutboundIn = Never

    private static let pause = TimeAmount.milliseconds(100)
    private let logger: Logger
    private var isPaused = false
    private var isReadWanted = false

    init(logger: Logger) { self.logger = logger }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        logger.error("a connection could not be accepted", metadata: ["error": "\(error)"])
        guard !isPaused else { return }
        isPaused = true
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(in: Self.pause) {
            let (handler, context) = bound.value
            handler.isPaused = false
            guard handler.isReadWanted else { return }
            handler.isReadWanted = false
            context.read()
        }
    }

    func read(context: ChannelHandlerContext) {
        if isPaused { isReadWanted = true } else { context.read() }
    }
}
