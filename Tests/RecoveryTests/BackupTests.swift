import Diagnostics
import Escrow
import Glibc
import KeyManagement
import KeyStore
import KeyStoreSQLite
import MasterKey
import SecretMemory
import TestServers
import Testing
import WireText

@testable import Recovery

/// A backup is whole, of one moment, and opens for nobody else; what is restored from it is the same and frozen.
@Suite(.timeLimit(.minutes(3)))
struct BackupTests {
    private let elsewhere = TemporaryFolder()
    private var restored: String { elsewhere.path + "/kms.sqlite" }

    /// All keys that open in a store, with their content.
    private func open(_ ids: [String], in path: String, _ kek: KeyEncryptionKey) async throws -> [String] {
        let store = try SQLiteKeyStore(path: path)
        let ring = try await SealRing.open(kek: kek, store: store, now: start)
        var found: [String] = []
        for id in ids {
            guard let record = try await store.key(id) else { continue }
            let plain = try ring.open(record)
            found.append(plain.withUnsafeBytes { String(decoding: $0, as: UTF8.self) })
        }
        await store.close()
        return found
    }

    private func bytes(_ path: String) throws -> [UInt8] {
        let file = try BackupFile.open(path)
        return try file.read(1 << 24)
    }

    private func put(_ bytes: [UInt8], _ name: String) throws -> String {
        let path = elsewhere.path + "/" + name
        let file = try BackupFile.create(path)
        try file.append(bytes)
        try file.finish()
        return path
    }

    @Test("on another machine, backup and enough shares give every acknowledged key, under a new master key")
    func recovery() async throws {
        let machine = try await Machine()
        let before = try await machine.create(3)
        let shares = try await machine.escrow(needed: 2, of: 3)
        let ids = before + (try await machine.create(700))
        try machine.back(up: nil)
        let after = try await machine.create()
        await machine.store.close()
        let kek = try KeyEncryptionKey.create()
        let key = try EscrowCeremony.recover([shares[2], shares[0]])
        let outcome = try await Restore.restore(
            machine.backup, with: .escrow(key), newKey: kek, toNew: restored, now: start)
        #expect(outcome.manifest.rows(of: .keys) == 703)
        #expect(outcome.opened == 200)
        #expect(try await open(ids, in: restored, kek) == ids)
        #expect(try await open([after], in: restored, kek).isEmpty)
        let store = try SQLiteKeyStore(path: restored)
        let entry = LedgerRecord(
            digest: [UInt8](repeating: 1, count: 32), session: UUIDText.random(), expires: start, sealedAnswer: [2],
            audit: [3])
        _ = try await store.commit(StoreChange(writes: [.insertLedger(entry)]))
        #expect(try await store.ledgerAudits(after: 0, limit: 1).map(\.position) == [Restore.positionGap + 1])
        await store.close()
        #expect(elsewhere.names(in: "").filter { $0.contains("restoring") }.isEmpty)
    }

    @Test("a restored store is frozen, and says what is not known")
    func frozen() async throws {
        let machine = try await Machine()
        try await machine.create()
        try machine.back(up: nil)
        let outcome = try await Restore.restore(
            machine.backup, with: .keyEncryptionKey(machine.kek), newKey: nil, toNew: restored,
            now: start.adding(seconds: 60))
        let store = try SQLiteKeyStore(path: restored)
        let ring = try await SealRing.open(kek: machine.kek, store: store, now: start)
        let board = try await FreezeBoard(store: store, vault: RecordVault(ring: ring, store: store))
        #expect(board.standing == [try #require(outcome.freeze)])
        #expect(board.standing[0].scope == .everything)
        #expect(board.standing[0].orderedBy == Restore.orderedBy)
        #expect(board.standing[0].reason.contains("a backup of \(start)"))
        await store.close()
        await machine.store.close()
    }

    /// Found by the drills: a site had been promoted before, and the core took no link of what was restored.
    @Test(
        "a restored store begins in the backup's epoch, or in a higher one that somebody names",
        arguments: [(nil, 1, 1), (nil, 7, 7), (5, 1, 5), (5, 3, 5), (5, 8, 8)] as [(Int64?, Int64, Int64)])
    func epochs(_ ofBackup: Int64?, _ named: Int64, _ expected: Int64) async throws {
        let machine = try await Machine()
        try await machine.create()
        #expect(try machine.back(up: nil, epoch: ofBackup).manifest.epoch == ofBackup)
        let outcome = try await Restore.restore(
            machine.backup, with: .keyEncryptionKey(machine.kek), newKey: nil, toNew: restored, epoch: named,
            now: start)
        #expect(outcome.manifest.epoch == ofBackup && outcome.report?.epoch == expected)
        let store = try SQLiteKeyStore(path: restored)
        let ring = try await SealRing.open(kek: machine.kek, store: store, now: start)
        #expect(try await RestoreReport.standing(store, ring: ring)?.epoch == expected)
        await store.close()
        await machine.store.close()
    }

    @Test("a trial says what it found, opens keys, and leaves nothing behind", arguments: [false, true])
    func trial(withShares: Bool) async throws {
        let machine = try await Machine()
        let shares = try await machine.escrow()
        _ = try await machine.create(5)
        let made = try machine.back(up: nil)
        let key: BackupKey =
            withShares
            ? .escrow(try EscrowCeremony.recover(Array(shares.prefix(2)))) : .keyEncryptionKey(machine.kek)
        let outcome = try await Restore.verify(machine.backup, with: key, in: elsewhere.path, sample: 3, now: start)
        #expect(outcome.manifest == made.manifest)
        #expect(outcome.header == made.header)
        #expect(outcome.opened == 3)
        #expect(outcome.freeze == nil)
        #expect(elsewhere.names(in: "").isEmpty)
        await machine.store.close()
    }

    @Test("while others write, a backup holds every key acknowledged before it and none twice, all of them openable")
    func consistent() async throws {
        let machine = try await Machine()
        let before = try await machine.create(200)
        let writing = Task {
            var ids: [String] = []
            while !Task.isCancelled { ids.append(try await machine.create()) }
            return ids
        }
        for round in 0..<5 {
            let made = try machine.back(up: machine.folder.path + "/\(round)")
            let outcome = try await Restore.verify(
                machine.folder.path + "/\(round)", with: .keyEncryptionKey(machine.kek), in: elsewhere.path,
                sample: 10_000, now: start)
            #expect(outcome.opened == Int(made.manifest.rows(of: .keys)))
            #expect(outcome.opened >= before.count)
        }
        writing.cancel()
        #expect(try await !writing.value.isEmpty)
        await machine.store.close()
    }

    @Test("sessions and their keys are in no backup")
    func sessions() async throws {
        let machine = try await Machine()
        let sessions = SessionSealRing(store: machine.store, ring: machine.ring)
        let kek = try await sessions.currentKEK(now: start)
        let sealed = try [1].withUnsafeBytes { try sessions.seal($0, under: kek, id: UUIDText.random()) }
        _ = sealed
        #expect(try await machine.store.sessionKEK(kek.id) != nil)
        let made = try machine.back(up: nil)
        #expect(
            Set(made.manifest.tables.map(\.name)) == [
                "root_keys", "root_key_wraps", "settings", "resources", "keys", "authorizations", "row_sums",
            ])
        _ = try await Restore.restore(
            machine.backup, with: .keyEncryptionKey(machine.kek), newKey: nil, toNew: restored, now: start)
        let store = try SQLiteKeyStore(path: restored)
        #expect(try await store.sessionKEK(kek.id) == nil)
        await store.close()
        await machine.store.close()
    }

    @Test("without the key nothing of a record stands in the file")
    func secrecy() async throws {
        let machine = try await Machine()
        let id = try await machine.create()
        let sealed = try #require(try await machine.store.key(id)).sealed
        try machine.back(up: nil)
        let file = try bytes(machine.backup)
        for needle in [Array(sealed.suffix(24)), Array("blind-index-key".utf8)] {
            #expect(!file.indices.contains { file[$0...].starts(with: needle) })
        }
        await machine.store.close()
    }

    @Test("another master key, too few shares or another escrow's shares open nothing")
    func wrongKeys() async throws {
        let machine = try await Machine()
        let shares = try await machine.escrow()
        try machine.back(up: nil)
        let other = try EscrowCeremony(needed: 2, count: 2)
        for key in [
            BackupKey.keyEncryptionKey(try KeyEncryptionKey.create()),
            .escrow(try EscrowCeremony.recover(other.shares)),
        ] {
            #expect(
                await code {
                    _ = try await Restore.restore(machine.backup, with: key, newKey: nil, toNew: restored, now: start)
                } == .backupKey)
        }
        #expect(await code { _ = try EscrowCeremony.recover([shares[0]]) } == .sharesMissing)
        #expect(elsewhere.names(in: "").isEmpty)
        await machine.store.close()
    }

    @Test("root keys that somebody else wrapped to the escrow are not taken for those of the KMS")
    func foreignRoots() async throws {
        let machine = try await Machine()
        let shares = try await machine.escrow()
        let escrow = try EscrowCeremony.recover(Array(shares[..<2]))
        // A retired version, whose records the file's own key says nothing of.
        let genuine = SymmetricKey(copying: [UInt8](repeating: 8, count: 32))
        let foreign = SymmetricKey(copying: [UInt8](repeating: 9, count: 32))
        let retired = RootKeyRecord(
            version: 2, state: .retired,
            wraps: [
                machine.kek.holder: try machine.kek.wrap(genuine, version: 2),
                escrow.publicKey.holder: try escrow.publicKey.wrap(foreign, version: 2),
            ], created: start)
        _ = try await machine.store.commit(StoreChange(writes: [.insertRootKey(retired)]))
        // What this service has not loaded is not copied at all.
        #expect(await code { try machine.back(up: nil) } == .rootKeyUnknown)
        let ring = try await SealRing.open(kek: machine.kek, store: machine.store, now: start)
        _ = try SQLiteSnapshot.read(path: machine.path) { snapshot in
            let names = Backup.Names(host: "kms.example.com", node: "a")
            _ = try Backup.write(
                snapshot, ring: ring, names: names, toNew: Machine.erasable(beside: machine.backup), now: start,
                erasable: true)
            return try Backup.write(snapshot, ring: ring, names: names, toNew: machine.backup, now: start)
        }
        _ = try await Restore.verify(
            machine.backup, with: .keyEncryptionKey(machine.kek), in: elsewhere.path, now: start)
        let found = await code {
            _ = try await Restore.verify(machine.backup, with: .escrow(escrow), in: elsewhere.path, now: start)
        }
        #expect(found == .backupDamaged)
        await machine.store.close()
    }

    @Test("amid rotations and a change of the master key all of it comes back", arguments: [true, false])
    func rotated(withShares: Bool) async throws {
        let machine = try await Machine()
        let first = try await machine.create(3)
        let shares = try await machine.escrow()
        try await machine.rotate()
        _ = try await machine.rotation.destroy(1, window: 0, now: start)
        _ = try await machine.rotation.destroyDue(now: start)
        let second = try await machine.create(3)
        // Version 3 is under way, and both master keys open.
        _ = try await machine.rotation.generate(now: start, escrow: machine.book.holders())
        let next = try KeyEncryptionKey.create()
        try await machine.rotation.add(next)
        let header = try machine.back(up: nil).header
        #expect(header.rootVersion == 2 && header.rootKeys.map(\.version) == [2, 3] && header.isEscrowed)
        let kek = withShares ? try KeyEncryptionKey.create() : machine.kek
        let key =
            withShares
            ? BackupKey.escrow(try EscrowCeremony.recover(Array(shares[1...]))) : .keyEncryptionKey(machine.kek)
        _ = try await Restore.restore(
            machine.backup, with: key, newKey: withShares ? kek : nil, toNew: restored, now: start)
        #expect(try await open(first + second, in: restored, kek) == first + second)
        let store = try SQLiteKeyStore(path: restored)
        let records = try await store.rootKeys()
        #expect(records.map(\.state) == [.destroyed, .active, .inert])
        #expect(records.map(\.keks) == [[], [kek.fingerprint], [kek.fingerprint]])
        #expect(records.map(\.escrow) == [nil, header.escrow, header.escrow])
        // The rotation goes on where it stood.
        let ring = try await SealRing.open(kek: kek, store: store, now: start)
        try await RootKeyRotation(store: store, ring: ring).beat(node: "a", now: start)
        #expect(try await RootKeyRotation(store: store, ring: ring).promote(now: start) == 3)
        await store.close()
        await machine.store.close()
    }

    @Test("a file that was cut off, changed, re-ordered, lengthened or mixed with another is refused")
    func damaged() async throws {
        let machine = try await Machine()
        _ = try await machine.create(1500)
        try machine.back(up: nil)
        try machine.back(up: machine.folder.path + "/two")
        let (one, two) = (try bytes(machine.backup), try bytes(machine.folder.path + "/two"))
        _ = try put(bytes(Machine.erasable(beside: machine.backup)), "one" + ErasableBackup.ending)
        let chunks = Chunks(one)
        #expect(chunks.all.count >= 3)
        var files: [(String, [UInt8])] = [
            ("cut within", Array(one.dropLast(7))),
            ("cut between", chunks.start + chunks.all.dropLast().flatMap { $0 }),
            ("lengthened", one + [0]),
            ("twice", one + one),
            ("swapped", chunks.start + chunks.all[1] + chunks.all[0] + chunks.all[2...].flatMap { $0 }),
            ("left out", chunks.start + chunks.all[0] + chunks.all[2...].flatMap { $0 }),
            ("repeated", chunks.start + chunks.all[0] + chunks.all.flatMap { $0 }),
            ("mixed", chunks.start + Chunks(two).all[0] + chunks.all[1...].flatMap { $0 }),
            ("foreign header", Chunks(two).start + chunks.all.flatMap { $0 }),
            ("empty", []),
        ]
        var early = chunks.all[0]
        early[0] |= 0x80
        files.append(("ended early", chunks.start + early))
        for place in [0, 20, chunks.start.count + 9, one.count - 1] {
            var changed = one
            changed[place] ^= 1
            files.append(("changed at \(place)", changed))
        }
        for (number, (what, octets)) in files.enumerated() {
            let path = try put(octets, "\(number)")
            let found = await code {
                _ = try await Restore.restore(
                    path, with: .keyEncryptionKey(machine.kek), newKey: nil, toNew: restored, now: start)
            }
            #expect(found == .backupDamaged, "\(what)")
        }
        #expect(access(restored, F_OK) != 0)
        await machine.store.close()
    }

    @Test("neither a backup nor a restored store overwrites anything")
    func overwriting() async throws {
        let machine = try await Machine()
        try machine.back(up: nil)
        #expect(await code { try machine.back(up: nil) } == .backupFile)
        let found = await code {
            _ = try await Restore.restore(
                machine.backup, with: .keyEncryptionKey(machine.kek), newKey: nil, toNew: machine.path, now: start)
        }
        #expect(found == .storeNotEmpty)
        await machine.store.close()
    }
}

/// A backup's file in its pieces.
private struct Chunks {
    var start: [UInt8]
    var all: [[UInt8]] = []

    init(_ file: [UInt8]) {
        func number(_ at: Int) -> Int { file[at..<at + 4].reduce(0) { $0 << 8 | Int($1) } & 0x7FFF_FFFF }
        var place = 13 + 4 + number(13)
        start = Array(file[..<place])
        while place < file.count {
            let end = place + 4 + number(place)
            all.append(Array(file[place..<end]))
            place = end
        }
    }
}
