import Diagnostics
import KeyStore
import ServiceRuntime
import Synchronization
import Testing
import WireText

@testable import KMSService
@testable import MasterKey

@Suite("The alarms of the root keys")
struct RootKeyAlarmsTests {
    private let bench: Bench
    private let store = FaultingKeyStore(MemoryKeyStore())
    private let keeper: RootKeyKeeper
    private let start: Timestamp

    init() async throws {
        bench = try await Bench(store: store)
        keeper = Self.keeper(bench, "node-1")
        start = try #require(try await store.rootKeys().first).created
        try await put("sealed", into: 1)
        try await put("sealed", into: 2)
    }

    /// What the look at the backups answers.
    private final class Review: Sendable {
        private let state = Mutex<DiagnosedError?>(nil)
        var refusal: DiagnosedError? {
            get { state.withLock { $0 } }
            set { state.withLock { $0 = newValue } }
        }
    }

    private static func keeper(_ bench: Bench, _ node: String, _ review: Review = Review()) -> RootKeyKeeper {
        RootKeyKeeper(
            store: bench.store, ring: bench.ring, host: "kms.example.com", node: node, audit: bench.audit,
            alarms: bench.health.alarms,
            log: KMSRequestLog(
                events: bench.events, metrics: bench.metrics, alarms: bench.health.alarms, ring: bench.ring,
                usesPseudonyms: true),
            section: RootKeySection(rotationDueDays: 30), review: { _, _ in review.refusal })
    }

    private static func id(_ number: Int) -> String { "00000000-0000-4000-8000-00000000000\(number)" }

    private func put(_ text: String, into number: Int, version: Int64 = 1, damaged: Bool = false) async throws {
        let id = Self.id(number)
        var sealed = try Array(text.utf8).withUnsafeBytes {
            try bench.ring.seal($0, kind: .key, id: id, version: version)
        }
        if damaged { sealed[20] ^= 1 }
        let record = KeyRecord(id: id, version: version, sealed: sealed)
        let change = StoreChange(writes: [version == 1 ? .insertKey(record) : .updateKey(record)])
        #expect(try await store.commit(change) == .committed)
    }

    /// One look of the keeper, so many seconds after the start, with the lease that a running node has.
    private func look(after seconds: Int64, node: RootKeyKeeper? = nil) async throws {
        let now = start.adding(seconds: seconds)
        let node = node ?? keeper
        try await node.rotation.beat(node: node.node, now: now)
        try await node.step(now: now)
    }

    private func detail(_ alarm: Alarm, about subject: String = "") -> String? {
        bench.health.alarms.current.first { $0.alarm == alarm && $0.subject.text == subject }?.detail.text
    }

    private static let month: Int64 = 30 * 86_400

    @Test(
        "[HDS-MASTERKEY-ROTATION-DUE]: the active version is as old as the configuration allows; a younger one that is active clears it"
    )
    func due() async throws {
        try await look(after: Self.month - 1)
        #expect(detail(.rotationDue) == nil)
        try await look(after: Self.month)
        #expect(detail(.rotationDue) == "version 1 is 30 days old")
        let now = start.adding(seconds: Self.month + 1)
        _ = try await keeper.rotation.generate(now: now)
        try await look(after: Self.month + 1)
        #expect(detail(.rotationDue) != nil, "a version that seals nothing yet changes nothing")
        _ = try await keeper.rotation.promote(now: now)
        try await look(after: Self.month + 2)
        #expect(detail(.rotationDue) == nil)
        // The promotion taken back: the old version is what is active again.
        _ = try await keeper.rotation.undo(now: now)
        try await look(after: Self.month + 2)
        #expect(detail(.rotationDue) == "version 1 is 30 days old")
    }

    @Test(
        "[HDS-MASTERKEY-ROTATION-RUNNING]: from the new version on until the old one is retired, or until that was taken back"
    )
    func running() async throws {
        try await look(after: 0)
        #expect(detail(.rotationRunning) == nil)
        _ = try await keeper.rotation.generate(now: start)
        try await look(after: 1)
        #expect(detail(.rotationRunning) == "version 2 waits to be promoted")
        _ = try await keeper.rotation.undo(now: start)
        try await look(after: 1)
        #expect(detail(.rotationRunning) == nil)
        _ = try await keeper.rotation.generate(now: start)
        try await look(after: 2)
        _ = try await keeper.rotation.promote(now: start.adding(seconds: 2))
        try await look(after: 2)
        #expect(detail(.rotationRunning) == "version 1 is to be retired")
        try await look(after: 5)
        #expect(detail(.rotationRunning) == nil)
        #expect(try await store.rootKeys().map(\.state) == [.retired, .active])
        #expect(bench.events.details(of: Alarm.rotationRunning.event).count == 2, "raised once each time")
    }

    @Test("[HDS-MASTERKEY-ROTATION-RUNNING]: while another master key opens the root keys, too, with both fingerprints")
    func changingKEK() async throws {
        let other = try KeyEncryptionKey.create()
        try await keeper.rotation.add(other)
        try await look(after: 1)
        let text = try #require(detail(.rotationRunning, about: "master key"))
        #expect(text.contains(other.fingerprint) && text.contains(bench.ring.fingerprint))
        try await keeper.rotation.dropOtherKEKs(now: start.adding(seconds: 1))
        try await look(after: 2)
        #expect(detail(.rotationRunning, about: "master key") == nil)
    }

    @Test(
        "[HDS-MASTERKEY-ROTATION-STALLED]: a value does not open and holds the old version up; put right, the rotation ends and clears it"
    )
    func broken() async throws {
        try await put("changed", into: 1, version: 2, damaged: true)
        try await rotate()
        try await look(after: 3)
        #expect(detail(.rotationStalled) == "1 values do not open and keep version 1 from retiring")
        #expect(detail(.rotationRunning) != nil)
        try await put("changed", into: 1, version: 3)
        try await look(after: 4)
        #expect(detail(.rotationStalled) == nil && detail(.rotationRunning) == nil)
        #expect(try await store.rootKeys().map(\.state) == [.retired, .active])
    }

    @Test(
        "[HDS-MASTERKEY-ROTATION-STALLED]: a destruction that is due waits while no newer backup is proved, and is done then"
    )
    func destructionWaits() async throws {
        let review = Review()
        let node = Self.keeper(bench, "node-1", review)
        try await rotate()
        try await look(after: 3, node: node)
        #expect(try await store.rootKeys().map(\.state) == [.retired, .active])
        _ = try await node.rotation.destroy(1, window: 60, now: start.adding(seconds: 4))
        // What allowed it when it was ordered is gone by now.
        review.refusal = DiagnosedError(.rotationRefused, fault: .client, "no newer backup was proved")
        try await look(after: 65, node: node)
        #expect(detail(.rotationStalled) == nil, "another node may have the backups")
        try await look(after: 75, node: node)
        let told = try #require(detail(.rotationStalled))
        #expect(told.contains("version 1 is due to be destroyed and waits") && told.contains("no newer backup"))
        #expect(try await store.rootKeys().map(\.state) == [.retired, .active])
        #expect(node.work.heldUp?.code == .rotationRefused)
        // A node without the work, where the backups are, destroys it.
        let second = Self.keeper(bench, "node-2")
        try await look(after: 76, node: second)
        #expect(try await store.rootKeys().map(\.state) == [.destroyed, .active])
        try await look(after: 77, node: node)
        #expect(detail(.rotationStalled) == nil && node.work.heldUp == nil)
    }

    @Test(
        "[HDS-MASTERKEY-ROTATION-STALLED]: nothing was sealed again for ten minutes, with the reason; cleared when it goes on"
    )
    func noProgress() async throws {
        try await rotate()
        let failure = DiagnosedError(.storeFailed, fault: .store, "injected: the disk is away")
        // Its first commit of each look is that of its lease, the second one would seal values again.
        func stuck(after seconds: Int64) async throws {
            try await keeper.rotation.beat(node: keeper.node, now: start.adding(seconds: seconds))
            store.inject(.fail(failure), of: .commit)
            await #expect(throws: DiagnosedError.self) {
                try await keeper.step(now: start.adding(seconds: seconds))
            }
        }
        try await stuck(after: 3)
        #expect(detail(.rotationStalled) == nil)
        try await stuck(after: 3 + RootKeyAlarms.patience)
        #expect(detail(.rotationStalled) == nil)
        try await stuck(after: 4 + RootKeyAlarms.patience)
        #expect(detail(.rotationStalled)?.contains("the disk is away") == true)
        try await look(after: 5 + RootKeyAlarms.patience)
        #expect(detail(.rotationStalled) == nil)
    }

    @Test(
        "[HDS-MASTERKEY-ROTATION-STALLED]: a node has not proved the new version for ten minutes; cleared when it is taken back"
    )
    func unproved() throws {
        var journal = RotationJournal()
        let now = start.adding(seconds: 601)
        journal.nodes["node-1"] = .init(seen: now, proved: 2)
        journal.nodes["node-2"] = .init(seen: now, proved: 1)
        let records = [
            RootKeyRecord(version: 1, state: .active, wraps: [:], created: start),
            RootKeyRecord(version: 2, state: .inert, wraps: [:], created: start),
        ]
        func tell(_ records: [RootKeyRecord], at now: Timestamp) {
            RootKeyAlarms(
                journal: journal, records: records, kek: "", work: nil, rotationDueDays: 365, now: now
            ).tell(bench.health.alarms)
        }
        tell(records, at: start.adding(seconds: 600))
        #expect(detail(.rotationStalled) == nil)
        tell(records, at: now)
        #expect(detail(.rotationStalled) == "version 2 is not proved by node-2")
        tell(Array(records.prefix(1)), at: now)
        #expect(detail(.rotationStalled) == nil)
    }

    @Test("[HDS-MASTERKEY-ORPHAN]: a value stands under a version that is not there; when it is gone, so is the alarm")
    func orphans() async throws {
        try await look(after: 0)
        #expect(detail(.masterKeyOrphan) == nil)
        let lost = KeyRecord(
            id: UUIDText.random(), version: 1, resource: nil, boundAt: nil,
            sealed: SealedTable.mark(9) + [UInt8](repeating: 7, count: 60))
        #expect(try await store.commit(StoreChange(writes: [.insertKey(lost)])) == .committed)
        try await look(after: 3600)
        let text = try #require(detail(.masterKeyOrphan))
        #expect(text.hasPrefix("values without a root key: ") && text.hasSuffix(" under version 9"))
        let erased = StoreChange(writes: [.eraseKey(id: lost.id, version: 1)])
        #expect(try await store.commit(erased) == .committed)
        // Counted again a minute later.
        try await look(after: 3661)
        #expect(detail(.masterKeyOrphan) == nil)
    }

    @Test("A node that leaves the work to another tells what runs, and nothing of what only the work shows")
    func otherNode() async throws {
        let other = Self.keeper(bench, "node-0")
        try await put("changed", into: 1, version: 2, damaged: true)
        try await rotate()
        try await look(after: 3)
        #expect(detail(.rotationStalled) != nil)
        // The other one's name comes first: from now on the work is its.
        try await other.rotation.beat(node: "node-0", now: start.adding(seconds: 4))
        try await look(after: 4)
        #expect(detail(.rotationStalled) == nil)
        #expect(detail(.rotationRunning) == "version 1 is to be retired")
        try await look(after: 5, node: other)
        #expect(detail(.rotationStalled) != nil)
    }

    /// Up to the promotion, two seconds before the keeper may seal again.
    private func rotate() async throws {
        _ = try await keeper.rotation.generate(now: start)
        try await keeper.rotation.beat(node: keeper.node, now: start)
        _ = try await keeper.rotation.promote(now: start)
    }
}
