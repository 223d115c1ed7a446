package import KMSProtocol
package import KeyStore
package import WireText

/// Which spaces wait for a new key after somebody left (security model, "What is promised": a space key is due for
/// rotation after a leave).
///
/// Rules:
/// 1. A space is due when an authorization was removed, no key was bound since, and that is longer ago than the policy
///    says (`spaceKeyDue`).
/// 2. Not due is what nobody can or need rotate: a space that is gone, one that never had a key, one without anybody on
///    its list.
///
/// Nothing here is decided by it: clients that keep the promise never encrypt under a key bound before the last removal.
/// The walk reads all resources in pages; `stillDue` looks again at those that were found.
package struct SpaceKeysDue: Sendable {
    private let store: any KeyStore
    private let vault: RecordVault
    private let names: KMSNames
    private let seconds: Int64
    private static let page = 500

    package init(store: any KeyStore, vault: RecordVault, names: KMSNames, policy: KMSPolicy) {
        self.store = store
        self.vault = vault
        self.names = names
        seconds = policy.spaceKeyDue
    }

    /// One space, with the moment of the removal that no key has followed.
    package struct Space: Sendable, Hashable {
        package let uri: String
        let id: String
        package let removal: Timestamp
    }

    /// All of them, longest ago first.
    package func walk(now: Timestamp) async throws -> [Space] {
        var due: [Space] = []
        var last: String?
        while true {
            let records = try await store.resources(after: last, limit: Self.page)
            guard let end = records.last else { return due.sorted { $0.removal < $1.removal } }
            for record in records {
                if let space = try await judge(record, now) { due.append(space) }
            }
            last = end.id
            await Task.yield()
        }
    }

    /// Those that are due still, or again by a later removal.
    package func stillDue(_ spaces: [Space], now: Timestamp) async throws -> [Space] {
        var due: [Space] = []
        for space in spaces {
            if let record = try await store.resource(space.id), let found = try await judge(record, now) {
                due.append(found)
            }
        }
        return due
    }

    private func judge(_ record: ResourceRecord, _ now: Timestamp) async throws -> Space? {
        guard record.deletedAt == nil, case let head = try vault.content(record), !head.isGone(now),
            let removal = head.lastRemoval, let bound = head.lastBound, bound <= removal,
            removal.adding(seconds: seconds) <= now,
            try await !store.authorizations(ofResource: record.id).isEmpty
        else { return nil }
        return Space(uri: names.resource(record.id), id: record.id, removal: removal)
    }
}
