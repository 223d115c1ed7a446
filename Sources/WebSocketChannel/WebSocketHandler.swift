import Diagnostics
import NIOCore

/// The channel handler below a `WebSocketConnection`: octets to frames to the session's rules, and back.
///
/// It owns parser, session and timers; all of it runs on the event loop. The session decides, the handler only moves.
final class WebSocketHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let outbox = WebSocketOutbox()
    weak var connection: WebSocketConnection?

    private let role: WebSocketConnection.Role
    private let limits: WebSocketLimits
    private var parser: WebSocketFrameParser
    private var session: WebSocketSession
    private var context: ChannelHandlerContext?
    private var random = SystemRandomNumberGenerator()

    private var isReading = true
    private var isReadWanted = false
    private var isInReadBatch = false
    private var isOutputClosed = false
    private var pendingPong: [UInt8]?
    private var unflushed: ByteBuffer?
    private var cause: DiagnosedError?
    private var heartbeatTimer: Scheduled<Void>?
    private var deadlineTimer: Scheduled<Void>?

    /// Messages up to this many octets share one buffer.
    private static let batchBytes = 64 * 1024

    init(role: WebSocketConnection.Role, limits: WebSocketLimits) {
        self.role = role
        self.limits = limits
        parser = WebSocketFrameParser(expectsMask: role == .server, maximumFrameBytes: limits.maximumFrameBytes)
        session = WebSocketSession(limits: limits, now: .now())
    }

    // MARK: - Life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        retained = connection
        session.noteSignOfLife(now: context.eventLoop.now)
        scheduleHeartbeat(context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end()
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if cause == nil {
            cause =
                error as? DiagnosedError
                ?? DiagnosedError(
                    .webSocketLost, fault: .peer, "the connection failed", found: String(describing: error),
                    hint: "the peer or the network between has gone away: connect again")
        }
        context.close(promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent:
            close(code: WebSocketCloseCode.goingAway, reason: "going away")
        case ChannelEvent.inputClosed:
            context.close(promise: nil)
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }

    // MARK: - Reading

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        guard !session.isFinished else { return }
        isInReadBatch = true
        session.noteSignOfLife(now: context.eventLoop.now)
        do throws(WebSocketViolation) {
            while !session.isFinished, let frame = try parser.next(from: &buffer) {
                perform(session.receive(frame), context: context)
            }
        } catch {
            perform(session.fail(error), context: context)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        isInReadBatch = false
        sendPendingPong(context)
        flush(context)
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) {
        // After the end what still arrives is dropped, so that it can not hold up the closing.
        if isReading || session.isFinished { context.read() } else { isReadWanted = true }
    }

    /// The consumer has caught up.
    func resumeReading() {
        guard !isReading, let context else { return }
        isReading = true
        session.noteSignOfLife(now: context.eventLoop.now)
        if isReadWanted {
            isReadWanted = false
            context.read()
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        sendPendingPong(context)
        flush(context)
        context.fireChannelWritabilityChanged()
    }

    // MARK: - Writing

    /// Frames of everything that was enqueued, flushed at once.
    func drain() {
        guard let context, session.isOpen else { return }
        for message in outbox.take() {
            switch message {
            case .text(let text): append(.text, text.utf8, context: context)
            case .binary(let bytes): append(.binary, bytes, context: context)
            }
        }
        flush(context)
    }

    func close(code: UInt16, reason: String) {
        guard let context, session.isOpen else { return }
        drain()
        perform(session.close(code: code, reason: Self.shortened(reason)), context: context)
        flush(context)
        schedule(context, after: limits.closeDeadline) { handler, context in
            handler.perform(handler.session.closeDeadlinePassed(), context: context)
        }
    }

    private func append(
        _ opcode: WebSocketFrame.Opcode, _ payload: some Collection<UInt8>, context: ChannelHandlerContext
    ) {
        guard !isOutputClosed else { return }
        let mask = role == .client ? WebSocketMask.random(using: &random) : nil
        var buffer = unflushed ?? context.channel.allocator.buffer(capacity: payload.count + 14)
        unflushed = nil
        buffer.writeWebSocketFrame(opcode, payload: payload, mask: mask)
        if !opcode.isControl { unflushedPayload += payload.count }
        if buffer.readableBytes >= Self.batchBytes {
            write(buffer, context: context)
        } else {
            unflushed = buffer
        }
    }

    private func write(_ buffer: ByteBuffer, context: ChannelHandlerContext) {
        let count = unflushedPayload
        unflushedPayload = 0
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.whenComplete { [outbox] _ in outbox.sent(count) }
        context.write(wrapOutboundOut(buffer), promise: promise)
        isFlushDue = true
    }

    private func flush(_ context: ChannelHandlerContext) {
        guard !isInReadBatch else { return }
        if let buffer = unflushed {
            unflushed = nil
            write(buffer, context: context)
        }
        guard isFlushDue else { return }
        isFlushDue = false
        context.flush()
    }

    private var unflushedPayload = 0
    private var isFlushDue = false

    /// Only the newest ping is answered when the peer does not read (RFC 6455 section 5.5.3).
    private func sendPendingPong(_ context: ChannelHandlerContext) {
        guard let payload = pendingPong, context.channel.isWritable, session.isOpen else { return }
        pendingPong = nil
        append(.pong, payload, context: context)
    }

    // MARK: - Actions

    private func perform(_ actions: [WebSocketSession.Action], context: ChannelHandlerContext) {
        for action in actions {
            switch action {
            case .deliver(let message):
                if let connection, !connection.inbound.push(message, cost: message.byteCount + 64) { isReading = false }
            case .sendPong(let payload):
                pendingPong = payload
            case .sendPing:
                // A peer that takes nothing gets no further pings piled up for it.
                if context.channel.isWritable { append(.ping, [], context: context) }
                flush(context)
            case .sendClose(let code, let reason):
                var payload: [UInt8] = []
                if let code { payload = [UInt8(code >> 8), UInt8(truncatingIfNeeded: code)] + Array(reason.utf8) }
                append(.close, payload, context: context)
                isOutputClosed = true
            case .finish(let gently):
                finish(gently: gently, context: context)
            }
        }
    }

    /// The server ends the connection first, the client waits for that (RFC 6455 section 7.1.1). Gently: the peer may
    /// still be sending, and closing at once would reset the connection and lose our close frame.
    private func finish(gently: Bool, context: ChannelHandlerContext) {
        isInReadBatch = false
        flush(context)
        if let closure = session.closure { connection?.didEnd(closure) }
        heartbeatTimer?.cancel()
        guard gently else { return context.close(promise: nil) }
        schedule(context, after: limits.closeDeadline) { _, context in context.close(promise: nil) }
        if role == .server { context.close(mode: .output, promise: nil) }
        if isReadWanted {
            isReadWanted = false
            context.read()
        }
    }

    func setHeartbeat(_ heartbeat: WebSocketHeartbeat?) {
        guard let context, session.isOpen else { return }
        session.heartbeat = heartbeat
        session.noteSignOfLife(now: context.eventLoop.now)
        scheduleHeartbeat(context)
    }

    private func end() {
        heartbeatTimer?.cancel()
        deadlineTimer?.cancel()
        session.connectionLost(cause)
        if let closure = session.closure { connection?.didEnd(closure) }
        retained = nil
    }

    /// The connection lives as long as its channel, also when nobody else holds it.
    private var retained: WebSocketConnection?

    private func scheduleHeartbeat(_ context: ChannelHandlerContext) {
        heartbeatTimer?.cancel()
        guard let heartbeat = session.heartbeat else { return }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        heartbeatTimer = context.eventLoop.scheduleTask(in: heartbeat.interval) {
            let (handler, context) = bound.value
            handler.perform(
                handler.session.heartbeat(now: context.eventLoop.now, isReading: handler.isReading), context: context)
            if handler.session.isOpen { handler.scheduleHeartbeat(context) }
        }
    }

    private func schedule(
        _ context: ChannelHandlerContext, after delay: TimeAmount,
        _ body: @escaping (WebSocketHandler, ChannelHandlerContext) -> Void
    ) {
        deadlineTimer?.cancel()
        let bound = NIOLoopBound((self, context, body), eventLoop: context.eventLoop)
        deadlineTimer = context.eventLoop.scheduleTask(in: delay) {
            let (handler, context, body) = bound.value
            body(handler, context)
        }
    }

    /// A close frame has room for 123 octets of reason.
    private static func shortened(_ reason: String) -> String {
        var text = reason
        while text.utf8.count > WebSocketFrame.maximumControlPayload - 2 { text.removeLast() }
        return text
    }
}
