/// A name with its namespace; empty for none.
struct XMLName: Hashable, Sendable, CustomStringConvertible {
    let namespace: String
    let local: String

    init(_ namespace: String, _ local: String) {
        self.namespace = namespace
        self.local = local
    }

    var description: String { local }
}

/// An element as a value: no prefix, no comment, no entity is left; text is what the parser gave, in one piece.
struct XMLElement: Sendable, Equatable {
    enum Child: Sendable, Equatable {
        case element(XMLElement)
        case text(String)
    }

    let name: XMLName
    var attributes: [XMLName: String] = [:]
    var children: [Child] = []

    init(_ name: XMLName) { self.name = name }

    /// An attribute without a namespace.
    subscript(attribute name: String) -> String? { attributes[XMLName("", name)] }

    var elements: [XMLElement] {
        children.compactMap { child in
            if case .element(let element) = child { element } else { nil }
        }
    }

    func elements(_ name: XMLName) -> [XMLElement] { elements.filter { $0.name == name } }

    /// The one child of that name; nil when there is none or more than one.
    func only(_ name: XMLName) -> XMLElement? {
        let found = elements(name)
        return found.count == 1 ? found[0] : nil
    }

    /// The text of an element that has nothing but text, without white space around it; nil for every other.
    var plainText: String? {
        var text = ""
        for child in children {
            guard case .text(let part) = child else { return nil }
            text += part
        }
        let space: Set<Character> = [" ", "\t", "\n", "\r", "\r\n"]
        let start = text.firstIndex { !space.contains($0) } ?? text.endIndex
        let end = text.lastIndex { !space.contains($0) }.map { text.index(after: $0) } ?? start
        return String(text[start..<end])
    }

    /// Itself and everything below, in the order of the document.
    func walk(_ visit: (XMLElement) throws -> Void) rethrows {
        try visit(self)
        for element in elements { try element.walk(visit) }
    }
}
