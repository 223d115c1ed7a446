import KeyStore
package import WireText

// All steps of a rotation at once, in a store that no service works on.
extension RootKeyRotation {
    /// How far above the versions of a copy a new one is: versions made after the copy had numbers, which no other key may
    /// bear.
    static let copyGap: Int64 = 1000
    private static let aloneNode = "restore"

    /// Destroys versions of the root key, as far as they are there and everything under them opens. What stands under them
    /// is sealed again first: under the active version, or under a new one when that is to go as well.
    package func destroyAlone(_ versions: Set<Int64>, escrow: [any RootKeyHolder], now: Timestamp) async throws {
        try await change { journal, records in
            // The nodes of then are none here, and what was under way is not.
            let node = RotationJournal.Node(seen: now, proved: ring.activeVersion, kek: ring.fingerprint)
            (journal.nodes, journal.trial, journal.destruction) = ([Self.aloneNode: node], nil, nil)
            return records.filter { $0.state == .inert }.map { .deleteRootKey(version: $0.version) }
        }
        try await ring.refresh()
        if ring.records.contains(where: { $0.state == .retiring }) {
            guard try await replace(now) else { return }
        }
        if versions.contains(ring.activeVersion) {
            let highest = max(versions.max() ?? 0, ring.records.last?.version ?? 0)
            _ = try await generate(now: now, escrow: escrow, above: highest + Self.copyGap)
            try await beat(node: Self.aloneNode, now: now)
            _ = try await promote(now: now)
            guard try await replace(now) else { return }
        }
        for record in ring.records where versions.contains(record.version) && record.state == .retired {
            _ = try await destroy(record.version, window: 0, now: now)
            _ = try await destroyDue(now: now)
        }
    }

    private func replace(_ now: Timestamp) async throws -> Bool {
        let end = try await Resealer(store: store, ring: ring).run(now: { now })
        guard end.broken == 0 else { return false }
        return try await retire(now: now) != nil
    }
}
