import KMSProtocol
import KeyStore
import SignedPolicy
import WireText

// What services use keys for (security model, rule 28): an indexer that opens whatever it is given as a query would answer
// which words stand in anybody's messages.
//
// 1. A key that a service takes is marked at the first time: to read messages, to open a search query, or to open a report
//    request. From then on it is given to services for that alone. Persons are not asked for what they take a key.
// 2. For a query or a report request it is given only when its space is its creator's own: the creator made the space and is
//    the one on its list, without others, spaces, `/public` or unnamed holders. Who that is the answer says (`userId`).
// 3. A search indexer opens queries, an eDiscovery service report requests; neither needs the space to be among those of
//    its consent, for what the person asks is meant for it.
extension KeyManagement {
    /// The path by which a service may have a key for the use that it names, and what has to be written for it.
    func serviceUse(
        of content: KeyContent, _ record: KeyRecord, in resource: String, _ request: KMSRequest, _ caller: Caller,
        _ now: Timestamp
    ) async throws -> (path: AccessPath?, change: StoreChange) {
        let use = try request.keyUse()
        let path: AccessPath?
        switch use {
        case .content: path = try await access(caller, resource: resource, now: now)
        case .search, .report: path = try await ownersSpace(of: content, resource, use, caller, now)
        }
        guard path != nil else { return (nil, StoreChange()) }
        var change = StoreChange()
        try await mark(content, record, in: resource, as: use, &change)
        return (path, change)
    }

    /// Refuses a key that is marked for another use; writes the mark of one that has none.
    func mark(
        _ content: KeyContent, _ record: KeyRecord, in resource: String, as use: KMSKeyUse, _ change: inout StoreChange
    ) async throws {
        switch content.purpose {
        case .marked(use): return
        case .unmarked: break
        case .marked, .searchIndex:
            throw KMSFailure(
                KMSStatus.forbidden, "the key \(names.key(record.id)) is for another use (key-for-another-use)",
                rule: "key-for-another-use")
        }
        var marked = content
        marked.purpose = .marked(use)
        let erasable = try await vault.erasableKey(of: resource, &change.writes)
        change.writes.append(
            .updateKey(try vault.record(marked, id: record.id, version: record.version + 1, erasable: erasable)))
    }

    private func ownersSpace(
        of content: KeyContent, _ resource: String, _ use: KMSKeyUse, _ caller: Caller, _ now: Timestamp
    ) async throws -> AccessPath {
        let type = use == .search ? Self.searchIndexing : "ediscovery"
        let consent = try demandConsent(ofType: type, caller, space: nil, now)
        let (_, head) = try await present(resource, now)
        let owner = content.owner.canonicalAuthID
        let list = try await store.authorizations(ofResource: resource).map { ($0, try vault.content($0)) }
            .filter { row, entry in entry.isLive(now) && stands(entry, row, in: head) }
        guard head.creator.canonicalAuthID == owner, !head.isPublic, head.nested.isEmpty, list.count == 1,
            list[0].1.authID.canonicalAuthID == owner, !list[0].1.isAnonymous
        else {
            throw KMSFailure(
                KMSStatus.forbidden,
                "the key's space is not its creator's alone, so it opens no query (not-the-askers-key)",
                rule: "not-the-askers-key")
        }
        return .query(consent.name)
    }
}
