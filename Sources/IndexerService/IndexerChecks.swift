import Diagnostics
import LinkedService
import ServiceRuntime

/// The indexer's health checks beside those of its link, with the alarms that follow from them.
final class IndexerChecks: Sendable {
    static let consent = HealthCheck("consent", "the organisation's consent to this service", gate: .required)
    private static let store = HealthCheck("store", "the indexer's database", gate: .required)

    private let health: HealthRegistry

    init(_ health: HealthRegistry) {
        self.health = health
        health.declare(Self.consent)
    }

    /// What the KMS said when it was asked for the key that goes with the consent.
    func report(_ state: Consent.State) {
        switch state {
        case .granted:
            health.alarms.clear(.indexConsent, "the KMS gives this service its keys")
            health.report(Self.consent, .ok("the KMS gives this service its keys"))
        case .refused(let error):
            health.alarms.raise(.indexConsent, Loggable(error))
            health.report(Self.consent, .fail(error))
        case .unknown(let error):
            // The KMS is away: what it said last stands, and its own alarms tell.
            health.report(
                Self.consent,
                .warn(
                    error.map { Loggable($0) } ?? "the KMS did not answer",
                    fix: "see that hds-kms runs and is linked to the same core"))
        }
    }

    func watch(_ store: SealedStore, file: FileLocation) {
        health.probe(Self.store, every: .seconds(15)) {
            do {
                try store.check()
                return .ok("reading and durable writing work")
            } catch {
                return .fail(error)
            }
        }
        health.watchSpace(of: FileLocation(file.path.folder), every: .seconds(10))
    }
}
