package import Cryptography
import Diagnostics
package import HTTPClient
package import ServiceRuntime
import Synchronization
package import TLSChannel
package import WireText

/// What the link is made with, read from the files that the configuration names: whom it believes, through which proxy it
/// goes, and the account that its tokens are for.
package struct LinkMaterial: Sendable {
    package let url: String
    package let trust: TLSTrust
    package let pins: [SPKIPin]
    package let coreKey: PublicKey?
    package let inspection: TLSInspection?
    package let proxy: WebProxy?
    package let tokens: ServiceTokens
    package let secret: SecretLocation
    /// Of everything above: a reload that brings nothing new leaves the link alone.
    package let fingerprint: [UInt8]

    /// Refuses what can not be used: a file that is missing, a text that is no pin, an exception that is over.
    package init<Configuration: LinkedConfiguration>(
        _ configuration: Configuration, _ credentials: Credentials, _ network: NetworkWatch, now: Timestamp
    ) throws {
        let (core, account) = (configuration.core, configuration.account)
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
            endpoint: account.tokenEndpoint.text, clientID: account.clientID, secret: clientSecret,
            hint: "check \(Configuration.accountPlace): client id, secret, and that its scope allows "
                + "link:\(Configuration.kind)")
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
package final class LinkMaterialInForce: Sendable {
    private let material: Mutex<LinkMaterial>
    package init(_ material: LinkMaterial) { self.material = Mutex(material) }
    package var current: LinkMaterial { material.withLock { $0 } }
    package func use(_ new: LinkMaterial) { material.withLock { $0 = new } }
}
