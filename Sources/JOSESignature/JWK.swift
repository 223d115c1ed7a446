package import Cryptography
package import Diagnostics
package import WireText

/// A public key as JSON (RFC 7517, RFC 7518 section 6): RSA or EC P-256, other types by name only.
///
/// Private members (`d`, `p`, `k` …) are not read and not kept. Unknown members are ignored. What the key says about
/// its use (`use`, `key_ops`, `alg`) is held against what the caller wants to do with it.
package struct JWK: Sendable, Equatable {
    package enum KeyType: Sendable, Equatable {
        /// Big-endian, as received.
        case rsa(n: [UInt8], e: [UInt8])
        /// On P-256; as received.
        case ec(x: [UInt8], y: [UInt8])
        /// `kty`, and `crv` where there is one.
        case other(String)
    }

    package let keyType: KeyType
    package let kid: String?
    package let use: String?
    package let alg: String?
    package let keyOps: [String]?
    /// DER, leaf first.
    package let x5c: [[UInt8]]

    package init(publicKey: PublicKey, kid: String?, use: String? = nil, alg: String? = nil, x5c: [[UInt8]] = []) {
        if let n = publicKey.rsaModulus, let e = publicKey.rsaExponent {
            keyType = .rsa(n: n, e: e)
        } else if let point = publicKey.p256Coordinates {
            keyType = .ec(x: point.x, y: point.y)
        } else {
            keyType = .other("unsupported")
        }
        self.kid = kid
        self.use = use
        self.alg = alg
        keyOps = nil
        self.x5c = x5c
    }

    package init(jsonText: String) throws(DiagnosedError) {
        let limits = JSONDocument.Limits(maximumDepth: 6, maximumNodes: 200, maximumBytes: 256 << 10)
        do {
            try self.init(try JSONDocument(text: jsonText, limits: limits).root)
        } catch {
            throw error.code == .jwkInvalid ? error : .invalidJWK("it is not valid JSON", found: error.summary)
        }
    }

    package init(_ node: JSONNode) throws(DiagnosedError) {
        guard node.kind == .object else { throw .invalidJWK("it is no JSON object") }
        guard let type = node["kty"]?.string, !type.isEmpty else { throw .invalidJWK("it has no 'kty'") }
        switch type {
        case "RSA":
            keyType = .rsa(n: try Self.octets("n", node), e: try Self.octets("e", node))
        case "EC":
            guard let curve = node["crv"]?.string else { throw .invalidJWK("it has no 'crv'") }
            keyType =
                curve == "P-256"
                ? .ec(x: try Self.octets("x", node), y: try Self.octets("y", node))
                : .other("EC \(curve.quotedForError)")
        default:
            keyType = .other(type.quotedForError)
        }
        kid = try Self.text("kid", node)
        use = try Self.text("use", node)
        alg = try Self.text("alg", node)
        keyOps = try Self.texts("key_ops", node)
        var certificates: [[UInt8]] = []
        for text in try Self.texts("x5c", node) ?? [] {
            guard certificates.count < 10, let der = Base64.decode(text) else {
                throw .invalidJWK("its 'x5c' is not usable", expected: "at most 10 base64 texts")
            }
            certificates.append(der)
        }
        x5c = certificates
    }

    /// The key, for verifying signatures: refused when it says that it is for something else.
    ///
    /// Prefer `verificationKey(for:)`, which also holds `alg` against the header.
    package func publicKey() throws -> PublicKey {
        try check(use: "sig", operation: "verify")
        if let alg {
            guard let algorithm = SignatureAlgorithm(rawValue: alg) else {
                throw purpose(
                    "it is for another algorithm", expected: "a signature algorithm", found: alg.quotedForError)
            }
            let key = try checkedKey()
            guard algorithm.suits(key.kind) else {
                throw purpose("its 'alg' does not fit its type", found: alg.quotedForError)
            }
            return key
        }
        return try checkedKey()
    }

    /// The key for a signature with this header: type, `use`, `key_ops` and `alg` all allow it.
    package func verificationKey(for header: JOSEHeader) throws -> PublicKey {
        guard alg == nil || alg == header.alg else {
            throw purpose(
                "it is for another algorithm", expected: alg?.quotedForError, found: header.alg.quotedForError)
        }
        return try publicKey()
    }

    /// The key for encrypting to it with RSA-OAEP.
    package func encryptionKey() throws -> PublicKey {
        try check(use: "enc", operation: "encrypt", or: "wrapKey")
        guard alg == nil || alg == "RSA-OAEP", case .rsa = keyType else {
            throw purpose("it can not be encrypted to", expected: "an RSA key for RSA-OAEP", found: alg?.quotedForError)
        }
        return try checkedKey()
    }

    /// The key for delivering something to its owner: EC P-256 for ECDH-ES, RSA for RSA-OAEP-256.
    ///
    /// A public key of an agreement has no operation of its own, hence nothing in `key_ops` speaks against it.
    package func deliveryKey() throws -> PublicKey {
        guard use == nil || use == "enc" else {
            throw purpose("it is for another use", expected: "enc", found: use?.quotedForError)
        }
        let wanted: String
        switch keyType {
        case .ec: wanted = "ECDH-ES"
        case .rsa:
            wanted = "RSA-OAEP-256"
            try check(use: "enc", operation: "encrypt", or: "wrapKey")
        case .other(let name):
            throw purpose("nothing can be delivered to it", expected: "RSA or EC P-256", found: name)
        }
        guard alg == nil || alg == wanted else {
            throw purpose("it is for another algorithm", expected: wanted, found: alg?.quotedForError)
        }
        return try checkedKey()
    }

    /// Writes the public members as one JSON object.
    package func write(to json: inout JSONWriter) {
        json.beginObject()
        switch keyType {
        case .rsa(let n, let e):
            json.member("kty", "RSA")
            json.member("n", Base64URL.encode(n))
            json.member("e", Base64URL.encode(e))
        case .ec(let x, let y):
            json.member("kty", "EC")
            json.member("crv", "P-256")
            json.member("x", Base64URL.encode(x))
            json.member("y", Base64URL.encode(y))
        case .other(let name):
            json.member("kty", name)
        }
        json.member("kid", ifPresent: kid)
        json.member("use", ifPresent: use)
        json.member("alg", ifPresent: alg)
        if let keyOps { json.member("key_ops", keyOps) }
        if !x5c.isEmpty { json.member("x5c", x5c.map { Base64.encode($0) }) }
        json.endObject()
    }

    private func check(use wanted: String, operation: String, or other: String? = nil) throws(DiagnosedError) {
        guard use == nil || use == wanted else {
            throw purpose("it is for another use", expected: wanted, found: use?.quotedForError)
        }
        guard keyOps.map({ $0.contains(operation) || other.map($0.contains) == true }) ?? true else {
            throw purpose("its 'key_ops' do not allow it", expected: operation)
        }
    }

    /// The numbers as a key; with `x5c` the first certificate must carry the same key (RFC 7517, section 4.7).
    private func checkedKey() throws -> PublicKey {
        let key: PublicKey
        switch keyType {
        case .rsa(let n, let e): key = try PublicKey(rsaModulus: n, exponent: e)
        case .ec(let x, let y): key = try PublicKey(p256X: x, y: y)
        case .other(let name):
            throw DiagnosedError.invalidJWK(
                "it is of a type that is not supported", expected: "RSA or EC P-256", found: name)
        }
        if let leaf = x5c.first {
            guard try Certificate(der: leaf).publicKey == key else {
                throw DiagnosedError.invalidJWK("its certificate has another key")
            }
        }
        return key
    }

    private func purpose(_ summary: String, expected: String? = nil, found: String? = nil) -> DiagnosedError {
        DiagnosedError(
            .jwkPurpose, fault: .client, "the JWK can not be used: \(summary)", expected: expected, found: found)
    }

    private static func octets(_ name: String, _ node: JSONNode) throws(DiagnosedError) -> [UInt8] {
        guard let text = node[name]?.string, text.utf8.count <= 4096, let bytes = Base64URL.decode(text), !bytes.isEmpty
        else { throw .invalidJWK("its '\(name)' is not usable", expected: "a number in base64url without padding") }
        return bytes
    }

    private static func text(_ name: String, _ node: JSONNode) throws(DiagnosedError) -> String? {
        guard let member = node[name] else { return nil }
        guard let text = member.string else { throw .invalidJWK("its '\(name)' is no text") }
        return text
    }

    private static func texts(_ name: String, _ node: JSONNode) throws(DiagnosedError) -> [String]? {
        guard let member = node[name] else { return nil }
        guard let texts = member.strings else { throw .invalidJWK("its '\(name)' is no list of texts") }
        return texts
    }
}

extension DiagnosedError {
    static func invalidJWK(_ summary: String, expected: String? = nil, found: String? = nil) -> DiagnosedError {
        DiagnosedError(
            .jwkInvalid, fault: .client, "the JWK can not be used: \(summary)", expected: expected, found: found)
    }
}
