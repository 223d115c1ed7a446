package import KMSProtocol
package import WireText

/// One operation that a client asks of the KMS (protocol, section 8), with the form that its answer has to have.
///
/// URIs are absolute. The `requestId` alone does not bind an answer to what was asked: the KMS could have been asked
/// something else under the same id by a fault of this program, and answers of other requests could be slipped in. So
/// `matches` also holds the objects in the answer against those of the request (security model, rule 9).
package enum KMSOperation: Sendable, Equatable {
    case ping
    case deleteSession(String)
    case createKeys(count: Int)
    case retrieveKey(String)
    /// Retrieves a key of which the asker may have the octets: `known` is the base64url SHA-256 of them. Judged like any
    /// retrieval; the answer leaves the key out when it is that one (docs/kms-extensions.md).
    case confirmKey(String, known: String)
    case bindKey(String, resource: String)
    case retrieveKeys(resource: String, boundAfter: Timestamp? = nil, boundBefore: Timestamp? = nil, count: Int? = nil)
    case createResource(keys: [String], users: [String])
    case retrieveResource(String)
    case deleteResource(String)
    case createAuthorizations(resource: String, ids: [String], role: String? = nil)
    case retrieveAuthorizations(resource: String, id: String? = nil)
    case deleteAuthorization(resource: String, id: String)
    // Of services (docs/kms-extensions.md, Search).
    case useKey(String, KMSKeyUse)
    /// With a room, the KMS holds that the room is this resource's from then on, or refuses.
    case createSearchKey(
        resource: String, room: String? = nil, endedEpoch: Int64? = nil, because: KMSSearchKey.Beginning? = nil)
    case retrieveSearchKeys(resource: String)
    case retrieveMemberships(user: String, resources: [String], queryDigest: [UInt8]? = nil)
    case createSealingKey
    /// Of an export of eDiscovery: SHA-256 of its root document.
    case createSignature(digest: [UInt8])
    /// The keys of a space are not to be destroyed.
    case createHold(resource: String, reason: String)
    case deleteHold(resource: String)

    package var method: KMSRequest.Method {
        switch self {
        case .ping, .bindKey: .update
        case .deleteSession, .deleteResource, .deleteAuthorization, .deleteHold: .delete
        case .createKeys, .createResource, .createAuthorizations, .createSearchKey, .createSealingKey, .createSignature,
            .createHold:
            .create
        case .useKey, .retrieveSearchKeys, .retrieveMemberships: .retrieve
        case .retrieveKey, .confirmKey, .retrieveKeys, .retrieveResource, .retrieveAuthorizations: .retrieve
        }
    }

    package var uri: String {
        switch self {
        case .ping: "/ping"
        case .deleteSession(let uri), .retrieveKey(let uri), .confirmKey(let uri, _), .bindKey(let uri, _),
            .retrieveResource(let uri),
            .deleteResource(let uri):
            uri
        case .createKeys: "/keys"
        case .retrieveKeys(let resource, _, _, _): resource + "/keys"
        case .createResource: "/resources"
        case .useKey(let uri, _): uri
        case .createSearchKey(let resource, _, _, _), .retrieveSearchKeys(let resource): resource + "/searchKeys"
        case .retrieveMemberships: "/memberships"
        case .createSealingKey: "/sealingKey"
        case .createSignature: "/signatures"
        case .createHold(let resource, _), .deleteHold(let resource): resource + "/hold"
        case .createAuthorizations: "/authorizations"
        case .retrieveAuthorizations(let resource, let id):
            resource + "/authorizations" + (id.map { "?authId=" + KMSURI.percentEncoded($0) } ?? "")
        case .deleteAuthorization(let resource, let id):
            resource + "/authorizations?authId=" + KMSURI.percentEncoded(id)
        }
    }

    /// Whether it may change something at the KMS: such requests need a counter above all earlier ones.
    package var isMutating: Bool { method != .retrieve && self != .ping }

    /// The members of the operation itself.
    func write(to json: inout JSONWriter) {
        switch self {
        case .createKeys(let count): json.member("count", count)
        case .confirmKey(_, let known): json.member("knownDigest", known)
        case .bindKey(_, let resource): json.member("resourceUri", resource)
        case .retrieveKeys(_, let after, let before, let count):
            json.member("boundAfter", ifPresent: after?.iso8601)
            json.member("boundBefore", ifPresent: before?.iso8601)
            if let count { json.member("count", count) }
        case .createResource(let keys, let users):
            json.member("keyUris", keys)
            json.member("userIds", users)
        case .createAuthorizations(let resource, let ids, let role):
            json.member("resourceUri", resource)
            json.member("userIds", ids)
            json.member("roleUri", ifPresent: role)
        case .useKey(_, let use): json.member("use", use.rawValue)
        case .createSignature(let digest): json.member("digest", Base64URL.encode(digest))
        case .createHold(_, let reason): json.member("reason", reason)
        case .createSearchKey(_, let room, let epoch, let because):
            json.member("room", ifPresent: room)
            guard let epoch, let because else { break }
            json.name("ends")
            json.beginObject()
            json.member("epoch", epoch)
            json.member("because", because.rawValue)
            json.endObject()
        case .retrieveMemberships(let user, let resources, let digest):
            json.member("queryDigest", ifPresent: digest.map { Base64URL.encode($0) })
            json.member("userId", user)
            json.member("resourceUris", resources)
        case .ping, .deleteSession, .retrieveKey, .retrieveResource, .deleteResource, .retrieveAuthorizations,
            .deleteAuthorization, .retrieveSearchKeys, .createSealingKey, .deleteHold:
            break
        }
    }

    /// Whether a successful answer speaks of the objects that were asked for. Refusals are matched by their id alone.
    func matches(_ answer: KMSAnswer, host: String) -> Bool {
        switch (self, answer.body) {
        case (.ping, .none), (.deleteSession, .none), (.deleteResource, .none): true
        case (.createHold, .none), (.deleteHold, .none): true
        case (.createKeys(let count), .keys(let keys)):
            keys.count == count && Set(keys.map(\.uri)).count == count
                && keys.allSatisfy { KMSURI($0.uri)?.isKey(at: host) == true && $0.resourceURI == nil }
        case (.retrieveKey(let uri), .key(let key)), (.confirmKey(let uri, _), .key(let key)): Self.same(key.uri, uri)
        case (.confirmKey, .none): true
        case (.useKey(let uri, _), .key(let key)): Self.same(key.uri, uri)
        case (.createSearchKey(let resource, _, _, _), .searchKeys(let keys)):
            keys.count == 1 && Self.same(keys[0].resourceURI, resource)
        case (.retrieveSearchKeys(let resource), .searchKeys(let keys)):
            keys.allSatisfy { Self.same($0.resourceURI, resource) } && Set(keys.map(\.epoch)).count == keys.count
        case (.retrieveMemberships(let user, let resources, _), .memberships(let list)):
            list.user == user && Set(list.resourceURIs).isSubset(of: resources)
        case (.createSealingKey, .sealingKey), (.createSignature, .signature): true
        case (.bindKey(let uri, let resource), .key(let key)):
            Self.same(key.uri, uri) && key.bindDate != nil && key.resourceURI.map { Self.same($0, resource) } == true
        case (.retrieveKeys(let resource, _, _, let count), .keys(let keys)):
            // Keys of a partner's space come from the partner, through the own KMS.
            keys.count <= count ?? .max
                && keys.allSatisfy { key in
                    KMSURI(key.uri)?.isKey(at: KMSURI(resource)?.host ?? host) == true
                        && key.resourceURI.map { Self.same($0, resource) } == true
                }
        case (.createResource(let keys, _), .resource(let resource)):
            KMSURI(resource.uri)?.isResource(at: host) == true && Set(resource.keyURIs) == Set(keys)
        case (.retrieveResource(let uri), .resource(let resource)): Self.same(resource.uri, uri)
        case (.createAuthorizations(let resource, let ids, let role), .authorizations(let list)):
            Self.concern(list, resource) && Set(list.map { $0.authID.lowercased() }) == Set(ids.map { $0.lowercased() })
                && (role == nil || list.allSatisfy { $0.roleURI == role })
        case (.retrieveAuthorizations(let resource, let id), .authorizations(let list)):
            Self.concern(list, resource)
                && (id == nil || list.allSatisfy { $0.authID.lowercased() == id?.lowercased() })
        case (.deleteAuthorization(let resource, let id), .removed(let list)),
            (.deleteAuthorization(let resource, let id), .authorizations(let list)):
            Self.concern(list, resource) && list.count == 1 && list[0].authID.lowercased() == id.lowercased()
        default: false
        }
    }

    private static func concern(_ list: [KMSAuthorization], _ resource: String) -> Bool {
        list.allSatisfy { same($0.resourceURI, resource) }
    }

    private static func same(_ left: String, _ right: String) -> Bool {
        guard let left = KMSURI(left), let right = KMSURI(right), left.host != nil else { return false }
        return left == right
    }
}

extension KMSURI {
    func isKey(at host: String) -> Bool {
        guard case .key = object else { return false }
        return self.host == host
    }

    func isResource(at host: String) -> Bool {
        guard case .resource = object else { return false }
        return self.host == host
    }

    func isSession(at host: String) -> Bool {
        guard case .session = object else { return false }
        return self.host == host
    }
}
