import Cryptography
import Diagnostics
package import HTTPClient
import IssuerKeys
import JOSESignature
package import WireText

/// A relying party of one OpenID provider: code flow with PKCE, logout by either side (OpenID Connect Core 1.0,
/// RP-Initiated Logout 1.0, Back-Channel Logout 1.0).
///
/// Any thread. What a login has to remember between its two halves is a value (`PendingLogin`) that the caller keeps,
/// bound to the browser. Time, randomness and transport are injected.
///
/// ```swift
/// let (address, pending) = try await party.begin(hint: "alice@example.com")
/// let person = try await party.finish(code: code, issuer: iss, pending)
/// ```
package final class OIDCRelyingParty: Sendable {
    package let settings: OIDCSettings
    private let documents: ProviderDocuments
    private let transport: ProviderTransport
    private let now: @Sendable () -> Timestamp
    private let random: @Sendable (Int) throws -> [UInt8]

    package convenience init(_ settings: OIDCSettings, client: WebClient) {
        self.init(
            settings,
            transport: { request in
                let answer = try await client.send(
                    WebRequest(
                        method: request.method, url: request.url, headers: request.headers, body: request.body,
                        timeout: .seconds(10), maximumResponseBytes: request.maximumResponseBytes))
                return ProviderAnswer(status: answer.status, body: answer.body)
            })
    }

    package init(
        _ settings: OIDCSettings, transport: @escaping ProviderTransport,
        now: @escaping @Sendable () -> Timestamp = { Timestamp.now() },
        random: @escaping @Sendable (Int) throws -> [UInt8] = { try RandomBytes.bytes($0) }
    ) {
        self.settings = settings
        self.transport = transport
        self.now = now
        self.random = random
        documents = ProviderDocuments(issuer: settings.issuer, transport: transport, now: now)
    }

    /// Whether the provider can be used now: its metadata and keys are there.
    package func check() async throws {
        let held = try await documents.current()
        guard !(try await held.keys.keySet()).keys.isEmpty else {
            throw DiagnosedError(.oidcMetadata, fault: .peer, "the provider publishes no key")
        }
    }

    // MARK: - Login

    /// What a login remembers between its two halves. All of it is secret to everybody but this service.
    package struct PendingLogin: Sendable, Equatable {
        package let state: String
        package let nonce: String
        package let verifier: String

        package init(state: String, nonce: String, verifier: String) {
            self.state = state
            self.nonce = nonce
            self.verifier = verifier
        }
    }

    /// The address to send the browser to (OpenID Connect Core 1.0, section 3.1.2.1).
    package func begin(hint: String?) async throws -> (address: String, pending: PendingLogin) {
        let metadata = try await documents.current().metadata
        let pending = PendingLogin(state: try secret(), nonce: try secret(), verifier: try secret())
        var query = [
            ("response_type", "code"), ("client_id", settings.clientID), ("redirect_uri", settings.redirectURI),
            ("scope", settings.scopes.joined(separator: " ")), ("state", pending.state), ("nonce", pending.nonce),
            ("code_challenge", Base64URL.encode(SHA256.hash(Array(pending.verifier.utf8)))),
            ("code_challenge_method", "S256"),
        ]
        if let hint, !hint.isEmpty { query.append(("login_hint", hint)) }
        if let age = settings.maximumAge { query.append(("max_age", String(age))) }
        return (FormText.appending(query, to: metadata.authorizationEndpoint), pending)
    }

    /// Exchanges the code and believes the ID token, or throws.
    /// - Parameter issuer: `iss` of the answer (RFC 9207), if it had one.
    package func finish(code: String, issuer: String?, _ pending: PendingLogin) async throws -> OIDCIdentity {
        let held = try await documents.current()
        if let issuer {
            guard issuer == settings.issuer else { throw Self.refused("the answer is of another issuer") }
        } else if held.metadata.answersNameIssuer {
            throw Self.refused("the answer does not name its issuer, which this provider's answers do")
        }
        let tokens = try await exchange(code, pending, held.metadata)
        let token = try await verified(tokens.idToken, held)
        try IDTokenRules(settings: settings, now: now()).judge(
            token, nonce: pending.nonce, accessToken: tokens.accessToken)
        var identity = try OIDCIdentity(token, idToken: tokens.idToken, settings)
        if identity.address == nil, let endpoint = held.metadata.userInfoEndpoint, let access = tokens.accessToken {
            try identity.complete(with: try await userInfo(endpoint, access), settings)
        }
        return identity
    }

    private func exchange(
        _ code: String, _ pending: PendingLogin, _ metadata: ProviderMetadata
    ) async throws -> (idToken: String, accessToken: String?) {
        var form = [
            ("grant_type", "authorization_code"), ("code", code), ("redirect_uri", settings.redirectURI),
            ("code_verifier", pending.verifier),
        ]
        var headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json")]
        switch (settings.clientSecret, metadata.clientAuthentication) {
        case (nil, _): form.append(("client_id", settings.clientID))
        case (let secret?, .post):
            form.append(("client_id", settings.clientID))
            form.append(("client_secret", secret.reveal { $0 }))
        case (let secret?, .basic):
            headers.append(("Authorization", FormText.basic(settings.clientID, secret)))
        }
        let answer = try await transport(
            ProviderRequest(
                method: "POST", url: metadata.tokenEndpoint, headers: headers, body: Array(FormText.encode(form).utf8),
                maximumResponseBytes: 256 << 10))
        let root = try? JSONDocument(answer.body).root
        guard answer.status == 200, let root else {
            throw DiagnosedError(
                .oidcRefused, fault: .peer, "the provider gives no tokens for the code", expected: "status 200",
                found: "status \(answer.status), \(ProviderCode.safe(root?["error"]?.string))",
                hint: "check client-id and client-secret, and that the redirect URI is registered there")
        }
        guard let idToken = root["id_token"]?.string else {
            throw Self.refused("the provider's answer has no ID token")
        }
        return (idToken, root["access_token"]?.string)
    }

    /// OpenID Connect Core 1.0, section 5.3: what the ID token does not say.
    private func userInfo(_ endpoint: String, _ token: String) async throws -> JSONNode {
        guard token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw Self.refused("the provider's access token has characters that no header takes")
        }
        let answer = try await transport(
            ProviderRequest(
                method: "GET", url: endpoint,
                headers: [("Authorization", "Bearer " + token), ("Accept", "application/json")], body: [],
                maximumResponseBytes: 64 << 10))
        guard answer.status == 200, let document = try? JSONDocument(answer.body), document.root.kind == .object else {
            throw DiagnosedError(
                .oidcRefused, fault: .peer, "the provider does not say who the user is", expected: "status 200, JSON",
                found: "status \(answer.status)")
        }
        return document.root
    }

    /// Signature, issuer, audience and times; a key that is not known yet is fetched (OpenID Connect Core 1.0, 10.1.1).
    private func verified(_ text: String, _ held: ProviderDocuments.Held) async throws -> JWT {
        let header = try JWS.peekHeader(text)
        var keys = try await held.keys.keySet()
        if !Self.holds(keys, header) { keys = try await held.keys.keySet(refresh: true) }
        let known = keys
        return try JWT.verify(
            text, keys: { try Self.key(in: known, for: $0) }, allowing: ProviderMetadata.algorithms,
            issuer: settings.issuer, audience: settings.clientID, type: nil, readsScope: false, now: now(),
            leeway: settings.leeway)
    }

    private static func holds(_ keys: JWKSet, _ header: JOSEHeader) -> Bool {
        header.kid.map { keys[$0] != nil } ?? true
    }

    /// A header without `kid` means the only key that can have made the signature (Core, section 10.1).
    private static func key(in keys: JWKSet, for header: JOSEHeader) throws -> PublicKey {
        if header.kid != nil { return try keys.verificationKey(for: header) }
        let possible = keys.keys.compactMap { key -> PublicKey? in
            guard let algorithm = SignatureAlgorithm(rawValue: header.alg),
                let found = try? key.verificationKey(for: header), algorithm.suits(found.kind)
            else { return nil }
            return found
        }
        guard possible.count == 1 else {
            throw DiagnosedError.refusedJOSE(
                "the header names no key, and not exactly one fits", expected: "a 'kid'", found: "\(possible.count)")
        }
        return possible[0]
    }

    // MARK: - Logout

    /// Where a browser is sent to be signed out at the provider as well; nil when the provider has no such place.
    package func endSession(idToken: String?, state: String?) async throws -> String? {
        guard let endpoint = try await documents.current().metadata.endSessionEndpoint else { return nil }
        var query = [("client_id", settings.clientID), ("post_logout_redirect_uri", settings.signedOutURI)]
        if let idToken { query.append(("id_token_hint", idToken)) }
        if let state { query.append(("state", state)) }
        return FormText.appending(query, to: endpoint)
    }

    /// A logout token that came from the provider itself (Back-Channel Logout 1.0, section 2.6). Its id has to be kept
    /// by the caller until it has expired, and one that came before refused.
    package func logout(_ text: String) async throws -> LogoutNotice {
        let token = try await verified(text, try await documents.current())
        return try LogoutTokenRules(settings: settings, now: now()).judge(token)
    }

    // MARK: -

    private func secret() throws -> String { Base64URL.encode(try random(32)) }

    private static func refused(_ summary: String) -> DiagnosedError {
        DiagnosedError(.oidcRefused, fault: .peer, summary)
    }
}
