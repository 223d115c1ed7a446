import Cryptography
import Diagnostics
import Encryption
package import KeyStore
package import SecretMemory
package import WireText

/// Seals and opens the records of the key store: the root keys in locked memory, unwrapped once when the service starts.
///
/// Three tiers (security model, rule 17): a key-encryption key outside the database wraps versioned random root keys
/// inside it, and from a root key HKDF derives a key for each record (`RecordSeal`). New records are sealed under the
/// active version, older ones open under theirs. Blind indexes are made under a key of its own that a setting keeps
/// sealed, so that lookups outlive every rotation. Immutable; any thread may call; opening a record of 200 octets costs
/// a few microseconds and never suspends.
package final class SealRing: Sendable {
    private static let indexKeyName = "blind-index-key"
    private static let indexKeyIdentity = RecordSeal.Identity(kind: .setting, id: indexKeyName, version: 1)

    private let roots: [UInt32: SymmetricKey]
    private let active: UInt32
    private let indexKey: SymmetricKey
    /// Of the key-encryption key.
    package let fingerprint: String

    package var activeVersion: Int64 { Int64(active) }
    /// All versions that open records, lowest first.
    package var versions: [Int64] { roots.keys.sorted().map(Int64.init) }

    private init(roots: [UInt32: SymmetricKey], active: UInt32, indexKey: SymmetricKey, fingerprint: String) {
        self.roots = roots
        self.active = active
        self.indexKey = indexKey
        self.fingerprint = fingerprint
    }

    /// Unwraps the root keys of the store. An empty store gets version 1 and the key of blind indexes; a store that has
    /// records and no root key is refused, for a new one would open none of them.
    package static func open(
        kek: some RootKeyWrapping, store: any KeyStore, now: Timestamp
    ) async throws -> SealRing {
        var records = try await store.rootKeys()
        if records.isEmpty {
            guard try await store.isEmpty() else {
                throw DiagnosedError(
                    .rootKeyMissing, fault: .store, "the key store has records and no root key",
                    expected: "the table of root keys as it was", hint: "restore the key store from a backup")
            }
            try await provision(kek, store, now)
            records = try await store.rootKeys()
        }
        return try await load(records, kek, store)
    }

    /// When another node was quicker, its keys are used.
    private static func provision(_ kek: some RootKeyWrapping, _ store: any KeyStore, _ now: Timestamp) async throws {
        let root = try SymmetricKey.random()
        let record = RootKeyRecord(
            version: 1, state: .active, wrapped: try kek.wrap(root, version: 1), kekFingerprint: kek.fingerprint,
            created: now)
        let sealedIndexKey = try SymmetricKey.random().withUnsafeBytes {
            try RecordSeal.seal($0, as: indexKeyIdentity, format: .root, generation: 1, parent: root)
        }
        _ = try await store.commit(
            StoreChange(writes: [
                .insertRootKey(record), .putSetting(name: indexKeyName, value: sealedIndexKey),
            ]))
    }

    private static func load(
        _ records: [RootKeyRecord], _ kek: some RootKeyWrapping, _ store: any KeyStore
    ) async throws -> SealRing {
        var roots: [UInt32: SymmetricKey] = [:]
        var active: UInt32?
        for record in records {
            guard record.kekFingerprint == kek.fingerprint else {
                throw mismatch(version: record.version, wanted: record.kekFingerprint, found: kek.fingerprint)
            }
            guard let version = UInt32(exactly: record.version) else { continue }  // the store refuses such versions
            roots[version] = try kek.unwrap(record.wrapped, version: record.version)
            if record.state == .active { active = version }
        }
        guard let active else {
            throw DiagnosedError(
                .rootKeyMissing, fault: .store, "the key store has no active root key",
                expected: "one active version", found: "\(records.count) others",
                hint: "restore the key store from a backup")
        }
        guard let sealed = try await store.setting(indexKeyName) else {
            throw DiagnosedError(
                .rootKeyMissing, fault: .store, "the key store has lost the key of its blind indexes",
                expected: "a setting \(indexKeyName)", hint: "restore the key store from a backup")
        }
        let indexKey = try open(sealed, as: indexKeyIdentity, roots: roots)
        return SealRing(roots: roots, active: active, indexKey: SymmetricKey(indexKey), fingerprint: kek.fingerprint)
    }

    private static func mismatch(version: Int64, wanted: String, found: String) -> DiagnosedError {
        DiagnosedError(
            .masterKeyMismatch, fault: .configuration,
            "the key-encryption key does not belong to this key store (root key version \(version))",
            expected: "fingerprint \(wanted)", found: found,
            hint: "configure the key file that 'hdsctl master-key fingerprint FILE' shows as \(wanted)")
    }

    // MARK: Records

    /// Seals under the active root key, bound to kind, id and version.
    package func seal(
        _ plaintext: UnsafeRawBufferPointer, kind: RecordKind, id: String, version: Int64
    ) throws -> [UInt8] {
        guard let root = roots[active] else { throw Self.unknown(active, roots) }  // checked by `load`
        return try RecordSeal.seal(
            plaintext, as: RecordSeal.Identity(kind: kind, id: id, version: version), format: .root,
            generation: active, parent: root)
    }

    /// Throws `seal-broken` when it was not sealed as exactly that, `root-key-unknown` when its root key is gone.
    package func open(_ sealed: [UInt8], kind: RecordKind, id: String, version: Int64) throws -> SecretBytes {
        try Self.open(sealed, as: RecordSeal.Identity(kind: kind, id: id, version: version), roots: roots)
    }

    private static func open(
        _ sealed: [UInt8], as identity: RecordSeal.Identity, roots: [UInt32: SymmetricKey]
    ) throws -> SecretBytes {
        guard let version = RecordSeal.generation(of: sealed, format: .root) else {
            throw RecordSeal.broken(identity.kind)
        }
        guard let root = roots[version] else { throw unknown(version, roots) }
        return try RecordSeal.open(sealed, as: identity, format: .root, generation: version, parent: root)
    }

    private static func unknown(_ version: UInt32, _ roots: [UInt32: SymmetricKey]) -> DiagnosedError {
        DiagnosedError(
            .rootKeyUnknown, fault: .store, "a record names a root key version that the key store does not have",
            expected: "version " + roots.keys.sorted().map(String.init).joined(separator: ", "), found: "\(version)",
            hint: "the row was changed, or its root key was destroyed")
    }

    // MARK: Blind indexes

    /// The blind index under which a database finds a text without seeing it: 16 octets, the same for the same text,
    /// purpose and scope, unrelated otherwise. `scope` keeps equal texts in different places apart
    /// (docs/decisions/010-blind-indexes.md).
    package func lookup(_ text: String, purpose: String, scope: String = "") -> [UInt8] {
        var message: [UInt8] = []
        message.reserveCapacity(96)
        message.append(lengthPrefixed: purpose)
        message.append(lengthPrefixed: scope)
        message.append(lengthPrefixed: text)
        return Array(HMACSHA256.code(for: message, key: indexKey).prefix(16))
    }
}
