/// The escaping of values of type TEXT (RFC 5545, section 3.3.11).
package enum CalendarText {
    /// `\`, `;`, `,` and line ends escaped; CRLF and CR become `\n` as LF does.
    package static func escape(_ text: String) -> String {
        var escaped = ""
        for character in text {
            switch character {
            case "\\": escaped += "\\\\"
            case ";": escaped += "\\;"
            case ",": escaped += "\\,"
            case "\n", "\r\n", "\r": escaped += "\\n"
            default: escaped.append(character)
            }
        }
        return escaped
    }

    /// The text that an escaped value stands for. An escape that the RFC does not know stands for itself.
    package static func unescape(_ value: String) -> String {
        var text = String.UnicodeScalarView()
        var scalars = value.unicodeScalars.makeIterator()
        while let scalar = scalars.next() {
            guard scalar == "\\" else {
                text.append(scalar)
                continue
            }
            switch scalars.next() {
            case "n", "N": text.append("\n")
            case let known? where known == "\\" || known == ";" || known == ",": text.append(known)
            case let other?:
                text.append("\\")
                text.append(other)
            case nil: text.append("\\")
            }
        }
        return String(text)
    }
}
