import Foundation
import HTTPTypes
import Testing
import TokenIssuer

@Suite("Pages")
struct PagesTests {
    private static let hostile = "\"><script>alert(1)</script><img src=x onerror='a`b'>&amp;\u{0}\u{202E}"

    private func request(_ changes: KeyValuePairs<String, String?> = [:]) throws -> AuthorizationRequest {
        let form = try FormParameters(parsing: TestClient.bytes(TestClient.parameters(changes)))
        guard
            case .login(let request) = AuthorizationRequest.judge(
                form, accounts: TestWorld.accounts, issuer: TestWorld.issuer)
        else { throw OAuthError(.invalidRequest, "not accepted") }
        return request
    }

    @Test("Whatever a request or a file says, it stands on the page as text")
    func escaping() throws {
        let printable = String(Self.hostile.unicodeScalars.filter { $0.value >= 0x20 && $0.value < 0x7F })
        let request = try request([
            "state": printable, "client_id": "web-app", "redirect_uri": "https://app.example.com/cb?x=1",
        ])
        let page = Pages.login(
            request, domain: Self.hostile, csrf: Self.hostile, email: Self.hostile, notice: .wrongPassword)
        #expect(!page.contains("<script") && !page.contains("<img") && !page.contains("onerror='"))
        #expect(page.contains("Web &lt;App&gt;"))
        #expect(page.contains("value=\"&quot;&gt;&lt;script&gt;"))
        #expect(!page.unicodeScalars.contains("\u{0}") && !page.unicodeScalars.contains("\u{202E}"))
        let quotes = page.filter { $0 == "\"" }.count
        let plain = Pages.login(request, domain: "d", csrf: "c", email: "e", notice: .wrongPassword)
        #expect(quotes == plain.filter { $0 == "\"" }.count, "no value opens or closes an attribute")
        #expect(!Pages.refusal(reason: Self.hostile, domain: Self.hostile).contains("<script"))
        #expect(!Pages.welcome(domain: Self.hostile).contains("<script"))
    }

    @Test("A state that was hidden in the form comes back unchanged")
    func hiddenFields() throws {
        let state = "a\"b<c>&amp;'`d e"
        let page = Pages.login(try request(["state": state]), domain: "d", csrf: "token", email: "", notice: nil)
        let fields = LoginForm(html: page, setCookie: nil).fields
        #expect(fields.first { $0.name == "state" }?.value == state)
        #expect(fields.first { $0.name == "redirect_uri" }?.value == TestClient.redirect)
        #expect(fields.first { $0.name == "csrf" }?.value == "token")
    }

    @Test("No script, no frame, no foreign source, no cache, no referrer")
    func headers() throws {
        let headers = Pages.headers(formTarget: try request().redirect)
        let policy = try #require(headers[.contentSecurityPolicy])
        #expect(policy.hasPrefix("default-src 'none'; style-src 'sha256-"))
        #expect(policy.contains("form-action 'self' http://127.0.0.1:50123;"))
        #expect(policy.contains("frame-ancestors 'none'") && policy.contains("base-uri 'none'"))
        #expect(!policy.contains("unsafe") && !policy.contains("script-src") && !policy.contains("*"))
        #expect(headers[.cacheControl] == "no-store")
        #expect(headers[HTTPField.Name("X-Frame-Options")!] == "DENY")
        #expect(headers[HTTPField.Name("Referrer-Policy")!] == "no-referrer")
        #expect(headers[.xContentTypeOptions] == "nosniff")
        #expect(Pages.headers(formTarget: nil)[.contentSecurityPolicy]?.contains("form-action 'none'") == true)
    }

    @Test("The form can be used without eyes and without a mouse")
    func accessibility() throws {
        let page = Pages.login(try request(), domain: "example.com", csrf: "c", email: "", notice: .wrongPassword)
        #expect(page.hasPrefix("<!doctype html>\n<html lang=\"en\">"))
        #expect(page.contains("<title>Sign in to example.com</title>"))
        for name in ["email", "password"] {
            #expect(page.contains("<label for=\"\(name)\">") && page.contains("<input id=\"\(name)\" name=\"\(name)\""))
        }
        #expect(page.contains("autocomplete=\"username\"") && page.contains("autocomplete=\"current-password\""))
        #expect(page.contains("role=\"alert\"") && page.contains("aria-describedby=\"notice\""))
        #expect(page.contains("width=device-width") && page.contains("<main>") && page.contains("<h1>"))
        #expect(page.components(separatedBy: " autofocus").count == 2)
        #expect(!page.contains("<script") && !page.contains("javascript:") && !page.contains(" style="))
    }

    @Test(
        "A wait is told in a unit that people use",
        arguments: [
            (1, "1 second "), (59, "59 seconds "), (120, "2 minutes "), (121, "3 minutes "),
        ] as [(Int64, String)])
    func waiting(_ seconds: Int64, _ text: String) throws {
        let page = Pages.login(
            try request(), domain: "d", csrf: "c", email: "", notice: .tooManyAttempts(seconds: seconds))
        #expect(page.contains("Please wait \(text)and try again"))
    }
}
