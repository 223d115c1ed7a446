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
            .hold(resource: "r", reason: "case 7", at: start), .liftedHold(resource: "r", at: start),
            .nonce(.init(value: "n", until: start)),
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

    @Test("old entries are pruned: the others are read and go on, and a restore from before says what is missing")
    func pruned() async throws {
        let machine = try await Machine()
        var journal = try machine.journal()
        let id = journal.header.journal
        try await append(journal, 1...3)
        let early = NodeHeads(node: "a", journal: id, tip: journal.tip)
        try await append(journal, 4...6)
        let late = NodeHeads(node: "a", journal: id, tip: journal.tip)
        let now = start.adding(seconds: 100)
        #expect(try await journal.prune(before: start, now: now) == 0)
        #expect(try await journal.prune(before: start.adding(seconds: 5), now: now) == 4)
        try await append(journal, 7...7)
        try await journal.mark(now: now)
        #expect(try read(machine, [late]).removals == (5...7).map(removal))
        #expect(try read(machine, [late]).nodes.map(\.trouble) == [nil])
        #expect(try read(machine, [late]).nodes.map(\.knownUntil) == [now])
        // A backup that knew entry 3 needs entry 4, which is gone.
        let reading = try read(machine, [early])
        #expect(reading.nodes[0].trouble?.contains("was pruned, and the backup is older") == true)
        #expect(reading.nodes[0].knownUntil == nil && reading.removals == (5...7).map(removal))
        await journal.close()
        journal = try machine.journal()
        #expect(journal.tip.number == 7 && journal.cut == nil)
        try await append(journal, 8...8)
        #expect(try await journal.prune(before: start.adding(seconds: 90), now: now) == 4)
        try await append(journal, 9...9)
        await journal.close()
        #expect(try read(machine).removals == [removal(9)])
        await machine.store.close()
    }

    @Test("a journal whose beginning somebody else cut off is broken: nobody but its node prunes it")
    func beginningCutOff() async throws {
        let machine = try await Machine()
        let journal = try machine.journal()
        try await append(journal, 1...3)
        try await journal.mark(now: start.adding(seconds: 10))
        await journal.close()
        let whole = try bytes(machine.journalFile)
        var second: (end: Int, tip: JournalTip)?
        let scan = try JournalScan(machine.journalFile) { _, octets, _ in JournalEntry.Clear(octets)?.number != 3 }
        second = (scan.length, scan.tip)
        var header = scan.header
        header.behind = second?.tip
        try SealedFile.replace(machine.journalFile, with: header.octets() + Array(whole[scan.length...]))
        #expect(await code { _ = try machine.journal() } == .journalBroken)
        let reading = try read(machine)
        #expect(reading.removals == [removal(3)])
        #expect(reading.nodes[0].trouble == "its beginning up to entry 2 was cut off, and not by its node")
        await machine.store.close()
    }

    @Test("a disk that fails while a journal is pruned: nothing is lost, and what comes goes into the new file")
    func prunedOnBadDisk() async throws {
        let machine = try await Machine()
        let disk = JournalDisk()
        let journal = try machine.journal(files: disk)
        try await append(journal, 1...4)
        disk.refuseOpening(1)
        await #expect(throws: DiagnosedError.self) {
            _ = try await journal.prune(before: start.adding(seconds: 3), now: start)
        }
        try await append(journal, 5...5)
        await journal.close()
        #expect(try read(machine).removals == (3...5).map(removal))
        #expect(try machine.journal().tip.number == 5)
        await machine.store.close()
    }

    @Test("journals of nodes that ended before the oldest backup go; one that is open, newer or another KMS's stays")
    func ended() async throws {
        let machine = try await Machine()
        let limit = start.adding(seconds: 1000)
        for (node, mark) in [("b", 10), ("c", 2000), ("d", 10), ("e", 10)] {
            let journal = try machine.journal(node: node)
            try await append(journal, 1...1)
            try await journal.mark(now: start.adding(seconds: Int64(mark)))
            if node == "e" { unlink(journal.path + JournalMark.ending) }
            await journal.close()
        }
        let open = try machine.journal(node: "d")
        let own = try machine.journal()
        #expect(try own.removeEnded(before: limit) { machine.ring.journalKey($0) } == ["b"])
        #expect(try read(machine).nodes.map(\.node) == ["a", "c", "d", "e"])
        await open.close()
        await own.close()
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
