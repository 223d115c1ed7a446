import Cryptography
package import KMSClient
package import ServiceRuntime

/// The KMS that a service asks, by its own configuration: nothing of it comes from the core (security model, rule 3).
package struct PinnedKMSSection: Decodable, Sendable {
    /// DNS name of the KMS, lower case.
    package let host: String
    /// PEM: the certificate of its static key.
    package let certificate: FileLocation
    /// The private key that the service's tokens are bound to; nil for an account without one.
    package let key: SecretLocation?

    package enum CodingKeys: String, CodingKey, CaseIterable { case host, certificate, key }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        host = try section.value(.host)
        certificate = try section.value(.certificate)
        key = try section.optional(.key)
        guard host == host.lowercased(), host.contains("."), !host.contains("/"), !host.contains(":") else {
            throw section.problem(.host, "expected a DNS name in lower case, such as kms.example.com")
        }
    }

    package func staticKey() throws -> VerifiedStaticKey {
        try VerifiedStaticKey(pinned: certificate.certificates(), host: host)
    }

    package func serviceKey(_ credentials: Credentials) throws -> ServiceKey? {
        try key.map { place in ServiceKey(try credentials.withBytes(of: place) { try PrivateKey(pem: $0) }) }
    }
}
