import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1
import NIOWebSocket
import TLSChannel
import WebSocketChannel

/// One accepted connection for Hummingbird's server: TLS, HTTP/1.1, then either requests or one WebSocket.
struct WebChannel: ServerChildChannel, HTTPChannelHandler {
    /// What a connection has become.
    enum Outcome: Sendable {
        case http(NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>)
        case webSocket(WebSocketConnection, ConnectionGate.Accepted)
    }

    struct Value: ServerChildChannelValue {
        let channel: any Channel
        let outcome: EventLoopFuture<Outcome>
    }

    let responder: HTTPChannelHandler.Responder
    let configuration: WebServerConfiguration
    let routes: [WebSocketRoute]
    let openChannels: OpenChannels
    /// As it is at this moment: a certificate may be replaced while the server runs.
    let tls: @Sendable () -> TLSConfiguration?

    /// A request's head: 16 KiB a field, 32 KiB and 100 fields in all.
    private static let headLimits: NIOHTTPDecoderLimitConfiguration = {
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = 16 << 10
        limits.maxHeaderListSize = 32 << 10
        limits.maxHeaderFieldCount = 100
        return limits
    }()

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        openChannels.add(channel)
        return channel.eventLoop.makeCompletedFuture {
            let operations = channel.pipeline.syncOperations
            try channel.syncOptions?.setOption(.tcpOption(.tcp_nodelay), value: 1)
            if let tls = tls() {
                try operations.addHandler(
                    TLSChannelHandler(
                        tls, handshakeDeadline: configuration.deadlines.firstRequest,
                        closeDeadline: configuration.deadlines.linger), name: TLSChannelHandler.name)
            }
            let encoder = HTTPResponseEncoder()
            // A first frame that comes with the request belongs to the WebSocket.
            let decoder = ByteToMessageHandler(
                HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes, limitConfiguration: Self.headLimits))
            let gate = ConnectionGate(
                configuration: configuration, routes: routes,
                isShuttingDown: { [openChannels] in openChannels.isClosing })
            let upgrade = NIOTypedHTTPServerUpgradeHandler(
                httpEncoder: encoder, extraHTTPHandlers: [gate, decoder],
                upgradeConfiguration: NIOTypedHTTPServerUpgradeConfiguration<Outcome>(
                    upgraders: [
                        ServerUpgrader(
                            gate: NIOLoopBound(gate, eventLoop: channel.eventLoop), openChannels: openChannels)
                    ],
                    notUpgradingCompletionHandler: Self.serveHTTP))
            try operations.addHandler(encoder)
            try operations.addHandler(decoder)
            try operations.addHandler(gate)
            try operations.addHandler(upgrade)
            return Value(channel: channel, outcome: upgrade.upgradeResultFuture)
        }
    }

    @Sendable
    private static func serveHTTP(_ channel: any Channel) -> EventLoopFuture<Outcome> {
        channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(HTTP1ToHTTPServerCodec(secure: false))
            return .http(
                try NIOAsyncChannel(
                    wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true)))
        }
    }

    func handle(value: Value, logger: Logger) async {
        let outcome: Outcome
        do {
            outcome = try await value.outcome.get()
        } catch {
            logger.trace("connection ended before its first request", metadata: ["error": "\(error)"])
            value.channel.close(promise: nil)
            return
        }
        switch outcome {
        case .http(let channel):
            await handleHTTP(asyncChannel: channel, logger: logger)
        case .webSocket(let connection, let accepted):
            do {
                try await accepted.serve(connection)
                await connection.close(code: WebSocketCloseCode.normal)
            } catch {
                logger.debug("WebSocket ended by an error", metadata: ["error": "\(error)"])
                await connection.close(code: WebSocketCloseCode.internalError)
            }
        }
    }
}

/// NIO's accept value, this project's frames.
private final class ServerUpgrader: NIOTypedHTTPServerProtocolUpgrader {
    typealias UpgradeResult = WebChannel.Outcome

    let supportedProtocol = "websocket"
    let requiredUpgradeHeaders: [String] = []
    private let gate: NIOLoopBound<ConnectionGate>
    private let openChannels: OpenChannels
    private let handshake = NIOTypedWebSocketServerUpgrader<Void>(
        shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture(HTTPHeaders()) },
        upgradePipelineHandler: { channel, _ in channel.eventLoop.makeSucceededVoidFuture() })

    init(gate: NIOLoopBound<ConnectionGate>, openChannels: OpenChannels) {
        self.gate = gate
        self.openChannels = openChannels
    }

    func buildUpgradeResponse(
        channel: any Channel, upgradeRequest: HTTPRequestHead, initialResponseHeaders: HTTPHeaders
    ) -> EventLoopFuture<HTTPHeaders> {
        // NIO leaves out what is in the initial headers.
        let more = gate.value.accepted?.headers ?? []
        return handshake.buildUpgradeResponse(
            channel: channel, upgradeRequest: upgradeRequest, initialResponseHeaders: initialResponseHeaders
        ).map { headers in
            var headers = headers
            for (name, value) in more { headers.add(name: name, value: value) }
            return headers
        }
    }

    func upgrade(channel: any Channel, upgradeRequest: HTTPRequestHead) -> EventLoopFuture<WebChannel.Outcome> {
        channel.eventLoop.makeCompletedFuture {
            // Only what the gate accepted comes here.
            guard let accepted = gate.value.accepted else { throw ChannelError.inappropriateOperationForState }
            let connection = try WebSocketConnection.attach(to: channel, role: .server, limits: accepted.limits)
            if openChannels.isClosing {
                connection.beginClosing(code: WebSocketCloseCode.goingAway, reason: "going away")
            }
            return .webSocket(connection, accepted)
        }
    }
}
