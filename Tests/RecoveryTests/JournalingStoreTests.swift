import Diagnostics
import KeyStore
import KeyStoreSQLite
import MasterKey
import SignedPolicy
import TestServers
import Testing
import WireText

@testable import KeyManagement
@testable import Recovery

/// Nothing is taken away that the journal does not have, whoever asks the store for it.
@Suite(.timeLimit(.minutes(2)))
struct JournalingStoreTests {
    private struct Bench {
        let machine: Machine
        let disk = JournalDisk()
        let journal: RemovalJournal
        let faults: FaultingKeyStore
        let store: JournalingKeyStore

        init() async throws {
            machine = try await Machine()
            journal = try machine.journal(files: disk)
            faults = FaultingKeyStore(machine.store)
            store = JournalingKeyStore(faults, journal: journal, vault: machine.vault) { start }
        }

        /// Everything that a restore would take away again.
        func written() async throws -> [Removal] {
            await journal.close()
            let reading = try JournalReading(folders: [machine.journals], host: "kms.example.com", tips: []) {
                machine.ring.journalKey($0)
            }
            await machine.store.close()
            return reading.removals
        }
    }

    @Test("a removal is written down before it is committed; what takes nothing away is not written at all")
    func order() async throws {
        let bench = try await Bench()
        let space = try await bench.machine.space("ann", ["bob"])
        let syncs = bench.disk.syncs
        let id = UUIDText.random()
        let sealed = try [1].withUnsafeBytes {
            try bench.machine.ring.seal($0, kind: .key, id: id, version: 1)
        }
        _ = try await bench.store.commit(StoreChange(writes: [.insertKey(KeyRecord(id: id, sealed: sealed))]))
        #expect(bench.disk.syncs == syncs)
        let change = try await bench.machine.removal(of: space.entries[1], at: start)
        bench.faults.inject(.fail(TestPKI.Failure(what: "away")), of: .commit)
        await #expect(throws: TestPKI.Failure.self) { _ = try await bench.store.commit(change) }
        // Whether it came about is not known to who asked: it is taken away again.
        #expect(bench.journal.tip.number == 1)
        #expect(try await bench.store.commit(change) == .committed)
        let entry = Removal.authorization(id: space.entries[1], resource: space.id, at: start)
        #expect(try await bench.written() == [entry, entry])
    }

    @Test("without room for the journal a removal is refused and changes nothing, and keys are made all the same")
    func full() async throws {
        let bench = try await Bench()
        let space = try await bench.machine.space("ann", ["bob"])
        let change = try await bench.machine.removal(of: space.entries[1], at: start)
        bench.disk.fill(leaving: 10)
        #expect(await code { _ = try await bench.store.commit(change) } == .journalBlocked)
        #expect(try await bench.machine.store.authorization(space.entries[1])?.removedAt == nil)
        _ = try await bench.machine.space("eve")
        bench.disk.free()
        #expect(try await bench.store.commit(change) == .committed)
        #expect(try await bench.written().count == 1)
    }

    @Test("what lost a race is not taken away again")
    func void() async throws {
        let bench = try await Bench()
        let space = try await bench.machine.space("ann", ["bob"])
        let change = try await bench.machine.removal(of: space.entries[1], at: start)
        _ = try await bench.machine.store.commit(change)
        #expect(try await bench.store.commit(change) == .conflict)
        #expect(try await bench.written().isEmpty)
    }

    @Test("freezes and their end, a policy, deletions and erasures are seen in the change, whoever makes it")
    func kinds() async throws {
        let bench = try await Bench()
        let (one, two) = (try await bench.machine.space("ann"), try await bench.machine.space("ann"))
        let board = try await FreezeBoard(store: bench.store, vault: bench.machine.vault)
        let freeze = Freeze(scope: .user("bob"), reason: "lost", orderedBy: "ada", since: start)
        try await board.order(freeze)
        _ = try await board.lift(freeze.id)
        let seen = PolicyMemory(store: bench.store, vault: bench.machine.vault)
        try await seen.remember(.init(version: 4, digest: [9]))
        let record = try #require(try await bench.machine.store.resource(one.id))
        _ = try await bench.store.commit(try StoreChange(erasing: record, bench.machine.vault, at: start))
        _ = try await bench.store.commit(StoreChange(writes: [.eraseKey(id: two.key, version: 1)]))
        _ = try await bench.store.commit(StoreChange(writes: [.putSetting(name: "erasure/u:ab", value: [1, 2])]))
        let expected: [Removal] = [
            .freeze(freeze), .liftedFreeze(id: freeze.id), .policy(.init(version: 4, digest: [9])),
            .resource(id: one.id, at: start), .erasedResource(id: one.id, keys: [one.key]), .erasedKey(id: two.key),
            .erasedUser(pseudonym: "u:ab", at: start),
        ]
        #expect(try await bench.written() == expected)
    }

    @Test("the end of a freeze that was not committed is not written: a restore keeps the freeze")
    func lifting() async throws {
        let bench = try await Bench()
        let board = try await FreezeBoard(store: bench.store, vault: bench.machine.vault)
        let freeze = Freeze(scope: .everything, reason: "r", orderedBy: "ada", since: start)
        try await board.order(freeze)
        bench.faults.inject(.fail(TestPKI.Failure(what: "away")), of: .commit)
        await #expect(throws: TestPKI.Failure.self) { _ = try await board.lift(freeze.id) }
        #expect(try await bench.written() == [.freeze(freeze)])
    }
}
