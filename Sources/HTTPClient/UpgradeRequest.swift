import Diagnostics
import NIOCore
import NIOHTTP1
import NIOWebSocket
import WebSocketChannel

/// The client's half of a WebSocket's opening handshake (RFC 6455 section 4.1).
enum UpgradeRequest {
    enum Outcome: Sendable {
        case accepted(WebSocketConnection)
        /// Fulfilled when the refusal's body is there.
        case refused(EventLoopFuture<DiagnosedError>)
    }

    /// Puts the handshake on a channel, on its event loop; the request goes out by itself.
    static func send(
        _ head: HTTPRequestHead, on channel: any Channel, limits: WebSocketLimits
    ) throws -> EventLoopFuture<Outcome> {
        let encoder = HTTPRequestEncoder()
        // A first frame that comes with the 101 belongs to the WebSocket.
        let decoder = ByteToMessageHandler(HTTPResponseDecoder(leftOverBytesStrategy: .forwardBytes))
        let handler = NIOTypedHTTPClientUpgradeHandler(
            httpHandlers: [encoder, decoder],
            upgradeConfiguration: NIOTypedHTTPClientUpgradeConfiguration<Outcome>(
                upgradeRequestHead: head, upgraders: [Upgrader(limits: limits)],
                notUpgradingCompletionHandler: { channel in
                    // The response is handed on only after this future, so the refusal is a future of its own.
                    channel.eventLoop.makeCompletedFuture {
                        let refusal = channel.eventLoop.makePromise(of: DiagnosedError.self)
                        try channel.pipeline.syncOperations.addHandler(RefusalReader(refusal))
                        return .refused(refusal.futureResult)
                    }
                }))
        let operations = channel.pipeline.syncOperations
        try operations.addHandler(encoder)
        try operations.addHandler(decoder)
        try operations.addHandler(handler)
        return handler.upgradeResultFuture
    }

    /// NIO's key and accept value, this project's frames.
    private final class Upgrader: NIOTypedHTTPClientProtocolUpgrader {
        let supportedProtocol = "websocket"
        let requiredUpgradeHeaders: [String] = []
        private let limits: WebSocketLimits
        private let handshake: NIOTypedWebSocketClientUpgrader<Void>

        init(limits: WebSocketLimits) {
            self.limits = limits
            handshake = NIOTypedWebSocketClientUpgrader { channel, _ in channel.eventLoop.makeSucceededVoidFuture() }
        }

        func addCustom(upgradeRequestHeaders: inout HTTPHeaders) {
            handshake.addCustom(upgradeRequestHeaders: &upgradeRequestHeaders)
        }

        func shouldAllowUpgrade(upgradeResponse: HTTPResponseHead) -> Bool {
            // Nothing was offered, so nothing may be chosen.
            handshake.shouldAllowUpgrade(upgradeResponse: upgradeResponse)
                && !upgradeResponse.headers.contains(name: "sec-websocket-extensions")
                && !upgradeResponse.headers.contains(name: "sec-websocket-protocol")
        }

        func upgrade(channel: any Channel, upgradeResponse: HTTPResponseHead) -> EventLoopFuture<Outcome> {
            channel.eventLoop.makeCompletedFuture {
                .accepted(
                    try WebSocketConnection.attach(
                        to: channel, role: .client, limits: limits,
                        answer: upgradeResponse.headers.map { ($0.name, $0.value) }))
            }
        }
    }

    /// Reads the answer that is no upgrade, for the error, and closes.
    private final class RefusalReader: ChannelInboundHandler {
        typealias InboundIn = HTTPClientResponsePart

        private static let maximumBodyBytes = 1024
        private let promise: EventLoopPromise<DiagnosedError>
        private var status: HTTPResponseStatus?
        private var body: [UInt8] = []

        init(_ promise: EventLoopPromise<DiagnosedError>) { self.promise = promise }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head): status = head.status
            case .body(let part):
                body.append(contentsOf: part.readableBytesView.prefix(Self.maximumBodyBytes - body.count))
            case .end:
                finish()
                context.close(promise: nil)
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            if let error = error as? DiagnosedError, status == nil { promise.succeed(error) }
            context.close(promise: nil)
        }

        func handlerRemoved(context: ChannelHandlerContext) { finish() }

        private func finish() {
            let code: DiagnosedError.Code =
                switch status?.code {
                case 401: .webSocketUnauthorized
                case 403: .webSocketForbidden
                default: .webSocketRefused
                }
            var found = status.map { "status \($0.code)" } ?? "no answer"
            if let text = printableBody { found += ": " + text }
            promise.succeed(
                DiagnosedError(
                    code, fault: .peer, "the server refused the WebSocket", expected: "status 101", found: found))
        }

        private var printableBody: String? {
            guard !body.isEmpty, let text = String(validating: body, as: UTF8.self) else { return nil }
            return String(text.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? " " : Character($0) })
        }
    }
}
