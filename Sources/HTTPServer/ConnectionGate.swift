import NIOCore
import NIOHTTP1
import WebSocketChannel

/// Stands between a connection's HTTP codec and everything that serves: deadlines, ends, and who may upgrade.
///
/// On the event loop. NIO's upgrade handler, which comes after it, loses the head of a request whose upgrade it does
/// not accept and has neither a deadline nor a sense for shutdown; so this gate decides first, asynchronously, and lets
/// `Upgrade` through only when it was accepted. It answers a refused upgrade and a malformed request between requests
/// itself, ends the connection after the answer that says so, lingers so that a peer that is still sending gets to
/// read that answer (RFC 9112 section 9.6), and cuts who keeps it waiting. It leaves when a WebSocket takes over.
final class ConnectionGate: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    /// An accepted upgrade, for the upgrader behind.
    struct Accepted: Sendable {
        let limits: WebSocketLimits
        let headers: [(String, String)]
        let serve: @Sendable (WebSocketConnection) async throws -> Void
    }

    private enum Decision {
        case none
        case pending(Task<Void, Never>, parts: [HTTPServerRequestPart])
        case accepted(Accepted)
    }

    private let routes: [WebSocketRoute]
    private let configuration: WebServerConfiguration
    private let isShuttingDown: @Sendable () -> Bool

    private var progress = ConnectionProgress()
    private var pace = BodyPace()
    private var decision = Decision.none
    private var isOutputClosed = false
    private var isReadWanted = false
    private var waitTimer: Scheduled<Void>?
    private var writeTimer: Scheduled<Void>?

    private var deadlines: WebServerDeadlines { configuration.deadlines }

    init(
        configuration: WebServerConfiguration, routes: [WebSocketRoute], isShuttingDown: @escaping @Sendable () -> Bool
    ) {
        self.configuration = configuration
        self.routes = routes
        self.isShuttingDown = isShuttingDown
    }

    /// The upgrade that was let through.
    var accepted: Accepted? {
        guard case .accepted(let accepted) = decision else { return nil }
        return accepted
    }

    // MARK: - Life

    func handlerAdded(context: ChannelHandlerContext) {
        arm(context)
        // A shutdown that began while the connection was accepted has told only those that were there.
        guard isShuttingDown() else { return }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        context.eventLoop.execute {
            let (gate, context) = bound.value
            gate.quiesce(context)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) { disarm() }

    func channelInactive(context: ChannelHandlerContext) {
        disarm()
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent:
            quiesce(context)
        case ChannelEvent.inputClosed:
            var isDeciding = false
            if case .pending = decision { isDeciding = true }
            if progress.isIdle || isDeciding || isOutputClosed { return context.close(promise: nil) }
            context.fireUserInboundEventTriggered(event)
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // What comes after the last answer is of no interest, however broken.
        guard !isOutputClosed else { return }
        guard let error = error as? HTTPParserError, progress.isIdle || isDeciding else {
            return context.fireErrorCaught(error)
        }
        let refusal =
            error == .headerOverflow
            ? UpgradeRefusal(status: 431, message: "the head of the request is too long")
            : UpgradeRefusal(status: 400, message: "the request is no valid HTTP/1.1")
        answer(refusal, context)
    }

    private var isDeciding: Bool {
        if case .pending = decision { return true }
        return false
    }

    private func quiesce(_ context: ChannelHandlerContext) {
        if progress.quiesce(), !isOutputClosed { context.close(promise: nil) }
    }

    // MARK: - Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // After the last answer what still comes is read and dropped until the peer closes.
        guard !isOutputClosed else { return }
        let part = unwrapInboundIn(data)
        if case .pending(let task, var parts) = decision {
            parts.append(part)
            decision = .pending(task, parts: parts)
            return
        }
        switch part {
        case .head(let head): readHead(head, context)
        case .body(let body):
            pace.receive(body.readableBytes)
            progress.readBody(body.readableBytes)
            context.fireChannelRead(data)
        case .end:
            progress.readEnd()
            arm(context)
            context.fireChannelRead(data)
        }
    }

    private func readHead(_ received: HTTPRequestHead, _ context: ChannelHandlerContext) {
        var head = received
        let isFirst = !progress.hasReadHead
        let length = head.headers.first(name: "content-length").flatMap { Int($0) }
        let isChunked = head.headers.contains(name: "transfer-encoding")
        // NIO's decoder reads nothing after a request that asked for an upgrade.
        progress.readHead(
            keepsAlive: head.isKeepAlive && !UpgradeGate.endsDecoding(head),
            contentLength: isChunked ? nil : length ?? 0)
        if isFirst {
            let address = context.channel.remoteAddress?.ipAddress ?? "unknown"
            switch UpgradeGate.wish(head, routes: routes, remoteAddress: address) {
            case .none: break
            case .malformed(let refusal): return answer(refusal, context)
            case .webSocket(let route, let request): return decide(route, request, head, context)
            }
        }
        UpgradeGate.strip(&head.headers)
        if head.headers[canonicalForm: "expect"].contains(where: { $0.lowercased() == "100-continue" }) {
            let limit = configuration.bodyLimit(path: UpgradeGate.split(head.uri).path)
            if progress.requestsInFlight == 1, length ?? 0 <= limit {
                let invitation = HTTPResponseHead(version: .http1_1, status: .continue)
                context.writeAndFlush(wrapOutboundOut(.head(invitation)), promise: nil)
            }
        }
        arm(context)
        context.fireChannelRead(wrapInboundOut(.head(head)))
    }

    func read(context: ChannelHandlerContext) {
        guard !isDeciding else {
            isReadWanted = true
            return
        }
        pace.startWaiting(now: context.eventLoop.now)
        context.read()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        pace.stopWaiting(now: context.eventLoop.now)
        if isOutputClosed { context.read() }
        context.fireChannelReadComplete()
    }

    // MARK: - Upgrade

    private func decide(
        _ route: WebSocketRoute, _ request: UpgradeRequest, _ head: HTTPRequestHead, _ context: ChannelHandlerContext
    ) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let eventLoop = context.eventLoop
        let task = Task {
            let outcome = await route.decide(request)
            eventLoop.execute {
                let (gate, context) = bound.value
                gate.decided(outcome, route, context)
            }
        }
        decision = .pending(task, parts: [.head(head)])
        schedule(context, after: deadlines.decision) { gate, context in
            gate.decided(.refuse(503, message: "the server could not decide in time"), route, context)
        }
    }

    private func decided(_ outcome: UpgradeDecision, _ route: WebSocketRoute, _ context: ChannelHandlerContext) {
        guard case .pending(let task, let parts) = decision, context.channel.isActive else { return }
        // First of all, for an accepted request takes this gate out of the pipeline.
        if isReadWanted {
            isReadWanted = false
            context.read()
        }
        switch outcome {
        case .refuse(let refusal):
            task.cancel()
            decision = .none
            answer(refusal, context)
        case .accept(let headers, let serve):
            disarm()
            decision = .accepted(Accepted(limits: route.limits, headers: headers, serve: serve))
            for part in parts { context.fireChannelRead(wrapInboundOut(part)) }
            context.fireChannelReadComplete()
        }
    }

    /// The gate's own answer is the last one of its connection.
    private func answer(_ refusal: UpgradeRefusal, _ context: ChannelHandlerContext) {
        var headers = HTTPHeaders(refusal.headers)
        headers.replaceOrAdd(name: "Content-Length", value: String(refusal.body.count))
        headers.replaceOrAdd(name: "Connection", value: "close")
        let head = HTTPResponseHead(
            version: .http1_1, status: HTTPResponseStatus(statusCode: refusal.status), headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: refusal.body)))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        closeOutput(context, promise: nil)
    }

    // MARK: - Answers

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard !isOutputClosed else {
            promise?.fail(ChannelError.outputClosed)
            return
        }
        switch unwrapOutboundIn(data) {
        case .head(var head) where head.status.code >= 200:
            let saysClose = head.headers[canonicalForm: "connection"].contains { $0.lowercased() == "close" }
            if progress.writeHead(saysClose: saysClose), !saysClose {
                head.headers.replaceOrAdd(name: "Connection", value: "close")
            }
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .end:
            context.write(data, promise: promise)
            if progress.writeEnd() {
                context.flush()
                closeOutput(context, promise: nil)
            } else {
                arm(context)
            }
        default:
            context.write(data, promise: promise)
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        writeTimer?.cancel()
        writeTimer = nil
        if !context.channel.isWritable {
            let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
            writeTimer = context.eventLoop.scheduleTask(in: deadlines.stalledWrite) {
                bound.value.close(promise: nil)
            }
        }
        context.fireChannelWritabilityChanged()
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard mode == .output else { return context.close(mode: mode, promise: promise) }
        if isOutputClosed { promise?.succeed() } else { closeOutput(context, promise: promise) }
    }

    /// What was written goes out, then the end; then the peer has a moment to close.
    private func closeOutput(_ context: ChannelHandlerContext, promise: EventLoopPromise<Void>?) {
        isOutputClosed = true
        let closed = context.eventLoop.makePromise(of: Void.self)
        closed.futureResult.cascade(to: promise)
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        closed.futureResult.whenComplete { _ in
            let (gate, context) = bound.value
            guard context.channel.isActive else { return }
            gate.schedule(context, after: gate.deadlines.linger) { _, context in context.close(promise: nil) }
        }
        context.close(mode: .output, promise: closed)
        context.read()
    }

    // MARK: - Deadlines

    /// Sets the deadline that fits what is waited for.
    private func arm(_ context: ChannelHandlerContext) {
        guard !isOutputClosed else { return }
        switch progress.wait {
        case .none:
            waitTimer?.cancel()
            waitTimer = nil
        case .firstRequest:
            schedule(context, after: deadlines.firstRequest) { _, context in context.close(promise: nil) }
        case .nextRequest:
            schedule(context, after: deadlines.idle) { _, context in context.close(promise: nil) }
        case .body:
            pace = BodyPace()
            pace.startWaiting(now: context.eventLoop.now)
            watchBody(context)
        }
    }

    private func watchBody(_ context: ChannelHandlerContext) {
        schedule(context, after: deadlines.bodyWindow) { gate, context in
            if gate.pace.closeWindow(gate.deadlines.bodyWindow, now: context.eventLoop.now) {
                gate.watchBody(context)
            } else {
                context.close(promise: nil)
            }
        }
    }

    private func schedule(
        _ context: ChannelHandlerContext, after delay: TimeAmount,
        _ body: @escaping (ConnectionGate, ChannelHandlerContext) -> Void
    ) {
        waitTimer?.cancel()
        let bound = NIOLoopBound((self, context, body), eventLoop: context.eventLoop)
        waitTimer = context.eventLoop.scheduleTask(in: delay) {
            let (gate, context, body) = bound.value
            body(gate, context)
        }
    }

    private func disarm() {
        waitTimer?.cancel()
        waitTimer = nil
        writeTimer?.cancel()
        writeTimer = nil
        if case .pending(let task, _) = decision { task.cancel() }
    }
}
