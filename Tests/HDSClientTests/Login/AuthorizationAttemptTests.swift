import Diagnostics
import Testing
import WireText

@testable import HDSClient

@Suite("The authorization code flow")
struct AuthorizationAttemptTests {
    static let issuer = "https://auth.example.com"
    let attempt: AuthorizationAttempt

    init() throws {
        attempt = try AuthorizationAttempt(
            server: AuthorizationServer(metadata: Self.metadata(), issuer: Self.issuer), clientID: "hds-cli",
            redirectURI: "http://127.0.0.1:8400/callback", loginHint: "alice@example.com")
    }

    static func metadata(
        issuer: String = issuer, token: String = issuer + "/token", methods: String = "[\"S256\"]"
    ) -> [UInt8] {
        Array(
            """
            {"issuer":"\(issuer)","authorization_endpoint":"\(Self.issuer)/authorize","token_endpoint":"\(token)",
            "revocation_endpoint":"\(Self.issuer)/revoke","jwks_uri":"\(Self.issuer)/jwks.json",
            "code_challenge_methods_supported":\(methods)}
            """.utf8)
    }

    @Test("The challenge of RFC 7636, appendix B, and verifiers of 43 characters that are never the same")
    func proofKey() throws {
        let key = ProofKey(verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
        #expect(key.challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
        let (one, two) = (try ProofKey.random(), try ProofKey.random())
        #expect(one.verifier.utf8.count == 43)
        #expect(one.verifier != two.verifier)
    }

    @Test("The URL carries what was fixed, and the address as a hint")
    func url() throws {
        let address = try #require(WebAddress(attempt.url))
        #expect(address.origin == Self.issuer)
        let parameters = try #require(FormText.decode(address.query ?? ""))
        #expect(
            parameters == [
                "response_type": "code", "client_id": "hds-cli", "redirect_uri": "http://127.0.0.1:8400/callback",
                "code_challenge": attempt.proof.challenge, "code_challenge_method": "S256", "state": attempt.state,
                "login_hint": "alice@example.com",
            ])
        #expect(!attempt.url.contains(attempt.proof.verifier))
    }

    private func verdict(_ location: String) -> DiagnosedError.Code? {
        code { _ = try attempt.code(fromRedirect: location) }
    }

    @Test("The code comes out of the redirect that belongs to this login")
    func redirect() throws {
        let good =
            "http://127.0.0.1:8400/callback?code=abc%2B&state=\(attempt.state)&iss=\(FormText.encode(Self.issuer))"
        #expect(try attempt.code(fromRedirect: good) == "abc+")
        #expect(try attempt.code(fromQuery: "code=x&state=\(attempt.state)") == "x")
    }

    @Test("A redirect to elsewhere, of another login, of another server, or without a code is refused")
    func foreignRedirects() {
        let state = attempt.state
        for location in [
            "https://evil.example/callback?code=a&state=\(state)",
            "http://127.0.0.1:8401/callback?code=a&state=\(state)",
            "http://127.0.0.1:8400/callback/x?code=a&state=\(state)", "http://127.0.0.1:8400/callback",
            "http://127.0.0.1:8400/callback?code=a", "http://127.0.0.1:8400/callback?code=a&state=\(state)x",
            "http://127.0.0.1:8400/callback?code=a&state=\(state)&iss=https%3A%2F%2Fevil.example",
            "http://127.0.0.1:8400/callback?code=a&code=b&state=\(state)",
            "http://127.0.0.1:8400/callback?state=\(state)",
            "http://127.0.0.1:8400/callback?code=&state=\(state)",
            "http://127.0.0.1:8400/callback?code=%zz&state=\(state)", "",
        ] {
            #expect(verdict(location) == .loginRedirect, "\(location)")
        }
    }

    @Test("The server's refusal is told, without control characters of its text")
    func refusal() {
        let location =
            "http://127.0.0.1:8400/callback?error=access_denied&error_description=no%1B%5B31m&state=\(attempt.state)"
        do {
            _ = try attempt.code(fromRedirect: location)
            Issue.record("accepted")
        } catch {
            #expect(error.code == .loginRefused)
            #expect(error.found == "access_denied: no?[31m")
        }
    }

    @Test("A login form that changes what was asked for is refused")
    func changedForm() throws {
        func page(_ name: String, _ value: String) -> [UInt8] {
            Array(
                "<form method=post><input type=hidden name=\(name) value=\"\(value)\"><input name=e><input type=password name=p></form>"
                    .utf8)
        }
        try attempt.check(LoginForm(page: page("state", attempt.state)))
        try attempt.check(LoginForm(page: page("csrf", "whatever")))
        for name in ["state", "redirect_uri", "client_id", "code_challenge", "code_challenge_method", "response_type"] {
            #expect(code { try attempt.check(LoginForm(page: page(name, "other"))) } == .loginPage, "\(name)")
        }
    }

    @Test("Metadata of another issuer, with endpoints elsewhere or without PKCE are refused")
    func metadata() {
        func verdict(_ metadata: [UInt8]) -> DiagnosedError.Code? {
            code { _ = try AuthorizationServer(metadata: metadata, issuer: Self.issuer) }
        }
        #expect(verdict(Self.metadata()) == nil)
        #expect(verdict(Self.metadata(issuer: Self.issuer + "/")) == .loginRefused)
        #expect(verdict(Self.metadata(token: "https://evil.example/token")) == .loginRefused)
        #expect(verdict(Self.metadata(methods: "[\"plain\"]")) == .loginRefused)
        #expect(verdict(Self.metadata(methods: "[]")) == .loginRefused)
        for text in ["", "[]", "{}"] { #expect(verdict(Array(text.utf8)) == .loginRefused) }
    }

    @Test("Cookies of the page go with the form, whatever attributes they have")
    func cookies() {
        #expect(CookieJar(setBy: []).header == nil)
        let jar = CookieJar(setBy: [
            "__Host-hds-login=abc; Path=/; Secure; HttpOnly", " a = b ;Max-Age=1", "a=c", "broken", "=x",
        ])
        #expect(jar.header == "__Host-hds-login=abc; a=c")
        #expect(CookieJar(setBy: ["a=b\r\nX: y", "c=d,e"]).header == nil)
    }
}

@Suite("Token answers")
struct TokenAnswerTests {
    let now = Timestamp.now()

    private func answer(_ json: String, status: Int = 200) -> DiagnosedError.Code? {
        code { _ = try TokenAnswer(status: status, body: Array(json.utf8), now: now) }
    }

    private let good = """
        {"access_token":"cloud-1","kms_access_token":"kms-1","token_type":"Bearer","expires_in":3600,
        "refresh_token":"refresh-1","scope":"a","user":{"id":"A11CE000-0000-4000-8000-000000000001",
        "email":"alice@example.com","name":"Alice"}}
        """

    @Test("Both tokens, the refresh token, the life and the user are taken")
    func whole() throws {
        let answer = try TokenAnswer(status: 200, body: Array(good.utf8), now: now)
        #expect(answer.tokens.cloud.reveal { $0 } == "cloud-1")
        #expect(answer.tokens.kms.reveal { $0 } == "kms-1")
        #expect(answer.tokens.refresh?.reveal { $0 } == "refresh-1")
        #expect(answer.tokens.expires == now.adding(seconds: 3600))
        #expect(answer.account.id == "a11ce000-0000-4000-8000-000000000001")
        #expect(answer.tokens.isFresh(at: now.adding(seconds: 3509)))
        #expect(!answer.tokens.isFresh(at: now.adding(seconds: 3510)))
        #expect(!"\(answer)".contains("kms-1"))
    }

    @Test("An answer with a part missing or malformed is refused")
    func malformed() {
        for (part, other) in [
            ("\"access_token\"", "\"x\""), ("\"kms_access_token\"", "\"x\""), ("\"Bearer\"", "\"mac\""),
            ("3600", "0"), ("3600", "\"3600\""), ("3600", "99999999999"), ("\"user\"", "\"x\""),
            ("A11CE000-0000-4000-8000-000000000001", "1"), ("cloud-1", "a b"), ("kms-1", ""), ("refresh-1", "a\\nb"),
            ("alice@example.com", ""),
        ] {
            #expect(answer(good.replacing(part, with: other)) == .tokenRefused, "\(part)")
        }
        for text in ["", "[]", "null"] { #expect(answer(text) == .tokenRefused) }
    }

    @Test("A refusal is the user's, a broken answer the server's")
    func refusal() {
        do {
            _ = try TokenAnswer(
                status: 400, body: Array("{\"error\":\"invalid_grant\",\"error_description\":\"unknown\"}".utf8),
                now: now)
        } catch {
            #expect(error.fault == .client)
            #expect(error.found == "400 invalid_grant: unknown")
        }
        do { _ = try TokenAnswer(status: 200, body: [], now: now) } catch { #expect(error.fault == .peer) }
    }
}
