package import Diagnostics
import Synchronization
package import WireText

/// The checks, standing warnings and alarms of a service, and whether it is ready and alive. Any thread.
///
/// A check is declared once and then reported by whoever knows (`report`) or looked at in an interval (`probe`). Its
/// `since` moves only when its state changes. Readiness follows the gates of the checks at every moment; being alive
/// is apart from it and means that the last self-test is recent.
package final class HealthRegistry: Sendable {
    private struct Entry {
        let check: HealthCheck
        var finding: HealthFinding
        var since: Timestamp
    }

    struct Probe: Sendable {
        let check: HealthCheck
        let interval: Duration
        let look: @Sendable () async -> HealthFinding
    }

    private struct State {
        var entries: [Entry] = []
        var warnings: [StandingWarning] = []
        var probes: [Probe] = []
        var isAnnounced = false
        var isDraining = false
    }

    private let state = Mutex(State())
    package let alarms: AlarmBoard
    /// One element whenever something changed that a report shows; for a single reader.
    let changes: AsyncStream<Void>
    private let signal: AsyncStream<Void>.Continuation
    private let events: any EventRecorder
    private let metrics: MetricRegistry
    private let now: @Sendable () -> Timestamp

    package init(
        events: any EventRecorder, metrics: MetricRegistry,
        now: @escaping @Sendable () -> Timestamp = { Timestamp.now() }
    ) {
        let (changes, signal) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.changes = changes
        self.signal = signal
        self.events = events
        self.metrics = metrics
        self.now = now
        alarms = AlarmBoard(events: events, metrics: metrics, now: now, onChange: { signal.yield() })
        metrics.gauge(.ready).set(false)
    }

    // MARK: checks

    /// Makes the check known; it is pending until something is reported.
    package func declare(_ check: HealthCheck) {
        let time = now()
        state.withLock { state in
            guard !state.entries.contains(where: { $0.check.id == check.id }) else { return }
            state.entries.append(Entry(check: check, finding: HealthFinding(.pending, "not known yet"), since: time))
        }
        metrics.gauge(.check, [check.id]).set(0)
        changed()
    }

    /// What was found; a check that was not declared is declared by this.
    package func report(_ check: HealthCheck, _ finding: HealthFinding) {
        let time = now()
        let isNews = state.withLock { state in
            guard let index = state.entries.firstIndex(where: { $0.check.id == check.id }) else {
                state.entries.append(Entry(check: check, finding: finding, since: time))
                return true
            }
            let before = state.entries[index].finding
            if before.state != finding.state { state.entries[index].since = time }
            state.entries[index].finding = finding
            return before != finding
        }
        guard isNews else { return }
        let value: Double =
            switch finding.state {
            case .ok: 1
            case .warn: 0.5
            case .fail, .pending: 0
            }
        metrics.gauge(.check, [check.id]).set(value)
        changed()
    }

    /// A check that the runtime looks at in an interval, for the first time at the start. The closure must end by
    /// itself; while it runs the last finding stands.
    package func probe(
        _ check: HealthCheck, every interval: Duration, _ look: @escaping @Sendable () async -> HealthFinding
    ) {
        declare(check)
        state.withLock { $0.probes.append(Probe(check: check, interval: interval, look: look)) }
    }

    var probes: [Probe] { state.withLock { $0.probes } }

    /// Looks at once at what else is looked at in its interval.
    func lookAgain(at ids: Set<String>) async {
        for probe in probes where ids.contains(probe.check.id) { report(probe.check, await probe.look()) }
    }

    /// Looks once at everything that is looked at in an interval, for a tool that is no service.
    package func lookOnce() async -> HealthReport {
        for probe in probes { report(probe.check, await probe.look()) }
        return report
    }

    // MARK: standing warnings

    /// Shown until withdrawn, and written to the journal once.
    package func warn(_ warning: StandingWarning) {
        let isNew = state.withLock { state in
            guard !state.warnings.contains(where: { $0.id == warning.id }) else { return false }
            state.warnings.append(warning)
            return true
        }
        guard isNew else { return }
        events.record(.standingWarning, [.detail: warning.text, .fix: warning.fix])
        changed()
    }

    package func withdraw(warning id: String) {
        state.withLock { $0.warnings.removeAll { $0.id == id } }
        changed()
    }

    // MARK: life

    func announceReady() {
        state.withLock { $0.isAnnounced = true }
        changed()
    }

    func beginDraining() {
        state.withLock { $0.isDraining = true }
        changed()
    }

    package var report: HealthReport {
        let standing = alarms.current
        return state.withLock { state in
            HealthReport(
                checks: state.entries.map { .init(check: $0.check, finding: $0.finding, since: $0.since) },
                warnings: state.warnings, alarms: standing, isAnnounced: state.isAnnounced,
                isDraining: state.isDraining)
        }
    }

    private func changed() {
        metrics.gauge(.ready).set(report.isReady)
        signal.yield()
    }
}
