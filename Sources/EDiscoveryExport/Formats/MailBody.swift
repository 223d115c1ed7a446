import WireText

/// Bodies of MIME parts in seven bits and short lines (RFC 2045): no line of them begins with `From ` or is a lone full stop, so
/// that a message is the same in a file and in a mailbox.
enum MailBody {
    static func base64(_ octets: [UInt8]) -> String { Base64.encode(octets) }

    /// Whether a text is easier to read in quoted printable.
    static func isMostlyASCII(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { octets in octets.reduce(0) { $0 + ($1 >= 0x80 ? 1 : 0) } * 5 <= octets.count }
    }

    /// Lines of at most 76 characters. The text's line feeds, also those behind a carriage return, are line ends; a lone
    /// carriage return is kept as what it is.
    static func quotedPrintable(_ text: String, lineEnd: [UInt8]) -> [UInt8] {
        let hex = Array("0123456789ABCDEF".utf8)
        var result: [UInt8] = []
        var text = text
        text.withUTF8 { octets in
            result.reserveCapacity(octets.count + octets.count / 16)
            var column = 0
            var index = 0
            func append(_ octet: UInt8, encoded: Bool) {
                let width = encoded ? 3 : 1
                if column + width > 75 {
                    result.append(UInt8(ascii: "="))
                    result += lineEnd
                    column = 0
                }
                if encoded {
                    result += [UInt8(ascii: "="), hex[Int(octet >> 4)], hex[Int(octet & 15)]]
                } else {
                    result.append(octet)
                }
                column += width
            }
            while index < octets.count {
                let octet = octets[index]
                let next = index + 1 < octets.count ? octets[index + 1] : nil
                index += 1
                switch octet {
                case 0x0D where next == 0x0A: continue
                case 0x0A:
                    result += lineEnd
                    column = 0
                case 0x20, 0x09: append(octet, encoded: next == nil || next == 0x0A || next == 0x0D)
                case UInt8(ascii: "="): append(octet, encoded: true)
                case UInt8(ascii: "F"), UInt8(ascii: "."): append(octet, encoded: column == 0 || column >= 75)
                case 0x21...0x7E: append(octet, encoded: false)
                default: append(octet, encoded: true)
                }
            }
        }
        return result
    }

    /// Lines of 76 characters.
    static func base64Lines(_ octets: [UInt8], lineEnd: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(octets.count * 3 / 2)
        var start = 0
        while start < octets.count {
            let end = min(start + 57, octets.count)
            result += Base64.encode(Array(octets[start..<end])).utf8
            result += lineEnd
            start = end
        }
        return result
    }
}
