import Diagnostics
import Glibc
import ServiceRuntime
import SiteFailover
import Synchronization
import TestServers
import Testing
import WireText

@testable import KMSService

@Suite("Alarms of redundancy and rehearsals")
struct RedundancyAlarmTests {
    private let health = HealthRegistry(events: RecordedEvents(), metrics: MetricRegistry())
    private var standing: [String] {
        health.alarms.current.map { "\($0.alarm.id) \($0.subject.text)" }
    }

    private func judge(
        _ nodes: [(name: String, isLive: Bool)], _ servers: FailoverSurvey.Redundancy? = nil
    ) {
        RedundancyWatch.judge(.init(nodes: nodes, servers: servers), health.alarms)
    }

    private func servers(behind: Int64?, missing: [String] = []) -> FailoverSurvey.Redundancy {
        .init(following: behind == nil ? [] : ["db-2:5432"], behind: behind, missing: missing)
    }

    @Test("[HDS-REDUNDANCY-LOST] the last node and a missing standby are told apart, and each is cleared by itself")
    func redundancy() {
        judge([("a", true)])
        #expect(standing.isEmpty, "a cluster of one never had a second node")
        judge([("a", true), ("b", true)], servers(behind: 0))
        #expect(standing.isEmpty)
        judge([("a", true), ("b", false)], servers(behind: 0))
        #expect(standing == ["HDS-REDUNDANCY-LOST nodes"])
        #expect(health.alarms.current.first?.detail.text.contains("missing: b") == true)
        judge([("a", true), ("b", false)], servers(behind: nil, missing: ["db-2:5432: refused"]))
        #expect(standing == ["HDS-REDUNDANCY-LOST nodes", "HDS-REDUNDANCY-LOST standby"])
        #expect(health.alarms.current.last?.detail.text.contains("db-2:5432: refused") == true)
        judge([("a", true), ("b", true)], servers(behind: nil))
        #expect(standing == ["HDS-REDUNDANCY-LOST standby"])
        judge([("a", true), ("b", true)], servers(behind: 5))
        #expect(standing.isEmpty)
        // Three of which one is lost are still two.
        judge([("a", true), ("b", true), ("c", false)], servers(behind: 5))
        #expect(standing.isEmpty)
    }

    @Test("[HDS-STANDBY-LAG] a standby that falls behind is told, once more when it is far behind, and cleared at half")
    func lag() {
        let nodes = [(name: "a", isLive: true)]
        judge(nodes, servers(behind: RedundancyWatch.lag - 1))
        #expect(standing.isEmpty)
        judge(nodes, servers(behind: RedundancyWatch.lag))
        #expect(standing == ["HDS-STANDBY-LAG "])
        judge(nodes, servers(behind: 16 * RedundancyWatch.lag))
        #expect(health.alarms.current.first?.detail.text.contains("256 MiB") == true)
        judge(nodes, servers(behind: RedundancyWatch.lag / 2))
        #expect(standing == ["HDS-STANDBY-LAG "], "it does not come and go at the limit")
        judge(nodes, servers(behind: RedundancyWatch.lag / 2 - 1))
        #expect(standing.isEmpty)
    }

    @Test("[HDS-DRILL-OVERDUE] what was never rehearsed or not for long is told, and cleared by a rehearsal")
    func drills() async throws {
        let folder = TemporaryFolder()
        let journal = folder.path + "/failover.journal"
        let now = Timestamp(seconds: 1_790_000_000)
        let restored = Mutex<Timestamp?>(nil)
        let watch = DrillWatch(
            drills: [
                .init(subject: "restore") { restored.withLock { $0 } },
                .init(subject: "failover") { FailoverJournal.lastDone(path: journal) },
            ], days: 92, alarms: health.alarms)
        await watch.look(now: now)
        #expect(standing == ["HDS-DRILL-OVERDUE failover", "HDS-DRILL-OVERDUE restore"])
        restored.withLock { $0 = now.adding(seconds: -91 * 86_400) }
        await watch.look(now: now)
        #expect(standing == ["HDS-DRILL-OVERDUE failover"])

        // A run that was refused, or did not end, rehearsed nothing.
        let run = try FailoverJournal(path: journal)
        try run.note(.init(run: "1", step: "run", state: "begun", target: "b", epoch: 1), at: now)
        try run.note(.init(run: "1", step: "promote", state: "done"), at: now)
        try run.note(.init(run: "1", step: "run", state: "refused"), at: now)
        await watch.look(now: now)
        #expect(standing == ["HDS-DRILL-OVERDUE failover"])
        try run.note(.init(run: "2", step: "run", state: "done"), at: now)
        await watch.look(now: now)
        #expect(standing.isEmpty, "also while the journal is in use")
        run.close()
        await watch.look(now: now.adding(seconds: 92 * 86_400))
        #expect(standing == ["HDS-DRILL-OVERDUE failover", "HDS-DRILL-OVERDUE restore"])
    }
}
