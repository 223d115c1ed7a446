import KeyManagement
import KeyStore
import KeyStoreSQLite
import MasterKey
import TestServers
import Testing
import WireText

@testable import Recovery

/// A store that was restored has lower counters, and a node that remembers higher ones is told why.
@Suite("Counters and a restore") struct RestoredCountersTests {
    private let folder = TemporaryFolder()
    private let kek: KeyEncryptionKey

    init() throws { kek = try KeyEncryptionKey.create() }

    private struct Node {
        let store: SummingStore
        let ring: SealRing
        let freezes: FreezeBoard
        let detector: RollbackDetector

        func create() async throws {
            let id = UUIDText.random()
            let sealed = try Array(id.utf8).withUnsafeBytes { try ring.seal($0, kind: .key, id: id, version: 1) }
            _ = try await store.commit(StoreChange(writes: [.insertKey(KeyRecord(id: id, sealed: sealed))]))
        }

        func close() async {
            await detector.close()
            await store.close()
        }
    }

    private func node(_ path: String, _ name: String = "a") async throws -> Node {
        let database = try SQLiteKeyStore(path: path)
        let ring = try await SealRing.open(kek: kek, store: database, now: start)
        let file = CountersFile(path: "\(folder.path)/counters-\(name)")
        let memory = try file.load()
        let store = SummingStore(database, ring: ring, writer: memory?.writer ?? UUIDText.random())
        let vault = RecordVault(ring: ring, store: store)
        let freezes = try await FreezeBoard(store: store, vault: vault)
        let detector = RollbackDetector(
            store: store, vault: vault, freezes: freezes, file: file, memory: memory,
            view: { body in try SQLiteSnapshot.read(path: path, body) }, now: start)
        try await detector.start(now: start)
        return Node(store: store, ring: ring, freezes: freezes, detector: detector)
    }

    /// A store with a key, and both files of its backup.
    private func backedUp() async throws -> (node: Node, old: String, new: String, backup: String) {
        let (old, new, backup) = (
            folder.path + "/old.sqlite", folder.path + "/new.sqlite", folder.path + "/one.hdsbackup"
        )
        let first = try await node(old)
        try await first.create()
        try SQLiteSnapshot.read(path: old) { view in
            let names = Backup.Names(host: "kms.example.com", node: "a")
            _ = try Backup.write(view, ring: first.ring, names: names, toNew: backup, now: start)
            _ = try Backup.write(
                view, ring: first.ring, names: names, toNew: Machine.erasable(beside: backup), now: start,
                erasable: true)
        }
        return (first, old, new, backup)
    }

    @Test(
        "a restore is no attack for any node, before and after an officer has opened it; the backup's rows without it are"
    )
    func restored() async throws {
        let (first, old, new, backup) = try await backedUp()
        for _ in 0..<3 { try await first.create() }
        try await first.detector.look(now: start)
        await first.close()
        _ = try await Restore.restore(backup, with: .keyEncryptionKey(kek), newKey: nil, toNew: new, now: start)

        let after = try await node(new)
        #expect(after.detector.rollback.findings == [])
        #expect(after.detector.epoch?.cause == .restored)
        // Keys that the fixture sealed are none of the KMS's form: what counts is that rows and sums fit.
        #expect(try await after.detector.scan(now: start).adds)
        try await after.create()
        try await after.detector.look(now: start)
        #expect(after.detector.rollback.findings == [])
        #expect(after.detector.epoch?.cause == .restored, "control: it is not open yet")
        let freeze = try #require(after.freezes.standing.first)
        _ = try await after.freezes.lift(freeze.id)
        for _ in 0..<2 { try await after.detector.look(now: start) }
        #expect(after.detector.epoch?.cause == .opened)
        await after.close()
        let later = try await node(new)
        #expect(later.detector.rollback.findings == [])
        await later.close()

        // The database from before the restore, put back.
        let back = try await node(old)
        #expect(back.detector.rollback.findings.map(\.kind) == [.epoch])
        await back.close()
    }

    @Test("a restored store whose freeze was taken out of it is not believed")
    func withoutFreeze() async throws {
        let (first, _, new, backup) = try await backedUp()
        await first.close()
        _ = try await Restore.restore(backup, with: .keyEncryptionKey(kek), newKey: nil, toNew: new, now: start)
        let database = try SQLiteKeyStore(path: new)
        let ring = try await SealRing.open(kek: kek, store: database, now: start)
        // As an officer's opening does it, but on a store that no node has taken over: its list has no freeze of a restore.
        let board = try await FreezeBoard(store: database, vault: RecordVault(ring: ring, store: database))
        _ = try await board.lift(try #require(board.standing.first).id)
        await database.close()
        let after = try await node(new)
        #expect(after.detector.rollback.findings.map(\.kind) == [.epoch])
        await after.close()
    }
}
