package import Cryptography
package import Diagnostics
package import WireText

/// What an issuer says about access tokens that ended before their time: a JWS of type `hds-revocations+jwt`.
///
/// The authorization service signs it with the key of its tokens whenever somebody asks, the KMS fetches it every few
/// seconds. An entry stays until no token that it speaks of can be valid any more. All times are whole seconds.
/// ```json
/// {"iss":"https://auth.example.com","iat":1800000000,"version":1799990000007,
///  "tokens":[{"jti":"…","exp":1800003600}],"subjects":[{"sub":"…","before":1799999999,"exp":1800003600}],
///  "everyone":{"before":1799999999,"exp":1800003600},"disabled":[{"sub":"…","since":1799999999}]}
/// ```
package struct RevocationDocument: Sendable, Equatable {
    /// Every token of a subject, or of everybody, that was issued before a moment.
    package struct Cut: Sendable, Equatable {
        package var before: Timestamp
        package var expires: Timestamp

        package init(before: Timestamp, expires: Timestamp) {
            self.before = before
            self.expires = expires
        }
    }

    package static let type = "hds-revocations+jwt"
    /// Of the payload; a whole list of everything has less.
    private static let maximumBytes = 2 << 20
    /// As it comes over the wire.
    package static let maximumSignedBytes = 3 << 20
    private static let limits = JSONDocument.Limits(maximumDepth: 4, maximumNodes: 200_000, maximumBytes: maximumBytes)

    package var issuer: String
    /// When it was signed.
    package var issued: Timestamp
    /// Rises with every revocation.
    package var version: Int64
    /// By `jti`: until when the entry matters.
    package var tokens: [String: Timestamp] = [:]
    /// By `sub`.
    package var subjects: [String: Cut] = [:]
    package var everyone: Cut?
    /// By `sub`: who is cut off altogether, and since when. Stays until the account is enabled again.
    package var disabled: [String: Timestamp] = [:]
    /// More are not listed: the oldest are left out, whose tokens have ended long ago.
    package static let maximumDisabled = 5_000

    package init(issuer: String, issued: Timestamp, version: Int64) {
        self.issuer = issuer
        self.issued = issued
        self.version = version
    }

    /// Whether a token is among them. One that does not say when it was issued counts as issued long ago.
    package func revokes(tokenID: String?, subject: String, issued: Timestamp?) -> Bool {
        if let tokenID, tokens[tokenID] != nil { return true }
        let issued = issued ?? Timestamp(milliseconds: .min)
        if let cut = subjects[subject], issued < cut.before { return true }
        return everyone.map { issued < $0.before } ?? false
    }

    package func signed(with key: PrivateKey, algorithm: SignatureAlgorithm, kid: String) throws -> String {
        var json = JSONWriter(reserving: 512 + tokens.count * 64)
        json.beginObject()
        json.member("iss", issuer)
        json.member("iat", issued.seconds)
        json.member("version", version)
        json.name("tokens")
        json.beginArray()
        for (id, expires) in tokens.sorted(by: { $0.key < $1.key }) {
            json.beginObject()
            json.member("jti", id)
            json.member("exp", expires.seconds)
            json.endObject()
        }
        json.endArray()
        json.name("subjects")
        json.beginArray()
        for (subject, cut) in subjects.sorted(by: { $0.key < $1.key }) {
            json.beginObject()
            json.member("sub", subject)
            Self.write(cut, to: &json)
            json.endObject()
        }
        json.endArray()
        if let everyone {
            json.name("everyone")
            json.beginObject()
            Self.write(everyone, to: &json)
            json.endObject()
        }
        if !disabled.isEmpty {
            json.name("disabled")
            json.beginArray()
            for (subject, since) in disabled.sorted(by: { $0.key < $1.key }) {
                json.beginObject()
                json.member("sub", subject)
                json.member("since", since.seconds)
                json.endObject()
            }
            json.endArray()
        }
        json.endObject()
        return try JWS.sign(json.bytes(), with: key, algorithm: algorithm, kid: kid, typ: Self.type)
    }

    /// Verified: signature, type and issuer. How old it may be is for the caller to judge.
    package static func verify(
        _ compact: String, keys: JWKSet, allowing: Set<SignatureAlgorithm>, issuer: String
    ) throws -> RevocationDocument {
        let jws = try JWS.verify(compact, allowing: allowing, keys: keys)
        guard jws.header.typ?.lowercased() == type else {
            throw refused("it is of another type", expected: type, found: jws.header.typ?.quotedForError ?? "no 'typ'")
        }
        let root = try JSONDocument(jws.payload, limits: limits).root
        guard let named = root["iss"]?.string, named == issuer else {
            throw refused(
                "it is of another issuer", expected: issuer, found: root["iss"]?.string?.quotedForError ?? "no 'iss'")
        }
        guard let issued = seconds(root["iat"]), let version = root["version"]?.integer, version >= 0,
            let tokens = root["tokens"]?.elements, let subjects = root["subjects"]?.elements
        else { throw refused("a member is missing or malformed", expected: "iat, version, tokens and subjects") }
        var document = RevocationDocument(issuer: issuer, issued: issued, version: version)
        for node in tokens {
            guard let id = node["jti"]?.string, let expires = seconds(node["exp"]) else {
                throw refused("an entry of 'tokens' is malformed", expected: "jti and exp")
            }
            document.tokens[id] = expires
        }
        for node in subjects {
            guard let subject = node["sub"]?.string, let cut = cut(node) else {
                throw refused("an entry of 'subjects' is malformed", expected: "sub, before and exp")
            }
            document.subjects[subject] = cut
        }
        if let node = root["everyone"] {
            guard let cut = cut(node) else { throw refused("'everyone' is malformed", expected: "before and exp") }
            document.everyone = cut
        }
        if let node = root["disabled"] {
            guard let entries = node.elements, entries.count <= maximumDisabled else {
                throw refused("'disabled' is malformed", expected: "a list of at most \(maximumDisabled) entries")
            }
            for entry in entries {
                guard let subject = entry["sub"]?.string, let since = seconds(entry["since"]) else {
                    throw refused("an entry of 'disabled' is malformed", expected: "sub and since")
                }
                document.disabled[subject] = since
            }
        }
        return document
    }

    private static func write(_ cut: Cut, to json: inout JSONWriter) {
        json.member("before", cut.before.seconds)
        json.member("exp", cut.expires.seconds)
    }

    private static func cut(_ node: JSONNode) -> Cut? {
        guard let before = seconds(node["before"]), let expires = seconds(node["exp"]) else { return nil }
        return Cut(before: before, expires: expires)
    }

    private static func seconds(_ node: JSONNode?) -> Timestamp? {
        guard let seconds = node?.integer, seconds.magnitude < 100_000_000_000 else { return nil }
        return Timestamp(seconds: seconds)
    }

    private static func refused(_ summary: String, expected: String?, found: String? = nil) -> DiagnosedError {
        DiagnosedError(
            .revocationsRefused, fault: .peer, "the revocation list is refused: \(summary)", expected: expected,
            found: found)
    }
}

extension DiagnosedError.Code {
    /// A list of revoked tokens that can not be believed.
    package static let revocationsRefused: Self = "revocations-refused"
}
