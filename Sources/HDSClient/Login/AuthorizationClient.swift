package import Diagnostics
package import HTTPClient
package import WireText

/// Talks to the authorization service of a domain (docs/core-api.md): its documents, the login page, its tokens.
///
/// In the terminal the client is its own user agent: it reads the login page, posts the form and takes the code out of
/// the redirect, which it does not follow. The password goes to the pinned origin and nowhere else.
package struct AuthorizationClient: Sendable {
    let web: WebClient
    let issuer: String
    let clientID: String
    let now: @Sendable () -> Timestamp

    package init(web: WebClient, issuer: String, clientID: String, now: @escaping @Sendable () -> Timestamp) {
        self.web = web
        self.issuer = issuer
        self.clientID = clientID
        self.now = now
    }

    // MARK: - Documents

    package func domainDocument() async throws -> DomainDocument {
        let response = try await send(WebRequest(url: issuer + "/.well-known/hds-domain"))
        guard response.status == 200 else {
            throw DiagnosedError(
                .profileInvalid, fault: .peer, "the authorization service does not describe its domain",
                expected: "status 200", found: "\(response.status)")
        }
        return try DomainDocument(json: response.body)
    }

    package func server() async throws -> AuthorizationServer {
        let response = try await send(WebRequest(url: issuer + "/.well-known/oauth-authorization-server"))
        guard response.status == 200 else {
            throw DiagnosedError(
                .loginRefused, fault: .peer, "the authorization service has no metadata", expected: "status 200",
                found: "\(response.status)")
        }
        return try AuthorizationServer(metadata: response.body, issuer: issuer)
    }

    // MARK: - Login

    /// Where nothing listens: the redirect is read from the answer and never followed.
    private static let unvisitedRedirect = "http://127.0.0.1:8400/callback"

    /// Logs in with e-mail address and password, as the user agent.
    package func login(email: String, password: Redacted<String>) async throws -> TokenAnswer {
        let server = try await server()
        let attempt = try AuthorizationAttempt(
            server: server, clientID: clientID, redirectURI: Self.unvisitedRedirect, loginHint: email)
        let page = try await send(WebRequest(url: attempt.url))
        guard page.status == 200, let address = WebAddress(attempt.url) else {
            if let location = page.header("location"), (300..<400).contains(page.status) {
                _ = try attempt.code(fromRedirect: location)
            }
            throw Self.refused("there is no login page", found: "status \(page.status)")
        }
        let form = try LoginForm(page: page.body)
        try attempt.check(form)
        guard let target = address.resolving(form.action), target.origin == address.origin else {
            throw DiagnosedError(
                .loginPage, fault: .peer, "the login page would send the password elsewhere",
                expected: address.origin, found: form.action.loggable)
        }
        let fields = password.reveal { password in
            FormText.encode(form.hidden + [(form.emailField, email), (form.passwordField, password)])
        }
        var headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Origin", address.origin)]
        let cookies = CookieJar(setBy: page.headers.filter { $0.0.lowercased() == "set-cookie" }.map(\.1))
        if let cookie = cookies.header { headers.append(("Cookie", cookie)) }
        let answer = try await send(
            WebRequest(method: "POST", url: target.description, headers: headers, body: Array(fields.utf8)))
        guard (300..<400).contains(answer.status), let location = answer.header("location") else {
            throw Self.refusal(of: answer)
        }
        return try await redeem(code: try attempt.code(fromRedirect: location), attempt, server)
    }

    func redeem(
        code: String, _ attempt: AuthorizationAttempt, _ server: AuthorizationServer
    ) async throws -> TokenAnswer {
        try await token(
            [
                ("grant_type", "authorization_code"), ("code", code), ("redirect_uri", attempt.redirectURI),
                ("client_id", clientID), ("code_verifier", attempt.proof.verifier),
            ], server)
    }

    // MARK: - Tokens

    /// When no answer came it is asked for once more: the service takes a used refresh token again for a moment.
    package func refresh(_ refresh: Redacted<String>, _ server: AuthorizationServer) async throws -> TokenAnswer {
        let parameters = [
            (name: "grant_type", value: "refresh_token"), ("refresh_token", refresh.reveal { $0 }),
            ("client_id", clientID),
        ]
        let started = now()
        let request = post(server.tokenEndpoint, FormText.encode(parameters))
        do {
            return try answer(try await web.send(request), started)
        } catch let error as DiagnosedError where error.code == .httpConnectionLost || error.code == .httpTimeout {
            return try await token(parameters, server)
        } catch let error as DiagnosedError {
            throw CloudError.passing(error, server: "the authorization service")
        }
    }

    static let tokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"

    /// What the service says about the user to another organisation's KMS, and when that ends; nil when it says nothing to
    /// that one. The refresh token stays as it is.
    func assertion(
        for audience: String, by refresh: Redacted<String>, _ server: AuthorizationServer
    ) async throws -> (text: Redacted<String>, expires: Timestamp)? {
        guard server.exchangesTokens else { return nil }
        let started = now()
        let response = try await send(
            post(
                server.tokenEndpoint,
                FormText.encode([
                    ("grant_type", Self.tokenExchange), ("client_id", clientID),
                    ("subject_token", refresh.reveal { $0 }),
                    ("subject_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), ("audience", audience),
                ])))
        guard response.status == 200 else {
            guard response.status < 500, response.status != 429 else {
                throw DiagnosedError(
                    .cloudUnavailable, fault: .peer, "the authorization service can not answer now",
                    found: "status \(response.status)", hint: "try again in a moment")
            }
            return nil
        }
        let root = try JSONDocument(
            response.body, limits: .init(maximumDepth: 4, maximumNodes: 100, maximumBytes: 64 << 10)
        ).root
        guard let text = root["access_token"]?.string, TokenAnswer.isToken(text),
            let life = root["expires_in"]?.integer,
            (1...86_400).contains(life)
        else {
            throw DiagnosedError(
                .tokenRefused, fault: .peer, "the authorization service gives no usable assertion for \(audience)")
        }
        return (Redacted(text), started.adding(seconds: life))
    }

    /// Returns the address at which a browser ends the login at the provider as well, when one vouched for it.
    @discardableResult
    package func revoke(_ token: Redacted<String>, _ server: AuthorizationServer) async throws -> String? {
        guard let endpoint = server.revocationEndpoint else { return nil }
        let body = FormText.encode([("token", token.reveal { $0 }), ("client_id", clientID)])
        let answer = try await send(post(endpoint, body))
        guard answer.status == 200, let root = try? JSONDocument(answer.body).root,
            let address = root["provider_logout_uri"]?.string, address.utf8.count <= 8192,
            address.hasPrefix("https://") || address.hasPrefix("http://127.0.0.1:")
                || address.hasPrefix("http://localhost:"), address.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else { return nil }
        return address
    }

    /// Says that this client has erased what it kept; the token of the login that ended proves that it is the one.
    /// A service that knows of no such order is told as well: nothing is left to say. Throws what passes.
    func tellWiped(_ token: Redacted<String>, _ server: AuthorizationServer) async throws {
        guard let endpoint = server.wipedEndpoint else { return }
        let body = FormText.encode([("refresh_token", token.reveal { $0 }), ("client_id", clientID)])
        let answer = try await send(post(endpoint, body))
        switch answer.status {
        case 200, 400, 401, 404: return
        default:
            throw DiagnosedError(
                .cloudUnavailable, fault: .peer, "the authorization service can not answer now",
                found: "status \(answer.status)", hint: "try again in a moment")
        }
    }

    private func token(
        _ parameters: [(name: String, value: String)], _ server: AuthorizationServer
    ) async throws -> TokenAnswer {
        let started = now()
        return try answer(try await send(post(server.tokenEndpoint, FormText.encode(parameters))), started)
    }

    private func answer(_ response: WebResponse, _ started: Timestamp) throws -> TokenAnswer {
        guard response.status < 500, response.status != 429 else {
            throw DiagnosedError(
                .cloudUnavailable, fault: .peer, "the authorization service can not answer now",
                found: "status \(response.status)", hint: "try again in a moment")
        }
        return try TokenAnswer(status: response.status, body: response.body, now: started)
    }

    private func post(_ endpoint: WebAddress, _ body: String) -> WebRequest {
        WebRequest(
            method: "POST", url: endpoint.description,
            headers: [("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json")],
            body: Array(body.utf8), timeout: .seconds(15))
    }

    private func send(_ request: WebRequest) async throws -> WebResponse {
        do {
            return try await web.send(request)
        } catch let error as DiagnosedError {
            throw CloudError.passing(error, server: "the authorization service")
        }
    }

    private static func refusal(of response: WebResponse) -> DiagnosedError {
        switch response.status {
        case 401:
            return refused("the e-mail address or the password is not right", found: nil)
        case 429:
            let seconds = response.header("retry-after").flatMap { Int($0) }
            return refused(
                "there were too many attempts", found: nil,
                hint: seconds.map { "wait \($0) seconds and try again" } ?? "wait a while and try again")
        default: return refused("the login page did not lead back here", found: "status \(response.status)")
        }
    }

    private static func refused(_ summary: String, found: String?, hint: String? = nil) -> DiagnosedError {
        DiagnosedError(.loginRefused, fault: .client, "the login failed: \(summary)", found: found, hint: hint)
    }
}

/// The cookies of one page for one following request to the same origin (RFC 6265, as far as that needs it).
struct CookieJar: Sendable {
    private var pairs: [(name: String, value: String)] = []

    init(setBy headers: [String]) {
        for header in headers.prefix(20) {
            let pair = header.prefix { $0 != ";" }.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2 else { continue }
            let name = Self.trim(pair[0])
            let value = Self.trim(pair[1])
            guard !name.isEmpty, name.utf8.count + value.utf8.count <= 4096,
                (name + value).utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: ",") })
            else { continue }
            pairs.removeAll { $0.name == name }
            pairs.append((name, value))
        }
    }

    var header: String? {
        pairs.isEmpty ? nil : pairs.map { "\($0.name)=\($0.value)" }.joined(separator: "; ")
    }

    private static func trim(_ text: Substring) -> String {
        var text = text
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return String(text)
    }
}
