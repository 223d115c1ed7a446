import KMSProtocol
import KeyStore
import MasterKey
import WireText

/// Takes persons out of a restored store whose erasure came after the copy, known by their pseudonyms alone.
///
/// Their ids stand in no journal; the walk over all spaces makes the pseudonym of every id that it meets. The rules are
/// those of the erasure (`ErasureFate`); what was made after the erasure is left: an id may have come to somebody else.
struct PersonErasedAgain {
    let store: any KeyStore
    let vault: RecordVault

    /// The persons who were still there.
    func run(_ erased: [String: Timestamp]) async throws -> [(pseudonym: String, at: Timestamp)] {
        guard !erased.isEmpty else { return [] }
        var found: [String: Timestamp] = [:]
        var codes: [String: String] = [:]
        func pseudonym(_ id: String) -> String? {
            let id = id.canonicalAuthID
            let code = codes[id] ?? "u:" + Hexadecimal.encode(vault.ring.lookup(id, purpose: "audit"))
            codes[id] = code
            return erased[code] == nil ? nil : code
        }
        var last: String?
        while true {
            let page = try await store.resources(after: last, limit: 200)
            guard let end = page.last else { break }
            for record in page {
                let head = try vault.content(record)
                var ids: Set<String> = [head.creator.canonicalAuthID]
                for row in try await store.authorizations(ofResource: record.id, includingRemoved: true) {
                    let content = try vault.content(row)
                    ids.formUnion([content.authID, content.createdBy, content.removedBy ?? ""].map(\.canonicalAuthID))
                }
                for id in ids {
                    guard let code = pseudonym(id), let at = erased[code], head.created <= at else { continue }
                    if try await erase(id, in: record.id, at: at) { found[code] = at }
                }
            }
            last = end.id
        }
        return found.map { ($0.key, $0.value) }.sorted { $0.0 < $1.0 }
    }

    private func erase(_ user: String, in id: String, at: Timestamp) async throws -> Bool {
        guard let record = try await store.resource(id) else { return false }
        let head = try vault.content(record)
        let list = try await store.authorizations(ofResource: id, includingRemoved: true)
            .map { (row: $0, content: try vault.content($0)) }
        let (holds, _) = try await HoldList.read(store, vault)
        switch ErasureFate.judge(head, list: list, of: user, isHeld: holds.contains(id), now: at) {
        case .untouched, .held: return false
        case .destroyed:
            return try await store.commit(StoreChange(erasing: record, vault, at: at)) == .committed
        case .redacted:
            let standIn = ErasedIdentity.make()
            var last: KeyRecord?
            while true {
                let page = try await store.keys(ofResource: id, behind: last, limit: 200)
                guard let end = page.last else { break }
                var made: [StoreWrite] = []
                let erasable = try await vault.erasableKey(of: id, &made)
                let writes = try page.compactMap { key -> StoreWrite? in
                    guard var content = try vault.contentUnlessErased(key), content.redact(user, standIn) else {
                        return nil
                    }
                    return .updateKey(
                        try vault.record(content, id: key.id, version: key.version + 1, erasable: erasable))
                }
                if !writes.isEmpty, try await store.commit(StoreChange(writes: made + writes)) != .committed {
                    throw RemovalReplay.disturbed
                }
                last = end
            }
            let writes = try StoreWrite.redacting(user, record, head, list, standIn: standIn, vault, now: at)
            return try await store.commit(StoreChange(writes: writes)) == .committed
        }
    }
}

extension KeyContent {
    /// Puts the stand-in in the place of its owner, if that is the person.
    mutating func redact(_ user: String, _ standIn: String) -> Bool {
        guard owner.canonicalAuthID == user else { return false }
        (owner, clientID) = (standIn, "")
        return true
    }
}

extension StoreWrite {
    /// The person's entries end, and the stand-in replaces the id everywhere on the list and in the head.
    static func redacting(
        _ user: String, _ record: ResourceRecord, _ head: ResourceContent,
        _ list: [(row: AuthorizationRecord, content: AuthorizationContent)], standIn: String, _ vault: RecordVault,
        now: Timestamp
    ) throws -> [StoreWrite] {
        var head = head
        if head.creator.canonicalAuthID == user { head.creator = standIn }
        head.fingerprint = []
        var writes: [StoreWrite] = []
        for (row, content) in list where content.names(user) {
            var content = content
            if content.authID.canonicalAuthID == user {
                if content.removedAt == nil {
                    if KMSRole.isModerator(content.roleURI) { head.moderators -= 1 }
                    (content.removedAt, content.removedBy) = (now, standIn)
                    head.noteRemoval(now)
                    head.removed.insert(content.order)
                }
                content.authID = standIn
            }
            if content.createdBy.canonicalAuthID == user { content.createdBy = standIn }
            if content.removedBy?.canonicalAuthID == user { content.removedBy = standIn }
            writes.append(.updateAuthorization(try vault.record(content, id: row.id, version: row.version + 1)))
        }
        writes.append(.updateResource(try vault.record(head, id: record.id, version: record.version + 1)))
        return writes
    }
}
