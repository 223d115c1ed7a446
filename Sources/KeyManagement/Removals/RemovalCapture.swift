package import KeyStore
import SignedPolicy
package import WireText

/// Reads out of a change what it takes away.
///
/// It looks at what goes into the store and not at who asks for it, so that no way to a removal can be forgotten.
package struct RemovalCapture: Sendable {
    /// So many keys of an erased space are named.
    static let namedKeys = 2_000
    private static let erasurePrefix = "erasure/u:"

    private let store: any KeyStore
    private let vault: RecordVault

    package init(store: any KeyStore, vault: RecordVault) {
        self.store = store
        self.vault = vault
    }

    /// Empty for nearly all changes, and then nothing was read.
    package func removals(in change: StoreChange, now: Timestamp) async throws -> [Removal] {
        var removals: [Removal] = []
        for write in change.writes {
            switch write {
            case .updateAuthorization(let record):
                guard let at = record.removedAt else { continue }
                removals.append(.authorization(id: record.id, resource: record.resource, at: at))
            case .updateResource(let record):
                guard let at = record.deletedAt else { continue }
                removals.append(.resource(id: record.id, at: at))
            case .eraseResource(let id, _):
                let keys = try await store.keys(ofResource: id, from: nil, before: nil, limit: Self.namedKeys)
                removals.append(.erasedResource(id: id, keys: keys.map(\.id)))
            case .eraseKey(let id, _): removals.append(.erasedKey(id: id))
            case .putSetting(FreezeBoard.setting, let value):
                removals += try freezes(from: change.expected(FreezeBoard.setting), to: value)
            case .putSetting(PolicyMemory.setting, let value):
                if let seen = try PolicyMemory.seen(in: value, vault: vault) { removals.append(.policy(seen)) }
            case .putSetting(HoldList.setting, let value):
                removals += try holds(from: change.expected(HoldList.setting), to: value, now: now)
            case .putSetting(OfficerNonces.setting, let value):
                let before = try OfficerNonces.read(change.expected(OfficerNonces.setting), vault).nonces
                let after = try OfficerNonces.read(value, vault).nonces
                let known = Set(before.map(\.value))
                removals += after.filter { !known.contains($0.value) }.map { .nonce($0) }
            case .putSetting(let name, _):
                guard name.hasPrefix(Self.erasurePrefix) else { continue }
                removals.append(.erasedUser(pseudonym: String(name.dropFirst(8)), at: now))
            case .updateRootKey(let record):
                if record.state == .destroyed { removals.append(.rootKey(version: record.version)) }
            // An ended authorization that is erased stays ended where it comes back.
            case .eraseAuthorization: continue
            // Sessions do not come back with a copy.
            case .deleteSession, .insertSession, .advanceSession, .insertSessionKEK, .purgeExpired: continue
            case .insertKey, .updateKey, .insertResource, .insertAuthorization, .insertLedger, .insertRootKey,
                .deleteRootKey, .reseal, .insertErasableKey:
                continue
            }
        }
        return removals
    }

    private func holds(from old: [UInt8]?, to new: [UInt8], now: Timestamp) throws -> [Removal] {
        let (before, after) = (try HoldList.read(old, vault), try HoldList.read(new, vault))
        return after.entries.filter { before.reason($0.resource) != $0.reason }.map {
            .hold(resource: $0.resource, reason: $0.reason, at: now)
        } + before.resources.filter { !after.contains($0) }.map { .liftedHold(resource: $0, at: now) }
    }

    private func freezes(from old: [UInt8]?, to new: [UInt8]) throws -> [Removal] {
        let before = try FreezeBoard.read(old, vault: vault).freezes
        let after = try FreezeBoard.read(new, vault: vault).freezes
        return after.filter { freeze in !before.contains { $0.id == freeze.id } }.map { .freeze($0) }
            + before.filter { freeze in !after.contains { $0.id == freeze.id } }.map { .liftedFreeze(id: $0.id) }
    }
}

extension StoreChange {
    /// The value that a setting is expected to have.
    fileprivate func expected(_ name: String) -> [UInt8]? {
        for case .setting(name, let value) in expectations { return value }
        return nil
    }
}
