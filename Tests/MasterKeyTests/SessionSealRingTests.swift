import Cryptography
import Diagnostics
import KeyStore
import SecretMemory
import Testing
import WireText

@testable import MasterKey

@Suite struct SessionSealRingTests {
    private let store = MemoryKeyStore()
    private let ring: SealRing
    private let sessions: SessionSealRing

    init() async throws {
        ring = try await SealRing.open(store, KeyEncryptionKey.create())
        sessions = SessionSealRing(store: store, ring: ring)
    }

    @Test("a session opens for the node that sealed it, for another node, and after a restart")
    func roundTrip() async throws {
        let record = try await sessions.record("channel key")
        #expect(try await sessions.openText(record) == "channel key")
        #expect(try await SessionSealRing(store: store, ring: ring).openText(record) == "channel key")
    }

    @Test("a day has one KEK, the next day another")
    func daily() async throws {
        let day = start.milliseconds / 86_400_000
        let midnight = Timestamp(milliseconds: (day + 1) * 86_400_000)
        #expect(try await sessions.currentKEK(now: start).id == day)
        #expect(try await sessions.currentKEK(now: midnight.adding(milliseconds: -1)).id == day)
        #expect(try await sessions.currentKEK(now: midnight).id == day + 1)
        let first = try #require(try await store.sessionKEK(day))
        let second = try #require(try await store.sessionKEK(day + 1))
        #expect(first.sealed != second.sealed)
        #expect(first.lastExpiry > midnight)
        #expect(try await store.sessionKEK(day + 2) == nil)
    }

    @Test("many callers at the first moment of a day share one KEK, on every node")
    func together() async throws {
        let nodes = [sessions, SessionSealRing(store: store, ring: ring), SessionSealRing(store: store, ring: ring)]
        let records = try await withThrowingTaskGroup(of: SessionRecord.self) { group in
            for number in 0..<30 { group.addTask { try await nodes[number % 3].record("\(number)") } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(Set(records.map(\.kek)).count == 1)
        let reader = SessionSealRing(store: store, ring: ring)
        var texts: Set<String> = []
        for record in records { texts.insert(try await reader.openText(record)) }
        #expect(texts.count == 30)
    }

    @Test("a node that loses the race for the day's KEK uses the winner's")
    func lostRace() async throws {
        let slow = FaultingKeyStore(store)
        let sessions = sessions
        slow.inject(.delay { _ = try? await sessions.currentKEK(now: start) }, of: .commit)
        let loser = SessionSealRing(store: slow, ring: ring)
        let record = try await loser.record("x")
        #expect(try await sessions.openText(record) == "x")
    }

    @Test("a KEK is destroyed when the last of its sessions has ended, and with it every copy of the rows")
    func destruction() async throws {
        let record = try await sessions.record("channel key")
        #expect(try await store.commit(StoreChange(writes: [.insertSession(record)])) == .committed)
        try await sessions.destroyExpired(now: record.expires.adding(milliseconds: -1))
        #expect(try await sessions.openText(record) == "channel key")
        // Past the session's end and past its day with the grace.
        let later = max(record.expires, Timestamp(milliseconds: (record.kek + 1) * 86_400_000 + 3_600_000))
        try await sessions.destroyExpired(now: later)
        #expect(try await store.sessionKEK(record.kek) == nil)
        #expect(await code { _ = try await sessions.openText(record) } == .sessionKEKDestroyed)
        #expect(
            await code { _ = try await SessionSealRing(store: store, ring: ring).openText(record) }
                == .sessionKEKDestroyed)
    }

    @Test("a restored row without its KEK can not be resumed")
    func restored() async throws {
        let record = try await sessions.record("channel key")
        // What a backup holds: the root keys and the settings, and no session KEK.
        let backup = MemoryKeyStore()
        for root in try await store.rootKeys() {
            _ = try await backup.commit(StoreChange(writes: [.insertRootKey(root)]))
        }
        let revived = SessionSealRing(store: backup, ring: ring)
        #expect(await code { _ = try await revived.openText(record) } == .sessionKEKDestroyed)
    }

    @Test("a session row that was changed or moved does not open")
    func moved() async throws {
        let record = try await sessions.record("channel key")
        let other = try await sessions.record("other", day: 1, id: "0b5e4c1a-9a64-4d0e-8a53-3f3f8c2e1d01")
        var changes: [SessionRecord] = []
        for octet in record.sealed.indices {
            var changed = record
            changed.sealed[octet] ^= 0x10
            changes.append(changed)
        }
        var moved = record
        moved.id = other.id
        changes.append(moved)
        moved = record
        moved.version = 2
        changes.append(moved)
        moved = record
        moved.kek = other.kek
        changes.append(moved)
        moved = record
        moved.sealed = other.sealed
        changes.append(moved)
        for changed in changes { #expect(await code { _ = try await sessions.openText(changed) } == .sealBroken) }
        var unknown = record
        unknown.kek = 5
        #expect(await code { _ = try await sessions.openText(unknown) } == .sessionKEKDestroyed)
        unknown.kek = -1
        #expect(await code { _ = try await sessions.openText(unknown) } == .sealBroken)
    }

    @Test("seals of the two rings are not interchangeable")
    func separate() async throws {
        let record = try await sessions.record("channel key")
        #expect(
            await code { _ = try ring.openText(record.sealed, kind: .session, id: record.id, version: 1) }
                == .sealBroken)
        var forged = record
        forged.sealed = try ring.seal("k", kind: .session, id: record.id)
        #expect(await code { _ = try await sessions.openText(forged) } == .sealBroken)
    }

    @Test("session KEKs lie sealed under the root key, bound to their day")
    func sealedKEK() async throws {
        let day = try await sessions.currentKEK(now: start).id
        let sealed = try #require(try await store.sessionKEK(day)).sealed
        let plain = try ring.open(sealed, kind: .sessionKEK, id: String(day), version: 1)
        #expect(plain.count == 32)
        #expect(await code { _ = try ring.openText(sealed, kind: .sessionKEK, id: String(day + 1)) } == .sealBroken)
    }

    @Test("a root-key rotation leaves sessions as they are")
    func rotation() async throws {
        let kek = try KeyEncryptionKey.create()
        let store = MemoryKeyStore()
        let before = SessionSealRing(store: store, ring: try await SealRing.open(store, kek))
        let record = try await before.record("channel key")
        var first = try #require(try await store.rootKeys().first)
        first.state = .retired
        let second = RootKeyRecord(
            version: 2, state: .active, wraps: [kek.holder: try kek.wrap(.random(), version: 2)],
            created: start)
        _ = try await store.commit(StoreChange(writes: [.updateRootKey(first), .insertRootKey(second)]))
        let after = SessionSealRing(store: store, ring: try await SealRing.open(store, kek))
        #expect(try await after.openText(record) == "channel key")
    }
}
