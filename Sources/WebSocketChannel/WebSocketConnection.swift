package import NIOCore
import Synchronization
package import TLSChannel

/// One end of an open WebSocket, client or server alike.
///
/// Everything may be called from any thread. Received messages come either by iterating `incoming` (one consumer;
/// while it is behind, the peer is not read) or, on hot paths, by `receive(with:)` on the event loop. Pings and close
/// frames are answered, heartbeats sent, by itself. The connection stays open until one side closes it: who holds it
/// must `close` it.
package final class WebSocketConnection: Sendable {
    package enum Role: Sendable { case client, server }

    /// Messages in the order of arrival. Ends when the peer closed with a close frame or this end did; throws when
    /// the connection was lost, fell silent or broke the protocol.
    package var incoming: WebSocketMessages { WebSocketMessages(queue: inbound) }

    package let remoteAddress: String
    package let limits: WebSocketLimits
    /// What TLS agreed on with the other end, its channel binding among it; nil on a plain connection.
    package let tls: TLSSession?
    /// Of a client: the fields of the answer to the upgrade.
    private let answer: [(String, String)]

    /// Unsent octets from which on `send` waits.
    private static let sendWindow = 1 << 20

    let inbound: InboundQueue<WebSocketMessage>
    private let channel: any Channel
    private let handler: NIOLoopBound<WebSocketHandler>
    private let outbox: WebSocketOutbox
    private let ending = Mutex<WebSocketClosure?>(nil)

    /// Puts the WebSocket on top of an upgraded channel; call it on the channel's event loop.
    package static func attach(
        to channel: any Channel, role: Role, limits: WebSocketLimits, answer: [(String, String)] = []
    ) throws -> WebSocketConnection {
        let handler = WebSocketHandler(role: role, limits: limits)
        let connection = WebSocketConnection(
            channel: channel, handler: handler, limits: limits, answer: answer)
        handler.connection = connection
        try channel.pipeline.syncOperations.addHandler(handler)
        return connection
    }

    private init(
        channel: any Channel, handler: WebSocketHandler, limits: WebSocketLimits, answer: [(String, String)]
    ) {
        self.answer = answer
        let bound = NIOLoopBound(handler, eventLoop: channel.eventLoop)
        let eventLoop = channel.eventLoop
        self.channel = channel
        self.handler = bound
        self.limits = limits
        outbox = handler.outbox
        let secure = try? channel.pipeline.syncOperations.context(name: TLSChannelHandler.name).handler
        tls = (secure as? TLSChannelHandler)?.session
        remoteAddress = channel.remoteAddress?.ipAddress ?? "unknown"
        inbound = InboundQueue(limit: limits.maximumUnreadBytes) {
            eventLoop.execute { bound.value.resumeReading() }
        }
    }

    /// The first field of that name in the answer to the upgrade, in any case; nil on a server.
    package func answered(_ name: String) -> String? {
        let wanted = name.lowercased()
        return answer.first { $0.0.lowercased() == wanted }?.1
    }

    // MARK: - Sending

    /// Hands over one message without waiting; frames that are handed over together leave together.
    ///
    /// False: the connection has ended, or the peer takes less than it is sent and `maximumUnsentBytes` are waiting.
    @discardableResult
    package func enqueue(text: String) -> Bool { enqueue(.text(text)) }

    @discardableResult
    package func enqueue(binary: [UInt8]) -> Bool { enqueue(.binary(binary)) }

    /// Sends one message, first waiting while the peer is behind. Throws when the connection has ended.
    package func send(text: String) async throws { try await send(.text(text)) }

    package func send(binary: [UInt8]) async throws { try await send(.binary(binary)) }

    /// Octets accepted for sending and not yet taken by the kernel.
    package var unsentBytes: Int { outbox.unsentBytes }

    // MARK: - Receiving

    /// From now on every message goes to `sink`, on the event loop, first those that came before. It must not block.
    /// The end shows in `waitUntilClosed`, after the last message.
    package func receive(with sink: @escaping @Sendable (WebSocketMessage) -> Void) {
        channel.eventLoop.execute { [inbound] in inbound.redirect(to: sink) }
    }

    /// Other times than those of the limits, as a protocol may agree on them; nil sends no more pings.
    package func setHeartbeat(_ heartbeat: WebSocketHeartbeat?) {
        channel.eventLoop.execute { [handler] in handler.value.setHeartbeat(heartbeat) }
    }

    // MARK: - Closing

    /// Starts the closing handshake after what was enqueued; `incoming` ends when the peer answers.
    package func beginClosing(code: UInt16 = WebSocketCloseCode.normal, reason: String = "") {
        channel.eventLoop.execute { [handler] in handler.value.close(code: code, reason: reason) }
    }

    /// Closes and waits until the connection is gone, at most about twice `closeDeadline`.
    package func close(code: UInt16 = WebSocketCloseCode.normal, reason: String = "") async {
        beginClosing(code: code, reason: reason)
        _ = await waitUntilClosed()
    }

    /// Returns when the connection is gone.
    @discardableResult
    package func waitUntilClosed() async -> WebSocketClosure {
        try? await channel.closeFuture.get()
        return closure
            ?? WebSocketClosure(code: WebSocketCloseCode.abnormal, reason: "", initiator: .local)
    }

    /// How it ended; nil while it is open.
    package var closure: WebSocketClosure? { ending.withLock { $0 } }
    package var closeCode: UInt16? { closure?.code }
    package var closeReason: String? { closure?.reason }
    package var isOpen: Bool { closure == nil && channel.isActive }

    // MARK: - Helpers

    /// The handler tells the end, on the event loop; the first call counts.
    func didEnd(_ closure: WebSocketClosure) {
        let isFirst = ending.withLock { ending in
            guard ending == nil else { return false }
            ending = closure
            return true
        }
        guard isFirst else { return }
        outbox.close()
        inbound.finish(throwing: closure.error)
    }

    private func enqueue(_ message: WebSocketMessage) -> Bool {
        switch outbox.append(message, limit: limits.maximumUnsentBytes) {
        case .refused: return false
        case .accepted(let mustSchedule):
            if mustSchedule { scheduleDrain() }
            return true
        }
    }

    private func send(_ message: WebSocketMessage) async throws {
        try await outbox.waitForRoom(limit: min(limits.maximumUnsentBytes, Self.sendWindow))
        if case .accepted(let mustSchedule) = outbox.append(message, limit: .max) {
            if mustSchedule { scheduleDrain() }
            return
        }
        throw WebSocketOutbox.closedError
    }

    private func scheduleDrain() {
        channel.eventLoop.execute { [handler] in handler.value.drain() }
    }
}

/// The messages of a WebSocket, for one consumer.
package struct WebSocketMessages: AsyncSequence, Sendable {
    package typealias Element = WebSocketMessage

    let queue: InboundQueue<WebSocketMessage>

    package struct AsyncIterator: AsyncIteratorProtocol {
        let queue: InboundQueue<WebSocketMessage>
        package func next() async throws -> WebSocketMessage? { try await queue.next() }
    }

    package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(queue: queue) }
}
