import Testing
import TokenIssuer

@Suite("Redirect URIs")
struct RedirectURITests {
    private static let loopback = RegisteredRedirect.loopback(pathAndQuery: "/callback")

    @Test("A native client may use any port of 127.0.0.1 with exactly the registered path")
    func loopback() {
        #expect(Self.loopback.redirect(for: "http://127.0.0.1:1/callback")?.text == "http://127.0.0.1:1/callback")
        #expect(Self.loopback.redirect(for: "http://127.0.0.1:65535/callback")?.origin == "http://127.0.0.1:65535")
        #expect(Self.loopback.redirect(for: "http://127.0.0.1/callback")?.origin == "http://127.0.0.1")
    }

    @Test(
        "Everything else is refused",
        arguments: [
            "http://127.0.0.1:50123/callback/", "http://127.0.0.1:50123/callback?x=1", "http://127.0.0.1:50123/",
            "http://127.0.0.1:50123/callback#f", "https://127.0.0.1:50123/callback", "HTTP://127.0.0.1:50123/callback",
            "http://localhost:50123/callback", "http://[::1]:50123/callback", "http://127.0.0.2:50123/callback",
            "http://127.0.0.1.evil.example/callback", "http://127.0.0.1:50123@evil.example/callback",
            "http://evil.example@127.0.0.1:50123/callback", "http://127.0.0.1:/callback", "http://127.0.0.1:0/callback",
            "http://127.0.0.1:65536/callback", "http://127.0.0.1:080/callback", "http://127.0.0.1:+80/callback",
            "http://127.0.0.1:8 0/callback", "http://127.0.0.1\\@evil.example/callback", "//127.0.0.1:50123/callback",
            "http://127.0.0.1:50123/callback\r\nSet-Cookie: a=b", "http://127.0.0.1:50123/%63allback",
            "http://127.0.0.1:50123/x/../callback", "http://2130706433:50123/callback", "http://127.1:50123/callback",
            " http://127.0.0.1:50123/callback", "http://127.0.0.1:50123/callback ", "javascript:alert(1)",
            "data:text/html,x", "http://127.0.0.1:٥٠/callback", "http://127.0.0.1:50123/callback\u{301}", "",
        ])
    func notLoopback(_ uri: String) {
        #expect(Self.loopback.redirect(for: uri) == nil)
    }

    @Test("Other clients use exactly what is registered")
    func exact() throws {
        let registered = try RegisteredRedirect("https://app.example.com/cb?x=1")
        #expect(registered.redirect(for: "https://app.example.com/cb?x=1")?.origin == "https://app.example.com")
        for uri in [
            "https://app.example.com/cb", "https://app.example.com/cb?x=1&y=2", "https://app.example.com/cb?x=1#",
            "https://app.example.com/cb?x=1/", "https://APP.example.com/cb?x=1", "https://app.example.com:443/cb?x=1",
            "https://app.example.com.evil.example/cb?x=1", "https://app.example.com@evil.example/cb?x=1",
        ] {
            #expect(registered.redirect(for: uri) == nil, "\(uri)")
        }
    }

    @Test("The origin names scheme, host and port, and for a private scheme the scheme")
    func origins() throws {
        #expect(
            try RegisteredRedirect("https://app.example.com:8443/cb").redirect(for: "https://app.example.com:8443/cb")?
                .origin == "https://app.example.com:8443")
        #expect(
            try RegisteredRedirect("https://[2001:db8::1]/cb").redirect(for: "https://[2001:db8::1]/cb")?.origin
                == "https://[2001:db8::1]")
        #expect(
            try RegisteredRedirect("com.example.app:/cb").redirect(for: "com.example.app:/cb")?.origin
                == "com.example.app:")
    }

    @Test(
        "What would weaken a policy or leave the machine in clear can not be registered",
        arguments: [
            "http://app.example.com/cb", "http://localhost/cb", "http://127.0.0.1:8080/cb", "http://127.0.0.1",
            "https://user@app.example.com/cb", "https://app.example.com/cb#x", "https:///cb", "https://a b/cb",
            "https://app.example.com;script-src/cb", "https://app.example.com'/cb", "https://app.example.com:0/cb",
            "https://app.example.com:99999/cb", "https://[::1/cb", "https://[::1]x/cb", "javascript:alert(1)",
            "myapp:/cb", "https://app.example.com/\r\n", "https://äpp.example.com/cb", "https://app.example.com/\"", "",
        ])
    func unregistrable(_ uri: String) {
        #expect(throws: RegisteredRedirect.Refusal.self) { try RegisteredRedirect(uri) }
    }

    @Test("Parameters are added to a query that is there, and encoded")
    func appending() throws {
        let plain = try #require(Self.loopback.redirect(for: "http://127.0.0.1:9/callback"))
        #expect(plain.appending([("a", "x y"), ("b", "&")]) == "http://127.0.0.1:9/callback?a=x%20y&b=%26")
        let query = try #require(
            RegisteredRedirect("https://a.example/cb?x=1").redirect(for: "https://a.example/cb?x=1"))
        #expect(query.appending([("a", "1")]) == "https://a.example/cb?x=1&a=1")
    }
}
