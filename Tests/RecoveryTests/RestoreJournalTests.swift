import Cryptography
import Diagnostics
import Glibc
import KeyStore
import KeyStoreSQLite
import MasterKey
import SecretMemory
import SignedPolicy
import TestServers
import Testing
import WireText

@testable import KeyManagement
@testable import Recovery

/// What was taken away after a backup does not come back with it, or the restore says what it does not know.
@Suite(.timeLimit(.minutes(3)))
struct RestoreJournalTests {
    private let elsewhere = TemporaryFolder()
    private var restored: String { elsewhere.path + "/kms.sqlite" }
    private let later = start.adding(seconds: 100)

    /// A machine with a journal that a backup knows; `back` makes that backup.
    private struct Scene {
        let machine: Machine
        let journal: RemovalJournal
        let store: JournalingKeyStore

        init(_ now: Timestamp) async throws {
            machine = try await Machine()
            journal = try machine.journal()
            store = JournalingKeyStore(machine.store, journal: journal, vault: machine.vault) { now }
        }

        func back(node: String = "a") async throws {
            try await NodeHeads(node: node, journal: journal.header.journal, tip: journal.tip).keep(
                in: machine.store, ring: machine.ring)
            try machine.back(up: nil)
        }

        func remove(_ entry: String, _ now: Timestamp) async throws {
            let change = try await machine.removal(of: entry, at: now)
            guard try await store.commit(change) == .committed else { throw TestPKI.Failure(what: "removal") }
        }

        func end(_ now: Timestamp) async throws {
            try await journal.mark(now: now)
            await journal.close()
            await machine.store.close()
        }
    }

    @Test(
        "a member removed after the backup is removed after the restore, also when the root key was rotated meanwhile",
        arguments: [false, true])
    func removed(rotates: Bool) async throws {
        let scene = try await Scene(later)
        let space = try await scene.machine.space("ann", ["bob", "/public", "cat"])
        try await scene.back()
        if rotates { try await scene.machine.rotate() }
        try await scene.remove(space.entries[1], later)
        try await scene.remove(space.entries[2], later)
        try await scene.end(later)
        let outcome = try await scene.machine.restore(to: restored)
        let report = try #require(outcome.report)
        #expect(report.counts == [.init(kind: .authorizations, found: 2, applied: 2)])
        #expect(report.names.contains { $0.contains(space.entries[1]) })
        #expect(report.gaps.isEmpty && report.gap == nil && report.left.isEmpty)
        #expect(report.nodes.map(\.knownUntil) == [later])
        try await scene.machine.inside(restored) { store, ring, vault in
            let live = try await store.authorizations(ofResource: space.id).map { try vault.content($0).authID }
            #expect(live == ["ann", "cat"])
            let record = try #require(try await store.resource(space.id))
            #expect(try vault.content(record).lastRemoval == later)
            // Nor does an old row grant anything that somebody puts back.
            let head = try vault.content(record)
            #expect([1, 2].allSatisfy { head.removed.contains($0) } && !head.removed.contains(3))
            #expect(try await RestoreReport.standing(store, ring: ring) == report)
            // Once more changes nothing.
            let reading = try JournalReading(folders: [scene.machine.journals], host: "kms.example.com", tips: []) {
                ring.journalKey($0)
            }
            let again = try await RemovalReplay(store: store, vault: vault).apply(reading.removals)
            #expect(again.applied.isEmpty && again.found == [.authorizations: 2])
        }
    }

    @Test("deleted and erased spaces, erased keys, freezes and policies of after the backup hold after the restore")
    func others() async throws {
        let scene = try await Scene(later)
        let machine = scene.machine
        var spaces: [(id: String, key: String, entries: [String])] = []
        for _ in 0..<4 { spaces.append(try await machine.space("ann", ["bob"])) }
        let stray = try await machine.createUnbound()
        let board = try await FreezeBoard(store: scene.store, vault: machine.vault)
        let old = Freeze(scope: .user("eve"), reason: "r", orderedBy: "ada", since: start)
        try await board.order(old)
        try await scene.back()
        // A stray key that is bound and erased with its space after the backup is a stray one in it.
        let key = try #require(try await machine.store.key(stray))
        var record = try #require(try await machine.store.resource(spaces[0].id))
        let content = KeyContent(
            key: try SymmetricKey.random(), owner: "ann", clientID: "c", created: start, expires: later,
            resource: spaces[0].id, boundAt: later)
        var made: [StoreWrite] = []
        let erasable = try await machine.vault.erasableKey(of: spaces[0].id, &made)
        let bound = try machine.vault.record(content, id: stray, version: key.version + 1, erasable: erasable)
        _ = try await machine.store.commit(StoreChange(writes: [.updateKey(bound)]))
        _ = try await scene.store.commit(try StoreChange(erasing: record, machine.vault, at: later))
        record = try #require(try await machine.store.resource(spaces[1].id))
        var head = try machine.vault.content(record)
        head.deletedAt = later
        _ = try await scene.store.commit(
            StoreChange(writes: [.updateResource(try machine.vault.record(head, id: record.id, version: 2))]))
        _ = try await scene.store.commit(StoreChange(writes: [.eraseKey(id: spaces[2].key, version: 1)]))
        let new = Freeze(scope: .space(spaces[3].id), reason: "r", orderedBy: "ada", since: later)
        try await board.order(new)
        _ = try await board.lift(old.id)
        let brief = Freeze(scope: .everything, reason: "r", orderedBy: "ada", since: later)
        try await board.order(brief)
        _ = try await board.lift(brief.id)
        try await PolicyMemory(store: scene.store, vault: machine.vault).remember(.init(version: 8, digest: [5]))
        try await scene.end(later)
        let outcome = try await machine.restore(to: restored)
        try await machine.inside(restored) { store, _, vault in
            #expect(try await store.resource(spaces[0].id) == nil)
            #expect(try await store.key(spaces[0].key) == nil)
            #expect(try await store.key(stray) == nil)
            #expect(try await store.resource(spaces[1].id)?.deletedAt == later)
            #expect(try await store.authorizations(ofResource: spaces[1].id).isEmpty)
            #expect(try await store.key(spaces[2].key) == nil)
            let standing = try await FreezeBoard(store: store, vault: vault).standing
            #expect(standing == [new, try #require(outcome.freeze)])
            #expect(try await PolicyMemory(store: store, vault: vault).recall()?.version == 8)
        }
    }

    @Test("a person erased after the backup is erased again: alone, with all keys; among others, by a stand-in")
    func person() async throws {
        let scene = try await Scene(later)
        let machine = scene.machine
        // Its head is none: only the rows of the store that a KMS made are walked.
        try await machine.erase(machine.space)
        let user = UUIDText.random()
        let alone = try await machine.space(user)
        let shared = try await machine.space(user, ["bob"])
        let other = try await machine.space("bob")
        try await scene.back()
        let pseudonym = "u:" + Hexadecimal.encode(machine.ring.lookup(user, purpose: "audit"))
        _ = try await scene.store.commit(
            StoreChange(writes: [.putSetting(name: "erasure/" + pseudonym, value: [1, 2])]))
        try await scene.end(later)
        let outcome = try await machine.restore(to: restored)
        #expect(outcome.report?.counts == [.init(kind: .erasedUsers, found: 1, applied: 1)])
        #expect(outcome.report?.names.contains { $0.contains(user) } == false)
        try await machine.inside(restored) { store, _, vault in
            #expect(try await store.resource(alone.id) == nil)
            #expect(try await store.key(alone.key) == nil)
            for row in try await store.authorizations(ofResource: shared.id, includingRemoved: true) {
                #expect(try !vault.content(row).names(user))
            }
            let head = try vault.content(try #require(try await store.resource(shared.id)))
            #expect(ErasedIdentity.isOne(head.creator))
            #expect(ErasedIdentity.isOne(try vault.content(try #require(try await store.key(shared.key))).owner))
            #expect(try await store.authorizations(ofResource: shared.id).count == 1)
            #expect(try await store.authorizations(ofResource: other.id).count == 1)
        }
    }

    @Test("holds that were placed or ended after the backup, the last of each; officers' signatures stay used")
    func holdsAndNonces() async throws {
        let scene = try await Scene(later)
        let machine = scene.machine
        var spaces: [String] = []
        for _ in 0..<3 { spaces.append(try await machine.space("ann").id) }
        func change(_ ids: [String], _ reason: String?, at now: Timestamp) async throws {
            let store = JournalingKeyStore(machine.store, journal: scene.journal, vault: machine.vault) { now }
            try await HoldList.change(ids, reason: reason, store: store, vault: machine.vault)
        }
        try await change([spaces[0]], "of before", at: start)
        let nonces = OfficerNonces(store: scene.store, vault: machine.vault)
        let old = OfficerDesk.Nonce(value: "old", until: later)
        try await nonces.keep([old], now: start)
        try await scene.back()
        try await change([spaces[0]], nil, at: later)
        try await change([spaces[1], spaces[2]], "case 7", at: later)
        try await change([spaces[2]], nil, at: later.adding(seconds: 1))
        try await change([spaces[2]], "case 8", at: later.adding(seconds: 2))
        let new = OfficerDesk.Nonce(value: "new", until: later.adding(seconds: 60))
        let over = OfficerDesk.Nonce(value: "over", until: start.adding(seconds: -200_000))
        try await nonces.keep([new], now: start)
        try await nonces.keep([over], now: start.adding(seconds: -300_000))
        try await scene.end(later)
        let report = try #require(try await machine.restore(to: restored).report)
        #expect(report.counts.map(\.kind) == [.holds, .liftedHolds, .nonces])
        #expect(report.gaps.isEmpty)
        try await machine.inside(restored) { store, _, vault in
            let holds = try await HoldList.standing(store, vault).entries
            #expect(
                Dictionary(holds.map { ($0.resource, $0.reason) }, uniquingKeysWith: { $1 })
                    == [spaces[1]: "case 7", spaces[2]: "case 8"])
            let kept = OfficerNonces(store: store, vault: vault)
            #expect(Set(try await kept.remembered().map(\.value)) == ["old", "new"])
            #expect(await code { try await kept.keep([new], now: later) } == .requestReplayed)
        }
    }

    @Test(
        "a version of the root key that was destroyed after the backup does not come back: all is sealed under another",
        arguments: [false, true])
    func rootKeyDestroyed(inTheMiddle: Bool) async throws {
        let scene = try await Scene(later)
        let machine = scene.machine
        _ = try await machine.escrow()
        let space = try await machine.space("ann", ["bob"])
        let keys = try await machine.create(20)
        let rotation = RootKeyRotation(store: scene.store, ring: machine.ring)
        if inTheMiddle {
            // The backup has values under both versions.
            _ = try await rotation.generate(now: start, escrow: machine.book.holders())
            try await rotation.beat(node: "a", now: start)
            _ = try await rotation.promote(now: start)
            _ = try await machine.create(3)
        }
        try await scene.back()
        if inTheMiddle {
            _ = try await Resealer(store: scene.store, ring: machine.ring).run(now: { start })
            #expect(try await rotation.retire(now: start) == 1)
        } else {
            try await machine.rotate()
        }
        _ = try await rotation.destroy(1, window: 0, now: later)
        #expect(try await rotation.destroyDue(now: later) == 1)
        try await scene.end(later)
        // As soon after the backup as a node's lease still stands in it.
        let report = try #require(try await machine.restore(to: restored, now: start.adding(seconds: 1)).report)
        #expect(report.counts == [.init(kind: .rootKeys, found: 1, applied: 1)] && report.left.isEmpty)
        try await machine.inside(restored) { store, ring, vault in
            let records = try await store.rootKeys()
            #expect(records.map(\.version) == (inTheMiddle ? [1, 2] : [1, 1002]))
            #expect(records.map(\.state) == [.destroyed, .active] && records[0].wraps.isEmpty)
            #expect(records[1].wraps.keys.contains { $0.hasPrefix("escrow ") })
            for table in SealedTable.allCases { #expect(try await store.sealedCounts(table)[1] == nil) }
            for id in keys + [space.key] {
                let record = try #require(try await store.key(id))
                _ = try ring.open(record)
            }
            #expect(try await RestoreReport.standing(store, ring: ring) != nil)
            #expect(try await FreezeBoard(store: store, vault: vault).standing.count == 1)
            // A node that starts on it believes the states.
            _ = try await RootKeyRotation(store: store, ring: ring).journal()
            #expect(try await ring.refresh() == false)
        }
    }

    @Test("a destroyed version with a value that does not open is left, and named")
    func rootKeyLeft() async throws {
        let scene = try await Scene(later)
        let machine = scene.machine
        let id = UUIDText.random()
        var sealed = try Array("x".utf8).withUnsafeBytes {
            try machine.ring.seal($0, kind: .authorization, id: id, version: 1)
        }
        sealed[20] ^= 1
        _ = try await machine.store.commit(
            StoreChange(writes: [
                .insertAuthorization(
                    AuthorizationRecord(
                        id: id, resource: machine.space, lookup: [UInt8](repeating: 1, count: 16), order: 1,
                        sealed: sealed))
            ]))
        try await scene.back()
        _ = try await scene.journal.append([.rootKey(version: 1)], position: 1, now: later)
        try await scene.end(later)
        let report = try #require(try await machine.restore(to: restored).report)
        #expect(report.counts == [.init(kind: .rootKeys, found: 1, applied: 0)])
        #expect(report.left.count == 1 && report.left[0].contains("do not open"))
    }

    @Test("without a journal the store is frozen and names what is unknown; only who names it is an officer's yes")
    func missing() async throws {
        let scene = try await Scene(later)
        let space = try await scene.machine.space("ann", ["bob"])
        try await scene.back()
        try await scene.remove(space.entries[1], later)
        try await scene.end(later)
        let outcome = try await scene.machine.restore(journals: [], to: restored)
        let report = try #require(outcome.report)
        #expect(report.gaps.count == 1 && report.gaps[0].contains("no journal was given"))
        #expect(report.gaps[0].contains("from \(start) on"))
        #expect(outcome.freeze?.reason.contains(report.gaps[0]) == true)
        try await scene.machine.inside(restored) { store, ring, _ in
            for wrong in [nil, "00000000"] {
                #expect(
                    await code {
                        _ = try await RestoreReport.accept(
                            wrong, officers: ["ada"], in: store, ring: ring, now: later)
                    } == .restoreGap)
            }
            let gap = try #require(report.gap)
            let accepted = try await RestoreReport.accept(gap, officers: ["ada"], in: store, ring: ring, now: later)
            #expect(accepted.accepted == .init(gap: gap, officers: ["ada"], time: later))
            #expect(try await RestoreReport.standing(store, ring: ring) == accepted)
        }
    }

    @Test(
        "a journal of another node that is missing, or one that was cut off, is named with the time it is unknown from")
    func gaps() async throws {
        let scene = try await Scene(later)
        let space = try await scene.machine.space("ann", ["bob", "cat"])
        try await scene.remove(space.entries[1], start.adding(seconds: 10))
        let second = try scene.machine.journal(node: "b")
        try await NodeHeads(node: "b", journal: second.header.journal, tip: second.tip).keep(
            in: scene.machine.store, ring: scene.machine.ring)
        await second.close()
        try await scene.back()
        var status = stat()
        stat(scene.machine.journalFile, &status)
        try await scene.remove(space.entries[2], later)
        try await scene.end(later)
        unlink(scene.machine.journals + "/b.removals")
        truncate(scene.machine.journalFile, status.st_size)
        let report = try #require(try await scene.machine.restore(to: restored).report)
        #expect(report.gaps.count == 2)
        #expect(report.gaps[0].hasPrefix("node a: it ends with entry 1, and entry 2 was written"))
        #expect(report.gaps[1].hasPrefix("node b: its journal was not given"))
        #expect(report.gaps[0].contains("from \(later) on"))
        #expect(report.gaps[1].contains("from \(start) on"))
    }

    @Test("a journal whose mark is missing may have been cut off behind its last entry, and says so")
    func unmarked() async throws {
        let scene = try await Scene(later)
        let space = try await scene.machine.space("ann", ["bob"])
        try await scene.back()
        try await scene.remove(space.entries[1], later)
        try await scene.end(later)
        unlink(scene.machine.journalFile + JournalMark.ending)
        let report = try #require(try await scene.machine.restore(to: restored).report)
        #expect(report.counts == [.init(kind: .authorizations, found: 1, applied: 1)])
        #expect(report.gaps.count == 1 && report.gaps[0].hasPrefix("node a: its mark was not given"))
        #expect(report.gaps[0].contains("from \(later) on"))
    }

    @Test("an older journal in the place of the one that the backup knows is no journal of that time")
    func older() async throws {
        let scene = try await Scene(later)
        let space = try await scene.machine.space("ann", ["bob", "cat"])
        try await scene.remove(space.entries[1], start)
        try await scene.back()
        try await scene.end(later)
        unlink(scene.machine.journalFile)
        unlink(scene.machine.journalFile + JournalMark.ending)
        let other = try scene.machine.journal()
        await other.close()
        let report = try #require(try await scene.machine.restore(to: restored).report)
        #expect(report.gaps.contains { $0.hasPrefix("node a: its journal was not given") })
    }

    @Test("a backup says its form, its moment and how far trail and journal of each node had come")
    func manifest() async throws {
        let scene = try await Scene(later)
        let space = try await scene.machine.space("ann", ["bob"])
        try await scene.remove(space.entries[1], later)
        try await NodeHeads(
            node: "a", journal: scene.journal.header.journal, tip: scene.journal.tip, auditHead: "a.b.c"
        ).keep(in: scene.machine.store, ring: scene.machine.ring)
        let made = try scene.machine.back(up: nil).manifest
        #expect(made.schema == 1 && made.created == start && made.rootChecks.keys.sorted() == [1])
        #expect(made.heads.map(\.node) == ["a"] && made.heads[0].auditHead == "a.b.c")
        #expect(made.heads[0].tip == scene.journal.tip)
        let trial = try await Restore.verify(
            scene.machine.backup, with: .keyEncryptionKey(scene.machine.kek), in: elsewhere.path, now: start)
        #expect(trial.manifest == made)
        try await scene.end(later)
    }
}
