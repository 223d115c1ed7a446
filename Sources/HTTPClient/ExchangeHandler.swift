import Diagnostics
import NIOCore
import NIOHTTP1

/// Runs one `Exchange` after the other on a client's connection; above the HTTP codec, on the event loop.
///
/// A body in memory is copied piece by piece while the channel is writable, so that it is in memory only once.
final class ExchangeHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundIn = HTTPClientRequestPart
    typealias OutboundOut = HTTPClientRequestPart

    /// The exchange is over; true when the connection may carry another one.
    var onIdle: ((_ isReusable: Bool) -> Void)?
    var onClose: (() -> Void)?

    private var context: ChannelHandlerContext?
    private var exchange: Exchange?
    private var hasServed = false
    private var bodyOffset = 0
    private var isRequestWritten = false
    private var isPumping = false
    private var isReading = true
    private var isReadWanted = false

    private static let pieceBytes = 128 * 1024

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    // MARK: - Request

    func start(_ exchange: Exchange) {
        guard let context, context.channel.isActive, self.exchange == nil else {
            return exchange.fail(.notSent(Self.lost("the connection had ended")))
        }
        self.exchange = exchange
        bodyOffset = 0
        isRequestWritten = false
        context.write(wrapOutboundOut(.head(exchange.head)), promise: nil)
        switch exchange.body {
        case .bytes: pump(context)
        case .streamed: context.flush()
        }
    }

    /// One part of a streamed body; the promise tells when the next is welcome.
    func writeBody(_ part: ByteBuffer, of id: UInt64, promise: EventLoopPromise<Void>) {
        guard let context, exchange?.id == id else { return promise.fail(ChannelError.ioOnClosedChannel) }
        context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(part))), promise: promise)
    }

    func finishBody(of id: UInt64) {
        guard let context, exchange?.id == id else { return }
        finishRequest(context)
    }

    /// Flushing may tell of room at once and end the exchange: a loop that looks anew each time, and no recursion.
    private func pump(_ context: ChannelHandlerContext) {
        guard !isPumping else { return }
        isPumping = true
        defer { isPumping = false }
        while let exchange, !isRequestWritten, case .bytes(let bytes) = exchange.body {
            guard bodyOffset < bytes.count else { return finishRequest(context) }
            guard context.channel.isWritable else { return }
            let end = min(bodyOffset + Self.pieceBytes, bytes.count)
            let piece = context.channel.allocator.buffer(bytes: bytes[bodyOffset..<end])
            bodyOffset = end
            context.write(wrapOutboundOut(.body(.byteBuffer(piece))), promise: nil)
            if end < bytes.count { context.flush() }
        }
    }

    private func finishRequest(_ context: ChannelHandlerContext) {
        isRequestWritten = true
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { pump(context) }
        context.fireChannelWritabilityChanged()
    }

    // MARK: - Response

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let exchange else { return context.close(promise: nil) }
        do throws(DiagnosedError) {
            switch unwrapInboundIn(data) {
            case .head(let head): try exchange.receive(head)
            case .body(let part): isReading = try exchange.receive(part) && isReading
            case .end: complete(exchange, context)
            }
        } catch {
            fail(.failed(error), context)
        }
    }

    func read(context: ChannelHandlerContext) {
        if isReading { context.read() } else { isReadWanted = true }
    }

    /// The sink of a streamed response has room again.
    func resumeReading() {
        guard let context, !isReading else { return }
        isReading = true
        guard isReadWanted else { return }
        isReadWanted = false
        context.read()
    }

    private func complete(_ exchange: Exchange, _ context: ChannelHandlerContext) {
        self.exchange = nil
        hasServed = true
        // A server that answers before it has read the request gets no more of it.
        let isReusable = exchange.keepsAlive && isRequestWritten && context.channel.isActive
        if !isReusable { context.close(promise: nil) }
        resumeReading()
        onIdle?(isReusable)
        exchange.complete()
    }

    // MARK: - End

    /// The caller has given up.
    func abandon(_ id: UInt64, _ error: DiagnosedError) {
        guard let context, exchange?.id == id else { return }
        fail(.failed(error), context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let diagnosis: DiagnosedError =
            if let error = error as? DiagnosedError {
                error
            } else if error is HTTPParserError {
                DiagnosedError(
                    .httpResponseInvalid, fault: .peer, "the answer is no HTTP/1.1",
                    found: String(describing: error), hint: "check that the URL names an HTTP server")
            } else {
                Self.lost(String(describing: error))
            }
        fail(loss(diagnosis), context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(loss(Self.lost("the end of the connection")), context)
        onClose?()
        onClose = nil
        context.fireChannelInactive()
    }

    private func loss(_ error: DiagnosedError) -> Exchange.Failure {
        guard let exchange, hasServed, !exchange.hasResponse else { return .failed(error) }
        return .stale(error)
    }

    private func fail(_ failure: Exchange.Failure, _ context: ChannelHandlerContext) {
        let failed = exchange
        exchange = nil
        context.close(promise: nil)
        guard let failed else { return }
        onIdle?(false)
        failed.fail(failure)
    }

    private static func lost(_ found: String) -> DiagnosedError {
        DiagnosedError(
            .httpConnectionLost, fault: .peer, "the connection was lost", expected: "a whole HTTP answer", found: found,
            hint: "send the request again if it can be repeated")
    }
}
