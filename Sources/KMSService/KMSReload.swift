import CoreLink
import Cryptography
import Diagnostics
import HTTPClient
import KeyManagement
import KMSProtocol
import ServiceRuntime
import WireText

/// What a running KMS takes over from a new configuration: static key, link (core, pins, authorities, proxy, inspection,
/// account), authorities and accounts of the issuers, officers and policy.
///
/// Rules:
/// 1. Everything is read and judged before anything is taken over.
/// 2. The link is made anew before the rest counts, for only the core can tell whether it takes the new account; without
///    a welcome the old link is back and the reload refused.
/// 3. A new exception for TLS inspection stands in the audit trail before it is in force.
/// 4. A static key that clients may still know has to be listed under `static-key.previous`.
struct KMSReload: Sendable {
    /// Keys of the file that are taken over.
    static let keys = [
        "core.link", "core.ca", "core.pins", "core.inspection", "proxy", "static-key", "authorization.issuers.ca",
        "authorization.issuers.client-id", "authorization.issuers.client-secret",
        "authorization.service-account.token-endpoint", "authorization.service-account.ca",
        "authorization.service-account.client-id", "authorization.service-account.client-secret",
    ]

    let context: ServiceContext
    let staticKeys: StaticKeysInForce
    let certificate: CertificateFileInForce
    let material: LinkMaterialInForce
    let settings: LinkSettings
    let link: CoreLink
    let trust: TokenTrust
    let checks: KMSChecks
    let audit: KMSAudit
    let keeper: PolicyKeeper

    func take(_ new: KMSServiceConfiguration) async throws {
        let now = Timestamp.now()
        let keys = try KMSAssembly.loadStaticKeys(new, context, now)
        let fresh = try LinkMaterial(new, context.credentials, settings.network, now: now)
        let renewTrust = try trust.renewal(new.authorization.issuers, context.credentials, settings.network.route)
        try await keeper.judgeOfficers()
        try await renewLink(fresh, new.core, now)
        let isOther = keys[0].chain[0] != staticKeys.present.chain[0]
        staticKeys.replace(keys)
        if isOther { KMSAssembly.tell(keys[0], context.events) }
        certificate.use(new.staticKey.certificate)
        renewTrust()
        link.publishDetails()
        try await keeper.reload()
    }

    private func renewLink(_ fresh: LinkMaterial, _ core: CoreSection, _ now: Timestamp) async throws {
        guard fresh.fingerprint != material.current.fingerprint else { return }
        if let inspection = fresh.inspection { try await audit.keep(inspection, of: core, now: now) }
        try await link.renew(settings.link(fresh))
        material.use(fresh)
        settings.network.use(fresh.proxy)
        checks.use(pins: fresh.pins, inspection: fresh.inspection)
        checks.report(link.state, address: Loggable(reviewed: fresh.url))
    }
}
