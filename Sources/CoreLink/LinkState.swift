package import Diagnostics
package import TLSChannel
package import WireText

/// What health, metrics and alarms are told of a link.
package struct LinkState: Sendable, Equatable {
    package enum Phase: String, Sendable, CaseIterable {
        case connecting
        /// The core has welcomed the service.
        case open
        /// No link; the next attempt comes after `retryIn`.
        case waiting
        /// The service stops: answers in flight still go out.
        case draining
        case stopped
    }

    package var phase: Phase
    /// The core's name of the connection, to find it in the core's log.
    package var connection: String?
    package var connectedSince: Timestamp?
    /// How TLS judged the core of the open link; nil without a link, or on a plain one.
    package var tls: TLSSession?
    /// Why the last attempt or link ended, with what to do; kept until a link is open again.
    package var lastError: DiagnosedError?
    package var lastErrorAt: Timestamp?
    /// Attempts and links that ended since the last good one.
    package var failures: Int
    package var retryIn: Duration?
    /// The version of the list of nodes that the core went by at the welcome; nil where it keeps none.
    package var coreNodeList: Int64?
    /// How far the core's clock is ahead of this one, as seen at the welcome.
    package var clockOffsetMilliseconds: Int64?

    package init(phase: Phase) {
        self.phase = phase
        failures = 0
    }
}

/// One wrapped string from the core, to be answered or declined exactly once.
package struct LinkDelivery: Sendable {
    package let id: UInt64
    /// An opaque name of the sender, for storm guards: never trusted.
    package let source: String
    package let text: [UInt8]
    package let received: Timestamp
    /// Which connection it came on: ids mean nothing on another.
    package let generation: UInt64

    package init(id: UInt64, source: String, text: [UInt8], received: Timestamp, generation: UInt64) {
        self.id = id
        self.source = source
        self.text = text
        self.received = received
        self.generation = generation
    }
}
