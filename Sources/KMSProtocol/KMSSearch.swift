package import SecretMemory
package import WireText

// Objects of the operations for a search indexer (docs/kms-extensions.md, "Search").

/// What a service takes a key for. The KMS marks a key at its first use by a service and refuses every other one.
package enum KMSKeyUse: String, Sendable, CaseIterable {
    /// To read messages.
    case content
    /// To open a person's search query.
    case search
    /// To open a report request of a compliance officer.
    case report
}

/// The key under which the entries of one space and one epoch are made (security model, rule 27).
package struct KMSSearchKey: Sendable {
    /// Why an epoch began.
    package enum Beginning: String, Sendable, CaseIterable {
        /// The space's first one.
        case first
        /// The one before had lasted as long as the policy lets it.
        case time
        /// Somebody was removed from the space.
        case removal
        /// The indexer counted as many messages as it puts into one epoch.
        case messages
        /// Keys of the epochs before are known to somebody who must not know them.
        case compromise
    }

    package var resourceURI: String
    /// From 1.
    package var epoch: Int64
    package var key: SymmetricKey
    package var createDate: Timestamp
    package var beginning: Beginning

    package init(resourceURI: String, epoch: Int64, key: SymmetricKey, createDate: Timestamp, beginning: Beginning) {
        self.resourceURI = resourceURI
        self.epoch = epoch
        self.key = key
        self.createDate = createDate
        self.beginning = beginning
    }

    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("resourceUri", resourceURI)
        json.member("epoch", Int(epoch))
        json.octetKey(key)
        json.member("createDate", createDate.iso8601)
        json.member("beginning", beginning.rawValue)
        json.endObject()
    }

    init?(_ node: JSONNode) {
        guard let uri = node["resourceUri"]?.string, let epoch = node["epoch"]?.integer, epoch > 0,
            let key = SymmetricKey(octetKey: node["jwk"]),
            let created = node["createDate"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let beginning = node["beginning"]?.string.flatMap({ Beginning(rawValue: $0) })
        else { return nil }
        self.init(resourceURI: uri, epoch: epoch, key: key, createDate: created, beginning: beginning)
    }
}

/// Which of the spaces that were asked about a user reads at this moment.
package struct KMSMemberships: Sendable, Equatable {
    package var user: String
    /// As they were asked, in that order; the others are left out.
    package var resourceURIs: [String]
    /// How long the answer may be acted on after it has arrived: it is given under the KMS's lease and holds no longer.
    package var validMilliseconds: Int64

    package init(user: String, resourceURIs: [String], validMilliseconds: Int64) {
        self.user = user
        self.resourceURIs = resourceURIs
        self.validMilliseconds = validMilliseconds
    }

    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("userId", user)
        json.member("resourceUris", resourceURIs)
        json.member("validMilliseconds", Int(validMilliseconds))
        json.endObject()
    }

    init?(_ node: JSONNode) {
        guard let user = node["userId"]?.string, let uris = node["resourceUris"]?.strings,
            let milliseconds = node["validMilliseconds"]?.integer, milliseconds >= 0
        else { return nil }
        self.init(user: user, resourceURIs: uris, validMilliseconds: milliseconds)
    }
}

/// The key with which a service seals what it stores (security model, rule 30).
package struct KMSSealingKey: Sendable {
    package var key: SymmetricKey
    package var createDate: Timestamp

    package init(key: SymmetricKey, createDate: Timestamp) {
        self.key = key
        self.createDate = createDate
    }

    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.octetKey(key)
        json.member("createDate", createDate.iso8601)
        json.endObject()
    }

    init?(_ node: JSONNode) {
        guard let key = SymmetricKey(octetKey: node["jwk"]),
            let created = node["createDate"]?.string.flatMap({ Timestamp(iso8601: $0) })
        else { return nil }
        self.init(key: key, createDate: created)
    }
}

extension JSONWriter {
    mutating func octetKey(_ key: SymmetricKey) {
        name("jwk")
        beginObject()
        member("kty", "oct")
        key.withUnsafeBytes { base64URLMember("k", $0) }
        endObject()
    }
}

extension SymmetricKey {
    /// A JWK of 32 octets; nil for any other.
    convenience init?(octetKey node: JSONNode?) {
        guard let node, node["kty"]?.string == "oct",
            var bytes = node["k"]?.withPlainString({ Base64URL.decode($0) }) ?? nil
        else { return nil }
        defer { wipe(&bytes) }
        guard bytes.count == 32 else { return nil }
        self.init(copying: bytes)
    }
}

/// Members of these operations.
extension KMSRequest {
    /// `use` of retrieve <key>; absent: to read messages.
    package func keyUse() throws(KMSFailure) -> KMSKeyUse {
        guard let text = try Self.optionalText(body["use"], "use") else { return .content }
        guard let use = KMSKeyUse(rawValue: text) else {
            throw .malformed("member 'use' is none of content, search, report")
        }
        return use
    }

    /// `ends` of create <kro>/searchKeys: which epoch is over, and why.
    package func endedEpoch() throws(KMSFailure) -> (epoch: Int64, because: KMSSearchKey.Beginning)? {
        guard let node = body["ends"], !node.isNull else { return nil }
        guard let epoch = node["epoch"]?.integer, epoch > 0 else {
            throw .malformed("member 'ends' has no 'epoch' above 0")
        }
        switch node["because"]?.string {
        case "messages": return (epoch, .messages)
        case "compromise": return (epoch, .compromise)
        default: throw .malformed("member 'ends' has no 'because' of messages or compromise")
        }
    }

    /// `room` of create <kro>/searchKeys: whose messages are to be indexed under the key.
    package func searchedRoom() throws(KMSFailure) -> String? {
        guard let text = try Self.optionalText(body["room"], "room") else { return nil }
        guard (1...255).contains(text.utf8.count) else { throw .malformed("member 'room' is not of 1 to 255 octets") }
        return text
    }

    /// `userId` of retrieve /memberships.
    package func memberID() throws(KMSFailure) -> String { try Self.text(body["userId"], "userId") }

    /// `queryDigest` of retrieve /memberships: SHA-256 of the sealed query.
    package func queryDigest() throws(KMSFailure) -> [UInt8]? {
        guard let text = try Self.optionalText(body["queryDigest"], "queryDigest") else { return nil }
        guard let digest = Base64URL.decode(text), digest.count == 32 else {
            throw .malformed("member 'queryDigest' is not the base64url of 32 octets")
        }
        return digest
    }

    /// `reason` of create <kro>/hold: 1 to 200 octets.
    package func holdReason() throws(KMSFailure) -> String {
        let reason = try Self.text(body["reason"], "reason", maximum: 200)
        guard !reason.isEmpty else { throw .malformed("member 'reason' is empty") }
        return reason
    }

    /// `digest` of create /signatures: SHA-256 of what is signed.
    package func signedDigest() throws(KMSFailure) -> [UInt8] {
        guard let digest = Base64URL.decode(try Self.text(body["digest"], "digest")), digest.count == 32 else {
            throw .malformed("member 'digest' is not the base64url of 32 octets")
        }
        return digest
    }

    /// `resourceUris` of retrieve /memberships: 1 to 1,000, without duplicates, in the order given.
    package func resourceURIs() throws(KMSFailure) -> [String] {
        let texts = try list("resourceUris", maximum: 1000)
        guard !texts.isEmpty else { throw .malformed("member 'resourceUris' is missing or empty") }
        var seen: Set<String> = []
        return texts.filter { seen.insert($0).inserted }
    }
}
