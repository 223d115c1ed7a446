import Diagnostics
import KMSProtocol
package import KeyStore
package import MasterKey
import SignedPolicy
package import WireText

/// Does again, in a store that was restored, what was taken away after the copy was made (security model, rule 20).
///
/// Whatever is done already, or is about something that the copy does not have, changes nothing: the whole journal may be
/// given, twice, in any order. A freeze that was lifted by any of the journals does not stand.
package struct RemovalReplay: Sendable {
    package struct Outcome: Sendable, Equatable {
        /// How many removals of each kind there were.
        package var found: [Removal.Kind: Int] = [:]
        /// What of them the store did not have.
        package var applied: [Removal] = []
        /// What could not be done again, with the reason.
        package var left: [(removal: Removal, reason: String)] = []

        package static func == (one: Outcome, other: Outcome) -> Bool {
            one.found == other.found && one.applied == other.applied
                && one.left.map(\.removal) == other.left.map(\.removal)
        }

        package func applied(_ kind: Removal.Kind) -> Int { applied.count { $0.kind == kind } }
    }

    /// Who ended an authorization here: the journal does not say who did it then.
    static let removedBy = "restore"

    let store: any KeyStore
    let vault: RecordVault
    /// For whom a new version of the root key is wrapped, beside the key-encryption key.
    let escrow: [any RootKeyHolder]

    package init(store: any KeyStore, vault: RecordVault, escrow: [any RootKeyHolder] = []) {
        self.store = store
        self.vault = vault
        self.escrow = escrow
    }

    package func apply(_ removals: [Removal], now: Timestamp = .now()) async throws -> Outcome {
        var outcome = Outcome()
        var holds: [String: (reason: String?, at: Timestamp, removal: Removal)] = [:]
        var nonces: [OfficerDesk.Nonce] = []
        var rootKeys: Set<Int64> = []
        var erased: [String: Timestamp] = [:]
        var frozen: [Freeze] = []
        var lifted: Set<String> = []
        for removal in removals {
            outcome.found[removal.kind, default: 0] += 1
            var isNew = false
            switch removal {
            case .authorization(let id, _, let at): isNew = try await end(authorization: id, at: at)
            case .resource(let id, let at): isNew = try await delete(resource: id, at: at)
            case .erasedResource(let id, let keys):
                isNew = try await erase(resource: id)
                for key in keys where try await erase(key: key) { isNew = true }
            case .erasedKey(let id): isNew = try await erase(key: id)
            case .erasedUser(let pseudonym, let at): erased[pseudonym] = max(at, erased[pseudonym] ?? at)
            case .freeze(let freeze): frozen.append(freeze)
            case .liftedFreeze(let id): lifted.insert(id)
            case .policy(let seen): isNew = try await remember(seen)
            case .rootKey(let version): rootKeys.insert(version)
            case .hold(let id, let reason, let at):
                // Of the same moment the hold counts.
                if holds[id].map({ $0.at <= at }) ?? true { holds[id] = (reason, at, removal) }
            case .liftedHold(let id, let at):
                if holds[id].map({ $0.at < at }) ?? true { holds[id] = (nil, at, removal) }
            case .nonce(let nonce): nonces.append(nonce)
            }
            if isNew { outcome.applied.append(removal) }
        }
        for (pseudonym, at) in try await PersonErasedAgain(store: store, vault: vault).run(erased) {
            outcome.applied.append(.erasedUser(pseudonym: pseudonym, at: at))
        }
        let board = try await FreezeBoard(store: store, vault: vault)
        for id in lifted.sorted() where try await board.lift(id) != nil {
            outcome.applied.append(.liftedFreeze(id: id))
        }
        for freeze in frozen where !lifted.contains(freeze.id) {
            guard !board.standing.contains(where: { $0.id == freeze.id }) else { continue }
            try await board.order(freeze)
            outcome.applied.append(.freeze(freeze))
        }
        let held = try await HoldList.standing(store, vault)
        for (id, hold) in holds.sorted(by: { $0.key < $1.key }) where held.reason(id) != hold.reason {
            try await HoldList.change([id], reason: hold.reason, store: store, vault: vault)
            outcome.applied.append(hold.removal)
        }
        outcome.applied += try await OfficerNonces(store: store, vault: vault).takeOver(nonces, now: now).map {
            .nonce($0)
        }
        // Last: what the others wrote is sealed again as well.
        try await destroy(rootKeys, now, &outcome)
        return outcome
    }

    // MARK: One removal; each answers whether it changed something

    private func end(authorization id: String, at: Timestamp) async throws -> Bool {
        try await settled {
            guard let row = try await store.authorization(id), row.removedAt == nil else { return nil }
            var content = try vault.content(row)
            (content.removedAt, content.removedBy) = (at, Self.removedBy)
            var change = StoreChange(writes: [
                .updateAuthorization(try vault.record(content, id: id, version: row.version + 1))
            ])
            if let record = try await store.resource(row.resource) {
                var head = try vault.content(record)
                if Roles.moderates(content) { head.moderators = max(0, head.moderators - 1) }
                if content.authID == KeyManagement.publicAuthID { head.isPublic = false }
                if let uri = KMSURI(content.authID), case .resource(let inner) = uri.object {
                    head.nested.removeAll { $0 == inner }
                }
                head.noteRemoval(at)
                head.removed.insert(content.order)
                change.writes.append(
                    .updateResource(try vault.record(head, id: record.id, version: record.version + 1)))
            }
            return change
        }
    }

    private func delete(resource id: String, at: Timestamp) async throws -> Bool {
        try await settled {
            guard let record = try await store.resource(id), record.deletedAt == nil else { return nil }
            var head = try vault.content(record)
            head.deletedAt = at
            head.noteRemoval(at)
            (head.nested, head.isPublic, head.moderators) = ([], false, 0)
            var change = StoreChange()
            for row in try await store.authorizations(ofResource: id) {
                var content = try vault.content(row)
                (content.removedAt, content.removedBy) = (at, Self.removedBy)
                head.removed.insert(content.order)
                change.writes.append(
                    .updateAuthorization(try vault.record(content, id: row.id, version: row.version + 1)))
            }
            change.writes.append(.updateResource(try vault.record(head, id: id, version: record.version + 1)))
            return change
        }
    }

    private func erase(resource id: String) async throws -> Bool {
        try await settled {
            guard let record = try await store.resource(id) else { return nil }
            return try StoreChange(erasing: record, vault, at: record.deletedAt ?? vault.content(record).created)
        }
    }

    private func erase(key id: String) async throws -> Bool {
        try await settled {
            guard let key = try await store.key(id) else { return nil }
            return StoreChange(writes: [.eraseKey(id: id, version: key.version)])
        }
    }

    private func remember(_ seen: PolicyHolder.Seen) async throws -> Bool {
        let memory = PolicyMemory(store: store, vault: vault)
        guard try await (memory.recall()?.version ?? 0) < seen.version else { return false }
        try await memory.remember(seen)
        return true
    }

    /// What the copy has under a destroyed version is sealed again under another one, so that the version can go.
    private func destroy(_ versions: Set<Int64>, _ now: Timestamp, _ outcome: inout Outcome) async throws {
        let rotation = RootKeyRotation(store: store, ring: vault.ring)
        let alive = try await store.rootKeys().filter { $0.state != .destroyed && versions.contains($0.version) }
        guard !alive.isEmpty else { return }
        try await rotation.destroyAlone(versions, escrow: escrow, now: now)
        let left = Set(try await store.rootKeys().filter { $0.state != .destroyed }.map(\.version))
        for version in alive.map(\.version).sorted() {
            let removal = Removal.rootKey(version: version)
            if left.contains(version) {
                outcome.left.append(
                    (removal, "values under it do not open: restore them, rotate, then destroy it again"))
            } else {
                outcome.applied.append(removal)
            }
        }
    }

    /// Commits until it is done; false when there was nothing to do.
    private func settled(_ change: () async throws -> StoreChange?) async throws -> Bool {
        for _ in 0..<16 {
            guard let change = try await change() else { return false }
            if try await store.commit(change) == .committed { return true }
        }
        throw Self.disturbed
    }

    static let disturbed = DiagnosedError(
        .storeBusy, fault: .store, "others change the store while what was removed is removed again",
        hint: "stop every service on it first")
}

extension StoreChange {
    /// Destroys a space with its keys and its list.
    init(erasing record: ResourceRecord, _ vault: RecordVault, at now: Timestamp) throws {
        self.init()
        var version = record.version
        if record.deletedAt == nil {
            var head = try vault.content(record)
            head.deletedAt = now
            version += 1
            writes.append(.updateResource(try vault.record(head, id: record.id, version: version)))
        }
        writes.append(.eraseResource(id: record.id, version: version))
    }
}
