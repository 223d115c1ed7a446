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
    var path: String { folder.path + "/kms.sqlite" }
    var backup: String { folder.path + "/one.hdsbackup" }
    var book: EscrowBook { EscrowBook(store: store, ring: ring) }

    init() async throws {
        kek = try KeyEncryptionKey.create()
        store = try SQLiteKeyStore(path: folder.path + "/kms.sqlite")
        ring = try await SealRing.open(kek: kek, store: store, now: start)
    }

    /// Commits a key; its content is its id.
    @discardableResult
    func create() async throws -> String {
        let id = UUIDText.random()
        let sealed = try Array(id.utf8).withUnsafeBytes { try ring.seal($0, kind: .key, id: id, version: 1) }
        let record = KeyRecord(id: id, version: 1, resource: nil, boundAt: nil, sealed: sealed)
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

    @discardableResult
    func back(up path: String?) throws -> Backup.Made {
        try SQLiteSnapshot.read(path: self.path) { snapshot in
            try Backup.write(
                snapshot, ring: ring, names: .init(host: "kms.example.com", node: "a"), toNew: path ?? backup,
                now: start)
        }
    }
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
