import KMSProtocol
import KeyStore
import WireText

// Operations on access lists (protocol, section 8).
extension KeyManagement {
    /// create /authorizations: all or nothing; one who is authorized already keeps his entry and is listed with it.
    func createAuthorizations(
        _ request: KMSRequest, _ caller: Caller, _ session: LiveSession, _ now: Timestamp
    ) async throws -> Outcome {
        let target = try resourceID(request.resourceURI())
        let ids = try request.ids()
        let role = try request.roleURI()
        guard !request.wantsAnonymous else {
            throw KMSFailure(KMSStatus.notImplemented, "anonymous authorizations are not available")
        }
        guard !ids.isEmpty else { throw KMSFailure(KMSStatus.malformed, "members 'userIds' and 'authIds' are empty") }
        var (record, head) = try await changeable(target, by: caller)
        var change = StoreChange()
        var entries: [KMSAuthorization] = []
        for authID in ids {
            let lookup = vault.lookup(authID: authID, resource: target)
            if let row = try await store.authorization(ofResource: target, lookup: lookup) {
                entries.append(wireAuthorization(try vault.content(row), id: row.id))
                continue
            }
            // A counter orders the requests of a session; without one, an "add" that the cloud held back could undo a
            // removal that came after it (rule 8).
            if policy.reAddingNeedsNewerSession, request.counter == nil,
                let removal = try await store.lastRemoval(ofResource: target, lookup: lookup)?.removedAt,
                removal >= session.content.created
            {
                throw KMSFailure(
                    KMSStatus.forbidden,
                    "\(authID) was removed from \(names.resource(target)) after this session was opened; "
                        + "open a new session to add it again")
            }
            try await admit(authID, roleURI: role, to: target, &head, &change, &entries, caller, now)
        }
        if !change.writes.isEmpty { try touch(record, head, &change) }
        return Outcome(KMSStatus.created, request.uri.wantsDetails ? .authorizations(entries) : .none, change: change)
    }

    /// Adds one entry to a resource's access list: the row, the head and the answer's list.
    func admit(
        _ authID: String, roleURI: String?, to resource: String, _ head: inout ResourceContent,
        _ change: inout StoreChange, _ entries: inout [KMSAuthorization], _ caller: Caller, _ now: Timestamp
    ) async throws {
        if authID == Self.publicAuthID {
            guard policy.allowsPublic else {
                throw KMSFailure(KMSStatus.forbidden, "authorizing /public is switched off by policy")
            }
            head.isPublic = true
        } else if authID.prefix(6).lowercased() == "kms://" {
            let inner = try await nestedResource(authID, in: resource)
            if !head.nested.contains(inner) { head.nested.append(inner) }
        }
        let content = AuthorizationContent(
            authID: authID, resource: resource, roleURI: roleURI, created: now, createdBy: caller.effectiveUser,
            order: head.nextOrder)
        head.nextOrder += 1
        let id = UUIDText.random()
        change.writes.append(.insertAuthorization(try vault.record(content, id: id, version: 1)))
        entries.append(wireAuthorization(content, id: id))
    }

    /// The id of a KRO that is to be authorized on another one.
    private func nestedResource(_ authID: String, in resource: String) async throws -> String {
        guard let uri = KMSURI(authID), case .resource(let inner) = uri.object else {
            throw KMSFailure(KMSStatus.malformed, "\(authID) names no resource; expected a user id or a resource uri")
        }
        guard names.owns(uri) else {
            throw KMSFailure(KMSStatus.forbidden, "a resource of another KMS can not be authorized")
        }
        guard inner != resource else {
            throw KMSFailure(KMSStatus.malformed, "a resource can not be authorized on itself")
        }
        guard try await !isDeleted(inner) else {
            throw KMSFailure(KMSStatus.notFound, "no such resource \(names.resource(inner))")
        }
        return inner
    }

    func retrieveAuthorizations(
        ofResource id: String, _ request: KMSRequest, _ caller: Caller
    ) async throws -> Outcome {
        _ = try await readable(id, by: caller)
        let rows: [AuthorizationRecord]
        if let authID = request.uri.authID {
            let lookup = vault.lookup(authID: authID, resource: id)
            rows = try await store.authorization(ofResource: id, lookup: lookup).map { [$0] } ?? []
        } else {
            rows = try await store.authorizations(ofResource: id)
        }
        return Outcome(
            KMSStatus.ok, .authorizations(try rows.map { wireAuthorization(try vault.content($0), id: $0.id) }))
    }

    /// delete <kro>/authorizations, by the query's authId or by a list of ids; all or nothing.
    func deleteAuthorizations(
        ofResource id: String, _ request: KMSRequest, _ caller: Caller, _ now: Timestamp
    ) async throws -> Outcome {
        let ids = try request.uri.authID.map { [$0] } ?? request.ids()
        guard !ids.isEmpty else {
            throw KMSFailure(KMSStatus.malformed, "neither the query item authId nor ids say whom to remove")
        }
        let (record, head) = try await changeable(id, by: caller)
        var rows: [AuthorizationRecord] = []
        for authID in ids {
            let lookup = vault.lookup(authID: authID, resource: id)
            guard let row = try await store.authorization(ofResource: id, lookup: lookup) else {
                throw KMSFailure(KMSStatus.notFound, "\(authID) is not authorized on \(names.resource(id))")
            }
            if !rows.contains(where: { $0.id == row.id }) { rows.append(row) }
        }
        return try remove(rows, record, head, caller, now)
    }

    func deleteAuthorization(_ id: String, _ caller: Caller, _ now: Timestamp) async throws -> Outcome {
        guard let row = try await store.authorization(id), row.removedAt == nil else {
            throw KMSFailure(KMSStatus.notFound, "no such authorization \(names.authorization(id))")
        }
        let (record, head) = try await changeable(row.resource, by: caller)
        return try remove([row], record, head, caller, now)
    }

    private func remove(
        _ rows: [AuthorizationRecord], _ record: ResourceRecord, _ head: ResourceContent, _ caller: Caller,
        _ now: Timestamp
    ) throws -> Outcome {
        var head = head
        var change = StoreChange()
        var removed: [KMSAuthorization] = []
        for row in rows {
            let content = try remove(row, caller, now, &change)
            removed.append(wireAuthorization(content, id: row.id))
            if content.authID == Self.publicAuthID { head.isPublic = false }
            if let uri = KMSURI(content.authID), case .resource(let inner) = uri.object {
                head.nested.removeAll { $0 == inner }
            }
        }
        head.noteRemoval(now)
        try touch(record, head, &change)
        return Outcome(KMSStatus.ok, .removed(removed), change: change)
    }

    /// Marks one entry as removed; the sealed row stays.
    func remove(
        _ row: AuthorizationRecord, _ caller: Caller, _ now: Timestamp, _ change: inout StoreChange
    ) throws -> AuthorizationContent {
        var content = try vault.content(row)
        content.removedAt = now
        content.removedBy = caller.effectiveUser
        change.writes.append(.updateAuthorization(try vault.record(content, id: row.id, version: row.version + 1)))
        return content
    }

    func wireAuthorization(_ content: AuthorizationContent, id: String) -> KMSAuthorization {
        KMSAuthorization(
            uri: names.authorization(id), authID: content.authID, resourceURI: names.resource(content.resource),
            roleURI: content.roleURI)
    }
}
