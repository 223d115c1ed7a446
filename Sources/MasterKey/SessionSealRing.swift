import Cryptography
import Diagnostics
package import KeyStore
package import SecretMemory
import Synchronization
package import WireText

/// Seals session records under a key-encryption key of their own, a new one each day (security model, rule 18).
///
/// The KEK of a day is random, stands sealed under the root key in a table that backups and escrow leave out, and is
/// destroyed after the last session that it sealed has ended: from then on no copy of a session row can be opened, not
/// even with the root key. Sessions so survive restart, failover and root-key rotation, and not a restore from backup.
/// Days are counted in UTC. Thread-safe; suspends only for a KEK that it has not seen yet.
package final class SessionSealRing: Sendable {
    /// The KEK of a day, ready to seal.
    package struct SessionKEK: Sendable {
        /// The day since 1970-01-01, the `kek` of the records it seals.
        package let id: Int64
        fileprivate let key: SymmetricKey
    }

    private static let millisecondsOfDay: Int64 = 86_400_000
    /// How long after its day a KEK without sessions stays: for commits that are under way at midnight.
    private static let grace: Int64 = 3_600_000

    private let store: any KeyStore
    private let ring: SealRing
    private let loaded = Mutex<[Int64: SymmetricKey]>([:])

    package init(store: any KeyStore, ring: SealRing) {
        self.store = store
        self.ring = ring
    }

    /// The KEK of today, made if this is the first call of the day on any node.
    package func currentKEK(now: Timestamp) async throws -> SessionKEK {
        let day = (now.milliseconds - (now.milliseconds < 0 ? Self.millisecondsOfDay - 1 : 0)) / Self.millisecondsOfDay
        // Two rounds are enough: either this node makes it, or it finds the one that another node made.
        for _ in 0..<2 {
            if let key = try await find(day) { return SessionKEK(id: day, key: key) }
            let key = try SymmetricKey.random()
            let sealed = try key.withUnsafeBytes {
                try ring.seal($0, kind: .sessionKEK, id: String(day), version: 1)
            }
            let end = Timestamp(milliseconds: (day + 1) * Self.millisecondsOfDay + Self.grace)
            let record = SessionKEKRecord(id: day, sealed: sealed, lastExpiry: end)
            if try await store.commit(StoreChange(writes: [.insertSessionKEK(record)])) == .committed {
                loaded.withLock { $0[day] = key }
                return SessionKEK(id: day, key: key)
            }
        }
        throw Self.destroyed()
    }

    /// Seals a session's content; its record then names `kek.id`.
    package func seal(
        _ plaintext: UnsafeRawBufferPointer, under kek: SessionKEK, id: String, version: Int64 = 1
    ) throws -> [UInt8] {
        guard let generation = UInt32(exactly: kek.id) else { throw RecordSeal.broken(.session) }
        return try RecordSeal.seal(
            plaintext, as: RecordSeal.Identity(kind: .session, id: id, version: version), format: .sessionKEK,
            generation: generation, parent: kek.key)
    }

    /// Throws `session-kek-destroyed` when the session can not be resumed by anybody any more, `seal-broken` when the
    /// record is not what was sealed.
    package func open(_ record: SessionRecord) async throws -> SecretBytes {
        guard let generation = UInt32(exactly: record.kek) else { throw RecordSeal.broken(.session) }
        guard let key = try await find(record.kek) else { throw Self.destroyed() }
        return try RecordSeal.open(
            record.sealed, as: RecordSeal.Identity(kind: .session, id: record.id, version: record.version),
            format: .sessionKEK, generation: generation, parent: key)
    }

    /// Deletes what has expired from the store, KEKs without a living session among it, and forgets those here.
    package func destroyExpired(now: Timestamp) async throws {
        try await store.purgeExpired(now: now)
        for day in loaded.withLock({ Array($0.keys) }) where try await store.sessionKEK(day) == nil {
            _ = loaded.withLock { $0.removeValue(forKey: day) }
        }
    }

    private func find(_ day: Int64) async throws -> SymmetricKey? {
        if let key = loaded.withLock({ $0[day] }) { return key }
        guard let record = try await store.sessionKEK(day) else { return nil }
        let key = SymmetricKey(try ring.open(record.sealed, kind: .sessionKEK, id: String(day), version: 1))
        loaded.withLock { $0[day] = key }
        return key
    }

    private static func destroyed() -> DiagnosedError {
        DiagnosedError(
            .sessionKEKDestroyed, fault: .store, "the key of that day's sessions is destroyed",
            hint: "the client opens a new session; after a restore from a backup all clients do")
    }
}
