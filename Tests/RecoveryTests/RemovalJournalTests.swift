import Diagnostics
import Glibc
import KeyStoreSQLite
import MasterKey
import SignedPolicy
import TestServers
import Testing
import WireText

@testable import KeyManagement
@testable import Recovery

/// What the journal acknowledged is there after every crash, and what somebody changed is noticed.
@Suite(.timeLimit(.minutes(2)))
struct RemovalJournalTests {
    private func removal(_ number: Int) -> Removal {
        .authorization(id: "entry \(number)", resource: "space", at: start.adding(seconds: Int64(number)))
    }

    private func append(_ journal: RemovalJournal, _ numbers: ClosedRange<Int>) async throws {
        for number in numbers {
            _ = try await journal.append(
                [removal(number)], position: Int64(number), now: start.adding(seconds: Int64(number)))
        }
    }

    private func read(_ machine: Machine, _ tips: [NodeHeads] = []) throws -> JournalReading {
        try JournalReading(folders: [machine.journals], host: "kms.example.com", tips: tips) {
            machine.ring.journalKey($0)
        }
    }

    private func size(_ path: String) -> Int {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : -1
    }

    private func bytes(_ path: String) throws -> [UInt8] { try BackupFile.open(path).read(1 << 20) }

    @Test("every kind of removal is read as it was written, by whoever has the keys of the store, and by nobody else")
    func kinds() async throws {
        let machine = try await Machine()
        let all: [Removal] = [
            removal(1), .resource(id: "r", at: start), .erasedResource(id: "e", keys: ["k", "l"]), .erasedKey(id: "k"),
            .erasedUser(pseudonym: "u:00", at: start),
            .freeze(Freeze(scope: .bound(from: start, until: nil), reason: "r", orderedBy: "ada", since: start)),
            .liftedFreeze(id: "f"), .policy(.init(version: 7, digest: [1, 2])), .rootKey(version: 3),
        ]
        #expect(Set(all.map(\.kind)) == Set(Removal.Kind.allCases))
        let journal = try machine.journal()
        #expect(try await journal.append(all, position: 9, now: start) == 1)
        await journal.close()
        #expect(try read(machine).removals == all)
        #expect(!(try bytes(machine.journalFile)).contains(Array("entry 1".utf8)))
        let other = try await Machine()
        let foreign = try JournalReading(folders: [machine.journals], host: "kms.example.com", tips: []) {
            other.ring.journalKey($0)
        }
        #expect(foreign.removals.isEmpty && foreign.nodes.first?.trouble != nil)
        await machine.store.close()
        await other.store.close()
    }

    @Test("wherever a crash cuts the last entry, the ones before are there, and the next one follows them")
    func torn() async throws {
        let machine = try await Machine()
        var journal = try machine.journal()
        try await append(journal, 1...3)
        await journal.close()
        let whole = try bytes(machine.journalFile)
        let second = try JournalScan(machine.journalFile) { _, octets, _ in JournalEntry.Clear(octets)?.number != 3 }
        #expect(second.tip.number == 2)
        for length in stride(from: second.length + 1, to: whole.count, by: 13) {
            try SealedFile.replace(machine.journalFile, with: Array(whole.prefix(length)))
            journal = try machine.journal()
            #expect(journal.tip.number == 2 && journal.cut != nil)
            #expect(try bytes(try #require(journal.cut)) == Array(whole[second.length..<length]))
            _ = try await journal.append([removal(4)], position: 4, now: start)
            await journal.close()
            #expect(try read(machine).removals == [removal(1), removal(2), removal(4)])
        }
        // What a power cut makes of blocks that were not written yet.
        try SealedFile.replace(
            machine.journalFile, with: Array(whole.prefix(second.length)) + [UInt8](repeating: 0, count: 5000))
        journal = try machine.journal()
        #expect(journal.tip.number == 2)
        await journal.close()
        await machine.store.close()
    }

    @Test("a journal that ends before what its mark says was cut off: the service refuses it, a restore says so")
    func shortened() async throws {
        let machine = try await Machine()
        let journal = try machine.journal()
        try await append(journal, 1...2)
        let length = size(machine.journalFile)
        try await append(journal, 3...3)
        try await journal.mark(now: start.adding(seconds: 60))
        await journal.close()
        let whole = try read(machine)
        #expect(whole.nodes[0].trouble == nil && whole.nodes[0].knownUntil == start.adding(seconds: 60))
        truncate(machine.journalFile, length)
        #expect(await code { _ = try machine.journal() } == .journalBroken)
        let reading = try read(machine)
        #expect(reading.removals == [removal(1), removal(2)])
        #expect(reading.nodes[0].trouble == "it ends with entry 2, and entry 3 was written")
        #expect(reading.nodes[0].knownUntil == start.adding(seconds: 2))
        await machine.store.close()
    }

    @Test("an entry that was changed, moved or taken out ends what is read", arguments: 0..<3)
    func changed(how: Int) async throws {
        let machine = try await Machine()
        let journal = try machine.journal()
        try await append(journal, 1...1)
        let one = size(machine.journalFile)
        try await append(journal, 2...2)
        let two = size(machine.journalFile)
        try await append(journal, 3...3)
        await journal.close()
        var octets = try bytes(machine.journalFile)
        switch how {
        case 0: octets[one + 60] ^= 1
        case 1: octets.removeSubrange(one..<two)
        default: octets.append(contentsOf: octets[one..<two])
        }
        try SealedFile.replace(machine.journalFile, with: octets)
        let reading = try read(machine)
        #expect(reading.removals.count == (how == 2 ? 3 : 1))
        #expect(reading.nodes[0].trouble == "behind entry \(how == 2 ? 3 : 1) it is not what was written")
        await machine.store.close()
    }

    @Test("a full disk: nothing is acknowledged, the alarm's reason stands, and with room it works by itself")
    func full() async throws {
        let machine = try await Machine()
        let disk = JournalDisk()
        let journal = try machine.journal(files: disk)
        try await append(journal, 1...1)
        for room in [0, 1, 70] {
            disk.fill(leaving: room)
            #expect(await code { try await append(journal, 2...2) } == .journalBlocked)
            #expect(journal.blocked?.code == .journalBlocked && journal.tip.number == 1)
        }
        disk.free()
        try await append(journal, 5...5)
        #expect(journal.blocked == nil)
        try await journal.mark(now: start)
        await journal.close()
        #expect(try read(machine).removals == [removal(1), removal(5)])
        #expect(try read(machine).nodes[0].trouble == nil)
        await machine.store.close()
    }

    @Test("what waits together shares one sync")
    func shared() async throws {
        let machine = try await Machine()
        let disk = JournalDisk()
        let journal = try machine.journal(files: disk)
        disk.hold()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await append(journal, 1...1) }
            while disk.held == 0 { await Task.yield() }
            for number in 2...40 { group.addTask { try await append(journal, number...number) } }
            while journal.waiting < 39 { await Task.yield() }
            disk.letGo()
            try await group.waitForAll()
        }
        #expect(disk.syncs == 2)
        #expect(journal.tip.number == 40)
        await journal.close()
        #expect(Set(try read(machine).removals.map(\.name)).count == 40)
        await machine.store.close()
    }

    @Test("two services never write into one journal, and a node never into another one's")
    func locked() async throws {
        let machine = try await Machine()
        let journal = try machine.journal()
        #expect(await code { _ = try machine.journal() } == .journalBlocked)
        let second = try machine.journal(node: "b")
        await journal.close()
        await second.close()
        rename(machine.journalFile, machine.journals + "/c.removals")
        #expect(await code { _ = try machine.journal(node: "c") } == .journalBroken)
        await machine.store.close()
    }
}
