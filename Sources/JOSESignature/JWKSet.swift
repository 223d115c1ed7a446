package import Cryptography
package import Diagnostics
package import WireText

/// The keys of one issuer (RFC 7517, section 5), found by their `kid`.
///
/// Keys that can not be read are left out, as the RFC asks, so that an issuer may add new kinds. Two keys of the same
/// `kid` are ambiguous and neither is found.
package struct JWKSet: Sendable, Equatable {
    package let keys: [JWK]

    package static let maximumKeys = 100
    private static let limits = JSONDocument.Limits(maximumDepth: 8, maximumNodes: 10_000, maximumBytes: 1 << 20)

    package init(keys: [JWK]) {
        self.keys = keys
    }

    package init(json: some Collection<UInt8>) throws(DiagnosedError) {
        let root: JSONNode
        do {
            root = try JSONDocument(json, limits: Self.limits).root
        } catch {
            throw .invalidJWK("the key set is not valid JSON", found: error.summary)
        }
        try self.init(root)
    }

    package init(_ root: JSONNode) throws(DiagnosedError) {
        guard let elements = root["keys"]?.elements else { throw .invalidJWK("the key set has no list 'keys'") }
        guard elements.count <= Self.maximumKeys else {
            throw .invalidJWK(
                "the key set is too large", expected: "at most \(Self.maximumKeys) keys", found: "\(elements.count)")
        }
        keys = elements.compactMap { try? JWK($0) }
    }

    /// The one key of that id.
    package subscript(kid: String) -> JWK? {
        let found = keys.filter { $0.kid == kid }
        return found.count == 1 ? found[0] : nil
    }

    /// The key that a header names, if it may verify such a signature.
    package func verificationKey(for header: JOSEHeader) throws -> PublicKey {
        guard let kid = header.kid else {
            throw DiagnosedError.refusedJOSE("the header names no key", expected: "a 'kid' of the key set")
        }
        guard let key = self[kid] else {
            throw DiagnosedError.refusedJOSE("the key set has no single key of that name", found: kid.quotedForError)
        }
        return try key.verificationKey(for: header)
    }
}
