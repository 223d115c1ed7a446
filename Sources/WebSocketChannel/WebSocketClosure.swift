package import Diagnostics

/// How a WebSocket ended.
package struct WebSocketClosure: Sendable {
    /// The code of the close frame; 1005 when it had none, 1006 when the connection ended without a close frame.
    package let code: UInt16
    package let reason: String
    /// Which side said it first.
    package let initiator: Initiator
    /// Set when the end was not a closing handshake: lost, silent, or a violation of the protocol by the peer.
    package let error: DiagnosedError?

    package enum Initiator: Sendable { case local, peer }

    package init(code: UInt16, reason: String, initiator: Initiator, error: DiagnosedError? = nil) {
        self.code = code
        self.reason = reason
        self.initiator = initiator
        self.error = error
    }
}

/// Close codes of RFC 6455 section 7.4.1.
package enum WebSocketCloseCode {
    package static let normal: UInt16 = 1000
    package static let goingAway: UInt16 = 1001
    package static let protocolError: UInt16 = 1002
    package static let unacceptableData: UInt16 = 1003
    /// Never on the wire: the close frame carried no code.
    package static let noneReceived: UInt16 = 1005
    /// Never on the wire: no close frame came.
    package static let abnormal: UInt16 = 1006
    package static let invalidText: UInt16 = 1007
    package static let policyViolation: UInt16 = 1008
    package static let tooLarge: UInt16 = 1009
    package static let internalError: UInt16 = 1011

    /// Whether a code may stand in a close frame (section 7.4.2).
    package static func isSendable(_ code: UInt16) -> Bool {
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}

extension DiagnosedError.Code {
    package static let webSocketLost: DiagnosedError.Code = "websocket-lost"
    package static let webSocketSilent: DiagnosedError.Code = "websocket-silent"
    package static let webSocketProtocol: DiagnosedError.Code = "websocket-protocol"
    package static let webSocketTooLarge: DiagnosedError.Code = "websocket-too-large"
    package static let webSocketInvalidText: DiagnosedError.Code = "websocket-invalid-text"
    /// Sending on a connection that has ended or is ending.
    package static let webSocketClosed: DiagnosedError.Code = "websocket-closed"
}
