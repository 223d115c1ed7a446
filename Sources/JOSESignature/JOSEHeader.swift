package import Diagnostics
import Glibc
import WireText

/// The protected header of a JWS or JWE (RFC 7515, section 4; RFC 7516, section 4), parsed strictly.
///
/// Members may come in any order, with white space and escapes. Refused are: a member twice, `crit` (no extension is
/// understood), `zip` (lengths would tell plaintext), `b64`, and members of the wrong type. Keys or addresses of keys in
/// a header (`jwk`, `jku`, `x5u`) are not read: the key comes from the caller, who knows whom to trust.
package struct JOSEHeader: Sendable, Hashable {
    package let alg: String
    package let enc: String?
    package let kid: String?
    package let typ: String?
    package let cty: String?
    /// DER of the certificates, leaf first; empty if there are none. Says nothing about trust.
    package let x5c: [[UInt8]]

    static let maximumBytes = 96 << 10
    private static let limits = JSONDocument.Limits(maximumDepth: 6, maximumNodes: 200, maximumBytes: maximumBytes)

    /// From the first part of a compact text.
    package static func parse(base64url text: UnsafeRawBufferPointer) throws(DiagnosedError) -> JOSEHeader {
        guard !text.isEmpty, let json = Base64URL.decode(text) else {
            throw .malformedJOSE("the header is not base64url")
        }
        let root: JSONNode
        do {
            root = try JSONDocument(json, limits: limits).root
        } catch {
            throw .malformedJOSE("the header is not valid JSON", found: error.summary)
        }
        return try JOSEHeader(root)
    }

    private init(_ root: JSONNode) throws(DiagnosedError) {
        guard root.kind == .object else { throw .malformedJOSE("the header is no JSON object") }
        for name in ["crit", "zip", "b64"] where root[name] != nil {
            throw .refusedJOSE("the header has the member '\(name)', which is not supported")
        }
        guard let alg = root["alg"]?.string, !alg.isEmpty else { throw .malformedJOSE("the header names no algorithm") }
        self.alg = alg
        enc = try Self.text("enc", root)
        kid = try Self.text("kid", root)
        typ = try Self.text("typ", root)
        cty = try Self.text("cty", root)
        guard let chain = root["x5c"] else {
            x5c = []
            return
        }
        guard let texts = chain.strings, (1...10).contains(texts.count) else {
            throw .malformedJOSE("'x5c' is not usable", expected: "1 to 10 base64 texts")
        }
        var certificates: [[UInt8]] = []
        for text in texts {
            guard let der = Base64.decode(text), !der.isEmpty else { throw .malformedJOSE("'x5c' is not base64") }
            certificates.append(der)
        }
        x5c = certificates
    }

    private static func text(_ name: String, _ root: JSONNode) throws(DiagnosedError) -> String? {
        guard let node = root[name] else { return nil }
        guard let text = node.string else { throw .malformedJOSE("'\(name)' in the header is no text") }
        return text
    }
}

/// The parts of a compact text between its full stops, as ranges of its octets.
package enum CompactParts {
    /// Exactly `count` parts, or nil. The text is looked at once, whatever its length.
    package static func ranges(of text: UnsafeRawBufferPointer, count: Int) -> [Range<Int>]? {
        var ranges: [Range<Int>] = []
        ranges.reserveCapacity(count)
        var start = 0
        guard let base = text.baseAddress else { return nil }
        while let stop = memchr(base + start, Int32(UInt8(ascii: ".")), text.count - start) {
            let index = UnsafeRawPointer(stop) - base
            guard ranges.count < count - 1 else { return nil }
            ranges.append(start..<index)
            start = index + 1
        }
        guard ranges.count == count - 1 else { return nil }
        ranges.append(start..<text.count)
        return ranges
    }
}
