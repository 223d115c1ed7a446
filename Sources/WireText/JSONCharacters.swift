/// Finds what is special in the octets of a JSON string, eight at a time: tokens and sealed texts are long.
enum JSONCharacters {
    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let tops: UInt64 = 0x8080_8080_8080_8080

    /// Index of the first quotation mark, backslash or control character, or the end.
    ///
    /// - Parameter isASCII: whether an octet from 0x80 on ends it, too.
    static func plainEnd(in text: UnsafeRawBufferPointer, from start: Int, isASCII: Bool) -> Int {
        var index = start
        let mask: UInt64 = isASCII ? tops : 0
        while index + 8 <= text.count {
            let word = text.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            // Of each octet the top bit is set where the octet is 0, and perhaps above such a one.
            let quotes = zeros(word ^ (ones &* UInt64(UInt8(ascii: "\""))))
            let escapes = zeros(word ^ (ones &* UInt64(UInt8(ascii: "\\"))))
            let controls = (word &- ones &* 0x20) & ~word & tops
            guard (quotes | escapes | controls | word & mask) == 0 else { break }
            index += 8
        }
        while index < text.count {
            let octet = text[index]
            if octet < 0x20 || octet == UInt8(ascii: "\"") || octet == UInt8(ascii: "\\") { break }
            if isASCII, octet >= 0x80 { break }
            index += 1
        }
        return index
    }

    private static func zeros(_ word: UInt64) -> UInt64 { (word &- ones) & ~word & tops }
}
