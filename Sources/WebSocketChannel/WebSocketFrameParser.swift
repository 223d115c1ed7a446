import NIOCore

/// Why a received byte sequence is no WebSocket, and with which code that is answered.
enum WebSocketViolation: Error, Equatable {
    case protocolError(String)
    case tooLarge(limit: Int)
    case invalidText
}

/// Turns the octets of one direction of a WebSocket into frames (RFC 6455 section 5.2), strictly.
///
/// Extensions are never negotiated, so reserved bits must be zero; lengths must have their shortest form; a frame
/// longer than the limit is refused when its header is read. The payload grows with what really arrived, so that a
/// header alone can not make the process reserve memory. Pure; after the first violation the parser must not be used.
struct WebSocketFrameParser {
    /// A server receives masked frames only, a client unmasked frames only (section 5.1).
    let expectsMask: Bool
    let maximumFrameBytes: Int

    private var state = State.header
    private var header: [UInt8] = []

    private enum State {
        case header
        case payload(opcode: WebSocketFrame.Opcode, isFinal: Bool, length: Int, mask: WebSocketMask?, bytes: [UInt8])
    }

    init(expectsMask: Bool, maximumFrameBytes: Int) {
        self.expectsMask = expectsMask
        self.maximumFrameBytes = maximumFrameBytes
        header.reserveCapacity(14)
    }

    /// Consumes octets of `input` up to the end of one frame; nil when more are needed.
    mutating func next(from input: inout ByteBuffer) throws(WebSocketViolation) -> WebSocketFrame? {
        if case .header = state {
            guard try readHeader(from: &input) else { return nil }
        }
        guard case .payload(let opcode, let isFinal, let length, let mask, var bytes) = state else { return nil }
        state = .header
        let wanted = length - bytes.count
        if wanted > 0 {
            let taken = input.readSlice(length: min(wanted, input.readableBytes)) ?? ByteBuffer()
            if bytes.isEmpty { bytes.reserveCapacity(min(length, 4 * max(taken.readableBytes, 1024))) }
            bytes.append(contentsOf: taken.readableBytesView)
        }
        guard bytes.count == length else {
            state = .payload(opcode: opcode, isFinal: isFinal, length: length, mask: mask, bytes: bytes)
            return nil
        }
        if let mask { bytes.withUnsafeMutableBytes { mask.apply(to: $0) } }
        return WebSocketFrame(opcode: opcode, isFinal: isFinal, payload: bytes)
    }

    /// Collects header octets; true when the header is whole and `state` holds it.
    private mutating func readHeader(from input: inout ByteBuffer) throws(WebSocketViolation) -> Bool {
        while true {
            if header.count >= 2 {
                let needed = headerLength
                if header.count == needed {
                    try acceptHeader()
                    header.removeAll(keepingCapacity: true)
                    return true
                }
            }
            guard let octet = input.readInteger(as: UInt8.self) else { return false }
            header.append(octet)
            if header.count == 2 { try checkFirstOctets() }
        }
    }

    private var headerLength: Int {
        let extended =
            switch header[1] & 0x7F {
            case 126: 2
            case 127: 8
            default: 0
            }
        return 2 + extended + (expectsMask ? 4 : 0)
    }

    private func checkFirstOctets() throws(WebSocketViolation) {
        guard header[0] & 0x70 == 0 else { throw .protocolError("reserved bits without an extension") }
        guard let opcode = WebSocketFrame.Opcode(rawValue: header[0] & 0x0F) else {
            throw .protocolError("unknown opcode \(header[0] & 0x0F)")
        }
        guard (header[1] & 0x80 != 0) == expectsMask else {
            throw .protocolError(expectsMask ? "unmasked frame from a client" : "masked frame from a server")
        }
        if opcode.isControl {
            guard header[0] & 0x80 != 0 else { throw .protocolError("fragmented control frame") }
            guard header[1] & 0x7F <= WebSocketFrame.maximumControlPayload else {
                throw .protocolError("control frame of more than 125 octets")
            }
        }
    }

    private mutating func acceptHeader() throws(WebSocketViolation) {
        // `checkFirstOctets` has passed, so the opcode is known.
        guard let opcode = WebSocketFrame.Opcode(rawValue: header[0] & 0x0F) else { return }
        let short = header[1] & 0x7F
        let extended = short == 126 ? 2 : short == 127 ? 8 : 0
        var length = UInt64(short)
        if extended > 0 {
            length = header[2..<(2 + extended)].reduce(0) { $0 << 8 | UInt64($1) }
            guard extended == 2 ? length > 125 : (length > 0xFFFF && length >> 63 == 0) else {
                throw .protocolError("length not in its shortest form")
            }
        }
        guard length <= UInt64(maximumFrameBytes) else { throw .tooLarge(limit: maximumFrameBytes) }
        let key = 2 + extended
        let mask =
            expectsMask ? WebSocketMask(octets: (header[key], header[key + 1], header[key + 2], header[key + 3])) : nil
        state = .payload(
            opcode: opcode, isFinal: header[0] & 0x80 != 0, length: Int(length), mask: mask, bytes: [])
    }
}
