/// One value of a `JSONDocument`; it keeps the document alive. Every accessor answers nil for a value of another kind.
package struct JSONNode: Sendable {
    package enum Kind: UInt8, Sendable { case object, array, string, number, boolean, null }

    let document: JSONDocument
    let index: Int

    private var node: JSONDocument.Node { document.nodes[index] }
    package var kind: Kind { node.kind }
    package var isNull: Bool { node.kind == .null }

    /// The member of that name, of an object.
    package subscript(name: String) -> JSONNode? {
        let object = node
        guard object.kind == .object else { return nil }
        var name = name
        return name.withUTF8 { wanted -> JSONNode? in
            var child = index + 1
            while child < Int(object.next) {
                let key = document.nodes[child]
                if key.isComplex {
                    if Array(JSONNode(document: document, index: child).decoded().utf8).elementsEqual(wanted) {
                        return JSONNode(document: document, index: child + 1)
                    }
                } else if document.bytes(key).elementsEqual(wanted) {
                    return JSONNode(document: document, index: child + 1)
                }
                child = Int(document.nodes[child + 1].next)
            }
            return nil
        }
    }

    package var string: String? {
        guard node.kind == .string else { return nil }
        return decoded()
    }

    /// The octets of a string without escapes; nil for other values and for strings with escapes.
    package func withPlainString<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R? {
        let node = node
        guard node.kind == .string, !node.isComplex else { return nil }
        return try body(document.bytes(node))
    }

    /// A number without fraction and exponent that fits.
    package var integer: Int64? {
        guard node.kind == .number, !node.isComplex else { return nil }
        return Int64(rawText)
    }

    package var boolean: Bool? {
        guard node.kind == .boolean else { return nil }
        return document.bytes(node).count == 4
    }

    package var elements: [JSONNode]? {
        let array = node
        guard array.kind == .array else { return nil }
        var result: [JSONNode] = []
        var child = index + 1
        while child < Int(array.next) {
            result.append(JSONNode(document: document, index: child))
            child = Int(document.nodes[child].next)
        }
        return result
    }

    /// An array whose every element is a string.
    package var strings: [String]? {
        guard let elements else { return nil }
        var result: [String] = []
        result.reserveCapacity(elements.count)
        for element in elements {
            guard let text = element.string else { return nil }
            result.append(text)
        }
        return result
    }

    package var members: [(name: String, value: JSONNode)]? {
        let object = node
        guard object.kind == .object else { return nil }
        var result: [(name: String, value: JSONNode)] = []
        var child = index + 1
        while child < Int(object.next) {
            result.append(
                (JSONNode(document: document, index: child).decoded(), JSONNode(document: document, index: child + 1)))
            child = Int(document.nodes[child + 1].next)
        }
        return result
    }

    /// The value as it stands in the text; of a string without quotes and with its escapes.
    package var rawText: String { String(decoding: document.bytes(node), as: UTF8.self) }

    private func decoded() -> String {
        let node = node
        let bytes = document.bytes(node)
        return node.isComplex ? JSONParser.unescape(bytes) : String(decoding: bytes, as: UTF8.self)
    }
}
