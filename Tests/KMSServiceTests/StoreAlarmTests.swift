import Diagnostics
import KeyStore
import ServiceRuntime
import Testing

@testable import KMSService
@testable import LinkedService

@Suite("Alarms of the store")
struct StoreAlarmTests {
    private let watched = WatchedHealth()
    private var alarms: AlarmBoard { watched.health.alarms }
    private var standing: [String] { alarms.current.map(\.alarm.id) }
    private var checks: KMSChecks { KMSChecks(watched.health) }

    @Test(
        "each trouble raises the alarm that fits it",
        arguments: [
            (DiagnosedError.Code.storeFull, "HDS-DISK-LOW"), (.storeCorrupt, "HDS-DB-CORRUPT"),
            (.storeUnreachable, "HDS-DB-UNREACHABLE"), (.storeReadOnly, "HDS-DB-UNREACHABLE"),
            (.storePermissions, "HDS-DB-UNREACHABLE"), (.storeReplaced, "HDS-DB-UNREACHABLE"),
        ])
    func fitting(_ code: DiagnosedError.Code, _ alarm: String) {
        KMSChecks.raise(DiagnosedError(code, fault: .store, "trouble"), alarms)
        #expect(standing == [alarm])
    }

    @Test("[HDS-DISK-LOW] a full disk of the store is told at once, and gone when a change was carried out")
    func full() {
        let observer = checks.observer
        observer.trouble(DiagnosedError(.storeFull, fault: .store, "the disk is full"))
        #expect(standing == ["HDS-DISK-LOW"] && !watched.health.report.isReady)
        observer.trouble(nil)
        #expect(standing.isEmpty && watched.finding("store")?.state == .ok)
    }

    @Test("[HDS-DB-CORRUPT] damage stands, whatever else works, until a start whose store opens")
    func damage() async throws {
        let observer = checks.observer
        observer.trouble(DiagnosedError(.storeCorrupt, fault: .store, "a page is not what was written"))
        #expect(standing == ["HDS-DB-CORRUPT"])
        observer.trouble(nil)
        #expect(standing == ["HDS-DB-CORRUPT"], "what was read meanwhile says nothing of the damaged part")
        try await checks.telling { () async throws in }
        #expect(standing.isEmpty)
    }

    @Test("[HDS-DB-UNREACHABLE] a store that can not be opened ends the start, and the alarm says why")
    func start() async throws {
        let trouble = DiagnosedError(.storeUnreachable, fault: .store, "no server answers")
        await #expect(throws: DiagnosedError.self) { try await checks.telling { throw trouble } }
        #expect(standing == ["HDS-DB-UNREACHABLE"])
        try await checks.telling { () async throws in }
        #expect(standing.isEmpty)
    }

    @Test("[HDS-DB-LATENCY] a store that is slow in two looks raises it, two good ones clear it")
    func latency() {
        let latency = StoreLatency()
        func look(slow: Int, quick: Int) {
            for _ in 0..<slow { latency.note(.milliseconds(400)) }
            for _ in 0..<quick { latency.note(.milliseconds(3)) }
            latency.report(to: alarms)
        }
        look(slow: 2, quick: 8)
        #expect(standing.isEmpty, "once is a checkpoint or a backup")
        look(slow: 2, quick: 8)
        #expect(standing == ["HDS-DB-LATENCY"])
        #expect(alarms.current.first?.detail.text == "2 of 10 changes took over 250 ms, the longest 400 ms")
        look(slow: 0, quick: 10)
        #expect(standing == ["HDS-DB-LATENCY"])
        look(slow: 1, quick: 10)
        #expect(standing.isEmpty, "a tenth and less is not slow")
    }
}
