import Diagnostics
import NIOCore

/// Asks a proxy for a tunnel at the begin of a connection, then leaves the pipeline to TLS.
///
/// Used on the channel's event loop. `outcome` is called exactly once: with a tunnel, after which the handlers of the
/// target stand on the channel and octets that came behind the proxy's answer are theirs; or without, and the channel is
/// closed. All answers of one connection together have `deadline`.
final class TunnelHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Outcome {
        case established
        /// The proxy closes with its challenge: the negotiation goes on with a new connection.
        case reconnect
        case failed(DiagnosedError)
    }

    private enum State {
        case idle
        /// A request is out.
        case asking
        /// The answer to a challenge follows when this many octets of body are gone.
        case skipping(Int)
        case skippingChunks(ChunkedBodySkipper, octets: Int)
        case over
    }

    private(set) var negotiation: ProxyNegotiation
    private let deadline: TimeAmount
    private let outcome: (Outcome, ProxyNegotiation, any Channel) -> Void
    private var state = State.idle
    private var received = ByteBuffer()
    private var requests = 0
    private var timer: Scheduled<Void>?

    init(
        _ negotiation: ProxyNegotiation, deadline: TimeAmount,
        outcome: @escaping (Outcome, ProxyNegotiation, any Channel) -> Void
    ) {
        self.negotiation = negotiation
        self.deadline = deadline
        self.outcome = outcome
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { start(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        start(context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        ended(context, "the end of the connection")
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { ended(context, "the end of the connection") }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if case .over = state { return context.fireErrorCaught(error) }
        if let error = error as? DiagnosedError {
            // TLS with the proxy itself.
            finish(context, .failed(negotiation.cut(error.description)))
        } else {
            ended(context, "an error of the connection (\(error))")
        }
    }

    private func start(_ context: ChannelHandlerContext) {
        guard case .idle = state else { return }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: deadline) {
            let (handler, context) = bound.value
            handler.finish(
                context, .failed(handler.negotiation.timeout("\(handler.deadline.nanoseconds / 1_000_000) ms")))
        }
        ask(context)
    }

    private func ask(_ context: ChannelHandlerContext) {
        do {
            let request = try negotiation.request()
            requests += 1
            state = .asking
            context.writeAndFlush(wrapOutboundOut(context.channel.allocator.buffer(string: request)), promise: nil)
        } catch {
            let error =
                error as? DiagnosedError
                ?? DiagnosedError(.proxyAuthentication, fault: .configuration, "the proxy's password can not be read")
            finish(context, .failed(error))
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .over = state { return context.fireChannelRead(data) }
        received.writeImmutableBuffer(unwrapInboundIn(data))
        do throws(ConnectAnswer.Failure) {
            try advance(context)
        } catch {
            guard case .malformed(let found) = error else { return }
            finish(context, .failed(negotiation.invalid(found)))
        }
    }

    private func advance(_ context: ChannelHandlerContext) throws(ConnectAnswer.Failure) {
        while true {
            switch state {
            case .idle, .over: return
            case .asking:
                guard let answer = try ConnectAnswer.take(from: &received) else { return }
                // Interim answers mean nothing for a tunnel.
                if answer.status >= 200 { judge(answer, context) }
            case .skipping(let left):
                let step = min(left, received.readableBytes)
                received.moveReaderIndex(forwardBy: step)
                guard left == step else { return state = .skipping(left - step) }
                ask(context)
            case .skippingChunks(var skipper, let octets):
                let before = received.readableBytes
                let isOver = try skipper.skip(&received)
                let total = octets + before - received.readableBytes
                if isOver {
                    ask(context)
                } else {
                    guard total <= ConnectAnswer.maximumBodyBytes else { return finish(context, .reconnect) }
                    state = .skippingChunks(skipper, octets: total)
                    return
                }
            }
        }
    }

    private func judge(_ answer: ConnectAnswer, _ context: ChannelHandlerContext) {
        switch negotiation.answered(answer) {
        case .established: establish(context)
        case .failed(let error): finish(context, .failed(error))
        case .again:
            guard answer.keepsConnection else { return finish(context, .reconnect) }
            switch answer.body {
            case .length(let length): state = .skipping(length)
            case .chunked: state = .skippingChunks(ChunkedBodySkipper(), octets: 0)
            case .untilEnd: finish(context, .reconnect)
            }
        }
    }

    private func establish(_ context: ChannelHandlerContext) {
        state = .over
        timer?.cancel()
        // Puts TLS above this handler: it starts at once, for the channel is active.
        outcome(.established, negotiation, context.channel)
        if received.readableBytes > 0 {
            context.fireChannelRead(wrapInboundOut(received))
            context.fireChannelReadComplete()
        }
        received = ByteBuffer()
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    private func ended(_ context: ChannelHandlerContext, _ found: String) {
        switch state {
        case .over: return
        // Closed while its challenge is being read: the same as a challenge that says it will close.
        case .skipping, .skippingChunks: finish(context, .reconnect)
        // It said that it would stay, and did not: worth a connection, as after any idle one (RFC 9112 section 9.3.1).
        case .asking where requests > 1 && received.readableBytes == 0: finish(context, .reconnect)
        case .idle, .asking: finish(context, .failed(negotiation.cut(found)))
        }
    }

    private func finish(_ context: ChannelHandlerContext, _ result: Outcome) {
        if case .over = state { return }
        state = .over
        timer?.cancel()
        outcome(result, negotiation, context.channel)
        context.close(promise: nil)
    }
}
