package import Diagnostics
package import NIOCore

/// TLS in a channel's pipeline, client or server: the first handler, with plaintext above it.
///
/// The handshake starts when the channel is active, or at once when it already is. Until it is done, writes wait.
/// Errors are `DiagnosedError`s: the alert goes out, the error is fired, the channel is closed; there is no second try
/// with less. Flushed writes that are small are joined into full records; while the channel is not writable nothing
/// is encrypted, so that a slow peer costs the memory of its writes only once. `close(mode: .output)` sends what was
/// written, then close_notify, then FIN, and closes all after `closeDeadline`. An end without close_notify is fired as
/// `tls-truncated`. With `allowRemoteHalfClosure` the peer's close_notify shows as `ChannelEvent.inputClosed`, else it
/// closes the channel.
package final class TLSChannelHandler: ChannelDuplexHandler, RemovableChannelHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer
    package typealias OutboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    /// The name in the pipeline of the handler that speaks with the other end; one towards a proxy has none.
    package static let name = "tls"

    private enum State {
        case waiting
        case handshaking
        case open
        /// close_notify is written, the peer may go on sending.
        case outputClosed
        case closed
    }

    /// Since the handshake is done. On the event loop.
    package private(set) var session: TLSSession?

    private let connection: TLSConnection
    private let handshakeDeadline: TimeAmount
    private let closeDeadline: TimeAmount
    private var state = State.waiting
    private var handshakePromise: EventLoopPromise<TLSSession>?

    private var pending = MarkedCircularBuffer<(data: ByteBuffer, promise: EventLoopPromise<Void>?)>(initialCapacity: 8)
    private var isEncrypting = false
    private var isWritabilityEventDue = false
    /// Set by `close(mode: .output)` until its close_notify is out.
    private var outputClosing: (isRequested: Bool, promise: EventLoopPromise<Void>?) = (false, nil)
    private var isInputEnded = false
    private var isReadWanted = false
    private var hasRead = false
    private var deadline: Scheduled<Void>?

    /// Plaintext that is encrypted between two looks at the channel's writability.
    private static let batchBytes = 64 * 1024
    private static let recordBytes = 16 * 1024

    /// - Parameters:
    ///   - serverName: for clients the DNS name or address that the certificate must carry.
    ///   - handshake: told the outcome of the handshake; a promise of the channel's event loop.
    package init(
        _ configuration: TLSConfiguration, serverName: String? = nil, handshake: EventLoopPromise<TLSSession>? = nil,
        handshakeDeadline: TimeAmount = .seconds(10), closeDeadline: TimeAmount = .seconds(5)
    ) throws(DiagnosedError) {
        do {
            connection = try TLSConnection(configuration, serverName: serverName)
        } catch {
            handshake?.fail(error)
            throw error
        }
        handshakePromise = handshake
        self.handshakeDeadline = handshakeDeadline
        self.closeDeadline = closeDeadline
    }

    // MARK: - Life

    package func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { start(context) }
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        end(context, failing: Self.closedError)
    }

    package func channelActive(context: ChannelHandlerContext) {
        start(context)
        context.fireChannelActive()
    }

    package func channelInactive(context: ChannelHandlerContext) {
        endInput(context)
        end(context, failing: Self.closedError)
        context.fireChannelInactive()
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // An error of the socket says more than the missing close_notify that follows from it.
        isInputEnded = true
        handshakePromise?.fail(error)
        handshakePromise = nil
        context.fireErrorCaught(error)
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed = event else { return context.fireUserInboundEventTriggered(event) }
        guard !isInputEnded else { return }
        endInput(context)
        if state != .closed { context.fireUserInboundEventTriggered(event) }
    }

    private func start(_ context: ChannelHandlerContext) {
        guard state == .waiting else { return }
        state = .handshaking
        schedule(context, after: handshakeDeadline) { handler, context in
            handler.fail(
                DiagnosedError(
                    .tlsHandshakeTimeout, fault: .peer, "the TLS handshake took too long",
                    expected: "an end within \(handler.handshakeDeadline.nanoseconds / 1_000_000) ms"), context)
        }
        advanceHandshake(context)
    }

    private func advanceHandshake(_ context: ChannelHandlerContext) {
        do throws(DiagnosedError) {
            let session = try connection.handshake()
            send(context, promise: nil)
            guard let session, state == .handshaking else { return }
            state = .open
            self.session = session
            deadline?.cancel()
            handshakePromise?.succeed(session)
            handshakePromise = nil
            encryptPending(context)
        } catch {
            fail(error, context)
        }
    }

    // MARK: - Reading

    package func read(context: ChannelHandlerContext) {
        isReadWanted = true
        context.read()
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard state != .closed else { return }
        connection.receive(unwrapInboundIn(data))
        if state == .handshaking { advanceHandshake(context) }
        if state == .open || state == .outputClosed { decrypt(context) }
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        let wantsMore = isReadWanted && !hasRead
        hasRead = false
        context.fireChannelReadComplete()
        // Records of the handshake and parts of records satisfy no read of the handlers above.
        if wantsMore, state != .closed { context.read() }
    }

    private func decrypt(_ context: ChannelHandlerContext) {
        var plaintext = ByteBuffer()
        let result = Result { () throws(DiagnosedError) in try connection.read(into: &plaintext) }
        // Reading may have answered a key update.
        send(context, promise: nil)
        if plaintext.readableBytes > 0 {
            hasRead = true
            isReadWanted = false
            context.fireChannelRead(wrapInboundOut(plaintext))
        }
        guard state != .closed else { return }
        switch result {
        case .success(.wantsMore): break
        case .success(.closeNotify): receiveCloseNotify(context)
        case .failure(let error): fail(error, context)
        }
    }

    private func receiveCloseNotify(_ context: ChannelHandlerContext) {
        guard !isInputEnded else { return }
        isInputEnded = true
        let keepsOutput = (try? context.channel.syncOptions?.getOption(.allowRemoteHalfClosure)) ?? false
        if state == .outputClosed || !keepsOutput {
            closeAll(context, promise: nil)
        } else {
            context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        }
    }

    /// TCP's end of input: told as truncation unless close_notify came or this end has closed first.
    private func endInput(_ context: ChannelHandlerContext) {
        guard !isInputEnded else { return }
        isInputEnded = true
        connection.receiveEnd()
        switch state {
        case .handshaking: advanceHandshake(context)
        case .open:
            fail(
                DiagnosedError(
                    .tlsTruncated, fault: .peer, "the TLS connection was cut", expected: "close_notify before the end",
                    found: "the end of the connection", hint: "what came before may not be all: ask again"), context)
        case .waiting, .outputClosed, .closed: break
        }
    }

    // MARK: - Writing

    package func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard state != .closed, state != .outputClosed, !outputClosing.isRequested else {
            promise?.fail(Self.closedError)
            return
        }
        pending.append((unwrapOutboundIn(data), promise))
    }

    package func flush(context: ChannelHandlerContext) {
        pending.mark()
        encryptPending(context)
        context.flush()
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        if isEncrypting {
            isWritabilityEventDue = true
            return
        }
        encryptPending(context)
        // Handlers above are to write only when nothing of theirs is left here.
        if !pending.hasMark || !context.channel.isWritable {
            context.fireChannelWritabilityChanged()
        }
    }

    /// Handlers above that write when they are told of room come back here; that is one loop and never a recursion.
    private func encryptPending(_ context: ChannelHandlerContext) {
        guard state == .open, !isEncrypting else { return }
        isEncrypting = true
        do throws(DiagnosedError) {
            repeat {
                while state == .open, pending.hasMark, context.channel.isWritable {
                    let promise = try encryptBatch(context)
                    send(context, promise: promise)
                    if outputClosing.isRequested { scheduleCut(context, isStalled: true) }
                }
                if isWritabilityEventDue {
                    isWritabilityEventDue = false
                    context.fireChannelWritabilityChanged()
                }
            } while state == .open && pending.hasMark && context.channel.isWritable
        } catch {
            fail(error, context)
        }
        isEncrypting = false
        if state == .open, outputClosing.isRequested, pending.isEmpty { sendCloseNotify(context) }
    }

    /// Encrypts about `batchBytes`; the promise stands for all writes that went in whole.
    private func encryptBatch(_ context: ChannelHandlerContext) throws(DiagnosedError) -> EventLoopPromise<Void>? {
        var joined = ByteBuffer()
        var promises: [EventLoopPromise<Void>] = []
        var room = Self.batchBytes
        connection.reserveOutbound(min(pending.first?.data.readableBytes ?? 0, room) + 64)
        while room > 0, pending.hasMark, let first = pending.first {
            var data = first.data
            let part = data.readSlice(length: min(room, data.readableBytes)) ?? ByteBuffer()
            room -= part.readableBytes
            if data.readableBytes == 0 {
                _ = pending.removeFirst()
                if let promise = first.promise { promises.append(promise) }
            } else {
                pending[pending.startIndex].data = data
            }
            try join(part, into: &joined, isLast: !pending.hasMark || room == 0)
        }
        try encrypt(joined)
        guard let first = promises.first else { return nil }
        guard promises.count > 1 else { return first }
        let all = context.eventLoop.makePromise(of: Void.self)
        for promise in promises { all.futureResult.cascade(to: promise) }
        return all
    }

    /// Neighbouring small writes share records, long ones are encrypted where they lie.
    private func join(_ part: ByteBuffer, into joined: inout ByteBuffer, isLast: Bool) throws(DiagnosedError) {
        var part = part
        if joined.readableBytes > 0 {
            let fill = min(Self.recordBytes - joined.readableBytes, part.readableBytes)
            if var head = part.readSlice(length: fill) { joined.writeBuffer(&head) }
            guard joined.readableBytes == Self.recordBytes else { return }
            try encrypt(joined)
            joined.clear()
        }
        let whole = isLast ? part.readableBytes : part.readableBytes / Self.recordBytes * Self.recordBytes
        if whole > 0, let long = part.readSlice(length: whole) { try encrypt(long) }
        if part.readableBytes > 0 { joined.writeBuffer(&part) }
    }

    private func encrypt(_ plaintext: ByteBuffer) throws(DiagnosedError) {
        let result = unsafe plaintext.withUnsafeReadableBytes { bytes in
            Result { () throws(DiagnosedError) in unsafe try connection.write(bytes) }
        }
        try result.get()
    }

    /// Hands what OpenSSL has written to the channel.
    private func send(_ context: ChannelHandlerContext, promise: EventLoopPromise<Void>?) {
        guard let octets = connection.takeOutbound() else {
            promise?.succeed()
            return
        }
        context.writeAndFlush(wrapOutboundOut(octets), promise: promise)
    }

    // MARK: - Closing

    package func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        switch mode {
        case .input:
            context.close(mode: .input, promise: promise)
        case .all:
            closeAll(context, promise: promise)
        case .output:
            switch state {
            case .waiting, .handshaking, .open:
                guard !outputClosing.isRequested else {
                    if let promise { outputClosing.promise.setOrCascade(to: promise) }
                    return
                }
                outputClosing = (true, promise)
                pending.mark()
                if state == .open { scheduleCut(context, isStalled: true) }
                encryptPending(context)
            case .outputClosed, .closed:
                promise?.fail(ChannelError.outputClosed)
            }
        }
    }

    private func sendCloseNotify(_ context: ChannelHandlerContext) {
        guard state == .open else { return }
        state = .outputClosed
        let promise = outputClosing.promise
        outputClosing = (true, nil)
        connection.shutdown()
        let written = context.eventLoop.makePromise(of: Void.self)
        send(context, promise: written)
        if isInputEnded { return closeAll(context, promise: promise) }
        scheduleCut(context, isStalled: true)
        written.futureResult.assumeIsolated().whenSuccess {
            if self.state == .outputClosed { self.scheduleCut(context, isStalled: false) }
        }
        context.close(mode: .output, promise: promise)
    }

    /// The peer may take its time for what is still on the way to it, as long as it takes something.
    private func scheduleCut(_ context: ChannelHandlerContext, isStalled: Bool) {
        schedule(context, after: isStalled ? .nanoseconds(closeDeadline.nanoseconds * 6) : closeDeadline) {
            $0.closeAll($1, promise: nil)
        }
    }

    private func closeAll(_ context: ChannelHandlerContext, promise: EventLoopPromise<Void>?) {
        if state == .open {
            connection.shutdown()
            send(context, promise: nil)
        }
        end(context, failing: Self.closedError)
        context.close(mode: .all, promise: promise)
    }

    /// The alert, the error, the end.
    private func fail(_ error: DiagnosedError, _ context: ChannelHandlerContext) {
        guard state != .closed else { return }
        send(context, promise: nil)
        isInputEnded = true
        end(context, failing: error)
        context.fireErrorCaught(error)
        context.close(mode: .all, promise: nil)
    }

    private func end(_ context: ChannelHandlerContext, failing error: DiagnosedError) {
        state = .closed
        deadline?.cancel()
        deadline = nil
        handshakePromise?.fail(error)
        handshakePromise = nil
        outputClosing.promise?.fail(error)
        outputClosing.promise = nil
        while let (_, promise) = pending.popFirst() { promise?.fail(error) }
    }

    private func schedule(
        _ context: ChannelHandlerContext, after delay: TimeAmount,
        _ body: @escaping (TLSChannelHandler, ChannelHandlerContext) -> Void
    ) {
        deadline?.cancel()
        let bound = NIOLoopBound((self, context, body), eventLoop: context.eventLoop)
        deadline = context.eventLoop.scheduleTask(in: delay) {
            let (handler, context, body) = bound.value
            body(handler, context)
        }
    }

    private static let closedError = DiagnosedError(.tlsClosed, fault: .peer, "the TLS connection is closed")
}
