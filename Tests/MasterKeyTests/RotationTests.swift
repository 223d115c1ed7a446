import Diagnostics
import KeyStore
import KeyStoreSQLite
import SecretMemory
import Testing
import WireText

@testable import MasterKey

/// A rotation of the root key from its first step to its last, on a store with every kind of sealed value.
struct RotationTests {
    private let kek: KeyEncryptionKey
    private let directory: TemporaryDirectory

    init() throws {
        kek = try KeyEncryptionKey.create()
        directory = try TemporaryDirectory()
    }

    /// A store, and a ring and a rotation on it as a node has them.
    private struct Node {
        let ring: SealRing
        let rotation: RootKeyRotation
        let resealer: Resealer

        init(_ store: any KeyStore, _ kek: KeyEncryptionKey) async throws {
            ring = try await SealRing.open(store, kek)
            rotation = RootKeyRotation(store: store, ring: ring)
            resealer = Resealer(store: store, ring: ring)
        }
    }

    private static func id(_ number: Int) -> String {
        let digits = String(number)
        return "0b5e4c1a-9a64-4d0e-8a53-" + String(repeating: "0", count: 12 - digits.count) + digits
    }
    private static let auditID = id(77)

    /// One of each kind, sealed by the ring; `keys` keys.
    private func fill(_ store: any KeyStore, _ ring: SealRing, keys: Int = 600) async throws {
        var writes: [StoreWrite] = [
            .insertResource(
                ResourceRecord(id: Self.id(1), sealed: try ring.seal("r", kind: .resource, id: Self.id(1)))),
            .insertAuthorization(
                AuthorizationRecord(
                    id: Self.id(2), resource: Self.id(1), lookup: [UInt8](repeating: 1, count: 16), order: 1,
                    sealed: try ring.seal("a", kind: .authorization, id: Self.id(2)))),
            .insertSessionKEK(
                SessionKEKRecord(id: 9, sealed: try ring.seal("s", kind: .sessionKEK, id: "9"), lastExpiry: start)),
            .putSetting(
                name: "versioned",
                value: [0, 0, 0, 0, 0, 0, 0, 3] + (try ring.seal("v", kind: .setting, id: "versioned", version: 3))),
            .putSetting(name: "bare", value: try ring.seal("b", kind: .setting, id: "bare")),
            .putSetting(name: "open", value: Array("not sealed, and long enough to be taken for it by nobody".utf8)),
            .insertLedger(
                LedgerRecord(
                    digest: [UInt8](repeating: 4, count: 32), session: Self.id(3), expires: start, sealedAnswer: [1],
                    audit: try ring.seal("l", kind: .audit, id: "ledger " + Self.auditID) + Array(Self.auditID.utf8))),
        ]
        for number in 100..<(100 + keys) {
            let sealed = try ring.seal("k\(number)", id: Self.id(number), version: 2)
            writes.append(.insertKey(KeyRecord(id: Self.id(number), version: 2, sealed: sealed)))
        }
        #expect(try await store.commit(StoreChange(writes: writes)) == .committed)
    }

    /// Everything opens with what stands in the store now.
    private func check(_ store: any KeyStore, _ ring: SealRing, keys: Int = 600) async throws {
        for number in 100..<(100 + keys) {
            let key = try #require(try await store.key(Self.id(number)))
            #expect(key.version == 2)
            #expect(try ring.openText(key.sealed, id: key.id, version: 2) == "k\(number)")
        }
        let resource = try #require(try await store.resource(Self.id(1)))
        #expect(try ring.openText(resource.sealed, kind: .resource, id: resource.id) == "r")
        let grant = try #require(try await store.authorization(Self.id(2)))
        #expect(try ring.openText(grant.sealed, kind: .authorization, id: grant.id) == "a")
        let day = try #require(try await store.sessionKEK(9))
        #expect(try ring.openText(day.sealed, kind: .sessionKEK, id: "9") == "s")
        let setting = try #require(try await store.setting("versioned"))
        #expect(try ring.openText(Array(setting.dropFirst(8)), kind: .setting, id: "versioned", version: 3) == "v")
        #expect(try ring.openText(#require(try await store.setting("bare")), kind: .setting, id: "bare") == "b")
        #expect(try await store.setting("open")?.count == 56)
        let audit = try #require(try await store.ledgerAudits(after: 0, limit: 1).first?.audit)
        #expect(audit.suffix(36).elementsEqual(Self.auditID.utf8))
        #expect(try ring.openText(Array(audit.dropLast(36)), kind: .audit, id: "ledger " + Self.auditID) == "l")
    }

    private func versions(_ store: any KeyStore) async throws -> Set<Int64> {
        var all: Set<Int64> = []
        for table in SealedTable.allCases { all.formUnion(try await store.sealedCounts(table).keys) }
        return all
    }

    private func store(_ onDisk: Bool) throws -> any KeyStore {
        onDisk ? try SQLiteKeyStore(path: directory.path("keys.db")) : MemoryKeyStore()
    }

    @Test(
        "every value moves to the new version, nothing that a reader sees changes, the old one goes",
        arguments: [false, true])
    func whole(_ onDisk: Bool) async throws {
        let store = try store(onDisk)
        let node = try await Node(store, kek)
        try await fill(store, node.ring)
        let lookup = node.ring.lookup("alice", purpose: "p")
        #expect(try await node.rotation.generate(now: start) == 2)
        #expect(try await versions(store) == [1])
        #expect(node.ring.activeVersion == 1)
        try await node.rotation.beat(node: "a", now: start)
        #expect(try await node.rotation.promote(now: start) == 2)
        #expect(node.ring.activeVersion == 2)
        #expect(try await node.rotation.retire(now: start) == nil)
        try await check(store, node.ring)
        var shown: [Resealer.Progress] = []
        let end = try await node.resealer.run(now: { start }, progress: { shown.append($0) })
        #expect(end.done == end.total && end.total > 600 && end.broken == 0)
        #expect(shown.count > 3 && zip(shown, shown.dropFirst()).allSatisfy { $0.done <= $1.done })
        #expect(try await versions(store) == [2])
        try await check(store, node.ring)
        #expect(try await node.rotation.retire(now: start) == 1)
        #expect(try await store.rootKeys().map(\.state) == [.retired, .active])
        _ = try await node.rotation.destroy(1, window: 60, now: start)
        #expect(try await node.rotation.destroyDue(now: start.adding(seconds: 59)) == nil)
        #expect(try await node.rotation.destroyDue(now: start.adding(seconds: 60)) == 1)
        #expect(try await store.rootKeys().first?.wraps == [:])
        let again = try await Node(store, kek)
        #expect(again.ring.versions == [2])
        #expect(again.ring.lookup("alice", purpose: "p") == lookup)
        try await check(store, again.ring)
        await store.close()
    }

    @Test("a new version is not promoted before every node of the lease has opened its trial record")
    func proofs() async throws {
        let store = MemoryKeyStore()
        let (one, two) = (try await Node(store, kek), try await Node(store, kek))
        try await two.rotation.beat(node: "two", now: start)
        _ = try await one.rotation.generate(now: start)
        #expect(await code { _ = try await one.rotation.generate(now: start) } == .rotationRefused)
        try await one.rotation.beat(node: "one", now: start)
        #expect(await code { _ = try await one.rotation.promote(now: start) } == .rotationRefused)
        // A node that is gone holds nobody up; one that came back proves first.
        let later = start.adding(seconds: 11)
        try await one.rotation.beat(node: "one", now: later)
        try await two.rotation.beat(node: "two", now: later)
        #expect(try await one.rotation.promote(now: later) == 2)
        #expect(try await two.ring.refresh())
        #expect(two.ring.activeVersion == 2)
    }

    @Test("a node whose copy of the new version does not open works on, and holds the promotion up")
    func unprovable() async throws {
        let store = MemoryKeyStore()
        let node = try await Node(store, kek)
        _ = try await node.rotation.generate(now: start)
        let good = try #require(try await store.rootKeys().last)
        var bad = good
        bad.wraps[kek.holder]?[30] ^= 1
        _ = try await store.commit(StoreChange(writes: [.updateRootKey(bad)]))
        let other = try await Node(store, kek)
        #expect(await code { try await other.rotation.beat(node: "other", now: start) } == .rootKeyUnknown)
        #expect(try other.ring.openText(node.ring.seal("k")) == "k")
        #expect(await code { _ = try await node.rotation.promote(now: start) } == .rotationRefused)
        _ = try await store.commit(StoreChange(writes: [.updateRootKey(good)]))
        try await other.rotation.beat(node: "other", now: start)
        #expect(try await node.rotation.promote(now: start) == 2)
    }

    @Test("what a node seals before it has heard of the promotion is taken; after retirement it is not")
    func lateWriter() async throws {
        let store = MemoryKeyStore()
        let (node, late) = (try await Node(store, kek), try await Node(store, kek))
        _ = try await node.rotation.generate(now: start)
        try await node.rotation.beat(node: "a", now: start)
        _ = try await node.rotation.promote(now: start)
        func insert(_ number: Int) async throws -> CommitResult {
            let sealed = try late.ring.seal("late", id: Self.id(number))
            return try await store.commit(
                StoreChange(writes: [.insertKey(KeyRecord(id: Self.id(number), sealed: sealed))]))
        }
        _ = try await node.resealer.run()
        #expect(try await insert(5) == .committed)
        #expect(try await node.rotation.retire(now: start) == nil)
        _ = try await node.resealer.run()
        #expect(try await node.rotation.retire(now: start) == 1)
        #expect(try await insert(6) == .conflict)
        try await late.ring.refresh()
        #expect(try await insert(6) == .committed)
        #expect(try await versions(store) == [2])
    }

    @Test("a row that is written while it is sealed again keeps what was written")
    func racingWriter() async throws {
        let inner = MemoryKeyStore()
        let store = FaultingKeyStore(inner)
        let node = try await Node(store, kek)
        try await fill(store, node.ring, keys: 3)
        _ = try await node.rotation.generate(now: start)
        try await node.rotation.beat(node: "a", now: start)
        _ = try await node.rotation.promote(now: start)
        let ring = node.ring
        store.inject(
            .delay {
                let sealed = (try? ring.seal("new", id: Self.id(101), version: 3)) ?? []
                let record = KeyRecord(id: Self.id(101), version: 3, sealed: sealed)
                _ = try? await inner.commit(StoreChange(writes: [.updateKey(record)]))
            }, of: .commit)
        _ = try await node.resealer.run()
        let key = try #require(try await store.key(Self.id(101)))
        #expect(key.version == 3)
        #expect(try ring.openText(key.sealed, id: key.id, version: 3) == "new")
        #expect(try await versions(store) == [2])
    }

    @Test("whichever commit fails or loses its answer, the next try ends the rotation and everything opens")
    func crashes() async throws {
        let failure = DiagnosedError(.storeFailed, fault: .store, "injected")
        for fault in [FaultingKeyStore.Fault.fail(failure), .loseAnswer(failure)] {
            var number = 1
            while true {
                let inner = MemoryKeyStore()
                let first = try await Node(inner, kek)
                try await fill(inner, first.ring, keys: 40)
                let store = FaultingKeyStore(inner)
                store.inject(fault, at: number, of: .commit)
                // What a supervisor and an operator do: take the step that is next, as often as it takes, each time from
                // what the store says.
                var struck = 0
                for _ in 0..<12 {
                    do {
                        let node = try await Node(store, kek)
                        try await check(store, node.ring, keys: 40)
                        try await node.rotation.beat(node: "a", now: start)
                        let states = try await store.rootKeys().map(\.state)
                        if states == [.active] { _ = try await node.rotation.generate(now: start) }
                        try await node.rotation.beat(node: "a", now: start)
                        if states.contains(.inert) { _ = try await node.rotation.promote(now: start) }
                        _ = try await node.resealer.run()
                        _ = try await node.rotation.retire(now: start)
                        if states.contains(.retired), try await node.rotation.journal().destruction == nil {
                            _ = try await node.rotation.destroy(1, window: 0, now: start)
                        }
                        _ = try await node.rotation.destroyDue(now: start)
                    } catch {
                        struck += 1
                    }
                }
                #expect(try await inner.rootKeys().map(\.state) == [.destroyed, .active], "commit \(number)")
                #expect(try await versions(inner) == [2], "commit \(number)")
                try await check(inner, try await Node(inner, kek).ring, keys: 40)
                guard struck > 0 else { break }
                number += 1
            }
            #expect(number > 6)
        }
    }

    @Test("each step is taken back by undo: the new version, the promotion, the destruction")
    func undo() async throws {
        let store = MemoryKeyStore()
        let node = try await Node(store, kek)
        try await fill(store, node.ring, keys: 30)
        #expect(await code { _ = try await node.rotation.undo(now: start) } == .rotationRefused)
        _ = try await node.rotation.generate(now: start)
        #expect(try await node.rotation.undo(now: start) == .generation(2))
        #expect(try await store.rootKeys().count == 1)
        _ = try await node.rotation.generate(now: start)
        try await node.rotation.beat(node: "a", now: start)
        _ = try await node.rotation.promote(now: start)
        _ = try await node.resealer.run()
        #expect(try await node.rotation.undo(now: start) == .promotion(2))
        try await check(store, node.ring, keys: 30)
        _ = try await node.resealer.run()
        #expect(try await versions(store) == [1])
        #expect(try await node.rotation.retire(now: start) == 2)
        _ = try await node.rotation.destroy(2, now: start)
        #expect(await code { _ = try await node.rotation.destroy(1, now: start) } == .rotationRefused)
        #expect(try await node.rotation.undo(now: start) == .destruction(2))
        #expect(try await node.rotation.destroyDue(now: start.adding(seconds: 8 * 86_400)) == nil)
        try await check(store, node.ring, keys: 30)
    }

    @Test("a value that somebody changed holds up retirement and nothing else")
    func broken() async throws {
        let store = MemoryKeyStore()
        let node = try await Node(store, kek)
        try await fill(store, node.ring, keys: 3)
        var key = try #require(try await store.key(Self.id(101)))
        key.version = 3
        key.sealed[20] ^= 1
        _ = try await store.commit(StoreChange(writes: [.updateKey(key)]))
        _ = try await node.rotation.generate(now: start)
        try await node.rotation.beat(node: "a", now: start)
        _ = try await node.rotation.promote(now: start)
        let end = try await node.resealer.run()
        #expect(end.broken == 1 && end.done == end.total - 1)
        #expect(try await node.rotation.retire(now: start) == nil)
        #expect(try await store.key(Self.id(101))?.sealed == key.sealed)
    }

    @Test("while the key-encryption key changes, nodes start with either; afterwards only with the new one")
    func changeOfKEK() async throws {
        let store = MemoryKeyStore()
        let node = try await Node(store, kek)
        try await fill(store, node.ring, keys: 3)
        let rows = try await store.sealedRows(.keys, notUnder: 0, after: nil, limit: 10)
        let new = try KeyEncryptionKey.create()
        try await node.rotation.add(new)
        #expect(await code { _ = try await node.rotation.generate(now: start) } == .rotationRefused)
        for kek in [kek, new] { try await check(store, try await SealRing.open(store, kek), keys: 3) }
        try await Node(store, new).rotation.dropOtherKEKs(now: start)
        #expect(await code { _ = try await SealRing.open(store, kek) } == .masterKeyMismatch)
        try await check(store, try await SealRing.open(store, new), keys: 3)
        #expect(try await store.sealedRows(.keys, notUnder: 0, after: nil, limit: 10) == rows)
        // The node that still has the old one works on until it is restarted.
        try await check(store, node.ring, keys: 3)
    }
}
