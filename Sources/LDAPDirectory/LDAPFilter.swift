/// Search filters as text (RFC 4515).
package enum LDAPFilter {
    /// A value that stands for itself in a filter: `\`, `*`, parentheses, NUL and all octets above ASCII as `\xx`.
    package static func escaped(_ value: some Sequence<UInt8>) -> String {
        var text = ""
        for octet in value {
            switch octet {
            case UInt8(ascii: "\\"), UInt8(ascii: "*"), UInt8(ascii: "("), UInt8(ascii: ")"), 0, 0x80...:
                text += "\\" + hexadecimal(octet >> 4) + hexadecimal(octet & 15)
            default: text.unicodeScalars.append(Unicode.Scalar(octet))
            }
        }
        return text
    }

    package static func escaped(_ value: String) -> String { escaped(value.utf8) }

    /// Whether a text that an administrator wrote can be a filter: in parentheses, which match. The server judges the rest.
    package static func isPlausible(_ text: String) -> Bool {
        guard text.hasPrefix("("), text.hasSuffix(")"), text.utf8.count <= 4096, !text.utf8.contains(0) else {
            return false
        }
        var depth = 0
        for (index, octet) in text.utf8.enumerated() {
            if octet == UInt8(ascii: "(") { depth += 1 }
            if octet == UInt8(ascii: ")") { depth -= 1 }
            if depth < 0 || depth == 0 && index < text.utf8.count - 1 { return false }
        }
        return depth == 0
    }

    private static func hexadecimal(_ digit: UInt8) -> String { String(digit, radix: 16) }
}
