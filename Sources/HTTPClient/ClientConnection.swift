import Diagnostics
import NIOCore
import NIOHTTP1
import Synchronization
import WebSocketChannel

/// One connection of the pool to one origin. Any thread; it carries one exchange at a time.
final class ClientConnection: Sendable {
    let origin: WebURL.Origin
    let channel: any Channel
    private let handler: NIOLoopBound<ExchangeHandler>
    private let lastExchange = Atomic<UInt64>(0)

    /// Call it on the channel's event loop.
    init(origin: WebURL.Origin, channel: any Channel, handler: ExchangeHandler) {
        self.origin = origin
        self.channel = channel
        self.handler = NIOLoopBound(handler, eventLoop: channel.eventLoop)
    }

    /// Tells the pool, on the event loop, when the connection becomes free and when it ends.
    func observe(
        onIdle: @escaping @Sendable (ClientConnection, _ isReusable: Bool) -> Void,
        onClose: @escaping @Sendable (ClientConnection) -> Void
    ) {
        channel.eventLoop.execute { [self] in
            handler.value.onIdle = { [weak self] isReusable in
                if let self { onIdle(self, isReusable) }
            }
        }
        channel.closeFuture.whenComplete { [self] _ in
            onClose(self)
            handler.value.onIdle = nil
        }
    }

    /// Sends the request and returns the response, with a sink only its head. Throws `Exchange.Failure`.
    func perform(
        _ head: HTTPRequestHead, body: Exchange.Body, maximumResponseBytes: Int, sink: InboundQueue<ByteBuffer>? = nil,
        feed: (@Sendable (BodyWriter) async throws -> Void)? = nil
    ) async throws -> WebResponse {
        let promise = channel.eventLoop.makePromise(of: WebResponse.self)
        let id = lastExchange.wrappingAdd(1, ordering: .relaxed).newValue
        channel.eventLoop.execute { [handler] in
            handler.value.start(
                Exchange(
                    id: id, head: head, body: body, maximumResponseBytes: maximumResponseBytes, promise: promise,
                    sink: sink))
        }
        return try await withTaskCancellationHandler {
            if let feed {
                do {
                    try await feed(BodyWriter(channel: channel, handler: handler, exchange: id))
                } catch let error as DiagnosedError {
                    abandon(id, error)
                } catch {
                    // The connection ended or the server has answered early: the response says which.
                }
            }
            return try await promise.futureResult.get()
        } onCancel: {
            abandon(id, DiagnosedError(.httpConnectionLost, fault: .client, "the request was cancelled"))
        }
    }

    /// The consumer of a sink has caught up.
    func resumeReading() {
        channel.eventLoop.execute { [handler] in handler.value.resumeReading() }
    }

    func close() { channel.close(promise: nil) }

    private func abandon(_ id: UInt64, _ error: DiagnosedError) {
        channel.eventLoop.execute { [handler] in handler.value.abandon(id, error) }
    }
}

/// Writes the body of a streamed request, with back-pressure.
struct BodyWriter: Sendable {
    let channel: any Channel
    let handler: NIOLoopBound<ExchangeHandler>
    let exchange: UInt64

    /// Returns when the next part is welcome.
    func write(_ part: ByteBuffer) async throws {
        let promise = channel.eventLoop.makePromise(of: Void.self)
        channel.eventLoop.execute { handler.value.writeBody(part, of: exchange, promise: promise) }
        try await promise.futureResult.get()
    }

    func finish() {
        channel.eventLoop.execute { handler.value.finishBody(of: exchange) }
    }
}
