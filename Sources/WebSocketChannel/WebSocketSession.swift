import Diagnostics
import NIOCore

/// The rules of one end of a WebSocket: frames, wishes and clock ticks in, actions out (RFC 6455 sections 5 to 7).
///
/// Pure. It joins fragments, answers pings and close frames, tells violations, and decides when a silent peer is
/// given up. After `.finish` it takes nothing more.
struct WebSocketSession {
    enum Role { case client, server }

    enum Action: Equatable {
        case deliver(WebSocketMessage)
        case sendPong([UInt8])
        case sendPing
        /// Send a close frame (nil: with no code).
        case sendClose(code: UInt16?, reason: String)
        /// The closing handshake is done or pointless: end the connection, gently when the peer may still read.
        case finish(gently: Bool)
    }

    private enum State: Equatable {
        case open
        /// Our close frame is out, the peer's is awaited.
        case closing
        case finished
    }

    let limits: WebSocketLimits
    var heartbeat: WebSocketHeartbeat?
    private var state = State.open
    private var assembly: (opcode: WebSocketFrame.Opcode, bytes: [UInt8])?
    private var lastSignOfLife: NIODeadline
    private var pingsSinceThen = 0
    /// Set as soon as it is known how the connection ends.
    private(set) var closure: WebSocketClosure?

    init(limits: WebSocketLimits, now: NIODeadline) {
        self.limits = limits
        heartbeat = limits.heartbeat
        lastSignOfLife = now
    }

    var isOpen: Bool { state == .open }
    var isFinished: Bool { state == .finished }

    /// Octets arrived, whatever they are.
    mutating func noteSignOfLife(now: NIODeadline) {
        lastSignOfLife = now
        pingsSinceThen = 0
    }

    mutating func receive(_ frame: WebSocketFrame) -> [Action] {
        guard state != .finished else { return [] }
        switch frame.opcode {
        case .ping: return state == .open ? [.sendPong(frame.payload)] : []
        case .pong: return []
        case .close: return receiveClose(frame.payload)
        case .text, .binary, .continuation:
            // After our own close frame data is read and dropped until the peer's close frame.
            guard state == .open else { return [] }
            do throws(WebSocketViolation) {
                guard let message = try join(frame) else { return [] }
                return [.deliver(message)]
            } catch {
                return fail(error)
            }
        }
    }

    /// The peer broke the rules: say so once and end.
    mutating func fail(_ violation: WebSocketViolation) -> [Action] {
        guard state != .finished else { return [] }
        let wasOpen = state == .open
        state = .finished
        let (code, reason, error) = Self.diagnose(violation)
        if closure == nil { closure = WebSocketClosure(code: code, reason: reason, initiator: .local, error: error) }
        return wasOpen ? [.sendClose(code: code, reason: reason), .finish(gently: true)] : [.finish(gently: true)]
    }

    /// This end wants to close.
    mutating func close(code: UInt16, reason: String) -> [Action] {
        guard state == .open else { return [] }
        state = .closing
        closure = WebSocketClosure(code: code, reason: reason, initiator: .local)
        return [.sendClose(code: code, reason: reason)]
    }

    /// The peer did not answer our close frame in time.
    mutating func closeDeadlinePassed() -> [Action] {
        guard state == .closing else { return [] }
        state = .finished
        return [.finish(gently: false)]
    }

    /// The connection below has ended.
    mutating func connectionLost(_ cause: DiagnosedError?) {
        state = .finished
        guard closure == nil else { return }
        let error =
            cause
            ?? DiagnosedError(
                .webSocketLost, fault: .peer, "the connection ended without a close frame",
                hint: "the peer or the network between has gone away: connect again")
        closure = WebSocketClosure(code: WebSocketCloseCode.abnormal, reason: "", initiator: .peer, error: error)
    }

    /// Due each heartbeat interval. While this end itself does not read, silence says nothing about the peer, nor does
    /// it when this end was held up for so long that it has not asked.
    mutating func heartbeat(now: NIODeadline, isReading: Bool) -> [Action] {
        guard state == .open, let heartbeat else { return [] }
        if !isReading { noteSignOfLife(now: now) }
        guard now - lastSignOfLife >= heartbeat.deadline, pingsSinceThen > 0 else {
            pingsSinceThen += 1
            return [.sendPing]
        }
        state = .finished
        let silence = (now - lastSignOfLife).nanoseconds / 1_000_000
        let error = DiagnosedError(
            .webSocketSilent, fault: .peer, "no sign of life from the peer",
            expected: "a frame within \(heartbeat.deadline.nanoseconds / 1_000_000) ms",
            found: "\(silence) ms of silence",
            hint: "the peer or the network between has gone away: connect again")
        closure = WebSocketClosure(code: WebSocketCloseCode.abnormal, reason: "", initiator: .local, error: error)
        return [.sendClose(code: WebSocketCloseCode.goingAway, reason: "no sign of life"), .finish(gently: false)]
    }

    // MARK: - Helpers

    private mutating func join(_ frame: WebSocketFrame) throws(WebSocketViolation) -> WebSocketMessage? {
        if frame.opcode == .continuation {
            guard var started = assembly else { throw .protocolError("continuation of nothing") }
            assembly = nil
            guard started.bytes.count + frame.payload.count <= limits.maximumMessageBytes else {
                throw .tooLarge(limit: limits.maximumMessageBytes)
            }
            started.bytes.append(contentsOf: frame.payload)
            if frame.isFinal { return try message(started.opcode, started.bytes) }
            assembly = started
            return nil
        }
        guard assembly == nil else { throw .protocolError("new message inside a fragmented one") }
        guard frame.payload.count <= limits.maximumMessageBytes else {
            throw .tooLarge(limit: limits.maximumMessageBytes)
        }
        if frame.isFinal { return try message(frame.opcode, frame.payload) }
        assembly = (frame.opcode, frame.payload)
        return nil
    }

    private func message(
        _ opcode: WebSocketFrame.Opcode, _ bytes: [UInt8]
    ) throws(WebSocketViolation) -> WebSocketMessage {
        guard opcode == .text else { return .binary(bytes) }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .invalidText }
        return .text(text)
    }

    private mutating func receiveClose(_ payload: [UInt8]) -> [Action] {
        var code: UInt16 = WebSocketCloseCode.noneReceived
        var reason = ""
        if !payload.isEmpty {
            guard payload.count >= 2 else { return fail(.protocolError("close frame of one octet")) }
            code = UInt16(payload[0]) << 8 | UInt16(payload[1])
            guard WebSocketCloseCode.isSendable(code) else {
                return fail(.protocolError("close code \(code) may not be sent"))
            }
            guard let text = String(validating: payload[2...], as: UTF8.self) else { return fail(.invalidText) }
            reason = text
        }
        let wasOpen = state == .open
        state = .finished
        if closure == nil { closure = WebSocketClosure(code: code, reason: reason, initiator: .peer) }
        guard wasOpen else { return [.finish(gently: true)] }
        return [
            .sendClose(code: payload.isEmpty ? nil : code, reason: ""), .finish(gently: true),
        ]
    }

    private static func diagnose(_ violation: WebSocketViolation) -> (UInt16, String, DiagnosedError) {
        switch violation {
        case .protocolError(let what):
            (
                WebSocketCloseCode.protocolError, what,
                DiagnosedError(
                    .webSocketProtocol, fault: .peer, "the peer broke the WebSocket protocol",
                    expected: "frames of RFC 6455 without extensions", found: what)
            )
        case .tooLarge(let limit):
            (
                WebSocketCloseCode.tooLarge, "more than \(limit) octets",
                DiagnosedError(
                    .webSocketTooLarge, fault: .peer, "the peer sent a message that is too long",
                    expected: "at most \(limit) octets", found: "more")
            )
        case .invalidText:
            (
                WebSocketCloseCode.invalidText, "text is not UTF-8",
                DiagnosedError(
                    .webSocketInvalidText, fault: .peer, "the peer sent text that is not UTF-8",
                    expected: "UTF-8", found: "an invalid sequence")
            )
        }
    }
}
