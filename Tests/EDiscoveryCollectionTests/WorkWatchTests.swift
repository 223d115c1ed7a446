import Diagnostics
import ServiceRuntime
import Synchronization
import Testing
import WireText

@testable import EDiscoveryService
@testable import ServiceRuntime

@Suite("The work at reports as the operator sees it")
struct WorkWatchTests {
    private struct Silence: EventRecorder {
        func isRecorded(_ severity: Severity) -> Bool { false }
        func write(_ event: Event, _ fields: LogFields) {}
    }

    @Test(
        "[HDS-EDISCOVERY-STUCK] [HDS-EDISCOVERY-UPKEEP] what is in the way is told at once, raises it after a minute, and clears it when it is over",
        arguments: [
            (WorkWatch.collecting, Alarm.ediscoveryStuck), (WorkWatch.upkeep, Alarm.ediscoveryUpkeep),
        ])
    func stuck(check: HealthCheck, alarm: Alarm) {
        let health = HealthRegistry(events: Silence(), metrics: MetricRegistry())
        let time = Mutex(Timestamp(seconds: 1_790_000_000))
        let watch = WorkWatch(check, alarm, fine: "it goes on", health, now: { time.withLock { $0 } })
        func turn(_ trouble: DiagnosedError?, after seconds: Int64) -> (HealthFinding?, [String]) {
            time.withLock { $0 = $0.adding(seconds: seconds) }
            watch.take(trouble)
            let finding = health.report.checks.first { $0.check.id == check.id }?.finding
            return (finding, health.alarms.current.map(\.alarm.id))
        }
        let away = DiagnosedError("away", fault: .peer, "the KMS is away")
        let full = DiagnosedError("full", fault: .store, "the disk is full")
        #expect(turn(nil, after: 0).0?.state == .ok)
        let first = turn(away, after: 1)
        #expect(first.0?.state == .warn && first.0?.detail.text.contains("the KMS is away") == true && first.1.isEmpty)
        #expect(turn(full, after: 59).1.isEmpty)
        #expect(turn(full, after: 1).1 == [alarm.id])
        let over = turn(nil, after: 1)
        #expect(over.0?.state == .ok && over.1.isEmpty)
        // The next trouble has its own minute.
        #expect(turn(away, after: 1).1.isEmpty)
    }
}
