import KeyStore

// Root keys on their way to a new node, and away from one that was removed (docs/cluster.md).
extension RootKeyRotation {
    /// Wraps every version to a node's public key as well: it starts with that alone.
    package func wrap(forNode node: some RootKeyHolder) async throws {
        try await change { _, records in
            try records.filter { $0.state != .destroyed && $0.wraps[node.holder] == nil }.map { record in
                var record = record
                record.wraps[node.holder] = try node.wrap(ring.root(record.version), version: record.version)
                return .updateRootKey(record)
            }
        }
        try await ring.refresh()
    }

    /// Puts a node's own key-encryption key in the place of its public key, in every version that is wrapped to that; whether
    /// there was one. Only the node itself can: it has both private halves.
    package func adopt(
        _ node: some RootKeyWrapping, kek: some RootKeyWrapping, name: String
    ) async throws -> Bool {
        // A look that costs nothing, for it is made twice a second.
        guard ring.records.contains(where: { $0.wraps[node.holder] != nil }) else { return false }
        var hasAdopted = false
        try await change { journal, records in
            let waiting = records.filter { $0.state != .destroyed && $0.wraps[node.holder] != nil }
            hasAdopted = !waiting.isEmpty
            guard hasAdopted else { return [] }
            let isShared = records.contains { $0.wraps[kek.holder] != nil }
            if !isShared { journal.ownKEKs[name] = kek.fingerprint }
            return try waiting.map { record in
                var record = record
                guard let wrapped = record.wraps.removeValue(forKey: node.holder) else { return .updateRootKey(record) }
                if record.wraps[kek.holder] == nil {
                    let root = try node.unwrap(wrapped, version: record.version)
                    record.wraps[kek.holder] = try kek.wrap(root, version: record.version)
                }
                return .updateRootKey(record)
            }
        }
        if hasAdopted { try await ring.refresh() }
        return hasAdopted
    }

    /// Drops what a removed node's public key opens, and its key-encryption key when no other node works with that. Nil when
    /// it does not go: the fingerprint of a key that others have, too.
    package func forget(node name: String, holder: String) async throws -> String? {
        var shared: String?
        try await change { journal, records in
            let kek = journal.ownKEKs[name] ?? journal.nodes[name]?.kek
            journal.nodes[name] = nil
            journal.ownKEKs[name] = nil
            let isOthers =
                kek == ring.fingerprint || journal.ownKEKs.values.contains { $0 == kek }
                || journal.nodes.values.contains { $0.kek == kek }
            shared = isOthers ? kek : nil
            return records.compactMap { record in
                var left = record
                left.wraps[holder] = nil
                // The last one that opens a version is never taken away.
                if let kek, !isOthers, left.keks != [kek] { left.wraps[RootKeyRecord.holder(kek: kek)] = nil }
                return left == record ? nil : .updateRootKey(left)
            }
        }
        try await ring.refresh()
        return shared
    }
}
