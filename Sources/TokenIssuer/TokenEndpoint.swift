import Diagnostics
import DomainPolicy
import HTTPTypes
import JOSESignature
import WireText

/// The token endpoint (RFC 6749, section 3.2), and what the endpoints for clients have in common.
///
/// A refusal tells the client the code of the standard and no more than it needs; the journal gets the precise reason.
extension AuthorizationService {
    /// `POST /token`
    package func token(body: [UInt8], visitor: Visitor) async -> Reply {
        do {
            let form = try Self.form(body, visitor)
            switch try form.required("grant_type") {
            case "authorization_code": return try await exchangeCode(form, visitor)
            case "refresh_token": return try await refresh(form, visitor)
            case "client_credentials": return try await serviceToken(form, visitor)
            case Self.tokenExchange: return try await assertion(form, visitor)
            default:
                throw OAuthError(
                    .unsupportedGrantType,
                    "grant_type has to be authorization_code, refresh_token, client_credentials or token-exchange")
            }
        } catch {
            return refusal(error)
        }
    }

    // MARK: - Grants

    private func exchangeCode(_ form: FormParameters, _ visitor: Visitor) async throws -> Reply {
        let client = try publicClient(form, visitor)
        let code = try form.required("code")
        let presented = AuthorizationCode.Presentation(
            client: client.id, redirect: try form.required("redirect_uri"),
            verifier: try form.required("code_verifier"))
        let now = surroundings.now()
        let next = try secret()
        let (accounts, providers) = (accounts.accounts, providers)
        let outcome = try await grants.redeem(
            codeDigest: SecretDigest.of(code), presented: presented, refreshDigest: SecretDigest.of(next),
            refreshExpires: now.adding(seconds: settings.lifetimes.refreshToken), now: now,
            mayGoOn: { Self.user(of: $0, accounts, providers) != nil })
        switch outcome {
        case .granted(let grant):
            return try await userTokens(
                grant, scope: grant.scope, refreshToken: next, accounts, now, name: "authorization_code")
        case .replayed(let grant):
            recordReuse(grant, "authorization code used twice")
            throw OAuthError(.invalidGrant, "the code was used before: all tokens that came from it are ended")
        case .refused(let refusal):
            record(Loggable(refusal), client: client.id)
            throw OAuthError(.invalidGrant, "the code is not valid for this request")
        }
    }

    private func refresh(_ form: FormParameters, _ visitor: Visitor) async throws -> Reply {
        let client = try publicClient(form, visitor)
        let token = try form.required("refresh_token")
        var narrowed: [String]?
        if let text = try form.optional("scope") {
            guard let names = Scope.parse(text) else { throw OAuthError(.invalidScope, "the scope is malformed") }
            narrowed = names
        }
        let now = surroundings.now()
        let next = try secret()
        let (accounts, providers) = (accounts.accounts, providers)
        let wanted = narrowed
        let outcome = try await grants.rotate(
            digest: SecretDigest.of(token), client: client.id, nextDigest: SecretDigest.of(next),
            nextExpires: now.adding(seconds: settings.lifetimes.refreshToken), now: now,
            grace: settings.lifetimes.refreshGrace
        ) { grant in
            if Self.user(of: grant, accounts, providers) == nil { return .accountChanged }
            return wanted?.allSatisfy(grant.scope.contains) == false ? .scopeExceeded : nil
        }
        switch outcome {
        case .granted(let grant):
            return try await userTokens(
                grant, scope: wanted ?? grant.scope, refreshToken: next, accounts, now, name: "refresh_token")
        case .reused(let grant):
            recordReuse(grant, "refresh token used twice")
            throw OAuthError(.invalidGrant, "the refresh token was used before: sign in again")
        case .refused(.scopeExceeded):
            record(Loggable(RefreshToken.Refusal.scopeExceeded), client: client.id)
            throw OAuthError(.invalidScope, "the scope is more than was granted")
        case .refused(let refusal):
            record(Loggable(refusal), client: client.id)
            if try await grants.isWiped(digest: SecretDigest.of(token), client: client.id, now: now) {
                throw OAuthError(.invalidGrant, "the login was ended, and the client is to be wiped", ordersWipe: true)
            }
            throw OAuthError(.invalidGrant, "the refresh token is not valid: sign in again")
        }
    }

    private func serviceToken(_ form: FormParameters, _ visitor: Visitor) async throws -> Reply {
        let service = try await authenticatedService(form, visitor)
        guard let audience = Audience(rawValue: try form.required("audience")),
            let allowed = service.audiences[audience]
        else {
            record("service token for an audience that is not allowed", client: service.id)
            throw OAuthError(.invalidTarget, "the audience is unknown or not allowed for this client")
        }
        var scope = allowed
        if let text = try form.optional("scope") {
            guard let names = Scope.parse(text), names.allSatisfy(allowed.contains) else {
                record("service token with a scope that is not allowed", client: service.id)
                throw OAuthError(.invalidScope, "the scope is malformed or not allowed for this client and audience")
            }
            scope = names
        }
        let now = surroundings.now()
        let token = try await issue(
            [tokens.token(service: service, scope: scope, audience: audience, id: try identifier(), now: now)],
            person: nil, formats: service.tokenFormats, now: now)[0]
        metrics.counter(.tokens, ["client_credentials", audience.rawValue]).increment()
        var json = JSONWriter()
        json.beginObject()
        json.member("access_token", token)
        json.member("token_type", "Bearer")
        json.member("expires_in", tokens.lifetime)
        if !scope.isEmpty { json.member("scope", scope.joined(separator: " ")) }
        json.endObject()
        return .secretJSON(.ok, json.bytes())
    }

    /// The two tokens of a user, with what the client wants to show about him.
    private func userTokens(
        _ grant: Grant, scope: [String], refreshToken: String, _ accounts: Accounts, _ now: Timestamp, name: String
    ) async throws -> Reply {
        guard let user = Self.user(of: grant, accounts, providers) else {
            throw OAuthError(.invalidGrant, "the account is not active")
        }
        let members = [("access_token", Audience.cloud), ("kms_access_token", .kms)]
        let client = accounts.client(id: grant.client)
        let marked =
            scope.filter { $0 != Scope.integration }
            + (client?.isIntegration ?? false ? [Scope.integration] : [])
        let texts = try await issue(
            try members.map { _, audience in
                tokens.token(
                    user: user, grant: grant, scope: marked, audience: audience, id: try identifier(), now: now)
            }, person: user, formats: client?.tokenFormats ?? [:], now: now)
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        for ((member, audience), text) in zip(members, texts) {
            json.member(member, text)
            metrics.counter(.tokens, [name, audience.rawValue]).increment()
        }
        json.member("token_type", "Bearer")
        json.member("expires_in", tokens.lifetime)
        json.member("refresh_token", refreshToken)
        json.member("scope", scope.joined(separator: " "))
        // An integration runs on a server of its own.
        if let policy = settings.clientPolicy, client?.isIntegration != true {
            json.name("client_policy")
            policy.write(to: &json)
        }
        json.name("user")
        json.beginObject()
        json.member("id", user.id)
        json.member("email", user.email)
        json.member("name", user.name)
        json.endObject()
        json.endObject()
        return .secretJSON(.ok, json.bytes())
    }

    /// The user of a grant, while the account is what it was at login.
    static func user(of grant: Grant, _ accounts: Accounts, _ providers: IdentityProviders) -> UserAccount? {
        guard let user = accounts.user(id: grant.user), providers.credential(of: user) == grant.credential else {
            return nil
        }
        return user
    }

    // MARK: - Clients

    static func form(_ body: [UInt8], _ visitor: Visitor) throws(OAuthError) -> FormParameters {
        guard visitor.sendsForm else {
            throw OAuthError(.invalidRequest, "the body has to be application/x-www-form-urlencoded")
        }
        do { return try FormParameters(parsing: body) } catch {
            throw OAuthError(.invalidRequest, "the body is malformed: \(error.reason)")
        }
    }

    /// A client that names itself and proves nothing: what it holds (code and verifier, refresh token) is the proof.
    func publicClient(_ form: FormParameters, _ visitor: Visitor) throws(OAuthError) -> ClientRegistration {
        guard visitor.authorization == nil else {
            throw OAuthError(.invalidClient, "clients that act for users have no secret: send client_id in the body")
        }
        let id = try form.required("client_id")
        guard let client = accounts.accounts.client(id: id) else {
            if accounts.accounts.service(id: id) != nil {
                throw OAuthError(.unauthorizedClient, "services get tokens with grant_type=client_credentials only")
            }
            throw OAuthError(.invalidClient, "the client is unknown")
        }
        guard !client.isBlocked else {
            record("client-blocked", client: client.id)
            throw OAuthError(.unauthorizedClient, "the client is blocked by the administrator of this service")
        }
        return client
    }

    /// HTTP Basic by RFC 6749, section 2.3.1: id and secret are form-encoded before they are joined.
    func authenticatedService(_ form: FormParameters, _ visitor: Visitor) async throws -> ServiceAccount {
        guard let (id, secret) = BasicCredential.parse(visitor.authorization) else {
            throw OAuthError(.invalidClient, "client authentication by HTTP Basic is required")
        }
        if let named = try form.optional("client_id"), named != id {
            throw OAuthError(.invalidRequest, "client_id is not that of the Authorization header")
        }
        let now = surroundings.now()
        if let known = accounts.accounts.service(id: id), !known.isDisabled, provenSecrets.isProven(secret, of: known) {
            return known
        }
        let pass: AttemptGate.Pass
        switch gate.enter(account: "service " + id, address: visitor.address, now: now) {
        case .wait(let seconds):
            record("too many attempts for a service", client: nil)
            throw OAuthError(.temporarilyUnavailable, "too many attempts", retryAfter: seconds)
        case .pass(let granted): pass = granted
        }
        let service = accounts.accounts.service(id: id)
        let isRight: Bool
        do {
            let hash = service.flatMap { $0.isDisabled ? nil : $0.secretHash }
            isRight = try await passwords.isRight(secret, hash: hash)
        } catch {
            gate.giveBack(pass, now: surroundings.now())
            throw OAuthError(.temporarilyUnavailable, "too many requests at once", retryAfter: 5)
        }
        guard let service, isRight else {
            record("wrong client id or secret", client: service?.id)
            throw OAuthError(.invalidClient, "client id or secret is wrong")
        }
        gate.succeeded(pass, now: surroundings.now())
        provenSecrets.remember(secret, of: service)
        return service
    }

    // MARK: - What the journal hears

    func refusal(_ error: any Error) -> Reply {
        if let error = error as? OAuthError { return .error(error) }
        recordFailure(error)
        return .error(OAuthError(.serverError, "the service has a problem of its own, try again later"))
    }

    func record(_ reason: Loggable, client: String?) {
        events?.record(.tokenRefused, [.reason: reason, .clientID: client.map { Loggable(reviewed: $0) }])
    }

    func recordReuse(_ grant: Grant, _ what: Loggable) {
        events?.record(
            .refreshTokenReused,
            [.reason: what, .subject: Self.pseudonym(grant.user), .clientID: Loggable(reviewed: grant.client)])
    }
}
