import NIOCore
import Testing

@testable import WebSocketChannel

@Suite("WebSocket frames")
struct WebSocketFrameTests {
    private func parse(
        _ octets: [UInt8], expectsMask: Bool = false, limit: Int = 1 << 20
    ) throws -> [WebSocketFrame] {
        var parser = WebSocketFrameParser(expectsMask: expectsMask, maximumFrameBytes: limit)
        var buffer = ByteBuffer(bytes: octets)
        var frames: [WebSocketFrame] = []
        while let frame = try parser.next(from: &buffer) { frames.append(frame) }
        return frames
    }

    @Test("The examples of RFC 6455 section 5.7 are read")
    func examples() throws {
        let hello = Array("Hello".utf8)
        #expect(
            try parse([0x81, 0x05] + hello) == [WebSocketFrame(opcode: .text, isFinal: true, payload: hello)])
        #expect(
            try parse([0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58], expectsMask: true)
                == [WebSocketFrame(opcode: .text, isFinal: true, payload: hello)])
        #expect(
            try parse([0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f]) == [
                WebSocketFrame(opcode: .text, isFinal: false, payload: Array("Hel".utf8)),
                WebSocketFrame(opcode: .continuation, isFinal: true, payload: Array("lo".utf8)),
            ])
        #expect(
            try parse([0x89, 0x05] + hello) == [WebSocketFrame(opcode: .ping, isFinal: true, payload: hello)])
        let long = [UInt8](repeating: 9, count: 256)
        #expect(try parse([0x82, 0x7E, 0x01, 0x00] + long).first?.payload == long)
        let longer = [UInt8](repeating: 8, count: 65536)
        #expect(try parse([0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0] + longer).first?.payload == longer)
    }

    @Test("What is written is read, masked or not, however it is cut")
    func roundTrip() throws {
        for seed in 0..<60 as Range<UInt64> {
            var generator = SeededGenerator(seed: seed)
            let isMasked = Bool.random(using: &generator)
            var wire = ByteBuffer()
            var sent: [WebSocketFrame] = []
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                let size = [0, 1, 125, 126, 127, 1000, 65535, 65536, 70000].randomElement(using: &generator) ?? 0
                let payload = generator.bytes(size)
                let opcode = [WebSocketFrame.Opcode.text, .binary].randomElement(using: &generator) ?? .text
                wire.writeWebSocketFrame(
                    opcode, payload: payload, mask: isMasked ? .random(using: &generator) : nil)
                sent.append(WebSocketFrame(opcode: opcode, isFinal: true, payload: payload))
            }
            var parser = WebSocketFrameParser(expectsMask: isMasked, maximumFrameBytes: 70000)
            var received: [WebSocketFrame] = []
            while wire.readableBytes > 0 {
                let size = min(wire.readableBytes, Int.random(in: 1...20000, using: &generator))
                var piece = wire.readSlice(length: size) ?? ByteBuffer()
                while let frame = try parser.next(from: &piece) { received.append(frame) }
                #expect(piece.readableBytes == 0)
            }
            #expect(received == sent, "seed \(seed)")
        }
    }

    @Test("Masking is its own inverse at every length and needs no alignment")
    func masking() {
        let mask = WebSocketMask(octets: (0x37, 0xFA, 0x21, 0x3D))
        #expect(mask.octets == [0x37, 0xFA, 0x21, 0x3D])
        #expect(WebSocketMask(key: UInt32(littleEndian: mask.key)) == mask)
        for count in 0...40 {
            for offset in 0...7 {
                let plain = (0..<count).map { UInt8($0) }
                var bytes = [UInt8](repeating: 0, count: offset) + plain
                bytes.withUnsafeMutableBytes { mask.apply(to: UnsafeMutableRawBufferPointer(rebasing: $0[offset...])) }
                #expect(Array(bytes[offset...]) == plain.enumerated().map { $1 ^ mask.octets[$0 % 4] })
            }
        }
    }

    @Test(
        "Every breach of the frame rules is refused",
        arguments: [
            ([0xC1, 0x00], false, "a reserved bit"), ([0x83, 0x00], false, "an unknown opcode"),
            ([0x8B, 0x00], false, "an unknown control opcode"),
            ([0x81, 0x80, 0, 0, 0, 0], false, "a mask from a server"),
            ([0x81, 0x00], true, "no mask from a client"), ([0x09, 0x00], false, "a fragmented ping"),
            ([0x89, 0x7E, 0x00, 0x7E], false, "a ping of 126 octets"),
            ([0x82, 0x7E, 0x00, 0x7D], false, "a length of 125 in two octets"),
            ([0x82, 0x7F, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], false, "a length of 65535 in eight octets"),
            ([0x82, 0x7F, 0x80, 0, 0, 0, 0, 0, 0, 0], false, "a length with the highest bit"),
        ] as [([UInt8], Bool, String)])
    func violations(octets: [UInt8], expectsMask: Bool, what: String) {
        do throws(WebSocketViolation) {
            var parser = WebSocketFrameParser(expectsMask: expectsMask, maximumFrameBytes: 1 << 20)
            var buffer = ByteBuffer(bytes: octets)
            _ = try parser.next(from: &buffer)
            Issue.record("\(what) was taken")
        } catch {
            guard case .protocolError = error else {
                Issue.record("\(what): \(error)")
                return
            }
        }
    }

    @Test("A frame over the limit is refused by its header alone")
    func tooLarge() {
        #expect(throws: WebSocketViolation.tooLarge(limit: 1000)) { try parse([0x82, 0x7E, 0x03, 0xE9], limit: 1000) }
        #expect(throws: WebSocketViolation.tooLarge(limit: 1000)) {
            try parse([0x82, 0x7F, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], limit: 1000)
        }
    }

    @Test("Random octets never trap")
    func noise() {
        for seed in 0..<2000 as Range<UInt64> {
            var generator = SeededGenerator(seed: seed)
            _ = try? parse(generator.bytes(200), expectsMask: Bool.random(using: &generator), limit: 1 << 16)
        }
    }
}
