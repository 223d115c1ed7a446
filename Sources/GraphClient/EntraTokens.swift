package import CalendarTransport
package import Diagnostics
package import HTTPClient

/// Tokens of Microsoft Entra for an application that acts for all users of a tenant: the client credentials flow
/// (learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow) with a secret.
package enum EntraTokens {
    /// - Parameters:
    ///   - authority: of a national cloud, where it is not the global one.
    ///   - resource: Graph's origin; its permissions are those that an administrator consented to.
    package static func make(
        authority: String = "https://login.microsoftonline.com", tenant: String, application: String,
        secret: Redacted<String>, resource: String = "https://graph.microsoft.com", client: WebClient,
        clock: any Clock<Duration> = ContinuousClock()
    ) -> GrantedTokens {
        let url = "\(authority)/\(URLText.encoded(tenant))/oauth2/v2.0/token"
        return GrantedTokens(clock: clock, key: { _ in "" }) { _ in
            try await TokenRequest.send(
                to: url,
                [
                    ("client_id", application), ("client_secret", secret.reveal { $0 }),
                    ("grant_type", "client_credentials"), ("scope", resource + "/.default"),
                ], client: client)
        }
    }
}
