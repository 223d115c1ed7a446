import EDiscoveryModel

/// Header fields of RFC 5322 with the words of RFC 2047: whatever a stranger wrote comes out as printable ASCII in one field.
enum MailHeader {
    /// A field whose value is a text, folded.
    static func text(_ name: String, _ value: String) -> [String] {
        let shown = ExportName.visible(value)
        if isPlain(shown), name.utf8.count + 2 + shown.utf8.count <= 76 { return ["\(name): \(shown)"] }
        let words = encodedWords(shown)
        return ["\(name): \(words[0])"] + words.dropFirst().map { " " + $0 }
    }

    /// A field of mailboxes, one a line.
    static func addresses(_ name: String, _ people: [Person]) -> [String] {
        guard !people.isEmpty else { return ["\(name): undisclosed-recipients:;"] }
        var lines: [String] = []
        for (index, person) in people.enumerated() {
            var parts = phrase(person) + ["<\(address(person))>"]
            if index < people.count - 1 { parts[parts.count - 1] += "," }
            for part in parts { lines.append(lines.isEmpty ? "\(name): \(part)" : " " + part) }
        }
        return lines
    }

    /// The name before an address: a quoted string, or encoded words.
    private static func phrase(_ person: Person) -> [String] {
        guard let name = person.name, !name.isEmpty else { return [] }
        let shown = ExportName.visible(name, limit: 120)
        guard isPlain(shown), shown.utf8.count <= 60 else { return encodedWords(shown) }
        var quoted = "\""
        for character in shown.unicodeScalars {
            if character == "\"" || character == "\\" { quoted += "\\" }
            quoted.unicodeScalars.append(character)
        }
        return [quoted + "\""]
    }

    /// His address when it is one that every reader takes, else one made of his id under a domain that can not be.
    static func address(_ person: Person) -> String {
        if let email = person.email, isAddress(email) { return email }
        return ExportName.token(person.id) + "@user.invalid"
    }

    private static func isAddress(_ text: String) -> Bool {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, (1...64).contains(parts[0].utf8.count), (1...190).contains(parts[1].utf8.count) else {
            return false
        }
        let isAtom = { (part: Substring, extra: String) in
            !part.isEmpty
                && part.utf8.allSatisfy { character in
                    switch character {
                    case 48...57, 65...90, 97...122: true
                    default: extra.utf8.contains(character)
                    }
                }
        }
        return parts[0].split(separator: ".", omittingEmptySubsequences: false).allSatisfy {
            isAtom($0, "!#$%&'*+/=?^_`{|}~-")
        }
            && parts[1].split(separator: ".", omittingEmptySubsequences: false).allSatisfy {
                isAtom($0, "-") && $0.first != "-" && $0.last != "-"
            }
    }

    /// Printable ASCII that no reader could take for an encoded word.
    private static func isPlain(_ text: String) -> Bool {
        var last: UInt8 = 0
        for octet in text.utf8 {
            guard (0x20...0x7E).contains(octet), octet != UInt8(ascii: "?") || last != UInt8(ascii: "=") else {
                return false
            }
            last = octet
        }
        return text.utf8.first != 0x20
            && text.last != " "
            && !text.isEmpty
    }

    /// At most 75 characters each, divided between characters.
    private static func encodedWords(_ text: String) -> [String] {
        var words: [String] = []
        var chunk: [UInt8] = []
        for scalar in text.unicodeScalars {
            let octets = Array(String(scalar).utf8)
            if chunk.count + octets.count > 45 {
                words.append("=?utf-8?B?\(MailBody.base64(chunk))?=")
                chunk = []
            }
            chunk += octets
        }
        words.append("=?utf-8?B?\(MailBody.base64(chunk))?=")
        return words
    }

    /// The parameter of a name (RFC 2231): quoted where it is plain, else in percent signs.
    static func parameter(_ name: String, _ value: String) -> String {
        if isPlain(value), !value.contains("\""), !value.contains("\\"), value.utf8.count <= 60 {
            return "\(name)=\"\(value)\""
        }
        var text = "\(name)*=utf-8''"
        let digits = Array("0123456789ABCDEF".unicodeScalars)
        for octet in value.utf8 {
            switch octet {
            case 48...57, 65...90, 97...122, UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
                text.unicodeScalars.append(Unicode.Scalar(octet))
            default:
                text += "%"
                text.unicodeScalars.append(digits[Int(octet >> 4)])
                text.unicodeScalars.append(digits[Int(octet & 15)])
            }
        }
        return text
    }

    /// A media type that names octets and nothing that a reader would look into; else that of unknown octets.
    static func mediaType(_ text: String?) -> String {
        let unknown = "application/octet-stream"
        guard let text, text.utf8.count <= 100 else { return unknown }
        let parts = text.lowercased().split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0] != "multipart", parts[0] != "message" else { return unknown }
        let isToken = parts.allSatisfy { part in
            !part.isEmpty
                && part.utf8.allSatisfy { character in
                    switch character {
                    case 48...57, 97...122: true
                    default: "!#$&^_.+-".utf8.contains(character)
                    }
                }
        }
        return isToken ? parts.joined(separator: "/") : unknown
    }
}
