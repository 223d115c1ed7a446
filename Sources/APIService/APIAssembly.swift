import CoreLink
import Diagnostics
import KMSClient
import LinkedService
import ServiceLifecycle
package import ServiceRuntime
import WireText

/// Puts the API server together from its configuration: link, KMS, consent, sessions, HTTP.
///
/// It links to the core only to ask the KMS, as itself, whether the organisation consents to it; what it does for persons it
/// does with their tokens, as a client of theirs.
package enum APIAssembly {
    package static let identity = ServiceIdentity(name: "hds-api", version: Release.version)
    private static let consentCheck = HealthCheck(
        "consent", "the organisation's consent to this service", gate: .required)

    package static func start(
        _ configuration: APIConfiguration, _ context: ServiceContext
    ) async throws -> ServicePlan<APIConfiguration> {
        let linked = try LinkedService(configuration, context, now: Timestamp.now())
        let pinned = KMSKeyInForce(try configuration.kms.staticKey())
        let kms = KMSCaller(
            linked.links, key: { pinned.current },
            account: .init(
                clientID: "api/\(configuration.node)", subject: configuration.account.clientID,
                key: try configuration.kms.serviceKey(context.credentials)),
            tokens: { linked.material.current.tokens })
        let health = context.health
        health.declare(consentCheck)
        let said = LastRefusal()
        let consent = ServiceConsent(
            missing: DiagnosedError(
                .apiConsent, fault: .configuration, "the KMS does not take this server at present",
                hint: "see HDS-API-CONSENT and the check consent"),
            ask: { try await kms.perform(.createSealingKey) },
            changed: { state in
                said.take(state)
                report(state, health)
            })
        let sessions = try APISessions(
            profile: try configuration.api.domain(), folder: configuration.api.scratch.path,
            limit: configuration.api.sessions, perMinute: configuration.api.requestsPerMinute)
        let server = try APIServer(consent: consent, said: { said.reason }, sessions: sessions)
            .server(configuration.api, context)
        let settings = LinkSettings(
            configuration, version: identity.version,
            destination: { [organisation = configuration.organisation] in "api://\(organisation)" })
        let link = linked.link(configuration, settings) { delivery in
            linked.links.link?.decline(delivery, reason: "an API server takes no requests of the core")
        }
        return ServicePlan(
            services: [
                Recurring(every: .seconds(1)) {
                    // Before there is a link the KMS can not be asked.
                    if link.state.phase == .open { await consent.renewIfDue() }
                    await sessions.sweep()
                }, server, link,
            ],
            selfTest: {},
            reload: { new in
                let fresh = try linked.prepare(new, now: .now())
                let key = try new.kms.staticKey()
                try await linked.renew(link, settings, with: fresh) { _ in }
                pinned.use(key)
            }, reloadable: LinkedService.reloadable(APIConfiguration.self) + ["kms.certificate"],
            finish: { await sessions.close() })
    }

    private static func report(_ state: ServiceConsent.State, _ health: HealthRegistry) {
        switch state {
        case .granted:
            health.alarms.clear(.apiConsent, "the KMS takes this server")
            health.report(consentCheck, .ok("the KMS takes this server"))
        case .refused(let error):
            health.alarms.raise(.apiConsent, Loggable(error))
            health.report(consentCheck, .fail(error))
        case .unknown(let error):
            health.report(
                consentCheck,
                .warn(
                    error.map { Loggable($0) } ?? "the KMS did not answer",
                    fix: "see that hds-kms runs and is linked to the same core"))
        }
    }
}

extension DiagnosedError.Code {
    static let apiConsent: Self = "api-consent"
}
