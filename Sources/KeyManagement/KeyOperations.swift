import Cryptography
import KMSProtocol
import KeyStore
import SecretMemory
import WireText

// Operations on keys (protocol, sections 7 and 8).
extension KeyManagement {
    /// create /keys: unbound keys that only their creator may read or bind.
    func createKeys(_ request: KMSRequest, _ caller: Caller, _ now: Timestamp) throws -> Outcome {
        let count = try request.keyCount()
        try freezes?.check(caller.release())
        var outcome = Outcome(KMSStatus.created)
        var keys: [KMSKey] = []
        keys.reserveCapacity(count)
        for _ in 0..<count {
            let id = UUIDText.random()
            let content = KeyContent(
                key: try SymmetricKey.random(), owner: caller.effectiveUser, clientID: caller.clientID, created: now,
                expires: now.adding(seconds: policy.unboundKeyLife))
            outcome.change.writes.append(.insertKey(try vault.record(content, id: id, version: 1)))
            keys.append(wireKey(content, id: id))
        }
        outcome.body = .keys(keys)
        return outcome
    }

    /// retrieve <key>: an unbound key goes to its creator only, a bound one to whoever may read its resource.
    /// A service says what it takes the key for (`KeyUse.swift`).
    func retrieveKey(
        _ id: String, _ request: KMSRequest, _ caller: Caller, _ now: Timestamp
    ) async throws -> Outcome {
        let user = caller.effectiveUser
        guard let found = try await store.key(id, lookup: { vault.lookup(authID: user, resource: $0) }) else {
            throw noSuchKey(id)
        }
        guard let content = try contentForMembers(found.key) else { throw noSuchKey(id) }
        guard let resource = content.resource else {
            guard content.owner == user, caller.isSelf else { throw notAuthorized(caller, unboundKey: id) }
            try freezes?.check(caller.release())
            return Outcome(KMSStatus.ok, .key(wireKey(content, id: id)))
        }
        let path: AccessPath?
        var change = StoreChange()
        if case .service = caller.capacity {
            (path, change) = try await serviceUse(of: content, found.key, in: resource, request, caller, now)
        } else {
            path = try await access(caller, resource: resource, known: found, now: now)
        }
        guard let path else {
            // Keys of a resource that is gone are gone for everybody; for others only the right is missing.
            if try await isGone(resource, now: now) { throw noSuchKey(id) }
            throw notAuthorized(caller, resource: resource)
        }
        if let until = path.boundUntil, content.boundAt.map({ $0 > until }) ?? true {
            throw KMSFailure(
                KMSStatus.forbidden, "the key was bound after the former member had left (bound-after-leaving)",
                rule: "bound-after-leaving")
        }
        try freezes?.check(caller.release(spaces: path.spaces(to: resource), bound: content.boundAt.map { [$0] } ?? []))
        return Outcome(KMSStatus.ok, .key(wireKey(content, id: id)), change: change, path: path, space: resource)
    }

    /// update <key> with resourceUri: binds an own unbound key to a resource that the caller may change, for ever.
    func bindKey(_ id: String, _ request: KMSRequest, _ caller: Caller, _ now: Timestamp) async throws -> Outcome {
        let target = try resourceID(request.resourceURI())
        guard let record = try await store.key(id) else { throw noSuchKey(id) }
        guard var content = try contentForMembers(record) else { throw noSuchKey(id) }
        if let bound = content.resource {
            if try await isGone(bound, now: now) { throw noSuchKey(id) }
            guard content.owner == caller.effectiveUser else { throw notAuthorized(caller, resource: bound) }
            guard bound == target else {
                throw KMSFailure(KMSStatus.conflict, "key \(names.key(id)) is already bound")
            }
            try freezes?.check(caller.release(spaces: [target], bound: content.boundAt.map { [$0] } ?? []))
            _ = try await changeable(target, by: caller, .update, now: now)
            return Outcome(KMSStatus.ok, .key(wireKey(content, id: id)))
        }
        guard content.owner == caller.effectiveUser else { throw notAuthorized(caller, unboundKey: id) }
        try freezes?.check(caller.release(spaces: [target]))
        var (resource, head, _) = try await changeable(target, by: caller, .update, now: now)
        guard now < content.expires else {
            throw KMSFailure(KMSStatus.conflict, "key \(names.key(id)) has expired and can not be bound any more")
        }
        bind(&content, to: target, head.nextBindDate(now))
        head.lastBound = content.boundAt
        var change = StoreChange()
        let erasable = try await vault.erasableKey(of: target, &change.writes)
        change.writes.append(
            .updateKey(try vault.record(content, id: id, version: record.version + 1, erasable: erasable)))
        try touch(resource, head, &change)
        return Outcome(KMSStatus.ok, .key(wireKey(content, id: id)), change: change)
    }

    /// Of a key that the operations on keys know: not of an erased one, and not of one of a search index.
    func contentForMembers(_ record: KeyRecord) throws -> KeyContent? {
        guard let content = try vault.contentUnlessErased(record) else { return nil }
        if case .searchIndex = content.purpose { return nil }
        return content
    }

    /// How many keys of a space a service gets at once: each is marked at its first use.
    private static let keysForService = 1_000

    /// retrieve <kro>/keys: newest bind date first, `boundAfter` inclusive, `boundBefore` exclusive. To a service those
    /// that are for messages.
    func retrieveKeys(
        ofResource id: String, _ request: KMSRequest, _ caller: Caller, _ now: Timestamp
    ) async throws -> Outcome {
        let after = max(try request.date("boundAfter") ?? SearchEpoch.contentKeys, SearchEpoch.contentKeys)
        var before = try request.date("boundBefore")
        var limit = try request.keyLimit()
        let (_, _, path) = try await readable(id, by: caller, now: now)
        if let end = path.boundUntil?.adding(milliseconds: 1) { before = before.map { min($0, end) } ?? end }
        var isService = false
        if case .service = caller.capacity {
            isService = true
            limit = min(limit ?? .max, Self.keysForService)
        }
        let records = try await store.keys(ofResource: id, from: after, before: before, limit: limit)
        try freezes?.check(caller.release(spaces: path.spaces(to: id), bound: records.compactMap(\.boundAt)))
        var keys: [KMSKey] = []
        var change = StoreChange()
        for record in records {
            guard let content = try contentForMembers(record) else { continue }
            if isService {
                if case .marked(let use) = content.purpose, use != .content { continue }
                try await mark(content, record, in: id, as: .content, &change)
            }
            keys.append(wireKey(content, id: record.id))
        }
        return Outcome(KMSStatus.ok, .keys(keys), change: change, path: path, space: id)
    }

    func bind(_ content: inout KeyContent, to resource: String, _ date: Timestamp) {
        content.resource = resource
        content.boundAt = date
        content.expires = date.adding(seconds: policy.boundKeyLife)
    }

    /// Raises the head's version with whatever else changes on the resource, so that races are noticed.
    func touch(_ record: ResourceRecord, _ head: ResourceContent, _ change: inout StoreChange) throws {
        change.writes.append(.updateResource(try vault.record(head, id: record.id, version: record.version + 1)))
    }

    func wireKey(_ content: KeyContent, id: String) -> KMSKey {
        KMSKey(
            uri: names.key(id), key: content.key, userID: content.owner, clientID: content.clientID,
            createDate: content.created, expirationDate: content.expires,
            resourceURI: content.resource.map { names.resource($0) }, bindDate: content.boundAt)
    }

    /// The id in a URI that must name a resource of this KMS.
    func resourceID(_ uri: KMSURI) throws(KMSFailure) -> String {
        guard names.owns(uri) else {
            throw KMSFailure(
                KMSStatus.notImplemented, "resourceUri names a resource of \(uri.host ?? ""), which is not this KMS")
        }
        guard case .resource(let id) = uri.object else {
            throw KMSFailure(KMSStatus.malformed, "resourceUri does not name a resource")
        }
        return id
    }

    func noSuchKey(_ id: String) -> KMSFailure {
        KMSFailure(KMSStatus.notFound, "no such key \(names.key(id))", rule: "no-such-object")
    }

    func notAuthorized(_ caller: Caller, unboundKey id: String) -> KMSFailure {
        KMSFailure(
            KMSStatus.forbidden,
            "User \(caller.effectiveUser) doesn't have authorization to access unbound key \(names.key(id))",
            rule: "unbound-key-of-another")
    }
}
