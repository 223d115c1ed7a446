import Cryptography
import Diagnostics
import SecretMemory
import WireText

/// One run of the authorization code flow (RFC 6749, section 4.1; PKCE; RFC 8252 for native clients; RFC 9207).
///
/// Pure: it makes the URL for the user's agent and judges the redirect that comes back. What it expects there was fixed
/// before anything was sent: `state`, the issuer, and the redirect URI itself.
struct AuthorizationAttempt: Sendable {
    let issuer: String
    let authorizationEndpoint: WebAddress
    let clientID: String
    /// `http://127.0.0.1:PORT/callback`
    let redirectURI: String
    let loginHint: String
    let proof: ProofKey
    let state: String

    init(server: AuthorizationServer, clientID: String, redirectURI: String, loginHint: String) throws {
        issuer = server.issuer
        authorizationEndpoint = server.authorizationEndpoint
        self.clientID = clientID
        self.redirectURI = redirectURI
        self.loginHint = loginHint
        proof = try ProofKey.random()
        state = Base64URL.encode(try RandomBytes.bytes(32))
    }

    private var fixed: [(name: String, value: String)] {
        [
            ("response_type", "code"), ("client_id", clientID), ("redirect_uri", redirectURI),
            ("code_challenge", proof.challenge), ("code_challenge_method", "S256"), ("state", state),
        ]
    }

    /// Where the user's agent begins.
    var url: String {
        let separator = authorizationEndpoint.query == nil ? "?" : "&"
        return authorizationEndpoint.description + separator + FormText.encode(fixed + [("login_hint", loginHint)])
    }

    /// Whether the hidden fields of a login form still say what was asked for, as far as they say it again.
    func check(_ form: LoginForm) throws(DiagnosedError) {
        for (name, value) in fixed {
            for field in form.hidden where field.name == name && field.value != value {
                throw DiagnosedError(
                    .loginPage, fault: .peer, "the login page changed the request", expected: "'\(name)' as it was sent"
                )
            }
        }
    }

    /// The authorization code in a redirect of the user's agent.
    func code(fromRedirect location: String) throws(DiagnosedError) -> String {
        guard location.hasPrefix(redirectURI + "?") else {
            throw Self.refused("it leads elsewhere", expected: redirectURI, found: WebAddress(location)?.origin)
        }
        return try code(fromQuery: String(location.dropFirst(redirectURI.utf8.count + 1)))
    }

    /// The authorization code in the query of a redirect.
    func code(fromQuery query: String) throws(DiagnosedError) -> String {
        guard query.utf8.count <= 8192, let parameters = FormText.decode(query) else {
            throw Self.refused("its query is malformed")
        }
        guard let state = parameters["state"], constantTimeEqual(Array(state.utf8), Array(self.state.utf8)) else {
            throw Self.refused(
                "it does not belong to this login", expected: "the 'state' that was sent",
                hint: "begin again; do not follow login links that others send you")
        }
        guard parameters["iss"] == nil || parameters["iss"] == issuer else {
            throw Self.refused("another server answered", expected: issuer, found: parameters["iss"]?.loggable)
        }
        if let error = parameters["error"] {
            let description = parameters["error_description"].map { ": \($0.loggable)" } ?? ""
            throw DiagnosedError(
                .loginRefused, fault: .client, "the authorization server refused the login",
                found: error.loggable + description)
        }
        guard let code = parameters["code"], !code.isEmpty, code.utf8.count <= 2048 else {
            throw Self.refused("it has no authorization code")
        }
        return code
    }

    private static func refused(
        _ summary: String, expected: String? = nil, found: String? = nil, hint: String? = nil
    ) -> DiagnosedError {
        DiagnosedError(
            .loginRedirect, fault: .peer, "the redirect after the login is refused: \(summary)", expected: expected,
            found: found, hint: hint)
    }
}

/// What the client needs to know of an authorization server (RFC 8414), checked against the pinned issuer.
package struct AuthorizationServer: Sendable, Equatable {
    package let issuer: String
    let authorizationEndpoint: WebAddress
    let tokenEndpoint: WebAddress
    let revocationEndpoint: WebAddress?
    let wipedEndpoint: WebAddress?
    /// Whether it gives assertions for other organisations' KMSs (RFC 8693).
    let exchangesTokens: Bool

    /// The issuer in the document has to be the pinned one, literally, and every endpoint has to lie at its origin.
    init(metadata: [UInt8], issuer: String) throws(DiagnosedError) {
        let root: JSONNode
        do {
            root = try JSONDocument(metadata, limits: .init(maximumDepth: 6, maximumNodes: 500, maximumBytes: 64 << 10))
                .root
        } catch {
            throw Self.refused("its metadata is not JSON")
        }
        guard root["issuer"]?.string == issuer, let home = WebAddress(issuer) else {
            throw Self.refused(
                "its metadata names another issuer", expected: issuer,
                found: root["issuer"]?.string?.loggable ?? "none")
        }
        func endpoint(_ name: String) throws(DiagnosedError) -> WebAddress? {
            guard let text = root[name]?.string else { return nil }
            guard let address = WebAddress(text), address.origin == home.origin else {
                throw Self.refused("'\(name)' lies elsewhere", expected: "under \(home.origin)", found: text.loggable)
            }
            return address
        }
        guard let authorize = try endpoint("authorization_endpoint"), let token = try endpoint("token_endpoint") else {
            throw Self.refused("its metadata lacks an endpoint", expected: "authorization_endpoint and token_endpoint")
        }
        guard root["code_challenge_methods_supported"]?.strings?.contains("S256") == true else {
            throw Self.refused("it does not support PKCE", expected: "code_challenge_methods_supported with S256")
        }
        self.issuer = issuer
        authorizationEndpoint = authorize
        tokenEndpoint = token
        revocationEndpoint = try endpoint("revocation_endpoint")
        wipedEndpoint = try endpoint("wiped_endpoint")
        exchangesTokens = root["grant_types_supported"]?.strings?.contains(AuthorizationClient.tokenExchange) == true
    }

    private static func refused(_ summary: String, expected: String? = nil, found: String? = nil) -> DiagnosedError {
        DiagnosedError(
            .loginRefused, fault: .peer, "the authorization server can not be used: \(summary)", expected: expected,
            found: found)
    }
}
