import Diagnostics
import KeyManagement
import KeyStore
import MasterKey
import ServiceRuntime
import Synchronization
import TestServers
import Testing
import WireText

@testable import KMSService

@Suite("The alarm of a store that somebody else changed")
struct RollbackWatchTests {
    private final class Events: EventRecorder {
        let written = Mutex<[String]>([])
        func isRecorded(_ severity: Severity) -> Bool { true }
        func write(_ event: Event, _ fields: LogFields) { written.withLock { $0.append(event.message.text(fields)) } }
    }

    /// Nobody asks for all rows here.
    private struct EmptyView: StoreSnapshot {
        func rows(of table: StoreTable, _ body: ([StoreTable.Value]) throws -> Void) throws {}
        func lastPosition() throws -> Int64 { 0 }
    }

    @Test("[HDS-STORE-ROLLBACK] findings raise it, fail the check and set the metric; an acceptance clears all three")
    func alarm() async throws {
        let folder = TemporaryFolder()
        let (now, database) = (Timestamp.now(), MemoryKeyStore())
        let ring = try await SealRing.open(kek: try KeyEncryptionKey.create(), store: database, now: now)
        let store = SummingStore(database, ring: ring, writer: UUIDText.random())
        let vault = RecordVault(ring: ring, store: store)
        let freezes = try await FreezeBoard(store: store, vault: vault)
        let detector = RollbackDetector(
            store: store, vault: vault, freezes: freezes, file: CountersFile(path: folder.path + "/counters"),
            memory: nil, view: { try $0(EmptyView()) }, now: now)
        try await detector.start(now: now)
        let metrics = MetricRegistry()
        let health = HealthRegistry(events: Events(), metrics: metrics)
        let watch = RollbackWatch(
            detector, health: health, metrics: metrics,
            log: KMSRequestLog(
                events: Events(), metrics: metrics, alarms: health.alarms, ring: ring, usesPseudonyms: true),
            scanEvery: .seconds(3600))
        func stands() -> Bool { health.alarms.current.contains { $0.alarm == .storeRollback } }
        #expect(!stands())
        try await watch.detector.look(now: now)
        #expect(!stands(), "control")

        // As another hand does it: not through the store that keeps account.
        var change = StoreChange()
        change.sum = SumChange(writer: store.writer, sum: RowSum())
        #expect(try await database.commit(change) == .committed)
        try await watch.detector.verify()
        #expect(stands())
        #expect(metrics.gauge(.storeRollback).value == 1)
        #expect(metrics.gauge(.check, ["store-rollback"]).value == 0)
        let gap = try #require(freezes.rollback.gap)
        try await detector.accept(gap, by: "ada", now: now)
        #expect(!stands())
        #expect(metrics.gauge(.storeRollback).value == 0)
        #expect(metrics.gauge(.check, ["store-rollback"]).value == 1)
    }
}
