import Cryptography
import KMSProtocol
import KeyStore
import WireText

// Operations on resources (protocol, section 8).
extension KeyManagement {
    /// create /resources: binds own unbound keys and authorizes the creator and the ids, all or nothing.
    ///
    /// A repeat of the same request returns what the first made, while that is at most five minutes old and unchanged,
    /// and never for an empty list of keys (security model, rule 14).
    func createResource(_ request: KMSRequest, _ caller: Caller, _ now: Timestamp) async throws -> Outcome {
        let uris = try request.keyURIs()
        let ids = try request.ids()
        guard !request.wantsAnonymous else {
            throw KMSFailure(KMSStatus.notImplemented, "anonymous authorizations are not available")
        }
        let life = try request.timeToLive()
        var keyIDs: [String] = []
        for text in uris {
            guard let uri = KMSURI(text), names.owns(uri), case .key(let id) = uri.object else {
                throw KMSFailure(KMSStatus.malformed, "member 'keyUris' has an entry that names no key of this KMS")
            }
            if !keyIDs.contains(id) { keyIDs.append(id) }
        }
        let fingerprint = Self.fingerprint(caller, keyIDs, ids, life)
        if let repeated = try await repeatedCreation(keyIDs, fingerprint, now) { return repeated }

        let id = UUIDText.random()
        var head = ResourceContent(
            creator: caller.effectiveUser, created: now, expires: life.map { now.adding(seconds: $0) },
            fingerprint: fingerprint)
        var change = StoreChange()
        for keyID in keyIDs {
            guard let record = try await store.key(keyID) else {
                throw KMSFailure(KMSStatus.notFound, "no such key \(names.key(keyID))")
            }
            var content = try vault.content(record)
            guard content.owner == caller.effectiveUser else { throw notAuthorized(caller, unboundKey: keyID) }
            guard content.resource == nil else {
                throw KMSFailure(KMSStatus.conflict, "key \(names.key(keyID)) is already bound")
            }
            guard now < content.expires else {
                throw KMSFailure(
                    KMSStatus.conflict, "key \(names.key(keyID)) has expired and can not be bound any more")
            }
            bind(&content, to: id, now)
            change.writes.append(.updateKey(try vault.record(content, id: keyID, version: record.version + 1)))
        }
        if !keyIDs.isEmpty { head.lastBound = now }
        var entries: [KMSAuthorization] = []
        let everybody = ids.contains { $0.canonicalAuthID == caller.effectiveUser.canonicalAuthID }
        for authID in everybody ? ids : [caller.effectiveUser] + ids {
            try await admit(authID, roleURI: nil, to: id, &head, &change, &entries, caller, now)
        }
        change.writes.insert(.insertResource(try vault.record(head, id: id, version: 1)), at: 0)
        let resource = KMSResource(
            uri: names.resource(id), keyURIs: keyIDs.map(names.key), authorizationURIs: entries.map(\.uri),
            expirationDate: head.expires)
        return Outcome(KMSStatus.created, .resource(resource), change: change)
    }

    private func repeatedCreation(
        _ keyIDs: [String], _ fingerprint: [UInt8], _ now: Timestamp
    ) async throws -> Outcome? {
        guard let first = keyIDs.first, let key = try await store.key(first),
            let id = try vault.content(key).resource, let record = try await store.resource(id),
            record.deletedAt == nil, record.version == 1
        else { return nil }
        let head = try vault.content(record)
        guard head.fingerprint == fingerprint, now < head.created.adding(seconds: 300) else { return nil }
        return Outcome(KMSStatus.created, .resource(try await wireResource(id, head)))
    }

    /// The order of keys and ids does not matter for what a request means.
    private static func fingerprint(_ caller: Caller, _ keys: [String], _ ids: [String], _ life: Int64?) -> [UInt8] {
        var fields = FieldWriter(format: 1)
        fields.field(caller.effectiveUser)
        fields.field(caller.clientID)
        fields.field(Int64(keys.count))
        for key in keys.sorted() { fields.field(key) }
        for id in ids.map(\.canonicalAuthID).sorted() { fields.field(id) }
        fields.field(life ?? 0)
        return fields.withUnsafeBytes { SHA256.hash($0) }
    }

    func retrieveResource(_ id: String, _ caller: Caller) async throws -> Outcome {
        let (_, head) = try await readable(id, by: caller)
        return Outcome(KMSStatus.ok, .resource(try await wireResource(id, head)))
    }

    private func wireResource(_ id: String, _ head: ResourceContent) async throws -> KMSResource {
        let keys = try await store.keys(ofResource: id)
        let authorizations = try await store.authorizations(ofResource: id)
        return KMSResource(
            uri: names.resource(id), keyURIs: keys.reversed().map { names.key($0.id) },
            authorizationURIs: authorizations.map { names.authorization($0.id) }, expirationDate: head.expires,
            lastRemovalDate: head.lastRemoval)
    }

    /// delete <kro>: its authorizations end, its keys are gone for everybody; the sealed rows stay as tombstones.
    func deleteResource(_ id: String, _ caller: Caller, _ now: Timestamp) async throws -> Outcome {
        let (record, head) = try await changeable(id, by: caller)
        var gone = head
        gone.deletedAt = now
        gone.noteRemoval(now)
        gone.nested = []
        gone.isPublic = false
        var change = StoreChange()
        for row in try await store.authorizations(ofResource: id) {
            _ = try remove(row, caller, now, &change)
        }
        try touch(record, gone, &change)
        return Outcome(KMSStatus.ok, change: change)
    }
}
