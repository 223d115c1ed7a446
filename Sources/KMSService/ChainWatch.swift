import AuditTrail
import Diagnostics
import KeyManagement
import ServiceLifecycle
import ServiceRuntime
import WireText

/// Reads the own audit trail again and again as an auditor would, and tells when it is not what was written.
///
/// A break in an older segment is told and changes nothing else: it was found, and what is kept from now on can be proven.
/// A break in the segment that is appended to stops every release, for what would be kept behind it proves nothing.
struct ChainWatch: Service {
    let audit: DecisionAudit
    let health: HealthRegistry
    let interval: Duration

    private static let check = HealthCheck("audit-chain", "the chain of the audit trail")

    /// After a look that found something else than that everything holds.
    private static let soon: Duration = .seconds(300)

    func run() async throws {
        health.declare(Self.check)
        try? await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                let holds = await look()
                try await Task.sleep(for: holds ? interval : min(interval, Self.soon))
            }
        }
    }

    /// Whether everything holds.
    @discardableResult
    func look() async -> Bool {
        switch await audit.trail.check() {
        case .holds(let report):
            audit.trust()
            health.report(Self.check, .ok("records \(report.first) to \(report.last) hold"))
            health.alarms.clear(.auditChainBroken, "records \(report.first) to \(report.last) hold")
            return true
        case .broken(let error, let isAtEnd):
            if isAtEnd { audit.distrust(error) } else { audit.trust() }
            health.report(Self.check, .fail(Loggable(error), fix: Loggable(reviewed: Alarm.auditChainBroken.fix)))
            Self.raise(error, stage: isAtEnd ? 2 : 1, health.alarms)
        case .unknown(let error):
            health.report(Self.check, .warn(Loggable(error), fix: "look after the disk of the audit folder"))
        }
        return false
    }

    /// Stage 2: nothing is released.
    static func raise(_ error: DiagnosedError, stage: Int, _ alarms: AlarmBoard) {
        let effect: Loggable = stage > 1 ? "nothing is released" : "older records; requests are answered"
        alarms.raise(.auditChainBroken, stage: stage, "\(effect): \(Loggable(error))")
    }
}
