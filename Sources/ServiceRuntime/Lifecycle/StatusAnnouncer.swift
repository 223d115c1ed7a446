import Diagnostics
import Logging
import ServiceLifecycle

/// Watches the health of the service and tells systemd: READY=1 once, STATUS= whenever the sentence changes.
///
/// READY is sent when every gate is met or may be missing by policy (`HealthCheck.Gate`). Later changes never take it
/// back: `/readyz` and STATUS= tell them.
struct StatusAnnouncer: Service {
    let identity: ServiceIdentity
    let health: HealthRegistry
    let notifier: Notifier
    let events: any EventRecorder
    /// Since the process started, in microseconds.
    let age: @Sendable () -> Int64
    /// The health address, once it is listened on.
    let address: @Sendable () -> Loggable

    func run() async throws {
        var told: String?
        for await _ in health.changes.cancelOnGracefulShutdown() {
            let report = health.report
            guard !report.isDraining else { continue }
            if report.isReady, !report.isAnnounced {
                health.announceReady()
                // One look for both: what changes meanwhile has to be told next.
                let announced = health.report
                announce(announced)
                told = announced.sentence
            } else if report.sentence != told {
                told = report.sentence
                notifier.status(Loggable(reviewed: report.sentence))
            }
        }
    }

    private func announce(_ report: HealthReport) {
        let missing = report.checks.filter { $0.finding.state == .fail || $0.finding.state == .pending }
        if !missing.isEmpty {
            let names = missing.map { "\($0.check.title) is missing (\($0.finding.detail.text))" }
            events.record(
                .readyDegraded,
                [
                    .service: Loggable(reviewed: identity.name), .version: Loggable(reviewed: identity.version),
                    .detail: Loggable(reviewed: names.joined(separator: ", ")),
                ])
        }
        events.record(
            .ready,
            [
                .service: Loggable(reviewed: identity.name), .version: Loggable(reviewed: identity.version),
                .durationMicroseconds: Loggable(age()), .address: address(),
            ])
        notifier.ready(Loggable(reviewed: report.sentence))
        StartPages.release()
    }
}
