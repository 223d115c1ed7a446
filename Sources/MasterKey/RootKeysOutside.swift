package import SecretMemory

// What copies of a store need of its root keys: other holders' wraps, and opening outside a service.
extension SealRing {
    /// Each root key, wrapped by somebody else than the key-encryption key: the escrow.
    package func wraps(
        by wrap: (_ rootKey: SymmetricKey, _ version: Int64) throws -> [UInt8]
    ) rethrows -> [Int64: [UInt8]] {
        var wraps: [Int64: [UInt8]] = [:]
        for (version, root) in roots { wraps[Int64(version)] = try wrap(root, Int64(version)) }
        return wraps
    }
}

/// One root key that was unwrapped from a copy: opens what was sealed under it, for restoring.
package struct RootKeyOutside: Sendable {
    private let root: SymmetricKey
    private let generation: UInt32

    /// Nil when no root key can have that version.
    package init?(_ root: SymmetricKey, version: Int64) {
        guard let generation = UInt32(exactly: version) else { return nil }
        (self.root, self.generation) = (root, generation)
    }

    /// Throws `seal-broken` when it was not sealed under this root key as exactly that.
    package func open(_ sealed: [UInt8], kind: RecordKind, id: String, version: Int64) throws -> SecretBytes {
        try RecordSeal.open(
            sealed, as: RecordSeal.Identity(kind: kind, id: id, version: version), format: .root,
            generation: generation, parent: root)
    }
}
