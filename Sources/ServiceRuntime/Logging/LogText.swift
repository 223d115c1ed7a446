/// Copies texts into a record's bytes: bounded, without control characters where a line must stay a line, and with
/// everything that looks like a token or another JOSE object left out.
///
/// The last guard behind the types: nobody hands a bearer token to a log, and if it happens all the same (a library's
/// error, say) `eyJ...` is what they all start with, and it is replaced by `[redacted]`.
enum LogText {
    enum Style {
        /// Raw bytes, for the journal, whose protocol carries any octet.
        case raw
        /// Control characters written as `\n` or `\x1b`, so that a record is one line and no terminal obeys it.
        case line
        /// As `line`, within double quotes.
        case quoted
    }

    /// A single field is cut after this many bytes.
    static let maximumBytes = 16_384
    private static let cut = "...[cut]"
    private static let redacted = "[redacted]"

    static func append(_ text: String, as style: Style, to buffer: inout [UInt8]) {
        var text = text
        text.withUTF8 { append($0, as: style, to: &buffer) }
    }

    private static func append(_ bytes: UnsafeBufferPointer<UInt8>, as style: Style, to buffer: inout [UInt8]) {
        var end = bytes.count
        if end > maximumBytes {
            end = maximumBytes
            // Back to the start of a character.
            while end > 0, bytes[end] & 0xC0 == 0x80 { end -= 1 }
        }
        var index = 0
        // Everything from here to `index` is copied in one go.
        var pending = 0
        while index < end {
            let byte = bytes[index]
            // Most bytes: nothing below wants them.
            if byte > UInt8(ascii: "\""), byte < 0x7F, byte != UInt8(ascii: "e"), byte != UInt8(ascii: "\\") {
                index += 1
                continue
            }
            if byte == UInt8(ascii: "e"), let after = endOfToken(bytes, at: index, end: end) {
                buffer.append(contentsOf: bytes[pending..<index])
                buffer.append(contentsOf: redacted.utf8)
                index = after
                pending = after
                continue
            }
            if style != .raw, isEscaped(byte, style) {
                buffer.append(contentsOf: bytes[pending..<index])
                escape(byte, into: &buffer)
                pending = index + 1
            } else if style != .raw, byte == 0xC2, index + 1 < end, bytes[index + 1] < 0xA0 {
                // U+0080 to U+009F: control characters of eight-bit terminals.
                buffer.append(contentsOf: bytes[pending..<index])
                escape(bytes[index + 1], into: &buffer)
                index += 1
                pending = index + 1
            }
            index += 1
        }
        if pending < end { buffer.append(contentsOf: bytes[pending..<end]) }
        if end < bytes.count { buffer.append(contentsOf: cut.utf8) }
    }

    /// Whether the text can stand behind `NAME=` without quotes.
    static func isPlainWord(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { $0 > 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "=") && $0 != 0x7F }
    }

    private static func isEscaped(_ byte: UInt8, _ style: Style) -> Bool {
        byte < 0x20 || byte == 0x7F
            || (style == .quoted && (byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")))
    }

    private static func escape(_ byte: UInt8, into buffer: inout [UInt8]) {
        buffer.append(UInt8(ascii: "\\"))
        switch byte {
        case UInt8(ascii: "\n"): buffer.append(UInt8(ascii: "n"))
        case UInt8(ascii: "\t"): buffer.append(UInt8(ascii: "t"))
        case UInt8(ascii: "\r"): buffer.append(UInt8(ascii: "r"))
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): buffer.append(byte)
        default:
            let digits = Array("0123456789abcdef".utf8)
            buffer += [UInt8(ascii: "x"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }

    /// The index behind a run that starts with `eyJ` and has at least twelve more characters of base64url.
    private static func endOfToken(_ bytes: UnsafeBufferPointer<UInt8>, at start: Int, end: Int) -> Int? {
        guard start + 15 <= end, bytes[start + 1] == UInt8(ascii: "y"), bytes[start + 2] == UInt8(ascii: "J") else {
            return nil
        }
        var index = start + 3
        while index < end, isTokenByte(bytes[index]) { index += 1 }
        return index - start >= 15 ? index : nil
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
            true
        default: false
        }
    }
}
