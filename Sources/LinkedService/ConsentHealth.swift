package import Diagnostics
package import ServiceRuntime

/// The check `consent` of a service that works by the organisation's consent only, and the alarm that goes with it.
package struct ConsentHealth: Sendable {
    private static let check = HealthCheck("consent", "the organisation's consent to this service", gate: .required)

    private let health: HealthRegistry
    private let alarm: Alarm

    package init(_ health: HealthRegistry, _ alarm: Alarm) {
        (self.health, self.alarm) = (health, alarm)
        health.declare(Self.check)
    }

    /// What the KMS said when it was asked for the key that goes with the consent.
    package func report(_ state: ServiceConsent.State) {
        switch state {
        case .granted:
            health.alarms.clear(alarm, "the KMS gives this service its keys")
            health.report(Self.check, .ok("the KMS gives this service its keys"))
        case .refused(let error):
            health.alarms.raise(alarm, Loggable(error))
            health.report(Self.check, .fail(error))
        case .unknown(let error):
            // The KMS is away: what it said last stands, and its own alarms tell.
            health.report(
                Self.check,
                .warn(
                    error.map { Loggable($0) } ?? "the KMS did not answer",
                    fix: "see that hds-kms runs and is linked to the same core"))
        }
    }
}
