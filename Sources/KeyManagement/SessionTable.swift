import Diagnostics
import Introspection
package import KeyStore
package import MasterKey
import SecretMemory
import Synchronization
package import WireText

/// A session in memory: the key, whose it is, and the highest request counter seen.
final class LiveSession: Sendable {
    /// What the counter rules need (docs/kms-extensions.md).
    struct Counters: Sendable {
        /// Highest counter of any request, 0 for a session that never sent one.
        var highest: Int64
        /// SHA-256 of the string that carried it: the same string may come again.
        var digest: [UInt8] = []
    }

    let id: String
    let content: SessionContent
    let counters: Mutex<Counters>
    /// When its row was last seen in the store, in milliseconds.
    private let seen: Atomic<Int64>

    init(id: String, content: SessionContent, lastCounter: Int64, at now: Timestamp) {
        self.id = id
        self.content = content
        counters = Mutex(Counters(highest: lastCounter))
        seen = Atomic(now.milliseconds)
    }

    /// Whether the row was seen so short a time ago; never after a clock that was set back.
    func wasSeen(within milliseconds: Int64, of now: Timestamp) -> Bool {
        (0..<milliseconds).contains(now.milliseconds - seen.load(ordering: .relaxed))
    }

    /// The row is there: what other nodes took of it counts here too.
    func see(_ record: SessionRecord, at now: Timestamp) {
        seen.store(now.milliseconds, ordering: .relaxed)
        counters.withLock { if record.lastCounter > $0.highest { $0 = Counters(highest: record.lastCounter) } }
    }
}

/// The sessions: durable in the store, sealed under the key of their day, with a bounded number of them at hand.
///
/// Where several nodes share the store, what is at hand counts for `sharedMilliseconds` only; then the session's row is
/// looked for again. So one that was ended on any node is dead on every other within that time, whatever is lost between
/// them, and each node learns the counters that others have taken.
package final class SessionTable: Sendable {
    private let store: any KeyStore
    private let ring: SessionSealRing
    private let vault: RecordVault
    private let isShared: Bool
    private let cache = TwoGenerationCache<String, LiveSession>(capacity: 50_000)

    /// Less than the half second within which all nodes are to know.
    package static let sharedMilliseconds: Int64 = 400

    /// - Parameter isShared: whether other nodes end sessions in this store.
    package init(store: any KeyStore, ring: SessionSealRing, vault: RecordVault, isShared: Bool = false) {
        self.isShared = isShared
        self.store = store
        self.ring = ring
        self.vault = vault
    }

    /// The session of that id, unless there is none or it has ended.
    func find(_ id: String, now: Timestamp) async throws -> LiveSession? {
        if let live = cache[id] {
            guard now < live.content.expires else {
                cache[id] = nil
                return nil
            }
            guard isShared, !live.wasSeen(within: Self.sharedMilliseconds, of: now) else { return live }
            guard let record = try await store.session(id), now < record.expires else {
                cache[id] = nil
                return nil
            }
            live.see(record, at: now)
            return live
        }
        guard let record = try await store.session(id), now < record.expires else { return nil }
        // The key of its day is gone, as after a restore: nobody can resume it.
        guard let content = try await content(of: record) else { return nil }
        let live = LiveSession(id: id, content: content, lastCounter: record.lastCounter, at: now)
        cache[id] = live
        return live
    }

    /// What a session's row holds; nil when the key of its day is gone, so that nobody can resume it.
    func content(of record: SessionRecord) async throws -> SessionContent? {
        let plain: SecretBytes
        do {
            plain = try await ring.open(record)
        } catch let error as DiagnosedError where error.code == .sessionKEKDestroyed {
            return nil
        }
        guard let content = plain.withUnsafeBytes({ SessionContent($0) }), content.expires == record.expires else {
            throw DiagnosedError(
                .forgedRecord, fault: .store, "a session row does not agree with its sealed content",
                hint: "somebody changed the database; find out who has write access")
        }
        return content
    }

    /// How many sessions the user has that live now.
    func count(ofUser user: String, now: Timestamp) async throws -> Int {
        try await store.sessions(ofUser: vault.lookup(user: user), liveAt: now)
    }

    /// The row that makes a session durable, sealed.
    func record(_ content: SessionContent, id: String, now: Timestamp) async throws -> SessionRecord {
        let kek = try await ring.currentKEK(now: now)
        let fields = content.encoded()
        let sealed = try fields.withUnsafeBytes { try ring.seal($0, under: kek, id: id) }
        return SessionRecord(
            id: id, kek: kek.id, user: vault.lookup(user: content.userID), expires: content.expires, sealed: sealed)
    }

    /// Takes note of a session that was committed.
    func remember(_ content: SessionContent, id: String) {
        cache[id] = LiveSession(id: id, content: content, lastCounter: 0, at: content.created)
    }

    func forget(_ id: String) { cache[id] = nil }

    /// How many sessions of a user live, in whatever spelling of the id they were opened.
    package func living(ofUser user: String, now: Timestamp) async throws -> Int {
        var count = 0
        for form in Set([user, UUIDText.isValid(user) ? user.uppercased() : user]) {
            count += try await self.count(ofUser: form, now: now)
        }
        return count
    }

    /// Ends every session of a user, on all nodes of the store; returns how many there were.
    package func end(ofUser user: String) async throws -> Int {
        var count = 0
        for form in Set([user, UUIDText.isValid(user) ? user.uppercased() : user]) {
            while true {
                let page = try await store.sessions(ofUser: vault.lookup(user: form), after: nil, limit: 200)
                guard !page.isEmpty else { break }
                for session in page {
                    _ = try await store.commit(StoreChange(writes: [.deleteSession(id: session.id)]))
                    forget(session.id)
                    count += 1
                }
            }
        }
        return count
    }
}
