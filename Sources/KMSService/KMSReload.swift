import CoreLink
import Cryptography
import Diagnostics
import HTTPClient
import KeyManagement
import KMSProtocol
import LinkedService
import ServiceRuntime
import WireText

/// What a running KMS takes over from a new configuration: static key, link (core, pins, authorities, proxy, inspection,
/// account), authorities and accounts of the issuers, partners of federation, officers and policy.
///
/// Rules:
/// 1. Everything is read and judged before anything is taken over.
/// 2. The link is made anew before the rest counts, for only the core can tell whether it takes the new account; without
///    a welcome the old link is back and the reload refused.
/// 3. A new exception for TLS inspection stands in the audit trail before it is in force.
/// 4. A static key that clients may still know has to be listed under `static-key.previous`.
struct KMSReload: Sendable {
    /// Keys of the file that are taken over.
    static let keys =
        LinkedService.reloadable(KMSServiceConfiguration.self) + [
            "static-key", "authorization.issuers.ca", "authorization.issuers.client-id",
            "authorization.issuers.client-secret", "federation",
        ]

    let context: ServiceContext
    let linked: LinkedService
    let staticKeys: StaticKeysInForce
    let certificate: CertificateFileInForce
    let settings: LinkSettings
    let link: CoreLink
    let trust: TokenTrust
    let audit: KMSAudit
    let keeper: PolicyKeeper
    let federation: KMSAssembly.FederationParts

    func take(_ new: KMSServiceConfiguration) async throws {
        let now = Timestamp.now()
        let keys = try KMSAssembly.loadStaticKeys(new, context, now)
        let fresh = try linked.prepare(new, now: now)
        let renewTrust = try trust.renewal(new.authorization.issuers, context.credentials, linked.network.route)
        let partners = try KMSAssembly.FederationSettings(
            new.federation, own: keys[0].names, route: linked.network.route)
        try await keeper.judgeOfficers()
        try await linked.renew(link, settings, with: fresh) { [audit] inspection in
            try await audit.keep(inspection, of: new.core, now: now)
        }
        let isOther = keys[0].chain[0] != staticKeys.present.chain[0]
        staticKeys.replace(keys)
        if isOther { KMSAssembly.tell(keys[0], context.events) }
        certificate.use(new.staticKey.certificate)
        renewTrust()
        federation.use(partners)
        link.publishDetails()
        try await keeper.reload()
    }
}
