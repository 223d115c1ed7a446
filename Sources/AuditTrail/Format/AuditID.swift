package import WireText

/// The id of a record: a UUID of version 7 (RFC 9562, section 5.7), made by the server, so that ids sort by time.
///
/// Made before the record is kept, so that a ledger can carry the record and complete the trail after a crash.
package struct AuditID: Hashable, Sendable, Comparable, CustomStringConvertible {
    private let high: UInt64
    private let low: UInt64

    package init(at time: Timestamp, using generator: inout some RandomNumberGenerator) {
        high = UInt64(clamping: time.milliseconds) << 16 | 0x7000 | generator.next() & 0xFFF
        low = generator.next() >> 2 | 0b10 << 62
    }

    package static func make(at time: Timestamp) -> AuditID {
        var generator = SystemRandomNumberGenerator()
        return AuditID(at: time, using: &generator)
    }

    /// Lower case, version 7, the variant of the RFC; nil for anything else.
    package init?(_ text: String) {
        self.init(bytes: Array(text.utf8)[...])
    }

    init?(bytes: ArraySlice<UInt8>) {
        guard bytes.count == 36 else { return nil }
        var words: (UInt64, UInt64) = (0, 0)
        var nibbles = 0
        for (position, character) in bytes.enumerated() {
            if position == 8 || position == 13 || position == 18 || position == 23 {
                guard character == UInt8(ascii: "-") else { return nil }
                continue
            }
            let value: UInt8
            switch character {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = character - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = character - UInt8(ascii: "a") + 10
            default: return nil
            }
            if nibbles < 16 { words.0 = words.0 << 4 | UInt64(value) } else { words.1 = words.1 << 4 | UInt64(value) }
            nibbles += 1
        }
        guard words.0 >> 12 & 15 == 7, words.1 >> 62 == 0b10 else { return nil }
        (high, low) = words
    }

    /// When it was made.
    package var time: Timestamp { Timestamp(milliseconds: Int64(high >> 16)) }

    package var description: String {
        String(unsafeUninitializedCapacity: 36) { target in
            var position = 0
            for nibble in 0..<32 {
                if nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20 {
                    target[position] = UInt8(ascii: "-")
                    position += 1
                }
                let word = nibble < 16 ? high : low
                let value = UInt8(word >> UInt64(60 - nibble % 16 * 4) & 15)
                target[position] = value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
                position += 1
            }
            return 36
        }
    }

    package static func < (left: AuditID, right: AuditID) -> Bool {
        (left.high, left.low) < (right.high, right.low)
    }
}
