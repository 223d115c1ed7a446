package import Cryptography
package import Diagnostics
package import WireText

extension DiagnosedError.Code {
    package static let jwtMalformed: Self = "jwt-malformed"
    package static let jwtExpired: Self = "jwt-expired"
    package static let jwtNotYetValid: Self = "jwt-not-yet-valid"
    package static let jwtIssuer: Self = "jwt-issuer"
    package static let jwtAudience: Self = "jwt-audience"
    /// Another kind of token, such as an ID token where an access token is due.
    package static let jwtType: Self = "jwt-type"
}

/// A signed token (RFC 7519) whose signature, type, issuer, audience and times have been verified.
///
/// Access tokens of RFC 9068 are the default type. `exp` is demanded. Pure: the time comes from the caller. No error
/// quotes the token.
package struct JWT: Sendable {
    package let header: JOSEHeader
    package let issuer: String?
    package let subject: String?
    package let audience: [String]
    package let expires: Timestamp?
    package let notBefore: Timestamp?
    package let issuedAt: Timestamp?
    /// `jti`
    package let id: String?
    package let clientID: String?
    package let scope: [String]
    /// Every claim.
    package let document: JSONDocument

    package static let maximumBytes = 32 << 10
    private static let limits = JSONDocument.Limits(maximumDepth: 8, maximumNodes: 1000, maximumBytes: maximumBytes)

    /// - Parameters:
    ///   - type: the `typ` that the header must have, in any case and with or without `application/`; nil for any.
    ///   - readsScope: false for tokens in which `scope` means nothing, such as ID tokens: some write a list there.
    ///   - leeway: seconds by which the clocks of issuer and verifier may differ.
    package static func verify(
        _ compact: String, keys: (JOSEHeader) throws -> PublicKey, allowing: Set<SignatureAlgorithm>, issuer: String,
        audience: String, type: String? = "at+jwt", readsScope: Bool = true, now: Timestamp, leeway: Int64 = 60
    ) throws -> JWT {
        guard compact.utf8.count <= maximumBytes else {
            throw malformed("the token is too long", expected: "at most \(maximumBytes) octets")
        }
        let jws = try JWS.verify(compact, allowing: allowing, key: keys)
        if let type {
            guard let found = jws.header.typ, normalized(found) == normalized(type) else {
                throw DiagnosedError(
                    .jwtType, fault: .client, "the token is of another type", expected: type,
                    found: jws.header.typ?.quotedForError ?? "no 'typ'")
            }
        }
        let token = try JWT(jws, readsScope: readsScope)
        guard token.issuer == issuer else {
            throw DiagnosedError(
                .jwtIssuer, fault: .client, "the token is from another issuer", expected: issuer,
                found: token.issuer?.quotedForError ?? "no 'iss'")
        }
        guard token.audience.contains(audience) else {
            throw DiagnosedError(
                .jwtAudience, fault: .client, "the token is for another service", expected: audience,
                found: token.audience.first?.quotedForError ?? "no 'aud'")
        }
        guard let expires = token.expires else { throw malformed("the token has no 'exp'") }
        guard now < expires.adding(seconds: leeway) else {
            throw DiagnosedError(.jwtExpired, fault: .client, "the token has expired", found: expires.iso8601)
        }
        if let notBefore = token.notBefore, now.adding(seconds: leeway) < notBefore {
            throw DiagnosedError(
                .jwtNotYetValid, fault: .client, "the token is not valid yet", found: notBefore.iso8601,
                hint: "compare the clocks of issuer and verifier")
        }
        return token
    }

    /// The issuer that a token names, unverified: to choose the issuer's keys, never to believe it.
    package static func unverifiedIssuer(_ compact: String) -> String? {
        guard compact.utf8.count <= maximumBytes, let payload = JWS.peekPayload(compact),
            let document = try? JSONDocument(payload, limits: limits)
        else { return nil }
        return document.root["iss"]?.string
    }

    private init(_ jws: JWS, readsScope: Bool) throws(DiagnosedError) {
        let document: JSONDocument
        do {
            document = try JSONDocument(jws.payload, limits: Self.limits)
        } catch {
            throw Self.malformed("the token's claims are not valid JSON", found: error.summary)
        }
        let root = document.root
        guard root.kind == .object else { throw Self.malformed("the token's claims are no JSON object") }
        header = jws.header
        self.document = document
        issuer = try Self.text("iss", root)
        subject = try Self.text("sub", root)
        id = try Self.text("jti", root)
        clientID = try Self.text("client_id", root)
        expires = try Self.time("exp", root)
        notBefore = try Self.time("nbf", root)
        issuedAt = try Self.time("iat", root)
        scope =
            try readsScope
            ? Self.text("scope", root).map { $0.split(separator: " ").map(String.init) } ?? [] : []
        switch root["aud"] {
        case nil: audience = []
        case let node?:
            guard let names = node.string.map({ [$0] }) ?? node.strings else {
                throw Self.malformed("'aud' is neither a text nor a list of texts")
            }
            audience = names
        }
    }

    private static func text(_ name: String, _ root: JSONNode) throws(DiagnosedError) -> String? {
        guard let node = root[name] else { return nil }
        guard let text = node.string else { throw malformed("'\(name)' is no text") }
        return text
    }

    /// A NumericDate: seconds since 1970, fractions allowed.
    private static func time(_ name: String, _ root: JSONNode) throws(DiagnosedError) -> Timestamp? {
        guard let node = root[name] else { return nil }
        guard node.kind == .number, let seconds = Double(node.rawText), seconds.magnitude < 1e11 else {
            throw malformed("'\(name)' is no time", expected: "seconds since 1970")
        }
        return Timestamp(milliseconds: Int64((seconds * 1000).rounded(.down)))
    }

    /// RFC 7515, section 4.1.9: media types compare without case, and `application/` may be left out.
    private static func normalized(_ type: String) -> String {
        let lower = type.lowercased()
        return lower.hasPrefix("application/") ? String(lower.dropFirst("application/".count)) : lower
    }

    private static func malformed(
        _ summary: String, expected: String? = nil, found: String? = nil
    ) -> DiagnosedError {
        DiagnosedError(.jwtMalformed, fault: .client, summary, expected: expected, found: found)
    }
}
