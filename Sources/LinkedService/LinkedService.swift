package import CoreLink
import Diagnostics
package import ServiceRuntime
package import TLSChannel
package import WireText

/// What stands around the link of a service, and is the same for each of them: files and accounts that it is made with,
/// the ways out, checks with their alarms, and the change to a new configuration.
///
/// Made once at the start; any thread.
package struct LinkedService: Sendable {
    package let checks: LinkChecks
    package let network: NetworkWatch
    package let material: LinkMaterialInForce
    /// What answers and calls go over.
    package let links = LinkHolder()
    private let context: ServiceContext

    /// Refuses what can not be used: a file that is missing, a text that is no pin, an exception that is over.
    package init(_ configuration: some LinkedConfiguration, _ context: ServiceContext, now: Timestamp) throws {
        self.context = context
        checks = try LinkChecks(
            context.health, events: context.events, metrics: context.metrics, core: configuration.core)
        network = NetworkWatch(context.health)
        material = LinkMaterialInForce(try LinkMaterial(configuration, context.credentials, network, now: now))
        network.use(material.current.proxy)
    }

    /// The link, not yet running. From here on pins and inspection stand as health tells them.
    package func link<Configuration: LinkedConfiguration>(
        _ configuration: Configuration, _ settings: LinkSettings,
        handler: @escaping @Sendable (LinkDelivery) -> Void
    ) -> CoreLink {
        checks.use(pins: material.current.pins, inspection: material.current.inspection)
        let (credentials, material, checks) = (context.credentials, material, checks)
        context.health.watchAge(
            ofSecret: "\(reviewed: Configuration.accountPlace).client-secret",
            days: configuration.account.renewAfterDays
        ) {
            credentials.changed(material.current.secret)
        }
        let link = CoreLink(
            configuration: settings.link(material.current, network), handler: handler,
            state: { state in
                if state.lastError?.code == .linkTokenRefused { material.current.tokens.discard() }
                checks.report(state, address: Loggable(reviewed: material.current.url))
            })
        links.hold(link)
        return link
    }

    /// Who asks the KMS for the service, over the link and by the key that is in force.
    package func caller<Configuration: KMSLinkedConfiguration>(
        _ configuration: Configuration, _ pinned: KMSKeyInForce
    ) throws -> KMSCaller {
        KMSCaller(
            links, key: { pinned.current },
            account: .init(
                clientID: "\(Configuration.kind)/\(configuration.node)", subject: configuration.account.clientID,
                key: try configuration.kms.serviceKey(context.credentials)),
            tokens: { [material] in material.current.tokens })
    }

    /// What the link would be made with by another configuration; nothing is taken over yet.
    package func prepare(_ configuration: some LinkedConfiguration, now: Timestamp) throws -> LinkMaterial {
        try LinkMaterial(configuration, context.credentials, network, now: now)
    }

    /// Makes the link anew with it, unless it is the same. Without a welcome the old link is back, and this throws.
    ///
    /// - Parameter inspected: is called with an exception for TLS inspection before it is in force.
    package func renew(
        _ link: CoreLink, _ settings: LinkSettings, with fresh: LinkMaterial,
        inspected: (TLSInspection) async throws -> Void
    ) async throws {
        guard fresh.fingerprint != material.current.fingerprint else { return }
        if let inspection = fresh.inspection { try await inspected(inspection) }
        try await link.renew(settings.link(fresh, network))
        material.use(fresh)
        network.use(fresh.proxy)
        checks.use(pins: fresh.pins, inspection: fresh.inspection)
        checks.report(link.state, address: Loggable(reviewed: fresh.url))
    }

    /// Keys of the file that `prepare` and `renew` take over.
    package static func reloadable<Configuration: LinkedConfiguration>(
        _ configuration: Configuration.Type
    ) -> [String] {
        ["core.link", "core.ca", "core.pins", "core.inspection", "proxy"]
            + ["token-endpoint", "ca", "client-id", "client-secret"].map { "\(Configuration.accountPlace).\($0)" }
    }
}
