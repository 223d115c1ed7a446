import Diagnostics
import Glibc
import KeyStore
import KeyStoreSQLite
import MasterKey
import SecretMemory
import TestServers
import Testing
import WireText

@testable import Recovery

/// What was erased opens from no file that is kept: not from the main backup, not from rows that were put back, with
/// every root key in hand.
@Suite(.timeLimit(.minutes(3)))
struct ErasableBackupTests {
    private let elsewhere = TemporaryFolder()
    private var restored: String { elsewhere.path + "/kms.sqlite" }

    private func restore(
        _ machine: borrowing Machine, erasable: String?, to path: String
    ) async throws -> Restore.Outcome {
        try await Restore.restore(
            machine.backup, erasable: erasable, with: .keyEncryptionKey(machine.kek), newKey: nil, toNew: path,
            now: start)
    }

    /// Those of the keys that open in a store.
    private func opened(_ ids: [String], in path: String, _ kek: KeyEncryptionKey) async throws -> [String] {
        let store = try SQLiteKeyStore(path: path)
        let ring = try await SealRing.open(kek: kek, store: store, now: start)
        var found: [String] = []
        for id in ids {
            guard let record = try await store.key(id), let plain = try? ring.open(record) else { continue }
            found.append(plain.withUnsafeBytes { String(decoding: $0, as: UTF8.self) })
        }
        await store.close()
        return found
    }

    @Test("both files give everything back; unbound keys lie in the second one only")
    func roundTrip() async throws {
        let machine = try await Machine()
        let bound = try await machine.create(20)
        let unbound = try await machine.createUnbound()
        let made = try machine.back(up: nil)
        #expect(made.header.part == .main)
        #expect(made.manifest.rows(of: .keys) == 20)
        #expect(!made.manifest.tables.contains { $0.name == StoreTable.erasableKeys.rawValue })
        let outcome = try await restore(machine, erasable: nil, to: restored)
        #expect(outcome.erased == 0)
        #expect(outcome.opened == 20)
        #expect(try await opened(bound + [unbound], in: restored, machine.kek) == bound + [unbound])
        await machine.store.close()
    }

    @Test(
        "a later second file keeps erased what was erased after the main one, rotation or not",
        arguments: [false, true])
    func later(rotated: Bool) async throws {
        let machine = try await Machine()
        let space = UUIDText.random()
        try await machine.createSpace(space)
        let erased = try await machine.create(in: space)
        let kept = try await machine.create(3)
        try machine.back(up: nil)
        try await machine.erase(space)
        let unbound = try await machine.createUnbound()
        if rotated { try await machine.rotate() }
        let later = elsewhere.path + "/later.hdsbackup"
        try machine.back(up: later, now: start.adding(seconds: 60))
        let outcome = try await restore(machine, erasable: Machine.erasable(beside: later), to: restored)
        #expect(outcome.erased == 1)
        #expect(outcome.opened == 3)
        #expect(try await opened([erased] + kept + [unbound], in: restored, machine.kek) == kept + [unbound])
        let store = try SQLiteKeyStore(path: restored)
        #expect(try await store.resource(space) == nil)
        await store.close()
        // With the file of then it would come back: that is what has to expire.
        let old = elsewhere.path + "/old.sqlite"
        _ = try await restore(machine, erasable: Machine.erasable(beside: machine.backup), to: old)
        #expect(try await opened([erased], in: old, machine.kek) == [erased])
        await machine.store.close()
    }

    @Test("without the second file, or with one that is older or of another kind, nothing is restored")
    func missing() async throws {
        let machine = try await Machine()
        try await machine.create()
        let older = elsewhere.path + "/older.hdsbackup"
        try machine.back(up: older, now: start.adding(seconds: -60))
        let lonely = elsewhere.path + "/lonely/one.hdsbackup"
        mkdir(elsewhere.path + "/lonely", 0o700)
        try machine.back(up: lonely)
        unlink(Machine.erasable(beside: lonely))
        for erasable in [nil, Machine.erasable(beside: older), lonely] {
            #expect(
                await code {
                    _ = try await Restore.restore(
                        lonely, erasable: erasable, with: .keyEncryptionKey(machine.kek), newKey: nil, toNew: restored,
                        now: start)
                } == .backupErasable)
        }
        #expect(
            await code {
                _ = try await Restore.verify(
                    Machine.erasable(beside: older), with: .keyEncryptionKey(machine.kek), in: elsewhere.path,
                    now: start)
            } == .backupDamaged)
        await machine.store.close()
    }

    @Test("every row of the big tables put back, with the root keys in hand, opens nothing that was erased")
    func putBack() async throws {
        let machine = try await Machine()
        let space = UUIDText.random()
        try await machine.createSpace(space)
        let ids = [try await machine.create(in: space), try await machine.create(in: space)]
        var rows: [StoreTable: [[StoreTable.Value]]] = [:]
        try SQLiteSnapshot.read(path: machine.path) { snapshot in
            for table in StoreTable.backedUp { try snapshot.rows(of: table) { rows[table, default: []].append($0) } }
        }
        try await machine.erase(space)
        await machine.store.close()
        // The rows of then in a new store, with the erasable keys of now.
        let target = try SQLiteImport(path: restored)
        for table in StoreTable.allCases where StoreTable.backedUp.contains(table) {
            try target.insert(rows[table] ?? [], into: table)
        }
        try SQLiteSnapshot.read(path: machine.path) { snapshot in
            try snapshot.rows(of: .erasableKeys) { try target.insert([$0], into: .erasableKeys) }
        }
        try target.commit()
        let store = try SQLiteKeyStore(path: restored)
        let ring = try await SealRing.open(kek: machine.kek, store: store, now: start)
        for id in ids {
            let record = try #require(try await store.key(id))
            #expect(await code { _ = try ring.open(record) } == .keyErased)
        }
        // A new erasable key of the same space does not open them either.
        #expect(
            try await store.commit(
                StoreChange(writes: [.insertErasableKey(try ring.makeErasableKey(for: space).record)])) == .committed)
        for id in ids {
            let record = try #require(try await store.key(id))
            #expect(record.erasable != nil)
            #expect(await code { _ = try ring.open(record) } == .keyErased)
        }
        await store.close()
    }

    @Test("the sealed erasable key is in neither the file nor its log after an erasure")
    func scrubbed() async throws {
        let machine = try await Machine()
        let space = UUIDText.random()
        try await machine.createSpace(space)
        _ = try await machine.create(in: space)
        let sealed = try #require(try await machine.store.erasableKey(ofResource: space))
        func isThere() throws -> Bool {
            try ["", "-wal"].contains { suffix in
                guard let file = try? BackupFile.open(machine.path + suffix) else { return false }
                let bytes = try file.read(1 << 24)
                try #require(bytes.count < 1 << 24)
                return bytes.indices.contains { bytes[$0] == sealed[0] && bytes[$0...].starts(with: sealed) }
            }
        }
        #expect(try isThere(), "control: it is found while it is there")
        try await machine.erase(space)
        #expect(try !isThere())
        await machine.store.close()
    }
}
