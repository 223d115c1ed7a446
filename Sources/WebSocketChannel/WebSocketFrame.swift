import NIOCore

/// One frame of RFC 6455 section 5.2, unmasked.
struct WebSocketFrame: Equatable {
    enum Opcode: UInt8 {
        case continuation = 0x0
        case text = 0x1
        case binary = 0x2
        case close = 0x8
        case ping = 0x9
        case pong = 0xA

        var isControl: Bool { rawValue & 0x8 != 0 }
    }

    var opcode: Opcode
    var isFinal: Bool
    var payload: [UInt8]

    /// A control frame carries no more (section 5.5).
    static let maximumControlPayload = 125
}

/// Masking of section 5.3: octet i of the payload XOR octet i mod 4 of the key.
struct WebSocketMask: Equatable {
    /// The four octets in the order of the wire, first octet lowest.
    let key: UInt32

    init(key: UInt32) { self.key = UInt32(littleEndian: key) }

    init(octets: (UInt8, UInt8, UInt8, UInt8)) {
        key =
            UInt32(octets.0) | UInt32(octets.1) << 8 | UInt32(octets.2) << 16 | UInt32(octets.3) << 24
    }

    static func random(using generator: inout some RandomNumberGenerator) -> WebSocketMask {
        WebSocketMask(key: UInt32.random(in: .min ... .max, using: &generator))
    }

    var octets: [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: key >> (8 * $0)) } }

    /// Masks or unmasks in place; the first octet of `bytes` meets the first octet of the key.
    func apply(to bytes: UnsafeMutableRawBufferPointer) {
        let wide = UInt64(key) | UInt64(key) << 32
        var index = 0
        while index + 8 <= bytes.count {
            let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            bytes.storeBytes(of: word ^ wide.littleEndian, toByteOffset: index, as: UInt64.self)
            index += 8
        }
        while index < bytes.count {
            bytes[index] ^= UInt8(truncatingIfNeeded: key >> (8 * UInt32(index & 3)))
            index += 1
        }
    }
}

extension ByteBuffer {
    /// Writes one frame; a client gives a fresh mask, a server none.
    mutating func writeWebSocketFrame(
        _ opcode: WebSocketFrame.Opcode, payload: some Collection<UInt8>, mask: WebSocketMask?
    ) {
        let count = payload.count
        reserveCapacity(minimumWritableBytes: count + 14)
        writeInteger(0x80 | opcode.rawValue)
        let maskBit: UInt8 = mask == nil ? 0 : 0x80
        switch count {
        case ...125:
            writeInteger(maskBit | UInt8(count))
        case ...0xFFFF:
            writeInteger(maskBit | 126)
            writeInteger(UInt16(count))
        default:
            writeInteger(maskBit | 127)
            writeInteger(UInt64(count))
        }
        if let mask { writeBytes(mask.octets) }
        let start = writerIndex
        writeBytes(payload)
        guard let mask else { return }
        let offset = start - readerIndex
        withUnsafeMutableReadableBytes { readable in
            mask.apply(to: UnsafeMutableRawBufferPointer(rebasing: readable[offset..<(offset + count)]))
        }
    }
}
