import Testing
import TokenIssuer
import WireText

@Suite("Authorization request")
struct AuthorizationRequestTests {
    private func judge(_ changes: KeyValuePairs<String, String?>) throws -> AuthorizationRequest.Judgement {
        try judge(pairs: TestClient.parameters(changes))
    }

    private func judge(pairs: [(name: String, value: String)]) throws -> AuthorizationRequest.Judgement {
        AuthorizationRequest.judge(
            try FormParameters(parsing: TestClient.bytes(pairs)), accounts: TestWorld.accounts,
            issuer: TestWorld.issuer)
    }

    @Test("A valid request goes on to the login page with everything that was asked")
    func valid() throws {
        guard case .login(let request) = try judge(["login_hint": "alice@example.com"]) else {
            return #expect(Bool(false), "not accepted")
        }
        #expect(request.client.id == "hds-cli")
        #expect(request.redirect.text == TestClient.redirect)
        #expect(request.challenge == TestClient.challenge)
        #expect(request.state == "st-1")
        #expect(request.scope == ["hds"])
        #expect(request.loginHint == "alice@example.com")
    }

    @Test("Its parameters, judged again, are the same request")
    func canonical() throws {
        guard case .login(let request) = try judge(["scope": "hds"]) else { return #expect(Bool(false)) }
        guard case .login(let again) = try judge(pairs: request.parameters) else { return #expect(Bool(false)) }
        #expect(again == request)
    }

    @Test(
        "Without a proven redirect URI the refusal stays here",
        arguments: [
            ["client_id": nil], ["client_id": "unknown"], ["client_id": "hds-kms"], ["client_id": "HDS-CLI"],
            ["redirect_uri": nil], ["redirect_uri": "https://evil.example/"],
            ["redirect_uri": "http://127.0.0.1:1/other"], ["client_id": "web-app"],
        ] as [[String: String?]])
    func openRedirect(_ changes: [String: String?]) throws {
        let pairs =
            TestClient.parameters().filter { changes.keys.contains($0.name) == false }
            + changes.compactMap { name, value in value.map { (name: name, value: $0) } }
        guard case .refusedByPage = try judge(pairs: pairs) else { return #expect(Bool(false), "\(changes)") }
    }

    @Test("client_id or redirect_uri given twice stays here as well", arguments: ["client_id", "redirect_uri"])
    func repeatedIdentity(_ name: String) throws {
        let pairs = TestClient.parameters()
        let again = try #require(pairs.first { $0.name == name })
        guard case .refusedByPage = try judge(pairs: pairs + [again]) else { return #expect(Bool(false)) }
    }

    struct Refused: Sendable, CustomTestStringConvertible {
        let changes: [(name: String, value: String?)]
        let code: OAuthError.Code
        var testDescription: String { "\(changes.map { "\($0.name)=\($0.value ?? "-")" }) \(code.rawValue)" }
    }

    @Test(
        "Every other fault goes back to the client with the code of the standard, its state and the issuer",
        arguments: [
            Refused(changes: [("response_type", nil)], code: .invalidRequest),
            Refused(changes: [("response_type", "token")], code: .unsupportedResponseType),
            Refused(changes: [("response_type", "code token")], code: .unsupportedResponseType),
            Refused(changes: [("response_mode", "fragment")], code: .invalidRequest),
            Refused(changes: [("code_challenge", nil)], code: .invalidRequest),
            Refused(changes: [("code_challenge", "")], code: .invalidRequest),
            Refused(changes: [("code_challenge", "short")], code: .invalidRequest),
            Refused(changes: [("code_challenge", TestClient.verifier + "A")], code: .invalidRequest),
            Refused(
                changes: [("code_challenge", String(TestClient.challenge.dropLast()) + "=")], code: .invalidRequest),
            Refused(changes: [("code_challenge_method", nil)], code: .invalidRequest),
            Refused(changes: [("code_challenge_method", "plain")], code: .invalidRequest),
            Refused(changes: [("code_challenge_method", "s256")], code: .invalidRequest),
            Refused(changes: [("scope", "admin")], code: .invalidScope),
            Refused(changes: [("scope", "hds  hds")], code: .invalidScope),
            Refused(changes: [("scope", "hds\"")], code: .invalidScope),
        ])
    func refused(_ refused: Refused) throws {
        var pairs = TestClient.parameters()
        for (name, value) in refused.changes {
            pairs.removeAll { $0.name == name }
            if let value { pairs.append((name, value)) }
        }
        guard case .refusedByRedirect(let location, let error) = try judge(pairs: pairs) else {
            return #expect(Bool(false), "not refused")
        }
        #expect(error.code == refused.code)
        #expect(location.hasPrefix(TestClient.redirect + "?error=\(refused.code.rawValue)&error_description="))
        #expect(location.hasSuffix("&state=st-1&iss=https%3A%2F%2Fauth.example.com%3A8443"))
    }

    @Test("A state that is not printable ASCII or too long is refused without being repeated")
    func state() throws {
        for state in ["a\r\nb", "ä", String(repeating: "x", count: 2049)] {
            guard case .refusedByRedirect(let location, let error) = try judge(["state": state]) else {
                return #expect(Bool(false))
            }
            #expect(error.code == .invalidRequest)
            #expect(!location.contains("state="))
            #expect(location.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F })
        }
    }

    @Test(
        "A parameter of the second half given twice is refused by redirect",
        arguments: ["state", "scope", "code_challenge"])
    func repeated(_ name: String) throws {
        let pairs = TestClient.parameters() + [(name, "x"), (name, "x")]
        guard case .refusedByRedirect(_, let error) = try judge(pairs: pairs) else { return #expect(Bool(false)) }
        #expect(error.code == .invalidRequest)
        #expect(error.description.contains(name))
    }
}
