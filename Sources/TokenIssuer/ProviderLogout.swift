import Diagnostics
import HTTPTypes
import OIDCRelyingParty
import SAMLServiceProvider
import WireText

/// Logout in both directions: who ends a login here is told where to end that at the provider, and who is signed out at
/// the provider has no login here any more.
extension AuthorizationService {
    /// The answer to the end of a login (RFC 7009 says nothing of a body): with `provider_logout_uri` when a provider
    /// vouched for it, the address at which the user's browser ends the session there.
    func signedOut(_ session: ProviderSession?) async -> Reply {
        guard let session, let provider = providers[session.provider] else {
            return .secretJSON(.ok, Array("{}".utf8))
        }
        var address: String?
        do { address = try await logoutAddress(session, provider) } catch { recordProvider(error, provider) }
        guard let address else { return .secretJSON(.ok, Array("{}".utf8)) }
        var json = JSONWriter()
        json.beginObject()
        json.member("provider_logout_uri", address)
        json.endObject()
        return .secretJSON(.ok, json.bytes())
    }

    private func logoutAddress(_ session: ProviderSession, _ provider: IdentityProvider) async throws -> String? {
        switch provider.connection {
        case .openIDConnect(let party): try await party.endSession(idToken: session.hint, state: nil)
        case .saml(let saml):
            try session.hint.flatMap(SAMLNameID.init(stored:)).flatMap { name in
                try saml.endSession(name, session: session.session)
            }
        }
    }

    /// `POST /oidc/NAME/logout` (OpenID Connect Back-Channel Logout 1.0, section 2.5)
    package func openIDLogout(provider name: String, body: [UInt8], visitor: Visitor) async -> Reply {
        guard let provider = providers[name], case .openIDConnect(let party) = provider.connection else {
            return .error(OAuthError(.invalidRequest, "there is no such provider"))
        }
        do {
            let form = try Self.form(body, visitor)
            let notice = try await party.logout(try form.required("logout_token"))
            try await end(
                .init(subject: notice.subject, session: notice.session), at: provider, noticeID: "logout " + notice.id,
                expires: notice.expires)
            return .secretJSON(.ok, [])
        } catch let error as OAuthError {
            return .error(error)
        } catch {
            recordProvider(error, provider)
            return .error(OAuthError(.invalidRequest, "the logout token does not count"))
        }
    }

    /// Ends what came from a provider; a notice that came before is refused.
    func end(
        _ whom: GrantStore.SignedOut, at provider: IdentityProvider, noticeID: String, expires: Timestamp
    ) async throws {
        let users = try await grants.end(
            whom, provider: provider.name, noticeID: noticeID, noticeExpires: expires,
            lifetime: settings.lifetimes.accessToken, now: surroundings.now())
        guard let users else { throw ProviderRefusal(.replayed) }
        for user in users {
            events?.record(
                .providerSignedOut, [.subject: Self.pseudonym(user), .issuer: Loggable(reviewed: provider.name)])
        }
    }
}
