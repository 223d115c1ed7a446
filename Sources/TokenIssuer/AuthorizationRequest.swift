/// A request at the authorization endpoint that may go on to the login page (RFC 6749, section 4.1.1; RFC 7636).
///
/// Judging has two halves, in this order: who asks and whereto the answer goes, where a refusal stays on a page of this
/// service, because redirecting to an unproven URI would be an open redirector (RFC 6749, section 4.1.2.1); then
/// everything else, where the refusal goes back to the client by its redirect URI.
package struct AuthorizationRequest: Sendable, Equatable {
    package let client: ClientRegistration
    package let redirect: RedirectURI
    package let challenge: String
    package let scope: [String]
    package let state: String?
    package let loginHint: String?

    package enum Judgement: Sendable {
        case login(AuthorizationRequest)
        /// Back to the client: the whole URI of the `Location` header.
        case refusedByRedirect(location: String, error: OAuthError)
        /// Nobody to go back to: a page with this explanation.
        case refusedByPage(reason: String)
    }

    static let maximumStateLength = 2048
    static let maximumHintLength = 254

    package static func judge(_ form: FormParameters, accounts: Accounts, issuer: String) -> Judgement {
        let client: ClientRegistration
        let redirect: RedirectURI
        do {
            guard let id = try form.value("client_id") else {
                return .refusedByPage(reason: "The request does not say which application it comes from.")
            }
            guard let known = accounts.client(id: id) else {
                return .refusedByPage(reason: "The application that sent you here is not known to this service.")
            }
            guard !known.isBlocked else {
                return .refusedByPage(
                    reason: "The application that sent you here is blocked by the administrator of this service.")
            }
            client = known
            guard let requested = try form.value("redirect_uri") else {
                return .refusedByPage(reason: "The request does not say where to go after signing in.")
            }
            guard let match = client.redirects.lazy.compactMap({ $0.redirect(for: requested) }).first else {
                return .refusedByPage(
                    reason: "The address to go to after signing in is not one that is registered for this application.")
            }
            redirect = match
        } catch {
            return .refusedByPage(reason: "The request is malformed: \(error.name) came more than once.")
        }

        var state: String?
        do throws(OAuthError) {
            state = try Self.state(form)
            return .login(
                try AuthorizationRequest(form, client: client, redirect: redirect, state: state))
        } catch {
            let location = redirect.appending(
                [("error", error.code.rawValue), ("error_description", error.description)]
                    + (state.map { [("state", $0)] } ?? []) + [("iss", issuer)])
            return .refusedByRedirect(location: location, error: error)
        }
    }

    private init(
        _ form: FormParameters, client: ClientRegistration, redirect: RedirectURI, state: String?
    ) throws(OAuthError) {
        self.client = client
        self.redirect = redirect
        self.state = state
        guard try form.required("response_type") == "code" else {
            throw OAuthError(.unsupportedResponseType, "only response_type=code is supported")
        }
        if let mode = try form.optional("response_mode"), mode != "query" {
            throw OAuthError(.invalidRequest, "only response_mode=query is supported")
        }
        guard let challenge = try form.optional("code_challenge") else {
            throw OAuthError(.invalidRequest, "code challenge required")
        }
        // Without a method the standard means "plain", which is not supported.
        guard try form.optional("code_challenge_method") == ProofKey.method else {
            throw OAuthError(.invalidRequest, "transform algorithm not supported, use code_challenge_method=S256")
        }
        guard ProofKey.isChallenge(challenge) else {
            throw OAuthError(.invalidRequest, "code_challenge is not the base64url form of a SHA-256 digest")
        }
        self.challenge = challenge
        if let text = try form.optional("scope") {
            guard let names = Scope.parse(text), names.allSatisfy(client.scopes.contains) else {
                throw OAuthError(.invalidScope, "the scope is malformed or not allowed for this client")
            }
            scope = names
        } else {
            scope = client.scopes
        }
        let hint = try form.optional("login_hint")
        loginHint = hint.flatMap { $0.utf8.count <= Self.maximumHintLength ? $0 : nil }
    }

    /// RFC 6749, appendix A.5: printable ASCII.
    private static func state(_ form: FormParameters) throws(OAuthError) -> String? {
        guard let state = try form.optional("state") else { return nil }
        guard state.utf8.count <= maximumStateLength, state.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) else {
            throw OAuthError(
                .invalidRequest, "state has to be printable ASCII of at most \(maximumStateLength) characters")
        }
        return state
    }

    /// The parameters of the request once more, in canonical form: hidden fields of the login page.
    package var parameters: [(name: String, value: String)] {
        [
            ("response_type", "code"), ("client_id", client.id), ("redirect_uri", redirect.text),
            ("code_challenge", challenge), ("code_challenge_method", ProofKey.method),
            ("scope", scope.joined(separator: " ")),
        ] + (state.map { [("state", $0)] } ?? [])
    }

    /// The answer for a user who did not (RFC 6749, section 4.1.2.1).
    func location(refusing error: OAuthError, issuer: String) -> String {
        redirect.appending(
            [("error", error.code.rawValue), ("error_description", error.description)]
                + (state.map { [("state", $0)] } ?? []) + [("iss", issuer)])
    }

    /// The answer for a user who signed in (RFC 6749, section 4.1.2; RFC 9207 for `iss`).
    package func location(code: String, issuer: String) -> String {
        redirect.appending([("code", code)] + (state.map { [("state", $0)] } ?? []) + [("iss", issuer)])
    }
}
