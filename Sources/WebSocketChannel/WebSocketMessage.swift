package import NIOCore

/// One whole message of a WebSocket, its fragments already joined (RFC 6455 section 5.6).
package enum WebSocketMessage: Sendable, Hashable {
    /// UTF-8 that was checked.
    case text(String)
    case binary([UInt8])

    /// The octets of the payload, as they count against limits.
    package var byteCount: Int {
        switch self {
        case .text(let text): text.utf8.count
        case .binary(let bytes): bytes.count
        }
    }
}

/// What a WebSocket takes and keeps; the same for both ends.
package struct WebSocketLimits: Sendable {
    /// A longer frame closes with 1009.
    package var maximumFrameBytes: Int
    /// A longer message, all fragments together, closes with 1009.
    package var maximumMessageBytes: Int
    /// Octets of received and not yet consumed messages above which reading from the peer stops.
    package var maximumUnreadBytes: Int
    /// Octets accepted for sending and not yet taken by the kernel above which `enqueue` refuses.
    package var maximumUnsentBytes: Int
    /// Pings and the search for signs of life; nil sends none.
    package var heartbeat: WebSocketHeartbeat?
    /// How long each end of a closing handshake may take before the connection is cut.
    package var closeDeadline: TimeAmount

    package init(
        maximumFrameBytes: Int = 1 << 20, maximumMessageBytes: Int = 1 << 20, maximumUnreadBytes: Int = 1 << 20,
        maximumUnsentBytes: Int = 16 << 20, heartbeat: WebSocketHeartbeat? = .standard,
        closeDeadline: TimeAmount = .seconds(3)
    ) {
        self.maximumFrameBytes = maximumFrameBytes
        self.maximumMessageBytes = maximumMessageBytes
        self.maximumUnreadBytes = maximumUnreadBytes
        self.maximumUnsentBytes = maximumUnsentBytes
        self.heartbeat = heartbeat
        self.closeDeadline = closeDeadline
    }
}

/// A ping each `interval`; any frame of the peer is a sign of life; silence for `deadline` ends the connection.
package struct WebSocketHeartbeat: Sendable, Hashable {
    package var interval: TimeAmount
    package var deadline: TimeAmount

    package init(interval: TimeAmount, deadline: TimeAmount) {
        self.interval = interval
        self.deadline = deadline
    }

    /// 20 s and 60 s, for sockets whose protocol says nothing.
    package static let standard = WebSocketHeartbeat(interval: .seconds(20), deadline: .seconds(60))
}
