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

    package static func start(
        _ configuration: APIConfiguration, _ context: ServiceContext
    ) async throws -> ServicePlan<APIConfiguration> {
        let linked = try LinkedService(configuration, context, now: Timestamp.now())
        let pinned = KMSKeyInForce(try configuration.kms.staticKey())
        let kms = try linked.caller(configuration, pinned)
        let consents = ConsentHealth(context.health, .apiConsent)
        let said = LastRefusal()
        let consent = ServiceConsent(
            missing: DiagnosedError(
                .apiConsent, fault: .configuration, "the KMS does not take this server at present",
                hint: "see HDS-API-CONSENT and the check consent"),
            ask: { try await kms.perform(.createSealingKey) },
            changed: { state in
                said.take(state)
                consents.report(state)
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
}

extension DiagnosedError.Code {
    static let apiConsent: Self = "api-consent"
}
