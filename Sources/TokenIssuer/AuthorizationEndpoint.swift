import Diagnostics
import HTTPTypes
import WireText

/// The authorization endpoint (RFC 6749, section 3.1): the login page and what it sends.
///
/// A password is looked at only for a valid request of a known client, from a page that this service gave to the same
/// browser, within the limits on guessing. Then the answer for a wrong password, an unknown address and a disabled
/// account is the same text after the same work.
extension AuthorizationService {
    /// `GET /authorize`
    package func openLogin(query: [UInt8], visitor: Visitor) -> Reply {
        let form: FormParameters
        do { form = try FormParameters(parsing: query) } catch {
            return refusalPage("The request is malformed: \(error.reason).")
        }
        switch AuthorizationRequest.judge(form, accounts: accounts.accounts, issuer: settings.issuer) {
        case .refusedByPage(let reason): return refusalPage(reason)
        case .refusedByRedirect(let location, _): return .redirect(location)
        case .login(let request):
            let email = request.loginHint ?? ""
            // Whose address is known and has no provider need not be asked for it once more.
            let step: Pages.Step? =
                providers.isEmpty || email.isEmpty || providers.responsible(for: email) != nil ? nil : .password
            return loginPage(.ok, request, email: email, notice: nil, visitor: visitor, step: step)
        }
    }

    /// `POST /authorize`
    package func submitLogin(body: [UInt8], visitor: Visitor) async -> Reply {
        guard visitor.sendsForm, let form = try? FormParameters(parsing: body) else {
            return refusalPage("The form did not arrive in a readable way.")
        }
        let request: AuthorizationRequest
        switch AuthorizationRequest.judge(form, accounts: accounts.accounts, issuer: settings.issuer) {
        case .refusedByPage(let reason): return refusalPage(reason)
        case .refusedByRedirect(let location, _): return .redirect(location)
        case .login(let valid): request = valid
        }
        guard let email = try? form.value("email") ?? "", let password = try? form.value("password") ?? "",
            let token = try? form.value("csrf") ?? ""
        else { return refusalPage("The form did not arrive in a readable way.") }
        guard isFromOwnPage(token, request, visitor) else {
            record(.refused, reason: "login form without the token of its page")
            return loginPage(.forbidden, request, email: "", notice: .expired, visitor: visitor)
        }
        // Before a password is looked at: whose sign-in is at a provider has none here.
        if let provider = providers.responsible(for: email) {
            return await beginProviderLogin(request, provider, email: email, visitor: visitor)
        }
        if !providers.isEmpty, password.isEmpty, !email.isEmpty {
            return loginPage(.ok, request, email: email, notice: nil, visitor: visitor, step: .password)
        }

        let now = surroundings.now()
        let pass: AttemptGate.Pass
        switch gate.enter(account: email, address: visitor.address, now: now) {
        case .wait(let seconds):
            record(.limited, reason: "too many attempts")
            var reply = loginPage(
                .tooManyRequests, request, email: email, notice: .tooManyAttempts(seconds: seconds), visitor: visitor)
            reply.headers[.retryAfter] = String(seconds)
            return reply
        case .pass(let granted): pass = granted
        }
        let user = accounts.accounts.user(email: email)
        let isRight: Bool
        do {
            let hash = user.flatMap { $0.isDisabled || !$0.hasPassword ? nil : $0.passwordHash }
            isRight = try await passwords.isRight(password, hash: hash)
        } catch {
            gate.giveBack(pass, now: surroundings.now())
            record(.limited, reason: "too many sign-ins at once")
            var reply = loginPage(.serviceUnavailable, request, email: email, notice: .busy, visitor: visitor)
            reply.headers[.retryAfter] = "5"
            return reply
        }
        guard let user, isRight else {
            record(.refused, reason: "wrong address or password", user: user)
            var reply = loginPage(.unauthorized, request, email: email, notice: .wrongPassword, visitor: visitor)
            // RFC 9110 wants a challenge with every 401; this scheme opens no dialogue in a browser.
            reply.headers[.wwwAuthenticate] = "Form realm=\"hds-auth\""
            return reply
        }
        gate.succeeded(pass, now: surroundings.now())
        guard let hash = user.passwordHash else { return refusalPage("There is no password here.") }
        return await finishLogin(request, user: user, credential: SecretDigest.of(hash), session: nil)
    }

    /// - Parameters:
    ///   - credential: what the login was proved with.
    ///   - session: where it came from, when a provider vouches for it.
    func finishLogin(
        _ request: AuthorizationRequest, user: UserAccount, credential: String, session: ProviderSession?
    ) async -> Reply {
        do {
            let now = surroundings.now()
            let code = try secret()
            try await grants.insert(
                AuthorizationCode(
                    digest: SecretDigest.of(code), redirect: request.redirect.text, challenge: request.challenge,
                    expires: now.adding(seconds: settings.lifetimes.code),
                    grant: Grant(
                        family: try identifier(), user: user.id, client: request.client.id, scope: request.scope,
                        credential: credential, signedIn: now,
                        expires: now.adding(seconds: settings.lifetimes.login))), session: session)
            record(
                .succeeded, reason: session == nil ? "right password" : "signed in at a provider", user: user,
                client: request.client)
            return .redirect(request.location(code: code, issuer: settings.issuer))
        } catch {
            recordFailure(error)
            let refusal = OAuthError(.serverError, "the login could not be kept, try again later")
            return .redirect(request.location(refusing: refusal, issuer: settings.issuer))
        }
    }

    // MARK: -

    private func isFromOwnPage(_ token: String, _ request: AuthorizationRequest, _ visitor: Visitor) -> Bool {
        // Browsers tell where a form was; where they do not, the cookie decides alone.
        guard visitor.fetchSite.map({ $0 == "same-origin" || $0 == "none" }) ?? true else { return false }
        guard let secret = CrossSiteGuard.secret(inCookieHeader: visitor.cookie) else { return false }
        return CrossSiteGuard.isValid(token, secret: secret, request: request)
    }

    /// A page with the form; it keeps the cookie of a page that is already open in this browser.
    /// - Parameter step: nil for the first: only the address where providers are configured.
    func loginPage(
        _ status: HTTPResponse.Status, _ request: AuthorizationRequest, email: String, notice: Pages.Notice?,
        visitor: Visitor, step: Pages.Step? = nil
    ) -> Reply {
        let step = step ?? (providers.isEmpty ? .both : notice?.isOfPassword == true ? .password : .address)
        let secret: String
        do {
            secret = try CrossSiteGuard.secret(inCookieHeader: visitor.cookie) ?? self.secret()
        } catch {
            recordFailure(error)
            return refusalPage("The service has a problem of its own.", status: .internalServerError)
        }
        let html = Pages.login(
            request, domain: settings.domain, csrf: CrossSiteGuard.token(secret: secret, request: request),
            email: String(email.prefix(AuthorizationRequest.maximumHintLength)), notice: notice,
            step: step)
        var reply = Reply.page(status, html, formTarget: request.redirect)
        reply.headers[.setCookie] = CrossSiteGuard.setCookie(secret)
        return reply
    }

    func refusalPage(_ reason: String, status: HTTPResponse.Status = .badRequest) -> Reply {
        .page(status, Pages.refusal(reason: reason, domain: settings.domain))
    }

    enum Outcome: String {
        case succeeded
        case refused
        case limited
    }

    func record(
        _ outcome: Outcome, reason: StaticString, user: UserAccount? = nil, client: ClientRegistration? = nil
    ) {
        metrics.counter(.signIns, [outcome.rawValue]).increment()
        events?.record(
            outcome == .succeeded ? .signedIn : .signInRefused,
            [
                .reason: Loggable(reviewed: "\(reason)"), .subject: user.map { Self.pseudonym($0.id) },
                .clientID: client.map { Loggable(reviewed: $0.id) },
            ])
    }
}
