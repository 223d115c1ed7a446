import HTTPClient
import LinkProtocol
import NIOCore
package import TLSChannel
package import WebSocketChannel

/// One open WebSocket to the core, as the link uses it.
package protocol LinkSocket: Sendable {
    var isOpen: Bool { get }
    /// What TLS agreed on; nil on a plain connection.
    var tls: TLSSession? { get }
    /// A field of the answer to the upgrade; nil: it has none of that name.
    func answered(_ field: String) -> String?
    /// False: it has ended, or the core takes less than it is sent.
    func enqueue(binary: [UInt8]) -> Bool
    func setHeartbeat(_ heartbeat: WebSocketHeartbeat?)
    /// From now on every message goes to `sink`, which must not block; first those that came before.
    func receive(with sink: @escaping @Sendable (WebSocketMessage) -> Void)
    func beginClosing(code: UInt16, reason: String)
    @discardableResult func waitUntilClosed() async -> WebSocketClosure
}

extension WebSocketConnection: LinkSocket {}

/// What a link stands on: its way to the core, time, chance and threads. A simulation gives its own.
package struct LinkGround: Sendable {
    package var clock: any Clock<Duration>
    package var random: @Sendable () -> any RandomNumberGenerator
    /// Where the tasks of the link run; nil: where Swift lets them.
    package var executor: (any TaskExecutor)?
    /// A WebSocket to the core, shown that token.
    package var dial: @Sendable (_ token: String, _ heartbeat: WebSocketHeartbeat) async throws -> any LinkSocket
    package var close: @Sendable () async -> Void

    package init(
        clock: any Clock<Duration>, random: @escaping @Sendable () -> any RandomNumberGenerator,
        executor: (any TaskExecutor)?,
        dial: @escaping @Sendable (_ token: String, _ heartbeat: WebSocketHeartbeat) async throws -> any LinkSocket,
        close: @escaping @Sendable () async -> Void = {}
    ) {
        self.clock = clock
        self.random = random
        self.executor = executor
        self.dial = dial
        self.close = close
    }

    /// The network, and the machine's own clock.
    package static func network(_ configuration: CoreLinkConfiguration) -> LinkGround {
        let client = WebClient(trust: configuration.trust, route: configuration.route)
        let url = configuration.url
        return LinkGround(
            clock: ContinuousClock(), random: { SystemRandomNumberGenerator() }, executor: nil,
            dial: { token, heartbeat in
                try await client.webSocket(
                    url, headers: [("Authorization", "Bearer \(token)")],
                    limits: WebSocketLimits(
                        maximumFrameBytes: LinkFrame.maximumBytes, maximumMessageBytes: LinkFrame.maximumBytes,
                        heartbeat: heartbeat))
            }, close: { await client.close() })
    }
}
