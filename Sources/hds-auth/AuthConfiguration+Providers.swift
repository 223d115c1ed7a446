import Diagnostics
import HTTPClient
import OIDCRelyingParty
import ServiceRuntime
import TLSChannel
import TokenIssuer

// From the section `providers` to the providers that the service works with.
extension AuthConfiguration {
    func identityProviders(_ credentials: Credentials) throws -> IdentityProviders {
        IdentityProviders(
            try providers.map { section in
                IdentityProvider(
                    name: section.name, title: section.title, addresses: section.addresses,
                    exceptions: section.exceptions, newAccounts: section.newAccounts,
                    connection: try connection(section, credentials))
            })
    }

    private func connection(
        _ section: ProviderSection, _ credentials: Credentials
    ) throws -> IdentityProvider.Connection {
        guard let own = section.openIDConnect else {
            throw DiagnosedError(.providerSettings, fault: .configuration, "the provider \(section.name) has no protocol")
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
}

extension DiagnosedError.Code {
    /// A provider in the configuration can not be used as it is.
    static let providerSettings: Self = "provider-settings"
}
