/// The 16 octets of a record's id, as databases keep them.
///
/// Outside a store an id is the canonical text of a UUID: 36 characters, lower case (RFC 9562, section 4). A text of
/// any other form names no record: reads answer "not there", writes refuse it.
package struct RecordID: Hashable, Sendable {
    private let high: UInt64
    private let low: UInt64

    /// Nil when the text is not canonical.
    package init?(_ text: String) {
        var text = text
        var words: (high: UInt64, low: UInt64) = (0, 0)
        let canonical = text.withUTF8 { characters -> Bool in
            guard characters.count == 36 else { return false }
            var nibbles = 0
            for (position, character) in characters.enumerated() {
                if position == 8 || position == 13 || position == 18 || position == 23 {
                    guard character == UInt8(ascii: "-") else { return false }
                    continue
                }
                let nibble: UInt8
                switch character {
                case UInt8(ascii: "0")...UInt8(ascii: "9"): nibble = character - UInt8(ascii: "0")
                case UInt8(ascii: "a")...UInt8(ascii: "f"): nibble = character - UInt8(ascii: "a") + 10
                default: return false
                }
                if nibbles < 16 {
                    words.high = words.high << 4 | UInt64(nibble)
                } else {
                    words.low = words.low << 4 | UInt64(nibble)
                }
                nibbles += 1
            }
            return true
        }
        guard canonical else { return nil }
        (high, low) = words
    }

    /// Nil when there are not 16 octets.
    package init?(octets: UnsafeRawBufferPointer) {
        guard octets.count == 16 else { return nil }
        high = UInt64(bigEndian: octets.loadUnaligned(fromByteOffset: 0, as: UInt64.self))
        low = UInt64(bigEndian: octets.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    }

    package var text: String {
        String(unsafeUninitializedCapacity: 36) { target in
            var position = 0
            for nibble in 0..<32 {
                if nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20 {
                    target[position] = UInt8(ascii: "-")
                    position += 1
                }
                let word = nibble < 16 ? high : low
                let value = UInt8(truncatingIfNeeded: word >> UInt64(60 - nibble % 16 * 4) & 15)
                target[position] = value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
                position += 1
            }
            return 36
        }
    }

    package func withOctets<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try withUnsafeBytes(of: (high.bigEndian, low.bigEndian), body)
    }
}
