/// The structure of DER (X.690, sections 8 and 10), checked without knowing what it means.
///
/// OpenSSL also reads BER inside of signed structures and keeps the received bytes. Two readers may then see different
/// things, so what comes from outside is held to DER first: definite and shortest lengths, shortest integers, one
/// form of booleans, nothing after the end, bounded depth.
enum DERStructure {
    static let maximumDepth = 24

    /// Whether the bytes are exactly one well-formed value.
    static func isWellFormed(_ bytes: [UInt8]) -> Bool {
        var position = 0
        return readValue(bytes, &position, end: bytes.count, depth: 0) && position == bytes.count
    }

    private static func readValue(_ bytes: [UInt8], _ position: inout Int, end: Int, depth: Int) -> Bool {
        guard depth <= maximumDepth, position < end else { return false }
        let tag = bytes[position]
        position += 1
        // Tag numbers above 30 occur in no certificate or key; zero is the end mark of BER.
        guard tag & 0x1F != 0x1F, tag != 0 else { return false }
        guard let length = readLength(bytes, &position, end: end), length <= end - position else { return false }
        let content = position..<(position + length)
        position = content.upperBound
        if tag & 0x20 != 0 {
            var inner = content.lowerBound
            while inner < content.upperBound {
                guard readValue(bytes, &inner, end: content.upperBound, depth: depth + 1) else { return false }
            }
            return inner == content.upperBound
        }
        return isPrimitiveWellFormed(tag, bytes[content])
    }

    private static func readLength(_ bytes: [UInt8], _ position: inout Int, end: Int) -> Int? {
        guard position < end else { return nil }
        let first = bytes[position]
        position += 1
        if first < 0x80 { return Int(first) }
        let count = Int(first & 0x7F)
        guard (1...4).contains(count), count <= end - position, bytes[position] != 0 else { return nil }
        var length = 0
        for _ in 0..<count {
            length = length << 8 | Int(bytes[position])
            position += 1
        }
        return length >= 0x80 ? length : nil
    }

    private static func isPrimitiveWellFormed(_ tag: UInt8, _ content: ArraySlice<UInt8>) -> Bool {
        guard let first = content.first else { return tag != 0x01 && tag != 0x02 && tag != 0x0A && tag != 0x06 }
        switch tag {
        case 0x01:
            return content.count == 1 && (first == 0 || first == 0xFF)
        case 0x02, 0x0A:
            guard content.count > 1 else { return true }
            let second = content[content.startIndex + 1]
            return !(first == 0 && second < 0x80) && !(first == 0xFF && second >= 0x80)
        case 0x03:
            return first <= 7 && !(content.count == 1 && first != 0)
        case 0x05:
            return false
        case 0x10, 0x11:
            // A sequence or set is never primitive.
            return false
        default:
            return true
        }
    }
}
