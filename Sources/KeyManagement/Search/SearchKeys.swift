import Cryptography
import KMSProtocol
import KeyStore
import SecretMemory
import SignedPolicy
import WireText

// Search keys: random, stored, one for each space and epoch, for a consented indexer only (security model, rule 27;
// docs/kms-extensions.md). They are rows of the table of keys, so that rotation, erasure, backups and the guard against
// rollback hold for them (docs/decisions/090-search-keys-are-rows-of-the-key-table.md).
extension KeyManagement {
    static let searchIndexing = "search-indexing"

    /// Throws the refusal of whoever is no consented service of that type acting for itself.
    func demandConsent(
        ofType type: String, _ caller: Caller, space: String?, _ now: Timestamp
    ) throws(KMSFailure) -> ServiceConsent {
        guard case .service(agent: nil) = caller.capacity else {
            throw KMSFailure(
                KMSStatus.forbidden, "this is for a service of type \(type) only (service-type)", rule: "service-type")
        }
        guard let consent = try demandConsent(caller, space: space, .retrieve, now), consent.type == type else {
            throw KMSFailure(
                KMSStatus.forbidden, "the consent of this service is not of type \(type) (service-type)",
                rule: "service-type")
        }
        return consent
    }

    /// create <kro>/searchKeys: the key of the present epoch; a new one where that is over.
    func createSearchKey(
        ofResource id: String, _ request: KMSRequest, _ caller: Caller, _ now: Timestamp
    ) async throws -> Outcome {
        let asked = try request.endedEpoch()
        let room = try request.searchedRoom()
        let consent = try demandConsent(ofType: Self.searchIndexing, caller, space: names.resource(id), now)
        let (record, head) = try await present(id, now)
        try freezes?.check(caller.release(spaces: [id], bound: [now]))
        let path = AccessPath.service(consent.name)
        let pin = try await roomPin(room, to: id, now)
        let newest = try await searchKeys(ofResource: id, limit: 1).first
        let beginning = SearchEpoch.beginning(
            after: newest, lastRemoval: head.lastRemoval, asked: asked, life: policy.searchEpochLife, now: now)
        guard let beginning else {
            return Outcome(KMSStatus.ok, .searchKeys(newest.map { [$0] } ?? []), change: pin, path: path, space: id)
        }
        let epoch = (newest?.epoch ?? 0) + 1
        guard epoch <= SearchEpoch.most else {
            throw KMSFailure(KMSStatus.conflict, "the space has \(SearchEpoch.most) search epochs")
        }
        var content = KeyContent(
            key: try SymmetricKey.random(), owner: caller.tokenUser, clientID: caller.clientID, created: now,
            expires: now.adding(seconds: policy.searchEpochLife), resource: id, boundAt: SearchEpoch.place(epoch))
        content.purpose = .searchIndex(epoch: epoch, beginning)
        var change = pin
        change.expectations.append(.resource(id: id, version: record.version))
        let erasable = try await vault.erasableKey(of: id, &change.writes)
        change.writes.append(
            .insertKey(
                try vault.record(
                    content, id: SearchEpoch.id(space: id, epoch: epoch), version: 1, erasable: erasable)))
        return Outcome(
            KMSStatus.created, .searchKeys(searchKey(content).map { [$0] } ?? []), change: change, path: path, space: id
        )
    }

    /// retrieve <kro>/searchKeys: newest epoch first; `count` cuts the oldest.
    func retrieveSearchKeys(
        ofResource id: String, _ request: KMSRequest, _ caller: Caller, _ now: Timestamp
    ) async throws -> Outcome {
        let limit = try request.keyLimit()
        let consent = try demandConsent(ofType: Self.searchIndexing, caller, space: names.resource(id), now)
        _ = try await present(id, now)
        let keys = try await searchKeys(ofResource: id, limit: min(limit ?? .max, 1000))
        try freezes?.check(caller.release(spaces: [id], bound: keys.map(\.createDate)))
        return Outcome(KMSStatus.ok, .searchKeys(keys), path: .service(consent.name), space: id)
    }

    private func searchKeys(ofResource id: String, limit: Int) async throws -> [KMSSearchKey] {
        try await store.keys(ofResource: id, from: nil, before: SearchEpoch.contentKeys, limit: limit)
            .compactMap { record in try vault.contentUnlessErased(record).flatMap { searchKey($0) } }
    }

    private func searchKey(_ content: KeyContent) -> KMSSearchKey? {
        guard case .searchIndex(let epoch, let beginning) = content.purpose, let resource = content.resource else {
            return nil
        }
        return KMSSearchKey(
            resourceURI: names.resource(resource), epoch: epoch, key: content.key, createDate: content.created,
            beginning: beginning)
    }

    /// A record's id that says what it is made from to who knows that, and is the same on every node.
    static func derivedID(_ text: String) -> String {
        var octets = Array(SHA256.hash(Array("HDS \(text)".utf8)).prefix(16))
        // RFC 9562, section 5.8: version 8, variant 10.
        octets[6] = octets[6] & 0x0F | 0x80
        octets[8] = octets[8] & 0x3F | 0x80
        return octets.withUnsafeBytes { RecordID(octets: $0) }?.text ?? ""
    }
}
