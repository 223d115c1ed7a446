import Cryptography
import Diagnostics
import Encryption
package import KeyStore
package import SecretMemory
import Synchronization
package import WireText

/// Seals and opens the records of the key store: the root keys in locked memory, unwrapped when they are first seen.
///
/// Three tiers (security model, rule 17): a key-encryption key outside the database wraps versioned random root keys
/// inside it, and from a root key HKDF derives a key for each record (`RecordSeal`). New records are sealed under the
/// active version, older ones open under theirs. Blind indexes are made under a key of its own that a setting keeps
/// sealed, so that lookups outlive every rotation. `refresh` takes over what a rotation changed in the store; whoever
/// seals or opens meanwhile has the one set of root keys or the other. Any thread may call; opening a record of 200
/// octets costs a few microseconds and never suspends.
package final class SealRing: Sendable {
    private static let indexKeyName = "blind-index-key"
    private static let indexKeyIdentity = RecordSeal.Identity(kind: .setting, id: indexKeyName, version: 1)

    /// The root keys as the store had them at one moment. Immutable, so that a reader takes it with one lock and no copy.
    private final class Roots: Sendable {
        let keys: [UInt32: SymmetricKey]
        let active: UInt32
        let records: [RootKeyRecord]
        /// Whether a journal of rotations said so.
        let isJournalled: Bool
        /// Why these are not those of the store, which somebody changed before this node started.
        let trouble: String?

        init(
            keys: [UInt32: SymmetricKey], active: UInt32, records: [RootKeyRecord], isJournalled: Bool,
            trouble: String? = nil
        ) {
            self.keys = keys
            self.active = active
            self.records = records
            self.isJournalled = isJournalled
            self.trouble = trouble
        }
    }

    private let roots: Mutex<Roots>
    private let trouble: Mutex<String?>
    private let indexKey: SymmetricKey
    let erasable = ErasableKeys()
    private let store: any KeyStore
    let kek: any RootKeyWrapping

    /// Of the key-encryption key.
    package var fingerprint: String { kek.fingerprint }
    package var activeVersion: Int64 { Int64(present.active) }
    /// All versions that open records, lowest first.
    package var versions: [Int64] { present.keys.keys.sorted().map(Int64.init) }

    /// Why the root keys in the store are not believed; the ring goes on with those that it has.
    package var distrusted: String? { trouble.withLock { $0 } }

    /// All versions as the store had them at the last look, destroyed ones included.
    package var records: [RootKeyRecord] { present.records }

    /// A version that is in memory, to be wrapped for another holder.
    func root(_ version: Int64) throws -> SymmetricKey {
        let roots = present.keys
        let number = UInt32(truncatingIfNeeded: version)
        guard let root = roots[number] else { throw Self.unknown(number, roots) }
        return root
    }

    /// Tells root keys apart and nothing about them: 16 hexadecimal digits.
    package func rootFingerprint(_ version: Int64) throws -> String {
        let code = HMACSHA256.code(for: Array("HDS root key fingerprint".utf8), key: try root(version))
        return Hexadecimal.encode(code.prefix(8))
    }

    /// All versions in memory.
    var rootKeys: [UInt32: SymmetricKey] { present.keys }

    private var present: Roots { roots.withLock { $0 } }

    private init(_ roots: Roots, indexKey: SymmetricKey, kek: any RootKeyWrapping, store: any KeyStore) {
        self.roots = Mutex(roots)
        trouble = Mutex(roots.trouble)
        self.indexKey = indexKey
        self.kek = kek
        self.store = store
    }

    /// Takes over versions that came, changed their state or went; cheap when nothing did. Answers whether something did.
    ///
    /// When it throws, the ring stays as it was: what it has opens and seals on.
    @discardableResult
    package func refresh() async throws -> Bool {
        let records = try await store.rootKeys()
        let known = present
        let isComplete = known.records.allSatisfy { record in
            record.state != .inert || known.keys[UInt32(truncatingIfNeeded: record.version)] != nil
        }
        guard records != known.records || !isComplete else {
            trouble.withLock { $0 = nil }
            return false
        }
        let next: Roots
        do {
            next = try await Self.believed(kek, store, known: known)
            trouble.withLock { $0 = next.trouble }
        } catch let error as DiagnosedError where error.code == .rootKeysChanged {
            trouble.withLock { $0 = error.found }
            throw error
        }
        roots.withLock { roots in
            // Another call may have been quicker with something newer; the next one finds out.
            if roots === known { roots = next }
        }
        return true
    }

    /// Unwraps the root keys of the store. An empty store gets version 1 and the key of blind indexes; a store that has
    /// records and no root key is refused, for a new one would open none of them.
    package static func open(
        kek: some RootKeyWrapping, store: any KeyStore, now: Timestamp
    ) async throws -> SealRing {
        if try await store.rootKeys().isEmpty {
            guard try await store.isEmpty() else {
                throw DiagnosedError(
                    .rootKeyMissing, fault: .store, "the key store has records and no root key",
                    expected: "the table of root keys as it was", hint: "restore the key store from a backup")
            }
            try await provision(kek, store, now)
        }
        return try await load(kek, store)
    }

    /// When another node was quicker, its keys are used.
    private static func provision(_ kek: some RootKeyWrapping, _ store: any KeyStore, _ now: Timestamp) async throws {
        let root = try SymmetricKey.random()
        let record = RootKeyRecord(
            version: 1, state: .active, wraps: [kek.holder: try kek.wrap(root, version: 1)], created: now)
        let sealedIndexKey = try SymmetricKey.random().withUnsafeBytes {
            try RecordSeal.seal($0, as: indexKeyIdentity, format: .root, generation: 1, parent: root)
        }
        _ = try await store.commit(
            StoreChange(writes: [
                .insertRootKey(record), .putSetting(name: indexKeyName, value: sealedIndexKey),
            ]))
    }

    private static func load(
        _ kek: some RootKeyWrapping, _ store: any KeyStore
    ) async throws -> SealRing {
        let roots = try await believed(kek, store, known: nil)
        guard let sealed = try await store.setting(indexKeyName) else {
            throw DiagnosedError(
                .rootKeyMissing, fault: .store, "the key store has lost the key of its blind indexes",
                expected: "a setting \(indexKeyName)", hint: "restore the key store from a backup")
        }
        let indexKey = try open(sealed, as: indexKeyIdentity, roots: roots.keys)
        return SealRing(roots, indexKey: SymmetricKey(indexKey), kek: kek, store: store)
    }

    /// The root keys of the store, with the states that the journal of rotations has as well.
    private static func believed(
        _ kek: some RootKeyWrapping, _ store: any KeyStore, known: Roots?
    ) async throws -> Roots {
        let (records, value) = try await records(in: store)
        let next = try unwrap(records, kek, known: known, isJournalled: value != nil)
        func journal(_ value: [UInt8]) throws -> RotationJournal? {
            let identity = RecordSeal.Identity(
                kind: .setting, id: RootKeyRotation.setting, version: SealedTable.settingVersion(value))
            let sealed = Array(value.dropFirst(SealedTable.settingOffset))
            return try open(sealed, as: identity, roots: next.keys).withUnsafeBytes { RotationJournal($0) }
        }
        let trouble = trouble(records, journal: value, wasThere: known?.isJournalled ?? false, open: journal)
        guard let trouble else { return next }
        // At a start nothing older is known: the journal is believed, and an officer is told.
        if known == nil, let value, let states = try? journal(value)?.states {
            let told = records.map { record in
                var record = record
                record.state = states[record.version] ?? record.state
                return record
            }
            let roots = try unwrap(told, kek, known: next, isJournalled: true)
            return Roots(keys: roots.keys, active: roots.active, records: told, isJournalled: true, trouble: trouble)
        }
        throw DiagnosedError(
            .rootKeysChanged, fault: .store, "the states of the root keys are not those of the journal of rotations",
            expected: "what the last step of a rotation left", found: trouble,
            hint: "somebody changed the database; find out who can write to it")
    }

    /// What is known already is not unwrapped again: a token may take its time.
    private static func unwrap(
        _ records: [RootKeyRecord], _ kek: some RootKeyWrapping, known: Roots?, isJournalled: Bool
    ) throws -> Roots {
        var keys: [UInt32: SymmetricKey] = [:]
        var active: UInt32?
        for record in records where record.state != .destroyed {
            guard let version = UInt32(exactly: record.version) else { continue }  // the store refuses such versions
            if let key = known?.keys[version] {
                keys[version] = key
            } else if record.state == .inert {
                // One that is staged and does not open keeps nobody from working: it is not promoted.
                keys[version] = record.wraps[kek.holder].flatMap { try? kek.unwrap($0, version: record.version) }
            } else {
                guard let wrapped = record.wraps[kek.holder] else {
                    throw mismatch(version: record.version, wanted: record.keks, found: kek.fingerprint)
                }
                keys[version] = try kek.unwrap(wrapped, version: record.version)
            }
            if record.state == .active { active = version }
        }
        guard let active else {
            throw DiagnosedError(
                .rootKeyMissing, fault: .store, "the key store has no active root key",
                expected: "one active version", found: "\(records.count) others",
                hint: "restore the key store from a backup")
        }
        return Roots(keys: keys, active: active, records: records, isJournalled: isJournalled)
    }

    private static func mismatch(version: Int64, wanted: [String], found: String) -> DiagnosedError {
        let wanted = wanted.joined(separator: " or ")
        return DiagnosedError(
            .masterKeyMismatch, fault: .configuration,
            "the key-encryption key does not belong to this key store (root key version \(version))",
            expected: "fingerprint \(wanted)", found: found,
            hint: "configure the key that 'hdsctl master-key fingerprint' shows as \(wanted)")
    }

    // MARK: Records

    /// Seals under the active root key, bound to kind, id and version.
    package func seal(
        _ plaintext: UnsafeRawBufferPointer, kind: RecordKind, id: String, version: Int64
    ) throws -> [UInt8] {
        let roots = present
        guard let root = roots.keys[roots.active] else {  // checked by `unwrap`
            throw Self.unknown(roots.active, roots.keys)
        }
        return try RecordSeal.seal(
            plaintext, as: RecordSeal.Identity(kind: kind, id: id, version: version), format: .root,
            generation: roots.active, parent: root)
    }

    /// Throws `seal-broken` when it was not sealed as exactly that, `root-key-unknown` when its root key is gone.
    package func open(_ sealed: [UInt8], kind: RecordKind, id: String, version: Int64) throws -> SecretBytes {
        try Self.open(sealed, as: RecordSeal.Identity(kind: kind, id: id, version: version), roots: present.keys)
    }

    /// The same under a version that is not active yet: what a node shows that it has the key with.
    func seal(trial identity: RecordSeal.Identity, under version: Int64, key: SymmetricKey) throws -> [UInt8] {
        try Array("trial".utf8).withUnsafeBytes {
            try RecordSeal.seal(
                $0, as: identity, format: .root, generation: UInt32(truncatingIfNeeded: version), parent: key)
        }
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

    // MARK: Sums over rows

    /// What a row counts in the sums over rows. Nobody without the key can make one, or a sum of some; it outlives
    /// every rotation, as blind indexes do.
    package func term(_ kind: RecordKind, id: String, version: Int64) -> RowSum {
        var message: [UInt8] = []
        message.reserveCapacity(96)
        message.append(lengthPrefixed: "row-sum")
        message.append(lengthPrefixed: kind.rawValue)
        message.append(lengthPrefixed: id)
        message.append(bigEndian: version)
        return RowSum(HMACSHA256.code(for: message, key: indexKey)) ?? RowSum()  // a code has 32 octets
    }

    /// A key of its own for another purpose, which no rotation changes. No lookup has the same message.
    func indexed(_ purpose: String, _ id: String) -> SymmetricKey {
        var message: [UInt8] = []
        message.append(lengthPrefixed: "key")
        message.append(lengthPrefixed: purpose)
        message.append(lengthPrefixed: id)
        message.append(0)
        return SymmetricKey(copying: HMACSHA256.code(for: message, key: indexKey))
    }
}
