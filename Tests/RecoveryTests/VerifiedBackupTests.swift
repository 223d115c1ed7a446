import Glibc
import KeyStoreSQLite
import MasterKey
import TestServers
import Testing
import WireText

@testable import Recovery

/// A receipt says that a backup was proved, and nobody without its root key can make one.
@Suite(.timeLimit(.minutes(2)))
struct VerifiedBackupTests {
    private func prove(_ machine: Machine, now: Timestamp = start, receipt: Bool = true) async throws {
        let outcome = try await Restore.verify(
            machine.backup, with: .keyEncryptionKey(machine.kek), in: machine.folder.path, now: now)
        if receipt { try outcome.leaveReceipt(beside: machine.backup, now: now) }
    }

    private func list(_ machine: Machine) throws -> [VerifiedBackup] {
        try VerifiedBackups.list(in: machine.folder.path, ring: machine.ring)
    }

    @Test("a backup that was proved is listed with the versions of the root key that it carries")
    func listed() async throws {
        let machine = try await Machine()
        _ = try await machine.create(3)
        try await machine.rotate()
        let made = try machine.back(up: nil)
        #expect(try list(machine).isEmpty)
        try await prove(machine, receipt: false)
        #expect(try list(machine).isEmpty)
        try await prove(machine, now: start.adding(seconds: 9))
        #expect(
            try list(machine) == [
                VerifiedBackup(
                    id: made.header.id, file: machine.backup, host: "kms.example.com", created: start,
                    verified: start.adding(seconds: 9), rootVersion: 2, rootVersions: [1, 2], opened: 3)
            ])
        await machine.store.close()
    }

    @Test("a receipt counts for its backup alone, and only while that is there as it was")
    func bound() async throws {
        let machine = try await Machine()
        try await machine.create()
        try machine.back(up: nil)
        try await prove(machine)
        let other = machine.folder.path + "/two.hdsbackup"
        try machine.back(up: other)
        rename(machine.backup + VerifiedBackups.ending, other + VerifiedBackups.ending)
        #expect(try list(machine).isEmpty)
        rename(other + VerifiedBackups.ending, machine.backup + VerifiedBackups.ending)
        #expect(try list(machine).count == 1)
        truncate(machine.backup, 700)
        #expect(try list(machine).isEmpty)
        unlink(machine.backup)
        #expect(try list(machine).isEmpty)
        await machine.store.close()
    }

    @Test("the receipt of another key store does not open here")
    func foreign() async throws {
        let (machine, other) = (try await Machine(), try await Machine())
        try machine.back(up: nil)
        try await prove(machine)
        #expect(try VerifiedBackups.list(in: machine.folder.path, ring: other.ring).isEmpty)
        await machine.store.close()
        await other.store.close()
    }

    @Test("a damaged backup gets no receipt")
    func damaged() async throws {
        let machine = try await Machine()
        _ = try await machine.create(50)
        try machine.back(up: nil)
        var status = stat()
        stat(machine.backup, &status)
        truncate(machine.backup, status.st_size - 1)
        #expect(await code { try await prove(machine) } == .backupDamaged)
        #expect(!machine.folder.names(in: "").contains { $0.hasSuffix(VerifiedBackups.ending) })
        await machine.store.close()
    }
}
