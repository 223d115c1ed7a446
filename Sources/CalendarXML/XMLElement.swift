/// A name of XML with its namespace.
package struct XMLName: Hashable, Sendable, CustomStringConvertible {
    package let namespace: String
    package let name: String

    package init(namespace: String, name: String) {
        self.namespace = namespace
        self.name = name
    }

    package var description: String { name }
}

/// One element of an answer, with all below it.
package struct XMLElement: Sendable, Equatable {
    package var name: XMLName
    package var attributes: [String: String] = [:]
    package var children: [XMLElement] = []
    /// All characters that stand directly in it.
    package var octets: [UInt8] = []

    package init(
        name: XMLName, attributes: [String: String] = [:], children: [XMLElement] = [], octets: [UInt8] = []
    ) {
        self.name = name
        self.attributes = attributes
        self.children = children
        self.octets = octets
    }

    package subscript(name: XMLName) -> XMLElement? { children.first { $0.name == name } }
    package func all(_ name: XMLName) -> [XMLElement] { children.filter { $0.name == name } }

    /// Without spaces and line ends around it.
    package var text: String {
        let isSpace = { (octet: UInt8) in [0x20, 0x09, 0x0A, 0x0D].contains(octet) }
        let trimmed = octets.drop(while: isSpace).reversed().drop(while: isSpace).reversed()
        return String(decoding: Array(trimmed), as: UTF8.self)
    }
}

/// Writes XML for requests.
package enum XMLText {
    package static func escaped(_ text: String) -> String {
        var result = ""
        for character in text.unicodeScalars {
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            // XML has no place for other control characters.
            case "\u{0}"..."\u{8}", "\u{B}", "\u{C}", "\u{E}"..."\u{1F}": result += "\u{FFFD}"
            default: result.unicodeScalars.append(character)
            }
        }
        return result
    }
}
