import AuditTrail
import Diagnostics
import ServiceRuntime

/// What the state of the audit trail means for health and alarms: HDS-AUDIT-BLOCKED at 50 and 80 % and when nothing is
/// kept, HDS-AUDIT-WITNESS for a witness that does not take heads.
enum AuditAlarms {
    /// One lost attempt is no alarm: a minute later the next head goes out, or the same one again.
    static let toleratedFailures = 2

    /// - Parameter blocked: why no key is released; more than the trail's own reasons.
    static func tell(_ state: AuditTrailState, blocked: DiagnosedError?, health: HealthRegistry, check: HealthCheck) {
        tell(state.witnesses, health)
        let used: Loggable = "\(state.percent) % of \(state.limitOctets >> 20) MiB used, \(state.lastSeq) records"
        if let blocked {
            health.report(check, .fail(blocked))
            // What the chain's own alarm tells is not told twice.
            if let blocked = state.blocked { health.alarms.raise(.auditBlocked, stage: 3, Loggable(blocked)) }
            return
        }
        health.report(check, .ok(used))
        switch state.level {
        case .normal: health.alarms.clear(.auditBlocked, used)
        case .half: health.alarms.raise(.auditBlocked, stage: 1, used)
        case .high, .full: health.alarms.raise(.auditBlocked, stage: 2, used)
        }
    }

    private static func tell(_ witnesses: [AuditTrailState.Witness], _ health: HealthRegistry) {
        for witness in witnesses {
            let subject = Loggable(reviewed: witness.name)
            guard let failure = witness.failure, witness.failures > Self.toleratedFailures else {
                health.alarms.clear(.auditWitness, about: subject, "\(subject) has the newest head")
                continue
            }
            health.alarms.raise(
                .auditWitness, about: subject,
                "\(subject) has heads up to record \(witness.deliveredThrough ?? 0): \(Loggable(failure))")
        }
    }
}
