/// Text files: UTF-8, UTF-16 with a byte order mark, otherwise Windows-1252, which takes any octets.
package enum PlainText {
    package static func read(_ octets: [UInt8], into text: inout TextBuffer) {
        if octets.starts(with: [0xFF, 0xFE]) || octets.starts(with: [0xFE, 0xFF]) {
            let isBig = octets[0] == 0xFE
            let units = stride(from: 2, to: octets.count - 1, by: 2).map { index in
                let (first, second) = (UInt16(octets[index]), UInt16(octets[index + 1]))
                return isBig ? first << 8 | second : second << 8 | first
            }
            text.append(Array(String(decoding: units, as: UTF16.self).utf8))
        } else if String(validating: octets, as: UTF8.self) != nil {
            text.append(octets.starts(with: [0xEF, 0xBB, 0xBF]) ? octets[3...] : octets[...])
        } else {
            var characters = String.UnicodeScalarView()
            for octet in octets { characters.append(windows1252(octet)) }
            text.append(Array(String(characters).utf8))
        }
    }

    private static func windows1252(_ octet: UInt8) -> Unicode.Scalar {
        guard (0x80...0x9F).contains(octet) else { return Unicode.Scalar(octet) }
        return upper[Int(octet) - 0x80]
    }

    /// 0x80 to 0x9F, from WHATWG Encoding, index windows-1252.
    private static let upper = Array(
        "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8D}Ž\u{8F}\u{90}‘’“”•–—˜™š›œ\u{9D}žŸ".unicodeScalars)
}
