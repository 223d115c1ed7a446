package import WireText

/// A filter of `eq` comparisons joined by `and` (RFC 7644, section 3.4.2.2): what provisioning clients ask with.
///
/// `userName eq "bjensen" and active eq true`, `emails[type eq "work"].value eq "b@example.com"`. Names of attributes and
/// operators are compared without case. Everything else of the grammar is refused as `invalidFilter`, not misread.
package struct SCIMFilter: Sendable, Equatable {
    package enum Value: Sendable, Equatable {
        case text(String)
        case flag(Bool)
        case number(Int64)
        case null
    }

    package struct Comparison: Sendable, Equatable {
        /// In lower case, without the schema's URN; `emails.value`.
        package let path: String
        /// The comparison inside brackets that picks elements.
        package var selector: [Comparison] = []
        package let value: Value
    }

    package let comparisons: [Comparison]
    static let longest = 1024
    static let most = 10

    package init(_ text: String) throws(SCIMError) {
        guard text.utf8.count <= Self.longest else { throw Self.refused("it is too long") }
        var scanner = Scanner(text)
        comparisons = try scanner.conjunction(until: nil, depth: 0)
    }

    static func refused(_ why: String) -> SCIMError {
        .invalid(.invalidFilter, "the filter can not be used: \(why); eq and and are known")
    }

    /// The value of the comparison that is this whole filter, for a look-up by index.
    package func only(_ path: String) -> String? {
        guard comparisons.count == 1, comparisons[0].path == path, case .text(let text) = comparisons[0].value else {
            return nil
        }
        return text
    }

    /// Whether a resource, as it would be shown, is meant.
    package func matches(_ root: JSONNode) -> Bool { comparisons.allSatisfy { Self.holds($0, root) } }

    private static func holds(_ comparison: Comparison, _ root: JSONNode) -> Bool {
        let steps = comparison.path.split(separator: ".").map(String.init)
        var nodes = [root]
        for (index, step) in steps.enumerated() {
            nodes = nodes.flatMap { node in
                (node.members ?? []).filter { $0.name.lowercased() == step }.map(\.value).flatMap {
                    $0.elements ?? [$0]
                }
            }
            if index == 0, !comparison.selector.isEmpty {
                nodes = nodes.filter { node in comparison.selector.allSatisfy { holds($0, node) } }
            }
        }
        // `emails eq "…"` means the value of an element.
        if comparison.value != .null {
            nodes = nodes.map { $0.members == nil ? $0 : $0["value"] ?? $0 }
        }
        let isExact = ["id", "externalid"].contains(comparison.path)
        switch comparison.value {
        case .null: return nodes.allSatisfy(\.isNull)
        case .flag(let flag): return nodes.contains { $0.boolean == flag }
        case .number(let number): return nodes.contains { $0.integer == number }
        case .text(let text):
            return nodes.contains { node in
                guard let value = node.string else {
                    // Entra ID asks for active eq "true", too.
                    return node.boolean.map { "\($0)" == text.lowercased() } ?? false
                }
                return isExact ? value == text : value.lowercased() == text.lowercased()
            }
        }
    }

    /// Reads a filter from its beginning.
    struct Scanner {
        private let characters: [Character]
        private var position = 0

        init(_ text: String) { characters = Array(text) }

        var isAtEnd: Bool { position == characters.count }

        mutating func skipSpaces() { while position < characters.count, characters[position] == " " { position += 1 } }

        mutating func take(_ character: Character) -> Bool {
            guard position < characters.count, characters[position] == character else { return false }
            position += 1
            return true
        }

        mutating func word() -> String {
            skipSpaces()
            let start = position
            while position < characters.count, !" [](){}\"".contains(characters[position]) { position += 1 }
            return String(characters[start..<position])
        }

        mutating func conjunction(until end: Character?, depth: Int) throws(SCIMError) -> [Comparison] {
            var list: [Comparison] = []
            repeat {
                list.append(try comparison(depth: depth))
                guard list.count <= SCIMFilter.most else { throw SCIMFilter.refused("it has too many parts") }
                skipSpaces()
                if let end, take(end) { return list }
                if isAtEnd {
                    guard end == nil else { throw SCIMFilter.refused("a bracket is not closed") }
                    return list
                }
                guard word().lowercased() == "and" else { throw SCIMFilter.refused("and is expected") }
            } while true
        }

        private mutating func comparison(depth: Int) throws(SCIMError) -> Comparison {
            var path = SCIMPath.plain(word())
            guard SCIMPath.isAttribute(path) else { throw SCIMFilter.refused("the name of an attribute is expected") }
            var selector: [Comparison] = []
            if take("[") {
                guard depth == 0 else { throw SCIMFilter.refused("brackets in brackets") }
                selector = try conjunction(until: "]", depth: 1)
                if take(".") {
                    let sub = word().lowercased()
                    guard SCIMPath.isAttribute(sub) else { throw SCIMFilter.refused("a sub-attribute is expected") }
                    path += "." + sub
                }
                // `emails[type eq "work"]` alone: there is such an element.
                skipSpaces()
                if isAtEnd || (position < characters.count && characters[position] == "a" && path.isEmpty) {
                    throw SCIMFilter.refused("a comparison is expected behind the brackets")
                }
            }
            guard word().lowercased() == "eq" else { throw SCIMFilter.refused("eq is expected") }
            return Comparison(path: path, selector: selector, value: try value())
        }

        private mutating func value() throws(SCIMError) -> Value {
            skipSpaces()
            if take("\"") {
                // A JSON string.
                var raw = "\""
                while position < characters.count {
                    let character = characters[position]
                    position += 1
                    raw.append(character)
                    if character == "\\", position < characters.count {
                        raw.append(characters[position])
                        position += 1
                    } else if character == "\"" {
                        guard let text = try? JSONDocument(text: "[\(raw)]").root.elements?.first?.string else {
                            throw SCIMFilter.refused("a text is malformed")
                        }
                        return .text(text)
                    }
                }
                throw SCIMFilter.refused("a text does not end")
            }
            let word = word()
            switch word.lowercased() {
            case "true": return .flag(true)
            case "false": return .flag(false)
            case "null": return .null
            default:
                guard let number = Int64(word) else { throw SCIMFilter.refused("a value is expected") }
                return .number(number)
            }
        }
    }
}

/// Names of attributes (RFC 7644, section 3.10).
enum SCIMPath {
    /// In lower case, and without the URN of a schema in front.
    static func plain(_ text: String) -> String {
        let text = text.lowercased()
        for urn in ["urn:ietf:params:scim:schemas:core:2.0:user:", "urn:ietf:params:scim:schemas:core:2.0:group:"]
        where text.hasPrefix(urn) { return String(text.dropFirst(urn.count)) }
        return text
    }

    static func isAttribute(_ text: String) -> Bool {
        guard let first = text.utf8.first, (0x61...0x7A).contains(first | 0x20) else { return false }
        return text.utf8.count <= 256
            && text.utf8.allSatisfy { octet in
                (0x61...0x7A).contains(octet | 0x20) || (0x30...0x3A).contains(octet) || octet == 0x2D || octet == 0x5F
                    || octet == 0x2E || octet == 0x24
            }
    }
}
