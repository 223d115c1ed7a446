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
        let ids = Self.distinct(try request.ids())
        let role = try request.roleURI()
        let unnamed = try request.anonymousCount()
        guard !ids.isEmpty || unnamed > 0 else {
            throw KMSFailure(KMSStatus.malformed, "members 'userIds' and 'authIds' are empty, and 'anonymous' is 0")
        }
        var (record, head, own) = try await changeable(target, by: caller, .create, now: now)
        try Roles.requireManaging(head, own, caller, policy, resource: names.resource(target))
        var change = StoreChange()
        var entries: [KMSAuthorization] = []
        for authID in ids {
            let lookup = vault.lookup(authID: authID, resource: target)
            if let row = try await store.authorization(ofResource: target, lookup: lookup) {
                let content = try vault.content(row)
                guard stands(content, row, in: head) else { throw RollbackGuard.stopped }
                entries.append(wireAuthorization(try give(role, to: row, content, &head, &change), id: row.id))
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
                        + "open a new session to add it again", rule: "re-adding-needs-newer-session")
            }
            entries.append(try await admit(authID, roleURI: role, to: target, &head, &change, caller, now))
        }
        entries += try admitUnnamed(unnamed, to: target, &head, &change, caller, now)
        if !change.writes.isEmpty { try touch(record, head, &change) }
        return Outcome(KMSStatus.created, request.uri.wantsDetails ? .authorizations(entries) : .none, change: change)
    }

    /// Two spellings of one id are one: the first stands.
    static func distinct(_ ids: [String]) -> [String] {
        var seen = Set<String>()
        return ids.filter { seen.insert($0.canonicalAuthID).inserted }
    }

    /// Gives somebody who is on the list already the role that was asked for; none asked for changes nothing.
    private func give(
        _ role: String?, to row: AuthorizationRecord, _ content: AuthorizationContent, _ head: inout ResourceContent,
        _ change: inout StoreChange
    ) throws -> AuthorizationContent {
        guard let role, role != content.roleURI else { return content }
        var content = content
        head.moderators -= Roles.moderates(content) ? 1 : 0
        content.roleURI = role
        head.moderators += Roles.moderates(content) ? 1 : 0
        change.writes.append(.updateAuthorization(try vault.record(content, id: row.id, version: row.version + 1)))
        return content
    }

    /// Adds one entry to a resource's access list: the row, the head and what the answer lists.
    func admit(
        _ authID: String, roleURI: String?, to resource: String, _ head: inout ResourceContent,
        _ change: inout StoreChange, _ caller: Caller, _ now: Timestamp
    ) async throws -> KMSAuthorization {
        if authID == Self.publicAuthID {
            guard policy.allowsPublic else {
                throw KMSFailure(
                    KMSStatus.forbidden, "authorizing /public is switched off by policy", rule: "public-is-off")
            }
            head.isPublic = true
        } else if authID.prefix(6).lowercased() == "kms://" {
            let inner = try await nestedResource(authID, in: resource, now)
            if !head.nested.contains(inner) { head.nested.append(inner) }
        }
        let content = AuthorizationContent(
            authID: authID, resource: resource, roleURI: roleURI, created: now, createdBy: caller.effectiveUser,
            order: head.nextOrder, expires: head.expires)
        if Roles.moderates(content) { head.moderators += 1 }
        head.nextOrder += 1
        let id = UUIDText.random()
        change.writes.append(.insertAuthorization(try vault.record(content, id: id, version: 1)))
        return wireAuthorization(content, id: id)
    }

    /// Adds entries for unnamed holders, each with its bearer.
    func admitUnnamed(
        _ count: Int, to resource: String, _ head: inout ResourceContent, _ change: inout StoreChange, _ caller: Caller,
        _ now: Timestamp
    ) throws -> [KMSAuthorization] {
        guard count > 0 else { return [] }
        guard let bearerKey else {
            throw KMSFailure(KMSStatus.notImplemented, "anonymous authorizations are not available")
        }
        let end = now.adding(seconds: policy.anonymousLife)
        return try (0..<count).map { _ in
            let id = UUIDText.random()
            let content = AuthorizationContent(
                authID: names.authorization(id), resource: resource, roleURI: nil, created: now,
                createdBy: caller.effectiveUser, order: head.nextOrder,
                expires: head.expires.map { min($0, end) } ?? end,
                isAnonymous: true)
            head.nextOrder += 1
            change.writes.append(.insertAuthorization(try vault.record(content, id: id, version: 1)))
            var entry = wireAuthorization(content, id: id)
            entry.bearer = try AnonymousBearer.issue(content, id: id, names: names, key: bearerKey)
            return entry
        }
    }

    /// The id of a KRO that is to be authorized on another one.
    private func nestedResource(
        _ authID: String, in resource: String, _ now: Timestamp
    ) async throws -> String {
        guard let uri = KMSURI(authID), case .resource(let inner) = uri.object else {
            throw KMSFailure(KMSStatus.malformed, "\(authID) names no resource; expected a user id or a resource uri")
        }
        guard names.owns(uri) else {
            throw KMSFailure(
                KMSStatus.forbidden, "a resource of another KMS can not be authorized", rule: "foreign-resource")
        }
        guard inner != resource else {
            throw KMSFailure(KMSStatus.malformed, "a resource can not be authorized on itself")
        }
        guard try await !isGone(inner, now: now) else { throw noSuchResource(inner) }
        return inner
    }

    func retrieveAuthorizations(
        ofResource id: String, _ request: KMSRequest, _ caller: Caller, _ now: Timestamp
    ) async throws -> Outcome {
        let (_, head, path) = try await readable(id, by: caller, now: now)
        try refuseUnnamed(caller)
        try refuseFormer(path)
        let rows: [AuthorizationRecord]
        if let authID = request.uri.authID {
            let lookup = vault.lookup(authID: authID, resource: id)
            rows = try await store.authorization(ofResource: id, lookup: lookup).map { [$0] } ?? []
        } else {
            rows = try await store.authorizations(ofResource: id)
        }
        let live = try rows.map { (row: $0, id: $0.id, content: try vault.content($0)) }
            .filter { $0.content.isLive(now) && stands($0.content, $0.row, in: head) }
        return Outcome(
            KMSStatus.ok, .authorizations(live.map { wireAuthorization($0.content, id: $0.id) }), path: path, space: id)
    }

    /// Who else is on a list is nothing for an unnamed holder.
    func refuseUnnamed(_ caller: Caller) throws(KMSFailure) {
        guard case .anonymous = caller.capacity else { return }
        throw KMSFailure(
            KMSStatus.forbidden, "the bearer of an unnamed holder only reads keys", rule: "anonymous-reads-keys-only")
    }

    /// The list as it is now is nothing of a former member's.
    func refuseFormer(_ path: AccessPath) throws(KMSFailure) {
        guard path.boundUntil != nil else { return }
        throw KMSFailure(
            KMSStatus.forbidden, "for a former member only keys are read (former-member-reads-keys-only)",
            rule: "former-member-reads-keys-only")
    }

    /// delete <kro>/authorizations, by the query's authId or by a list of ids; all or nothing.
    func deleteAuthorizations(
        ofResource id: String, _ request: KMSRequest, _ caller: Caller, _ now: Timestamp
    ) async throws -> Outcome {
        let ids = try request.uri.authID.map { [$0] } ?? request.ids()
        guard !ids.isEmpty else {
            throw KMSFailure(KMSStatus.malformed, "neither the query item authId nor ids say whom to remove")
        }
        let (record, head, own) = try await changeable(id, by: caller, .delete, now: now)
        var rows: [AuthorizationRecord] = []
        for authID in ids {
            let lookup = vault.lookup(authID: authID, resource: id)
            guard let row = try await store.authorization(ofResource: id, lookup: lookup) else {
                throw KMSFailure(
                    KMSStatus.notFound, "\(authID) is not authorized on \(names.resource(id))", rule: "no-such-object")
            }
            if !rows.contains(where: { $0.id == row.id }) { rows.append(row) }
        }
        return try await remove(rows, record, head, own, caller, now)
    }

    func deleteAuthorization(_ id: String, _ caller: Caller, _ now: Timestamp) async throws -> Outcome {
        guard let row = try await store.authorization(id), row.removedAt == nil else {
            throw KMSFailure(
                KMSStatus.notFound, "no such authorization \(names.authorization(id))", rule: "no-such-object")
        }
        let (record, head, own) = try await changeable(row.resource, by: caller, .delete, now: now)
        return try await remove([row], record, head, own, caller, now)
    }

    private func remove(
        _ rows: [AuthorizationRecord], _ record: ResourceRecord, _ head: ResourceContent, _ own: AuthorizationContent,
        _ caller: Caller, _ now: Timestamp
    ) async throws -> Outcome {
        var head = head
        var change = StoreChange()
        var contents: [(id: String, content: AuthorizationContent)] = []
        var isLeaving = true
        for row in rows {
            let content = try remove(row, caller, now, &change)
            contents.append((row.id, content))
            head.removed.insert(content.order)
            isLeaving = isLeaving && content.authID.canonicalAuthID == caller.effectiveUser.canonicalAuthID
            if Roles.moderates(content) { head.moderators -= 1 }
            if content.authID == Self.publicAuthID { head.isPublic = false }
            if let uri = KMSURI(content.authID), case .resource(let inner) = uri.object {
                head.nested.removeAll { $0 == inner }
            }
        }
        if !isLeaving {
            // Judged by the list as it stood before.
            try Roles.requireManaging(
                try vault.content(record), own, caller, policy, resource: names.resource(record.id))
        }
        head.noteRemoval(now)
        try touch(record, head, &change)
        var removed: [KMSAuthorization] = []
        for (id, content) in contents {
            var entry = wireAuthorization(content, id: id)
            entry.remainingAccess = try await remainingAccess(content, head, record.id, now)
            removed.append(entry)
        }
        return Outcome(KMSStatus.ok, .removed(removed), change: change)
    }

    /// By which path somebody who was taken off the list still reads, or nil (rule 12).
    private func remainingAccess(
        _ content: AuthorizationContent, _ head: ResourceContent, _ resource: String, _ now: Timestamp
    ) async throws -> String? {
        guard !content.isAnonymous, content.authID != Self.publicAuthID, KMSURI(content.authID)?.host == nil else {
            return nil
        }
        if head.isPublic && policy.allowsPublic { return AccessPath.everybody.rule }
        return try await nestedAccess(content.authID, from: resource, head, now)?.rule
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
            uri: names.authorization(id), authID: content.isAnonymous ? "" : content.authID,
            resourceURI: names.resource(content.resource), roleURI: content.roleURI, createDate: content.created)
    }
}
