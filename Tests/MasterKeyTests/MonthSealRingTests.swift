import Cryptography
import Diagnostics
import KeyStore
import SecretMemory
import Testing
import WireText

@testable import MasterKey

@Suite("Keys of months") struct MonthSealRingTests {
    private let store = MemoryKeyStore()
    private let kek: KeyEncryptionKey
    private let ring: SealRing
    private let november = Timestamp(iso8601: "2026-11-26T11:05:00Z")!
    private let december = Timestamp(iso8601: "2026-12-01T00:00:00Z")!

    init() async throws {
        kek = try KeyEncryptionKey.create()
        ring = try await SealRing.open(store, kek)
    }

    private func node(_ store: (any KeyStore)? = nil) -> MonthSealRing {
        MonthSealRing(store: store ?? self.store, ring: ring)
    }

    private func seal(_ node: MonthSealRing, _ text: String = "who", at time: Timestamp) throws -> [UInt8] {
        try Array(text.utf8).withUnsafeBytes { try node.seal($0, id: "record", at: time) }
    }

    private func text(_ node: MonthSealRing, _ sealed: [UInt8], id: String = "record") throws -> String {
        try node.open(sealed, id: id).withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    private func code(_ body: () async throws -> Void) async -> DiagnosedError.Code? {
        do {
            try await body()
            return nil
        } catch {
            return (error as? DiagnosedError)?.code
        }
    }

    /// The month in the form of a sealed record.
    private func month(of sealed: [UInt8]) -> UInt32? { RecordSeal.generation(of: sealed, format: .month) }

    @Test("What one node sealed opens on every node and after a restart, and says its month")
    func roundTrip() async throws {
        let first = node()
        try await first.prepare(now: november)
        let sealed = try seal(first, at: november)
        #expect(try text(first, sealed) == "who" && month(of: sealed) == 202_611)
        let second = node()
        try await second.prepare(now: november)
        #expect(try text(second, sealed) == "who")
        let restarted = MonthSealRing(store: store, ring: try await SealRing.open(store, kek))
        try await restarted.prepare(now: november)
        #expect(try text(restarted, sealed) == "who")
    }

    @Test("A month has one key and the next another, made a day before it is needed")
    func months() async throws {
        let node = node()
        try await node.prepare(now: november)
        // Not there yet: the newest serves.
        #expect(month(of: try seal(node, at: december)) == 202_611)
        try await node.prepare(now: december.adding(seconds: -86_400))
        #expect(month(of: try seal(node, at: december)) == 202_612)
        #expect(month(of: try seal(node, at: december.adding(milliseconds: -1))) == 202_611)
        let value = try await store.setting(MonthSealRing.setting)
        try await node.prepare(now: december)
        #expect(try await store.setting(MonthSealRing.setting) == value, "nothing to do is nothing written")
    }

    @Test("Nodes that race for a new month end with one key")
    func race() async throws {
        let nodes = (0..<6).map { _ in node() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for node in nodes { group.addTask { try await node.prepare(now: november) } }
            try await group.waitForAll()
        }
        for writer in nodes {
            let sealed = try seal(writer, at: november)
            for reader in nodes { #expect(try text(reader, sealed) == "who") }
        }
        // One that is overtaken between reading and writing.
        let slow = FaultingKeyStore(store)
        let winner = nodes[0]
        let next = december
        slow.inject(.delay { try? await winner.prepare(now: next) }, of: .commit)
        let loser = MonthSealRing(store: slow, ring: ring)
        try await loser.prepare(now: december)
        #expect(try text(winner, seal(loser, at: december)) == "who")
        #expect(try text(loser, seal(winner, at: december)) == "who")
        #expect(month(of: try seal(loser, at: december)) == 202_612)
    }

    @Test("A destroyed month opens nowhere any more and says so; the others do, and it is never made again")
    func destroyed() async throws {
        let (first, second) = (node(), node())
        try await first.prepare(now: november)
        let old = try seal(first, at: november)
        try await first.prepare(now: december)
        try await second.prepare(now: december)
        let young = try seal(first, at: december)
        let copy = try #require(try await store.setting(MonthSealRing.setting))

        let retention: Int64 = 30 * 86_400
        let due = december.adding(seconds: retention)
        #expect(try await first.destroy(olderThan: retention, now: due.adding(milliseconds: -1)) == [])
        #expect(try text(first, old) == "who")
        #expect(try await first.destroy(olderThan: retention, now: due).map(\.description) == ["2026-11"])
        #expect(try await first.destroy(olderThan: retention, now: due) == [])
        do {
            _ = try text(first, old)
            Issue.record("opened")
        } catch let error as DiagnosedError {
            #expect(error.code == .auditMonthDestroyed && error.found == "destroyed at \(due)")
            #expect(error.summary.contains("2026-11") && error.hint?.contains("chain") == true)
        }
        #expect(try text(first, young) == "who")
        // The other node forgets it with its next look, and does not destroy it twice.
        #expect(try text(second, old) == "who")
        #expect(try await second.destroy(olderThan: retention, now: due) == [])
        #expect(await code { _ = try text(second, old) } == .auditMonthDestroyed)
        // A clock that goes back makes no new key for it: records of then are sealed under what is there.
        try await first.prepare(now: november)
        #expect(month(of: try seal(first, at: november)) == 202_612)
        #expect(await code { _ = try text(first, old) } == .auditMonthDestroyed)
        // It is in no row any more, only in copies from before.
        let value = try #require(try await store.setting(MonthSealRing.setting))
        #expect(value.count < copy.count)
    }

    @Test("Records that were sealed before there were months still open")
    func rootSealed() async throws {
        let node = node()
        try await node.prepare(now: november)
        let sealed = try Array("old".utf8).withUnsafeBytes {
            try ring.seal($0, kind: .audit, id: "record", version: 1)
        }
        #expect(try text(node, sealed) == "old")
    }

    @Test("A record opens under its own id and month only, and not changed; unprepared nothing is sealed")
    func bound() async throws {
        let node = node()
        #expect(await code { _ = try seal(node, at: november) } == .auditMonthMissing)
        try await node.prepare(now: december.adding(seconds: -10))
        let sealed = try seal(node, at: november)
        #expect(await code { _ = try text(node, sealed, id: "another") } == .sealBroken)
        for index in sealed.indices {
            var changed = sealed
            changed[index] ^= 1
            #expect((try? text(node, changed)) == nil, "\(index)")
        }
        // A setting that somebody else wrote is refused, never replaced.
        var value = try #require(try await store.setting(MonthSealRing.setting))
        value[value.count - 1] ^= 1
        _ = try await store.commit(StoreChange(writes: [.putSetting(name: MonthSealRing.setting, value: value)]))
        #expect(await code { try await node.prepare(now: november) } == .sealBroken)
        #expect(try text(node, sealed) == "who")
    }

    @Test("Whatever a commit came to when the store failed, the next attempt ends with one key")
    func crash() async throws {
        let lost = TestFailure(description: "injected")
        for fault in [FaultingKeyStore.Fault.fail(lost), .loseAnswer(lost)] {
            let store = MemoryKeyStore()
            let ring = try await SealRing.open(store, kek)
            let faulty = FaultingKeyStore(store)
            faulty.inject(fault, of: .commit)
            let node = MonthSealRing(store: faulty, ring: ring)
            await #expect(throws: TestFailure.self) { try await node.prepare(now: november) }
            let other = MonthSealRing(store: store, ring: ring)
            try await other.prepare(now: november)
            try await node.prepare(now: november)
            let sealed = try seal(node, at: november)
            #expect(try text(other, sealed) == "who")
            // The same for destroying.
            let due = december.adding(seconds: 86_400)
            try await node.prepare(now: due)
            faulty.inject(fault, of: .commit)
            await #expect(throws: TestFailure.self) { _ = try await node.destroy(olderThan: 86_400, now: due) }
            _ = try await node.destroy(olderThan: 86_400, now: due)
            #expect(await code { _ = try text(node, sealed) } == .auditMonthDestroyed)
            try await other.prepare(now: due)
            #expect(await code { _ = try text(other, sealed) } == .auditMonthDestroyed)
            #expect(try text(other, seal(node, at: due)) == "who")
        }
    }

    @Test("Months follow each other through the years")
    func calendar() {
        var month = CalendarMonth(Timestamp(iso8601: "2026-10-31T23:59:59.999Z")!)
        var names: [String] = []
        for _ in 0..<4 {
            names.append(month.description)
            #expect(CalendarMonth(month.start) == month)
            #expect(CalendarMonth(month.next.start.adding(milliseconds: -1)) == month)
            month = month.next
        }
        #expect(names == ["2026-10", "2026-11", "2026-12", "2027-01"])
        #expect(CalendarMonth(number: 202_613) == nil && CalendarMonth(number: 0) == nil)
    }
}
