package import ServiceRuntime

/// What the configuration of every service has that is linked to the core.
package protocol LinkedConfiguration: RuntimeConfiguration {
    /// The kind of service that the link names: `kms`, `indexer`.
    static var kind: String { get }
    /// Where the section of `account` stands in the file.
    static var accountPlace: String { get }

    /// Name of this node, for the core and the log.
    var node: String { get }
    /// Id of the organisation that the service serves.
    var organisation: String { get }
    var core: CoreSection { get }
    /// Nil: connections go straight to their targets.
    var proxy: ProxySection? { get }
    var account: ServiceAccountSection { get }
}

/// That of a service which asks the KMS with an account of its own.
package protocol KMSLinkedConfiguration: LinkedConfiguration {
    var kms: PinnedKMSSection { get }
}

/// A service's own account at the authorization service (OAuth 2 client credentials).
package struct ServiceAccountSection: Decodable, Sendable {
    package let tokenEndpoint: WebAddress
    package let authorities: FileLocation
    package let clientID: String
    package let clientSecret: SecretLocation
    /// After so many days an alarm asks for a new secret.
    package let renewAfterDays: Int

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case tokenEndpoint = "token-endpoint"
        case authorities = "ca"
        case clientID = "client-id"
        case clientSecret = "client-secret"
        case renewAfterDays = "renew-after-days"
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        tokenEndpoint = try section.value(.tokenEndpoint)
        authorities = try section.value(.authorities)
        clientID = try section.value(.clientID)
        clientSecret = try section.value(.clientSecret)
        renewAfterDays = try section.value(.renewAfterDays, default: 365)
        guard (1...3650).contains(renewAfterDays) else { throw section.problem(.renewAfterDays, "expected 1 to 3650") }
        guard tokenEndpoint.scheme == .https else {
            throw section.problem(.tokenEndpoint, "expected an https:// address")
        }
    }
}
