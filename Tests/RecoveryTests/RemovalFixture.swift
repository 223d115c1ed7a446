import AuditTrail
import Cryptography
import Diagnostics
import Dispatch
import KeyStore
import KeyStoreSQLite
import MasterKey
import SecretMemory
import Synchronization
import TestServers
import WireText

@testable import KeyManagement
@testable import Recovery

/// A disk under a journal that can be full, or hold its syncs; counts them.
final class JournalDisk: TrailFileSystem {
    private struct State {
        var isFull = false
        /// How much of a write still comes through when it is full.
        var room = 0
        var syncs = 0
        var isHeld = false
        var held = 0
        /// So many openings are refused.
        var refused = 0
    }

    private let state = Mutex(State())
    private let gate = DispatchSemaphore(value: 0)

    var syncs: Int { state.withLock { $0.syncs } }
    var held: Int { state.withLock { $0.held } }
    func fill(leaving room: Int) { state.withLock { ($0.isFull, $0.room) = (true, room) } }
    func free() { state.withLock { $0.isFull = false } }
    func hold() { state.withLock { $0.isHeld = true } }
    func letGo() {
        let held = state.withLock { state in
            defer { (state.isHeld, state.held) = (false, 0) }
            return state.held
        }
        for _ in 0..<held { gate.signal() }
    }

    func refuseOpening(_ count: Int) { state.withLock { $0.refused = count } }

    func openSegment(_ path: String) throws(DiagnosedError) -> any AppendFile {
        let isRefused = state.withLock { state in
            defer { state.refused = max(0, state.refused - 1) }
            return state.refused > 0
        }
        guard !isRefused else { throw DiagnosedError(.auditBlocked, fault: .store, "injected", found: "no opening") }
        return File(try PosixFileSystem().openSegment(path), self)
    }
    func remove(_ path: String) throws(DiagnosedError) { try PosixFileSystem().remove(path) }
    func synchronizeFolder(_ path: String) throws(DiagnosedError) { try PosixFileSystem().synchronizeFolder(path) }

    private final class File: AppendFile {
        private let inner: any AppendFile
        private let disk: JournalDisk

        init(_ inner: any AppendFile, _ disk: JournalDisk) { (self.inner, self.disk) = (inner, disk) }

        func append(_ bytes: [UInt8]) throws(DiagnosedError) {
            let room = disk.state.withLock { $0.isFull ? $0.room : nil }
            guard let room else { return try inner.append(bytes) }
            try inner.append(Array(bytes.prefix(room)))
            throw DiagnosedError(.auditBlocked, fault: .store, "injected", found: "a full disk")
        }

        func synchronize() throws(DiagnosedError) {
            let waits = disk.state.withLock { state in
                state.syncs += 1
                if state.isHeld { state.held += 1 }
                return state.isHeld
            }
            if waits { disk.gate.wait() }
            try inner.synchronize()
        }

        func truncate(to count: Int) throws(DiagnosedError) { try inner.truncate(to: count) }
    }
}

extension Machine {
    var vault: RecordVault { RecordVault(ring: ring, store: store) }
    var journals: String { folder.path + "/removals" }
    var journalFile: String { journals + "/a" + RemovalJournal.ending }

    func journal(node: String = "a", files: any TrailFileSystem = PosixFileSystem()) throws -> RemovalJournal {
        try RemovalJournal.open(
            folder: journals, host: "kms.example.com", node: node, now: start, files: files
        ) { ring.journalKey($0) }
    }

    /// A space of `owner` with these members and one key.
    func space(_ owner: String, _ members: [String] = []) async throws -> (id: String, key: String, entries: [String]) {
        let (id, key) = (UUIDText.random(), UUIDText.random())
        var head = ResourceContent(creator: owner, created: start, expires: nil, fingerprint: [])
        var entries: [String] = []
        let erasable = try ring.makeErasableKey(for: id)
        var writes: [StoreWrite] = []
        for member in [owner] + members {
            let entry = UUIDText.random()
            let content = AuthorizationContent(
                authID: member, resource: id, roleURI: nil, created: start, createdBy: owner, order: head.nextOrder)
            head.nextOrder += 1
            writes.append(.insertAuthorization(try vault.record(content, id: entry, version: 1)))
            entries.append(entry)
        }
        let content = KeyContent(
            key: try SymmetricKey.random(), owner: owner, clientID: "c", created: start,
            expires: start.adding(seconds: 1 << 30), resource: id, boundAt: start)
        writes.insert(.insertResource(try vault.record(head, id: id, version: 1)), at: 0)
        writes += [
            .insertErasableKey(erasable.record),
            .insertKey(try vault.record(content, id: key, version: 1, erasable: erasable.key)),
        ]
        guard try await store.commit(StoreChange(writes: writes)) == .committed else {
            throw TestPKI.Failure(what: "commit")
        }
        return (id, key, entries)
    }

    /// What a member's removal changes.
    func removal(of entry: String, at: Timestamp) async throws -> StoreChange {
        guard let row = try await store.authorization(entry), let record = try await store.resource(row.resource) else {
            throw TestPKI.Failure(what: "no such entry")
        }
        var (content, head) = (try vault.content(row), try vault.content(record))
        (content.removedAt, content.removedBy) = (at, "admin")
        head.noteRemoval(at)
        head.removed.insert(content.order)
        return StoreChange(writes: [
            .updateAuthorization(try vault.record(content, id: entry, version: row.version + 1)),
            .updateResource(try vault.record(head, id: record.id, version: record.version + 1)),
        ])
    }

    func restore(
        journals folders: [String]? = nil, to path: String, now: Timestamp = start.adding(seconds: 500)
    ) async throws -> Restore.Outcome {
        try await Restore.restore(
            backup, with: .keyEncryptionKey(kek), newKey: nil, toNew: path, journals: folders ?? [journals], now: now)
    }

    /// What a restored store is asked.
    func inside<R>(
        _ path: String, _ body: (SQLiteKeyStore, SealRing, RecordVault) async throws -> R
    ) async throws -> R {
        let store = try SQLiteKeyStore(path: path)
        let ring = try await SealRing.open(kek: kek, store: store, now: start)
        let result = try await body(store, ring, RecordVault(ring: ring, store: store))
        await store.close()
        return result
    }
}
