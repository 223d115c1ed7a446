import Cryptography
import Diagnostics
import Escrow
import KeyStore
import KeyStoreSQLite
import MasterKey
import SecretMemory
import TestServers
import WireText

@testable import Recovery

let start = Timestamp(seconds: 1_700_000_000)

/// A key store with an escrow, as one KMS has them: records are sealed for real.
struct Machine {
    let folder = TemporaryFolder()
    let kek: KeyEncryptionKey
    let store: SQLiteKeyStore
    let ring: SealRing
    /// What the keys are bound to.
    let space = UUIDText.random()
    var path: String { folder.path + "/kms.sqlite" }
    var backup: String { folder.path + "/one.hdsbackup" }
    var book: EscrowBook { EscrowBook(store: store, ring: ring) }

    init() async throws {
        kek = try KeyEncryptionKey.create()
        store = try SQLiteKeyStore(path: folder.path + "/kms.sqlite")
        ring = try await SealRing.open(kek: kek, store: store, now: start)
        try await createSpace(space)
        _ = try await ErasableCarryOver(store: store, ring: ring).run()
    }

    /// Commits a space with its erasable key.
    func createSpace(_ id: String) async throws {
        let sealed = try Array(id.utf8).withUnsafeBytes { try ring.seal($0, kind: .resource, id: id, version: 1) }
        let change = StoreChange(writes: [
            .insertResource(ResourceRecord(id: id, sealed: sealed)),
            .insertErasableKey(try ring.makeErasableKey(for: id).record),
        ])
        guard try await store.commit(change) == .committed else { throw TestPKI.Failure(what: "commit") }
    }

    /// Commits a key; its content is its id.
    /// - Parameter space: nil for the machine's own.
    @discardableResult
    func create(in space: String? = nil) async throws -> String {
        let id = UUIDText.random()
        let space = space ?? self.space
        guard let row = try await store.erasableKey(ofResource: space) else { throw TestPKI.Failure(what: "erasable") }
        let erasable = try ring.erasableKey(row, of: space)
        let sealed = try Array(id.utf8).withUnsafeBytes {
            try ring.seal(key: $0, id: id, version: 1, resource: space, erasable: erasable)
        }
        let record = KeyRecord(id: id, version: 1, resource: space, boundAt: start, sealed: sealed)
        guard try await store.commit(StoreChange(writes: [.insertKey(record)])) == .committed else {
            throw TestPKI.Failure(what: "commit")
        }
        return id
    }

    func create(_ count: Int) async throws -> [String] {
        var ids: [String] = []
        for _ in 0..<count { ids.append(try await create()) }
        return ids
    }

    var rotation: RootKeyRotation { RootKeyRotation(store: store, ring: ring) }

    /// A whole rotation of the root key: what stood under the old version is sealed again, and that is retired.
    func rotate() async throws {
        _ = try await rotation.generate(now: start, escrow: book.holders())
        try await rotation.beat(node: "a", now: start)
        _ = try await rotation.promote(now: start)
        _ = try await Resealer(store: store, ring: ring).run(now: { start })
        guard try await rotation.retire(now: start) != nil else { throw TestPKI.Failure(what: "retire") }
    }

    /// Makes shares and tells the store about them, as `hdsctl escrow create` does.
    func escrow(needed: Int = 2, of count: Int = 3, replacing: Bool = false) async throws -> [Share] {
        let made = try EscrowCeremony(needed: needed, count: count)
        _ = try await book.create(
            publicKey: made.publicKey.octets, needed: needed, commitments: made.commitments, replacing: replacing,
            now: start)
        return made.shares
    }

    /// An unbound key; its content is its id.
    func createUnbound() async throws -> String {
        let id = UUIDText.random()
        let sealed = try Array(id.utf8).withUnsafeBytes { try ring.seal($0, kind: .key, id: id, version: 1) }
        guard
            try await store.commit(StoreChange(writes: [.insertKey(KeyRecord(id: id, sealed: sealed))])) == .committed
        else { throw TestPKI.Failure(what: "commit") }
        return id
    }

    /// Erases a space as an officer's erasure does.
    func erase(_ space: String) async throws {
        guard let record = try await store.resource(space) else { throw TestPKI.Failure(what: "resource") }
        var gone = record
        (gone.version, gone.deletedAt) = (record.version + 1, start)
        gone.sealed = try Array(space.utf8).withUnsafeBytes {
            try ring.seal($0, kind: .resource, id: space, version: gone.version)
        }
        let change = StoreChange(writes: [.updateResource(gone), .eraseResource(id: space, version: gone.version)])
        guard try await store.commit(change) == .committed else { throw TestPKI.Failure(what: "commit") }
    }

    /// Both files of a backup; that of the erasable keys lies beside the other one.
    @discardableResult
    func back(up path: String?, now: Timestamp = start, epoch: Int64? = nil) throws -> Backup.Made {
        let path = path ?? backup
        return try SQLiteSnapshot.read(path: self.path) { snapshot in
            let names = Backup.Names(host: "kms.example.com", node: "a")
            _ = try Backup.write(
                snapshot, ring: ring, names: names, toNew: Self.erasable(beside: path), now: now, erasable: true)
            return try Backup.write(snapshot, ring: ring, names: names, toNew: path, now: now, epoch: epoch)
        }
    }

    static func erasable(beside path: String) -> String { path + ErasableBackup.ending }
}

/// The code of the error that the body throws; nil when it throws none or another kind.
func code(of body: () async throws -> Void) async -> DiagnosedError.Code? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? DiagnosedError)?.code
    }
}
