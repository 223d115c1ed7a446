package import Diagnostics

/// A parsed JSON text (RFC 8259): one copy of the octets, wiped at the end, and a flat list of nodes over it.
///
/// Strict: one value, valid UTF-8, no lone surrogates, no control characters in strings, no leading zeros, no second
/// member of the same name (RFC 7515, section 4, asks it of headers; elsewhere two readers could see two requests).
/// Depth, number of nodes and size are limited before anything is allocated for them. Immutable after parsing.
package final class JSONDocument: Sendable {
    /// Bounds for one text. A text beyond a bound is refused as a whole.
    package struct Limits: Sendable {
        /// Nested arrays and objects.
        package var maximumDepth: Int
        /// Values and member names together.
        package var maximumNodes: Int
        package var maximumBytes: Int

        package init(maximumDepth: Int = 16, maximumNodes: Int = 20_000, maximumBytes: Int = 1 << 20) {
            self.maximumDepth = maximumDepth
            self.maximumNodes = maximumNodes
            self.maximumBytes = maximumBytes
        }
    }

    /// The octets are written once in `init` and read only afterwards, hence shared without a lock; the document owns
    /// them, so that a text with a bearer token does not stay behind in freed memory.
    private nonisolated(unsafe) let source: UnsafeMutableRawBufferPointer
    let nodes: ContiguousArray<Node>

    package convenience init(
        _ bytes: UnsafeRawBufferPointer, limits: Limits = Limits()
    ) throws(DiagnosedError) {
        let (source, nodes) = try Self.parse(bytes, limits).get()
        self.init(adopting: source, nodes: nodes)
    }

    /// For most callers: what is generic is not specialised across modules.
    package convenience init(_ bytes: [UInt8], limits: Limits = Limits()) throws(DiagnosedError) {
        let (source, nodes) = try bytes.withUnsafeBytes { Self.parse($0, limits) }.get()
        self.init(adopting: source, nodes: nodes)
    }

    package convenience init(_ bytes: some Collection<UInt8>, limits: Limits = Limits()) throws(DiagnosedError) {
        let parsed =
            bytes.withContiguousStorageIfAvailable { Self.parse(UnsafeRawBufferPointer($0), limits) }
            ?? Array(bytes).withUnsafeBytes { Self.parse($0, limits) }
        let (source, nodes) = try parsed.get()
        self.init(adopting: source, nodes: nodes)
    }

    package convenience init(text: String, limits: Limits = Limits()) throws(DiagnosedError) {
        try self.init(Array(text.utf8), limits: limits)
    }

    private init(adopting source: UnsafeMutableRawBufferPointer, nodes: ContiguousArray<Node>) {
        self.source = source
        self.nodes = nodes
    }

    private static func parse(
        _ bytes: UnsafeRawBufferPointer, _ limits: Limits
    ) -> Result<(UnsafeMutableRawBufferPointer, ContiguousArray<Node>), DiagnosedError> {
        guard bytes.count <= limits.maximumBytes else {
            return .failure(
                .json("the text is too long", expected: "at most \(limits.maximumBytes) octets", at: bytes.count))
        }
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        copy.copyMemory(from: bytes)
        var parser = JSONParser(text: UnsafeRawBufferPointer(copy), limits: limits)
        do throws(DiagnosedError) {
            return .success((copy, try parser.parse()))
        } catch {
            wipeAndFree(copy)
            return .failure(error)
        }
    }

    deinit { wipeAndFree(source) }

    package var root: JSONNode { JSONNode(document: self, index: 0) }

    /// The octets of a node: of a string without its quotes, of anything else as it stands in the text.
    func bytes(_ node: Node) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(source)[Int(node.start)..<Int(node.end)])
    }

    struct Node: Sendable {
        var kind: JSONNode.Kind
        /// A string with at least one escape, or a number with a fraction or an exponent.
        var isComplex: Bool
        var start: UInt32
        var end: UInt32
        /// Index of the first node after this one and all it contains.
        var next: UInt32
    }
}

private func wipeAndFree(_ bytes: UnsafeMutableRawBufferPointer) {
    wipe(bytes)
    bytes.deallocate()
}

extension DiagnosedError {
    static func json(_ what: String, expected: String? = nil, at offset: Int) -> DiagnosedError {
        DiagnosedError(
            .malformedJSON, fault: .client, "not valid JSON: \(what)", expected: expected, found: "octet \(offset)")
    }
}

extension DiagnosedError.Code {
    package static let malformedJSON: Self = "malformed-json"
}
