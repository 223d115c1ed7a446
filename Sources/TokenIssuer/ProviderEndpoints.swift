import Diagnostics
import HTTPTypes
import OIDCRelyingParty
import SAMLServiceProvider
import WireText

/// The way to a provider and back: what begins at the login page ends in an authorization code like a password does.
///
/// An answer counts once, in the browser in which the login began, from the provider that it was begun at. Whatever a
/// provider's answer lacks, the client hears `access_denied` in words of this service, and the journal hears why.
extension AuthorizationService {
    /// So long a login may take at a provider.
    static let attemptLifetime: Int64 = 900

    /// From the login page to the provider.
    func beginProviderLogin(
        _ request: AuthorizationRequest, _ provider: IdentityProvider, email: String, visitor: Visitor
    ) async -> Reply {
        do {
            let browser = try ProviderCookie.secret(inCookieHeader: visitor.cookie) ?? secret()
            let now = surroundings.now()
            let address: String
            let attempt: (key: String, nonce: String, verifier: String)
            switch provider.connection {
            case .openIDConnect(let party):
                let begun = try await party.begin(hint: Accounts.normalized(email))
                address = begun.address
                attempt = (begun.pending.state, begun.pending.nonce, begun.pending.verifier)
            case .saml(let saml):
                let begun = try saml.begin()
                address = begun.address
                attempt = (begun.requestID, "", "")
            }
            let isKept = try await grants.insert(
                ProviderAttempt(
                    key: SecretDigest.of(attempt.key), provider: provider.name, browser: SecretDigest.of(browser),
                    network: AttemptGate.network(of: visitor.address),
                    request: FormParameters.encode(request.parameters), nonce: attempt.nonce,
                    verifier: attempt.verifier, expires: now.adding(seconds: Self.attemptLifetime)), now: now)
            guard isKept else {
                record(.limited, reason: "too many logins under way at providers")
                return loginPage(.tooManyRequests, request, email: email, notice: .busy, visitor: visitor)
            }
            var reply = Reply.page(
                .ok, Pages.passage(to: provider.title, address: address, domain: settings.domain))
            reply.headers[.setCookie] = ProviderCookie.setCookie(browser)
            return reply
        } catch {
            recordProvider(error, provider)
            return loginPage(
                .serviceUnavailable, request, email: email, notice: .providerAway(title: provider.title),
                visitor: visitor)
        }
    }

    /// `GET /oidc/NAME/callback`
    package func finishOpenIDLogin(provider name: String, query: [UInt8], visitor: Visitor) async -> Reply {
        guard let provider = providers[name], case .openIDConnect(let party) = provider.connection else {
            return refusalPage("There is no such sign-in service.", status: .notFound)
        }
        guard let form = try? FormParameters(parsing: query), let state = try? form.value("state") else {
            return refusalPage("The answer of \(provider.title) did not arrive in a readable way.")
        }
        return await end(attempt: state, at: provider, visitor) { attempt in
            if let error = try form.value("error") {
                throw ProviderRefusal(.declined, detail: error == "access_denied" ? "declined" : "the provider's error")
            }
            guard let code = try form.value("code") else { throw ProviderRefusal(.unreadable, detail: "no code") }
            let identity = try await party.finish(
                code: code, issuer: try form.value("iss"),
                .init(state: state, nonce: attempt.nonce, verifier: attempt.verifier))
            return ProvenIdentity(
                subject: identity.subject, sessionSubject: identity.tokenSubject, address: identity.address,
                name: identity.name,
                session: identity.session, hint: identity.idToken)
        }
    }

    /// What every answer of a provider goes through: the attempt, the proof, the account, the code.
    func end(
        attempt key: String, at provider: IdentityProvider, _ visitor: Visitor,
        prove: (ProviderAttempt) async throws -> ProvenIdentity
    ) async -> Reply {
        let attempt: ProviderAttempt
        do {
            guard let browser = ProviderCookie.secret(inCookieHeader: visitor.cookie),
                let found = try await grants.take(
                    key: SecretDigest.of(key), provider: provider.name, browser: SecretDigest.of(browser),
                    now: surroundings.now())
            else {
                record(.refused, reason: "an answer of a provider to no login of this browser")
                return refusalPage(
                    "This sign-in was not begun in this browser, was used already, or took too long.",
                    status: .forbidden)
            }
            attempt = found
        } catch {
            recordFailure(error)
            return refusalPage("The service has a problem of its own.", status: .internalServerError)
        }
        // The client may have been taken out of the accounts meanwhile.
        guard let form = try? FormParameters(parsing: Array(attempt.request.utf8)),
            case .login(let request) = AuthorizationRequest.judge(
                form, accounts: accounts.accounts, issuer: settings.issuer)
        else { return refusalPage("The application that sent you here is not known to this service any more.") }
        do {
            let identity = try await prove(attempt)
            let user = try await account(of: identity, at: provider)
            metrics.counter(.providerSignIns, [provider.name, "succeeded"]).increment()
            return await finishLogin(
                request, user: user, credential: provider.credential,
                session: ProviderSession(
                    provider: provider.name, subject: identity.sessionSubject, session: identity.session,
                    hint: identity.hint))
        } catch {
            recordProvider(error, provider)
            let refusal =
                (error as? ProviderRefusal)?.answer
                ?? OAuthError(.accessDenied, "the sign-in service of the domain gave no answer that counts")
            return .redirect(request.location(refusing: refusal, issuer: settings.issuer))
        }
    }

    /// Why somebody who signed in at a provider, or did not, gets no code.
    struct ProviderRefusal: Error, Equatable {
        enum Reason: String, CaseIterable {
            case declined = "provider-declined"
            case unreadable = "provider-answer-unreadable"
            case replayed = "provider-answer-replayed"
            case addressMissing = "provider-address-missing"
            case addressForeign = "provider-address-foreign"
            case addressTaken = "provider-address-taken"
            case accountUnknown = "provider-account-unknown"
            case accountDisabled = "provider-account-disabled"
        }

        let reason: Reason
        let detail: StaticString
        var user: String?

        init(_ reason: Reason, detail: StaticString = "", user: String? = nil) {
            self.reason = reason
            self.detail = detail
            self.user = user
        }

        static func == (left: ProviderRefusal, right: ProviderRefusal) -> Bool { left.reason == right.reason }

        /// What the client and the user hear.
        var answer: OAuthError {
            switch reason {
            case .declined: OAuthError(.accessDenied, "the sign-in was declined at the sign-in service of the domain")
            case .unreadable, .replayed:
                OAuthError(.accessDenied, "the sign-in service of the domain gave no answer that counts")
            case .addressMissing:
                OAuthError(.accessDenied, "the sign-in service of the domain gave no verified e-mail address")
            case .addressForeign:
                OAuthError(.accessDenied, "the sign-in service of the domain named an address that is not its own")
            case .addressTaken:
                OAuthError(.accessDenied, "the e-mail address belongs to another account of the sign-in service")
            case .accountUnknown, .accountDisabled: OAuthError(.accessDenied, "there is no active account here")
            }
        }
    }
}

/// What a provider vouches for, whatever its protocol.
struct ProvenIdentity: Sendable, Equatable {
    /// Stable there, and so what an account is linked with.
    let subject: String
    /// What a logout there names.
    let sessionSubject: String
    let address: String?
    let name: String?
    let session: String?
    let hint: String?
}

/// Ties a login at a provider to the browser in which it began: nobody can finish his own login in another's browser.
///
/// A cookie of its own: the answer of a SAML provider is a form that another site posts, with which browsers send cookies
/// of `SameSite=None` only. It opens nothing by itself.
enum ProviderCookie {
    static let name = "__Host-hds-provider"

    static func secret(inCookieHeader header: String?) -> String? {
        CrossSiteGuard.secret(named: name, inCookieHeader: header)
    }

    static func setCookie(_ secret: String) -> String {
        "\(name)=\(secret); Path=/; Max-Age=\(AuthorizationService.attemptLifetime); Secure; HttpOnly; SameSite=None"
    }
}
