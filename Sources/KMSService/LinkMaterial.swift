import CoreLink
import Cryptography
import Diagnostics
import HTTPClient
import KMSProtocol
import KeyManagement
import ServiceRuntime
import Synchronization
import TLSChannel
import WireText

/// What the link is made with, read from the files that the configuration names: whom it believes, through which proxy it
/// goes, and the account that its tokens are for.
struct LinkMaterial: Sendable {
    let url: String
    let trust: TLSTrust
    let pins: [SPKIPin]
    let coreKey: PublicKey?
    let inspection: TLSInspection?
    let proxy: WebProxy?
    let tokens: ServiceTokens
    let secret: SecretLocation
    /// Of everything above: a reload that brings nothing new leaves the link alone.
    let fingerprint: [UInt8]

    /// Refuses what can not be used: a file that is missing, a text that is no pin, an exception that is over.
    init(
        _ configuration: KMSServiceConfiguration, _ credentials: Credentials, _ network: NetworkWatch, now: Timestamp
    ) throws {
        let (core, account) = (configuration.core, configuration.authorization.service)
        url = core.link.text
        pins = try core.spkiPins()
        inspection = try core.inspection?.exception(now: now)
        coreKey = try core.inspection?.key()
        proxy = try configuration.proxy?.proxy(credentials)
        let roots = try core.authorities.certificates()
        trust = TLSTrust(roots: roots, pins: pins, requirePathLengthZero: true, inspection: inspection)
        // Shows here, and not at the first connection, what can not be used.
        _ = try TLSConfiguration.client(trust: trust)
        let tokenRoots = try account.authorities.certificates()
        let clientSecret = try credentials.text(of: account.clientSecret)
        secret = account.clientSecret
        tokens = ServiceTokens(
            client: WebClient(trust: TLSTrust(roots: tokenRoots), route: network.route(through: proxy)),
            endpoint: account.tokenEndpoint.text, clientID: account.clientID, secret: clientSecret)
        var texts = [url, account.tokenEndpoint.text, account.clientID, clientSecret.reveal { $0 }]
        texts += pins.map(\.text) + (roots + tokenRoots).map { Base64.encode($0.der) }
        if let inspection {
            texts += [inspection.name, inspection.until.iso8601] + inspection.authorities.map { Base64.encode($0.der) }
            texts.append(try core.inspection?.coreKey.text() ?? "")
        }
        if let section = configuration.proxy {
            texts += [section.address.text, section.user ?? "", section.basic.rawValue] + section.exceptions
            texts += try section.authorities?.certificates().map { Base64.encode($0.der) } ?? []
            texts.append(try section.password.map { try credentials.text(of: $0).reveal { $0 } } ?? "")
        }
        fingerprint = SHA256.hash(texts.flatMap { Array("\($0.utf8.count):\($0)".utf8) })
    }
}

/// The material of the link that stands. Any thread.
final class LinkMaterialInForce: Sendable {
    private let material: Mutex<LinkMaterial>
    init(_ material: LinkMaterial) { self.material = Mutex(material) }
    var current: LinkMaterial { material.withLock { $0 } }
    func use(_ new: LinkMaterial) { material.withLock { $0 = new } }
}

/// The configuration of the link from its material; the rest of it never changes while the service runs.
struct LinkSettings: Sendable {
    let configuration: KMSServiceConfiguration
    let keys: StaticKeysInForce
    let network: NetworkWatch
    let proof: NodeProof
    let epoch: @Sendable () -> Int64

    func link(_ material: LinkMaterial) -> CoreLinkConfiguration {
        let (keys, account) = (keys, configuration.machineAccount)
        return CoreLinkConfiguration(
            url: material.url, trust: material.trust, coreKey: material.coreKey, proof: proof,
            route: network.route(through: material.proxy), node: configuration.node, service: "kms",
            organisation: configuration.organisation, version: KMSAssembly.identity.version, epoch: epoch(),
            destination: keys.present.names.cluster,
            details: { keys.present.detailsDocument(machineAccountID: account) },
            token: { [tokens = material.tokens] in try await tokens.token() })
    }
}
