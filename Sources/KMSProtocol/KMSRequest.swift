package import WireText

/// The decrypted envelope of a request (protocol, section 5), checked for form; rights are judged elsewhere.
///
/// Unknown members are ignored. A text without `method`, or with `status`, is refused: it is an answer that was
/// reflected (security model, rule 9).
package struct KMSRequest: Sendable {
    package enum Method: String, Sendable { case create, retrieve, update, delete }

    /// Who asks. `bearer` is a secret: it goes to the token check and nowhere else.
    package struct Credential: Sendable {
        package let bearer: String
        package let userID: String?
        package let onBehalfOf: String?
        /// Of services: their key, and the proof that they hold it (docs/kms-extensions.md).
        package let jwk: JSONNode?
        package let proof: String?
        /// Of what is done on behalf of somebody: the matter for which (docs/kms-extensions.md).
        package let matter: String?
    }

    package let requestID: String
    package let method: Method
    package let uri: KMSURI
    /// The URI as the client wrote it, for reasons and the log.
    package let uriText: String
    package let clientID: String
    package let credential: Credential
    /// Members of `client` that this project adds (docs/kms-extensions.md).
    package let counter: Int64?
    package let time: Timestamp?
    /// All members, for the operation's own.
    package let body: JSONNode

    /// Longest `requestId`, `clientId`, user id and similar text that is taken, in octets.
    package static let maximumTextLength = 1024

    /// Limits for the JSON of an envelope: deep enough for every request known, far from hurting.
    package static let jsonLimits = JSONDocument.Limits(maximumDepth: 12, maximumNodes: 20_000, maximumBytes: 256 << 10)

    /// - Parameter needsBearer: false for what another KMS asks: it may name a user without a token, which is then empty.
    package init(_ root: JSONNode, needsBearer: Bool = true) throws(KMSFailure) {
        guard root.kind == .object else { throw .malformed("the request is not a JSON object") }
        requestID = try Self.text(root["requestId"], "requestId")
        guard root["status"] == nil else { throw .malformed("the request has a member 'status': it is an answer") }
        let methodText = try Self.text(root["method"], "method")
        guard let method = Method(rawValue: methodText) else {
            throw .malformed("unknown method; expected create, retrieve, update or delete")
        }
        self.method = method
        uriText = try Self.text(root["uri"], "uri", maximum: KMSURI.maximumLength)
        guard let uri = KMSURI(uriText) else {
            throw .malformed("malformed uri; expected kms://HOST/… or a path that starts with '/'")
        }
        self.uri = uri
        guard let client = root["client"], client.kind == .object else {
            throw .malformed("member 'client' is missing or not an object")
        }
        clientID = try Self.text(client["clientId"], "client.clientId")
        guard let credential = client["credential"], credential.kind == .object else {
            throw .malformed("member 'client.credential' is missing or not an object")
        }
        let bearer = credential["bearer"]?.string ?? ""
        guard !(needsBearer && bearer.isEmpty), bearer.utf8.count <= 16 << 10 else {
            throw KMSFailure(KMSStatus.unauthorized, "client.credential has no bearer token")
        }
        self.credential = Credential(
            bearer: bearer, userID: try Self.optionalText(credential["userId"], "client.credential.userId"),
            onBehalfOf: try Self.optionalText(credential["onBehalfOf"], "client.credential.onBehalfOf"),
            jwk: credential["jwk"],
            proof: try Self.optionalText(credential["proof"], "client.credential.proof", maximum: 8 << 10),
            matter: try Self.optionalText(credential["matter"], "client.credential.matter", maximum: 256))
        if let counter = client["counter"] {
            guard let value = counter.integer, value >= 1, value <= 1 << 53 else {
                throw .malformed("client.counter is not an integer from 1 to 2^53")
            }
            self.counter = value
            guard let time = client["time"]?.string.flatMap({ Timestamp(iso8601: $0) }) else {
                throw .malformed("client.counter without client.time in the form 2018-08-14T09:00:00.000Z")
            }
            self.time = time
        } else {
            counter = nil
            time = nil
        }
        body = root
    }

    /// Whether the request may change something: it goes through the replay ledger.
    package var isMutating: Bool { method != .retrieve && uri.object != .ping }

    /// The `requestId` of an envelope that may be malformed otherwise, so that its refusal can name it.
    package static func requestID(of root: JSONNode) -> String? { try? text(root["requestId"], "requestId") }

    static func text(_ node: JSONNode?, _ name: String, maximum: Int = maximumTextLength) throws(KMSFailure) -> String {
        guard let node, !node.isNull else { throw .malformed("member '\(name)' is missing") }
        guard let text = node.string else { throw .malformed("member '\(name)' is not a string") }
        guard !text.isEmpty else { throw .malformed("member '\(name)' is empty") }
        guard text.utf8.count <= maximum else {
            throw .malformed("member '\(name)' is longer than \(maximum) octets")
        }
        return text
    }

    static func optionalText(
        _ node: JSONNode?, _ name: String, maximum: Int = maximumTextLength
    ) throws(KMSFailure) -> String? {
        guard let node, !node.isNull else { return nil }
        return try text(node, name, maximum: maximum)
    }
}

/// Members of single operations (protocol, section 8).
extension KMSRequest {
    /// `count` of create /keys: 1…100.
    package func keyCount() throws(KMSFailure) -> Int {
        guard let count = body["count"]?.integer, (1...100).contains(count) else {
            throw .malformed("member 'count' must be an integer from 1 to 100")
        }
        return Int(count)
    }

    /// `count` of retrieve <kro>/keys: absent or at least 1.
    package func keyLimit() throws(KMSFailure) -> Int? {
        guard let node = body["count"], !node.isNull else { return nil }
        guard let count = node.integer, count >= 1 else {
            throw .malformed("member 'count' must be a positive integer")
        }
        return Int(min(count, 1_000_000))
    }

    package func date(_ name: String) throws(KMSFailure) -> Timestamp? {
        guard let text = try Self.optionalText(body[name], name) else { return nil }
        guard let date = Timestamp(iso8601: text) else {
            throw .malformed("member '\(name)' is not a date; expected the form 2018-08-14T09:00:00.000Z")
        }
        return date
    }

    /// Union of `userIds` and `authIds` without duplicates, in the order given; at most 1,000.
    package func ids() throws(KMSFailure) -> [String] {
        var seen = Set<String>()
        var result: [String] = []
        for name in ["userIds", "authIds"] {
            for id in try list(name, maximum: 1000) where seen.insert(id).inserted { result.append(id) }
        }
        guard result.count <= 1000 else { throw .malformed("more than 1000 ids") }
        return result
    }

    /// Key URIs of create /resources; the member must be there, the list may be empty.
    package func keyURIs() throws(KMSFailure) -> [String] {
        guard let node = body["keyUris"], !node.isNull else { throw .malformed("member 'keyUris' is missing") }
        return try list("keyUris", maximum: 1000)
    }

    package func resourceURI() throws(KMSFailure) -> KMSURI {
        let text = try Self.text(body["resourceUri"], "resourceUri", maximum: KMSURI.maximumLength)
        guard let uri = KMSURI(text) else { throw .malformed("malformed resourceUri") }
        return uri
    }

    /// `ttl` of create /resources, in seconds.
    package func timeToLive() throws(KMSFailure) -> Int64? {
        guard let node = body["ttl"], !node.isNull else { return nil }
        guard let seconds = node.integer, seconds >= 1, seconds <= 10 * 366 * 86_400 else {
            throw .malformed("member 'ttl' must be a number of seconds from 1 to ten years")
        }
        return seconds
    }

    package func roleURI() throws(KMSFailure) -> String? { try Self.optionalText(body["roleUri"], "roleUri") }

    /// `anonymous`: how many unnamed holders are asked for, 0 to 20; each answer entry costs a signature.
    package func anonymousCount() throws(KMSFailure) -> Int {
        guard let node = body["anonymous"], !node.isNull else { return 0 }
        guard let count = node.integer, (0...20).contains(count) else {
            throw .malformed("member 'anonymous' must be an integer from 0 to 20")
        }
        return Int(count)
    }

    func list(_ name: String, maximum: Int) throws(KMSFailure) -> [String] {
        guard let node = body[name], !node.isNull else { return [] }
        guard let texts = node.strings else { throw .malformed("member '\(name)' is not a list of strings") }
        guard texts.count <= maximum else { throw .malformed("member '\(name)' has more than \(maximum) entries") }
        for text in texts where text.isEmpty || text.utf8.count > Self.maximumTextLength {
            throw .malformed("member '\(name)' has an empty entry or one longer than \(Self.maximumTextLength) octets")
        }
        return texts
    }
}

extension KMSFailure {
    static func malformed(_ reason: String) -> KMSFailure { KMSFailure(KMSStatus.malformed, reason) }
}
