/// The text of a UUID (RFC 9562), lower case, as identifiers carry it.
package enum UUIDText {
    /// A random one (version 4), from the kernel's generator.
    package static func random() -> String {
        var generator = SystemRandomNumberGenerator()
        var high = generator.next()
        var low = generator.next()
        high = high & ~0xF000 | 0x4000
        low = low & ~(0b11 << 62) | (0b10 << 62)
        return String(unsafeUninitializedCapacity: 36) { target in
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

    /// Whether the text has the form 8-4-4-4-12 of hexadecimal digits of either case, any version.
    package static func isValid(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { isValid($0) }
    }

    package static func isValid(_ text: some StringProtocol) -> Bool {
        text.utf8.withContiguousStorageIfAvailable { isValid($0) } ?? isValid(String(text))
    }

    package static func isValid(_ octets: UnsafeBufferPointer<UInt8>) -> Bool {
        guard octets.count == 36 else { return false }
        for position in 0..<36 {
            switch position {
            case 8, 13, 18, 23: guard octets[position] == UInt8(ascii: "-") else { return false }
            default: guard Hexadecimal.value(octets[position]) != nil else { return false }
            }
        }
        return true
    }
}
