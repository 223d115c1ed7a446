import Cryptography
package import SecretMemory

// What copies of a store need of its root keys: which is which, and opening outside a service.
extension SealRing {
    /// Tells each root key from others without telling it: who unwraps one elsewhere sees whether it is the genuine one.
    package func checks() -> [Int64: [UInt8]] {
        var checks: [Int64: [UInt8]] = [:]
        for (version, root) in rootKeys { checks[Int64(version)] = RootKeyOutside.check(of: root) }
        return checks
    }

    /// The version of the root key that this was sealed under; nil when it is no seal.
    package static func rootVersion(of sealed: [UInt8]) -> Int64? {
        RecordSeal.generation(of: sealed, format: .root).map(Int64.init)
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

    /// 16 octets, see `SealRing.checks`.
    package var check: [UInt8] { Self.check(of: root) }

    fileprivate static func check(of root: SymmetricKey) -> [UInt8] {
        Array(HMACSHA256.code(for: Array("HDS root key check".utf8), key: root).prefix(16))
    }

    /// Throws `seal-broken` when it was not sealed under this root key as exactly that.
    package func open(_ sealed: [UInt8], kind: RecordKind, id: String, version: Int64) throws -> SecretBytes {
        try RecordSeal.open(
            sealed, as: RecordSeal.Identity(kind: kind, id: id, version: version), format: .root,
            generation: generation, parent: root)
    }

    /// Seals under this root key, for receipts and the like.
    package func seal(
        _ plaintext: UnsafeRawBufferPointer, kind: RecordKind, id: String, version: Int64
    ) throws -> [UInt8] {
        try RecordSeal.seal(
            plaintext, as: RecordSeal.Identity(kind: kind, id: id, version: version), format: .root,
            generation: generation, parent: root)
    }
}

extension SealRing {
    /// The key of one journal outside the database.
    ///
    /// It hangs on the key of blind indexes, which every copy of the store has since it was made, sealed under the root
    /// key of then and again with each rotation: so whoever opens any backup can open every journal, also what was
    /// written under root keys that this backup does not have.
    package func journalKey(_ id: String) -> SymmetricKey { indexed("HDS removal journal", id) }
}
