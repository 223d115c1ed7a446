import Cryptography
import Diagnostics
import HTTPClient
import OIDCRelyingParty
import SAMLServiceProvider
import ServiceRuntime
import TLSChannel
import TokenIssuer

// From the section `providers` to the providers that the service works with.
extension AuthConfiguration {
    func identityProviders(_ credentials: Credentials) throws -> IdentityProviders {
        let identity = try saml?.replacement(credentials)
        return IdentityProviders(
            try providers.map { section in
                IdentityProvider(
                    name: section.name, title: section.title, addresses: section.addresses,
                    exceptions: section.exceptions, newAccounts: section.newAccounts,
                    connection: try connection(section, credentials, identity))
            }, certificate: identity?.certificateChain.first)
    }

    private func connection(
        _ section: ProviderSection, _ credentials: Credentials, _ identity: TLSServerIdentity?
    ) throws -> IdentityProvider.Connection {
        if let saml = section.saml { return .saml(try connection(saml, name: section.name, identity)) }
        guard let own = section.openIDConnect else {
            throw DiagnosedError(
                .providerSettings, fault: .configuration, "the provider \(section.name) has no protocol")
        }
        var settings = OIDCSettings(
            issuer: own.issuer, clientID: own.clientID, redirectURI: "\(issuer)/oidc/\(section.name)/callback",
            signedOutURI: "\(issuer)/signed-out")
        settings.clientSecret = try own.clientSecret.map { try credentials.text(of: $0) }
        settings.scopes = own.scopes
        settings.claims = own.claims
        settings.wantsVerifiedAddress = own.wantsVerifiedAddress
        settings.leeway = own.clockSkew.components.seconds
        settings.maximumAge = own.maximumAge?.components.seconds
        let trust = try own.authorities.map { TLSTrust(roots: try $0.certificates()) }
        return .openIDConnect(OIDCRelyingParty(settings, client: WebClient(trust: trust)))
    }

    private func connection(
        _ section: ProviderSection.SAMLSection, name: String, _ identity: TLSServerIdentity?
    ) throws -> SAMLServiceProvider {
        var certificates: [Certificate] = []
        for file in section.certificates {
            for certificate in try file.certificates() {
                guard certificate.publicKey.kind != .unsupported else {
                    throw DiagnosedError(
                        .providerSettings, fault: .configuration, "\(file.path): this key can not be used",
                        expected: "RSA of 2048 bits or more, or P-256")
                }
                certificates.append(certificate)
            }
        }
        var settings = SAMLSettings(
            providerID: section.entityID, signOn: section.signOn.text, certificates: certificates,
            entityID: "\(issuer)/saml/metadata", consumer: "\(issuer)/saml/\(name)/acs",
            logoutConsumer: "\(issuer)/saml/\(name)/logout")
        settings.logout = section.logout?.text
        settings.signingKey = identity?.privateKey
        settings.nameFormat = section.nameFormat
        settings.subjectAttribute = section.subjectAttribute
        settings.addressAttributes = section.addressAttributes ?? settings.addressAttributes
        settings.nameAttributes = section.nameAttributes ?? settings.nameAttributes
        settings.leeway = section.clockSkew.components.seconds
        return SAMLServiceProvider(settings)
    }
}

extension DiagnosedError.Code {
    /// A provider in the configuration can not be used as it is.
    static let providerSettings: Self = "provider-settings"
}
