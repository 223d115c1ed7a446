/// Cuts HTML into its tags; text, comments and raw contents between them are skipped.
///
/// Never fails: whatever is malformed ends as text or at the end of the page, like in a browser.
struct HTMLTags {
    struct Tag {
        /// Lower case.
        let name: String
        let isEnd: Bool
        /// Names in lower case; of two equal ones the first counts.
        let attributes: [String: String]
    }

    /// Elements whose content is not markup.
    private static let rawElements: Set<String> = [
        "script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes", "noscript", "plaintext",
    ]
    private static let maximumAttributes = 64

    private let text: [UInt8]
    private var position = 0
    private var rawElement: String?

    init(_ text: String) { self.text = Array(text.utf8) }

    mutating func next() -> Tag? {
        while position < text.count {
            if let element = rawElement {
                guard skipRaw(element) else { return nil }
                rawElement = nil
            }
            guard let open = text[position...].firstIndex(of: UInt8(ascii: "<")) else { break }
            position = open + 1
            if hasPrefix("!--") {
                skipComment()
                continue
            }
            guard position < text.count else { break }
            let isEnd = text[position] == UInt8(ascii: "/")
            if isEnd { position += 1 }
            guard position < text.count, Self.isLetter(text[position]) else {
                // `<!…`, `<?…` and `</…` without a name are comments up to the next `>`; `<` alone is text.
                if position < text.count,
                    isEnd || text[position] == UInt8(ascii: "!") || text[position] == UInt8(ascii: "?")
                {
                    skip(past: UInt8(ascii: ">"))
                }
                continue
            }
            guard let tag = readTag(isEnd: isEnd) else { break }
            if !isEnd, Self.rawElements.contains(tag.name) { rawElement = tag.name }
            return tag
        }
        position = text.count
        return nil
    }

    // MARK: - Pieces

    private mutating func readTag(isEnd: Bool) -> Tag? {
        let name = readName { $0 == UInt8(ascii: ">") || $0 == UInt8(ascii: "/") || Self.isSpace($0) }
        var attributes: [String: String] = [:]
        while position < text.count {
            while position < text.count, Self.isSpace(text[position]) || text[position] == UInt8(ascii: "/") {
                position += 1
            }
            guard position < text.count else { return nil }
            if text[position] == UInt8(ascii: ">") {
                position += 1
                return Tag(name: name, isEnd: isEnd, attributes: attributes)
            }
            let start = position
            // A leading `=` belongs to the name.
            position += 1
            while position < text.count, !Self.endsAttributeName(text[position]) { position += 1 }
            let attribute = String(decoding: text[start..<position], as: UTF8.self).lowercased()
            let value = readValue()
            if attributes.count < Self.maximumAttributes, attributes[attribute] == nil {
                attributes[attribute] = value
            }
        }
        return nil
    }

    private mutating func readValue() -> String {
        let mark = position
        while position < text.count, Self.isSpace(text[position]) { position += 1 }
        guard position < text.count, text[position] == UInt8(ascii: "=") else {
            position = mark
            return ""
        }
        position += 1
        while position < text.count, Self.isSpace(text[position]) { position += 1 }
        guard position < text.count else { return "" }
        let quote = text[position]
        if quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") {
            position += 1
            let start = position
            while position < text.count, text[position] != quote { position += 1 }
            let value = CharacterReferences.resolve(text[start..<position])
            position = min(position + 1, text.count)
            return value
        }
        let start = position
        while position < text.count, !Self.isSpace(text[position]), text[position] != UInt8(ascii: ">") {
            position += 1
        }
        return CharacterReferences.resolve(text[start..<position])
    }

    private mutating func readName(until isEnd: (UInt8) -> Bool) -> String {
        let start = position
        while position < text.count, !isEnd(text[position]) { position += 1 }
        return String(decoding: text[start..<position], as: UTF8.self).lowercased()
    }

    private mutating func skipComment() {
        position += 3
        // `<!-->` and `<!--->` are whole comments.
        if hasPrefix(">") || hasPrefix("->") {
            skip(past: UInt8(ascii: ">"))
            return
        }
        while position < text.count {
            if hasPrefix("-->") || hasPrefix("--!>") {
                skip(past: UInt8(ascii: ">"))
                return
            }
            position += 1
        }
    }

    /// Moves to the end tag of a raw element; false when there is none.
    private mutating func skipRaw(_ element: String) -> Bool {
        guard element != "plaintext" else {
            position = text.count
            return false
        }
        let end = Array("</\(element)".utf8)
        while position + end.count < text.count {
            if text[position] == UInt8(ascii: "<"),
                zip(text[position...], end).allSatisfy({ Self.lower($0) == $1 }),
                Self.isSpace(text[position + end.count]) || text[position + end.count] == UInt8(ascii: ">")
                    || text[position + end.count] == UInt8(ascii: "/")
            {
                return true
            }
            position += 1
        }
        position = text.count
        return false
    }

    private mutating func skip(past byte: UInt8) {
        position = (text[position...].firstIndex(of: byte) ?? text.count - 1) + 1
    }

    private func hasPrefix(_ prefix: StaticString) -> Bool {
        prefix.withUTF8Buffer { text[position...].starts(with: $0) }
    }

    private static func endsAttributeName(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "=") || byte == UInt8(ascii: ">") || byte == UInt8(ascii: "/") || isSpace(byte)
    }
    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) && byte != 0x0B }
    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(lower(byte))
    }
    private static func lower(_ byte: UInt8) -> UInt8 {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte + 32 : byte
    }
}

/// Character references of HTML: the numeric ones and the five names that escaping needs; others stay as they are.
enum CharacterReferences {
    private static let names: [String: String] = ["amp": "&", "lt": "<", "gt": ">", "quot": "\"", "apos": "'"]

    static func resolve(_ bytes: some Collection<UInt8>) -> String {
        let text = String(decoding: bytes, as: UTF8.self)
        guard text.contains("&") else { return text }
        var result = ""
        var rest = text[...]
        while let mark = rest.firstIndex(of: "&") {
            result += rest[..<mark]
            rest = rest[mark...]
            if let end = rest.prefix(12).firstIndex(of: ";"),
                let value = value(of: rest[rest.index(after: rest.startIndex)..<end])
            {
                result += value
                rest = rest[rest.index(after: end)...]
            } else {
                result += "&"
                rest = rest.dropFirst()
            }
        }
        return result + rest
    }

    private static func value(of reference: Substring) -> String? {
        guard reference.hasPrefix("#") else { return names[String(reference)] }
        let number = reference.dropFirst()
        let digits = number.first == "x" || number.first == "X" ? (number.dropFirst(), 16) : (number, 10)
        guard !digits.0.isEmpty, digits.0.utf8.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") }),
            let code = UInt32(digits.0, radix: digits.1), code != 0, let scalar = Unicode.Scalar(code)
        else { return nil }
        return String(Character(scalar))
    }
}
