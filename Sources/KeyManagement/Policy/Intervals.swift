package import KeyStore
package import WireText

/// Ended authorizations on their way out: the sealed rows of who was on a list from when until when are kept for the
/// policy's time, then erased (security model, rule 11).
///
/// Rows of a held space stay. So do rows that rule 8 may still need: a session that was open at the removal must not add
/// its member again.
package struct Intervals: Sendable {
    private let store: any KeyStore
    private let vault: RecordVault
    private let policy: PolicyInForce
    private static let page = 200

    package init(store: any KeyStore, vault: RecordVault, policy: PolicyInForce) {
        self.store = store
        self.vault = vault
        self.policy = policy
    }

    /// Erases what is due; how many rows that were. Safe to run on several nodes at a time.
    package func erase(now: Timestamp) async throws -> Int {
        let values = policy.current.values
        let due = now.adding(seconds: -max(values.intervalLife, values.sessionLife))
        var erased = 0
        var kept: Set<String> = []
        while true {
            let rows = try await store.removedAuthorizations(until: due, limit: Self.page + kept.count)
                .filter { !kept.contains($0.id) }
            guard !rows.isEmpty else { return erased }
            let (holds, sealed) = try await HoldList.read(store, vault)
            for row in rows {
                // Looked at once, whatever happens to it: what is held must not keep the walk going.
                kept.insert(row.id)
                guard !holds.contains(row.resource) else { continue }
                let change = StoreChange(
                    writes: [.eraseAuthorization(id: row.id, version: row.version)],
                    expectations: [.setting(name: HoldList.setting, value: sealed)])
                if try await store.commit(change) == .committed { erased += 1 }
            }
        }
    }
}
