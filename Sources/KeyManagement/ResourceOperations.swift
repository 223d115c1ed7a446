import Cryptography
import KMSProtocol
import KeyStore
import MasterKey
import WireText

// Operations on resources (protocol, section 8).
extension KeyManagement {
    /// create /resources: binds own unbound keys and authorizes the creator and the ids, all or nothing.
    ///
    /// A repeat of the same request returns what the first made, while that is at most five minutes old and unchanged,
    /// and never for an empty list of keys (security model, rule 14).
    func createResource(_ request: KMSRequest, _ caller: Caller, _ now: Timestamp) async throws -> Outcome {
        let uris = try request.keyURIs()
        let ids = Self.distinct(try request.ids())
        let unnamed = try request.anonymousCount()
        let life = try request.timeToLive()
        var keyIDs: [String] = []
        for text in uris {
            guard let uri = KMSURI(text), names.owns(uri), case .key(let id) = uri.object else {
                throw KMSFailure(KMSStatus.malformed, "member 'keyUris' has an entry that names no key of this KMS")
            }
            if !keyIDs.contains(id) { keyIDs.append(id) }
        }
        let fingerprint = Self.fingerprint(caller, keyIDs, ids, life, unnamed)
        if let repeated = try await repeatedCreation(keyIDs, fingerprint, now) { return repeated }

        let id = UUIDText.random()
        var head = ResourceContent(
            creator: caller.effectiveUser, created: now, expires: life.map { now.adding(seconds: $0) },
            fingerprint: fingerprint)
        let (erasable, erasableRecord) = try vault.ring.makeErasableKey(for: id)
        var change = StoreChange(writes: [.insertErasableKey(erasableRecord)])
        for keyID in keyIDs {
            guard let record = try await store.key(keyID),
                var content = try contentForMembers(record)
            else {
                throw noSuchKey(keyID)
            }
            guard content.owner == caller.effectiveUser else { throw notAuthorized(caller, unboundKey: keyID) }
            guard content.resource == nil else {
                throw KMSFailure(KMSStatus.conflict, "key \(names.key(keyID)) is already bound")
            }
            guard now < content.expires else {
                throw KMSFailure(
                    KMSStatus.conflict, "key \(names.key(keyID)) has expired and can not be bound any more")
            }
            bind(&content, to: id, now)
            change.writes.append(
                .updateKey(try vault.record(content, id: keyID, version: record.version + 1, erasable: erasable)))
        }
        if !keyIDs.isEmpty { head.lastBound = now }
        var entries: [KMSAuthorization] = []
        let everybody = ids.contains { $0.canonicalAuthID == caller.effectiveUser.canonicalAuthID }
        for authID in everybody ? ids : [caller.effectiveUser] + ids {
            entries.append(try await admit(authID, roleURI: nil, to: id, &head, &change, caller, now))
        }
        let holders = try admitUnnamed(unnamed, to: id, &head, &change, caller, now)
        entries += holders
        change.writes.insert(.insertResource(try vault.record(head, id: id, version: 1)), at: 0)
        let resource = KMSResource(
            uri: names.resource(id), keyURIs: keyIDs.map(names.key), authorizationURIs: entries.map(\.uri),
            expirationDate: head.expires)
        return Outcome(
            KMSStatus.created, holders.isEmpty ? .resource(resource) : .resourceWithHolders(resource, holders),
            change: change)
    }

    private func repeatedCreation(
        _ keyIDs: [String], _ fingerprint: [UInt8], _ now: Timestamp
    ) async throws -> Outcome? {
        guard let first = keyIDs.first, let key = try await store.key(first),
            let id = try vault.contentUnlessErased(key)?.resource, let record = try await store.resource(id),
            record.deletedAt == nil, record.version == 1
        else { return nil }
        let head = try vault.content(record)
        guard head.fingerprint == fingerprint, now < head.created.adding(seconds: 300), !head.isGone(now) else {
            return nil
        }
        let resource = try await wireResource(id, head, now)
        let holders = try await holders(ofResource: id)
        return Outcome(
            KMSStatus.created, holders.isEmpty ? .resource(resource) : .resourceWithHolders(resource, holders))
    }

    /// The unnamed holders of a resource that was just made, with their bearers made anew.
    private func holders(ofResource id: String) async throws -> [KMSAuthorization] {
        var entries: [KMSAuthorization] = []
        for row in try await store.authorizations(ofResource: id) {
            let content = try vault.content(row)
            guard content.isAnonymous, let bearerKey else { continue }
            var entry = wireAuthorization(content, id: row.id)
            entry.bearer = try AnonymousBearer.issue(content, id: row.id, names: names, key: bearerKey)
            entries.append(entry)
        }
        return entries
    }

    /// The order of keys and ids does not matter for what a request means.
    private static func fingerprint(
        _ caller: Caller, _ keys: [String], _ ids: [String], _ life: Int64?, _ unnamed: Int
    ) -> [UInt8] {
        var fields = FieldWriter(format: 1)
        fields.field(caller.effectiveUser)
        fields.field(caller.clientID)
        fields.field(Int64(keys.count))
        for key in keys.sorted() { fields.field(key) }
        for id in ids.map(\.canonicalAuthID).sorted() { fields.field(id) }
        fields.field(life ?? 0)
        fields.field(Int64(unnamed))
        return fields.withUnsafeBytes { SHA256.hash($0) }
    }

    func retrieveResource(_ id: String, _ caller: Caller, _ now: Timestamp) async throws -> Outcome {
        let (_, head, path) = try await readable(id, by: caller, now: now)
        try refuseUnnamed(caller)
        try refuseFormer(path)
        return Outcome(KMSStatus.ok, .resource(try await wireResource(id, head, now)), path: path, space: id)
    }

    private func wireResource(_ id: String, _ head: ResourceContent, _ now: Timestamp) async throws -> KMSResource {
        let keys = try await store.keys(ofResource: id, from: SearchEpoch.contentKeys, before: nil, limit: nil)
        let authorizations = try await store.authorizations(ofResource: id)
        let live = try authorizations.filter { row in
            let content = try vault.content(row)
            return content.isLive(now) && stands(content, row, in: head)
        }
        return KMSResource(
            uri: names.resource(id), keyURIs: keys.reversed().map { names.key($0.id) },
            authorizationURIs: live.map { names.authorization($0.id) }, expirationDate: head.expires,
            lastRemovalDate: head.lastRemoval)
    }

    /// delete <kro>: its authorizations end, its keys are gone for everybody; the sealed rows stay as tombstones until
    /// the retention's end (`eraseTombstones`).
    func deleteResource(_ id: String, _ caller: Caller, _ now: Timestamp) async throws -> Outcome {
        let (record, head, own) = try await changeable(id, by: caller, .delete, now: now)
        try Roles.requireManaging(head, own, caller, policy, resource: names.resource(id))
        var gone = head
        gone.deletedAt = now
        gone.noteRemoval(now)
        gone.nested = []
        gone.isPublic = false
        gone.moderators = 0
        var change = StoreChange()
        for row in try await store.authorizations(ofResource: id) {
            gone.removed.insert(try remove(row, caller, now, &change).order)
        }
        try touch(record, gone, &change)
        var outcome = Outcome(KMSStatus.ok, change: change)
        outcome.deletedKeys = try await store.keys(
            ofResource: id, from: SearchEpoch.contentKeys, before: nil, limit: nil
        ).count
        return outcome
    }
}
