import Testing

@testable import HDSClient

@Suite("Web addresses and forms")
struct WebAddressTests {
    @Test("Scheme, host and port make the origin; case and the default port do not matter")
    func origins() {
        #expect(WebAddress("HTTPS://Core.Example.COM/a/b?c=d")?.origin == "https://core.example.com")
        #expect(WebAddress("https://core.example.com:443")?.origin == "https://core.example.com")
        #expect(WebAddress("https://core.example.com:8443/")?.origin == "https://core.example.com:8443")
        #expect(WebAddress("wss://core.example.com/e")?.origin == "https://core.example.com")
        #expect(WebAddress("ws://127.0.0.1:80/e")?.origin == "http://127.0.0.1")
        #expect(WebAddress("http://[::1]:8080/")?.origin == "http://[::1]:8080")
        let address = WebAddress("https://h.example/p/q?x=1&y=2")
        #expect(address?.path == "/p/q")
        #expect(address?.query == "x=1&y=2")
    }

    @Test(
        "What is no such URL, or reads as another in a browser, is refused",
        arguments: [
            "", "https", "https:", "https://", "https:///path", "https://user@host/", "https://user:pw@host/",
            "https://host:0/", "https://host:65536/", "https://host:1x/", "https://ho st/", "https://host\\@evil/",
            "https://host/#fragment", "ftp://host/", "//host/", "/path", "https://[::1", "https://[zz]/",
            "https://hést/",
            "https://host/\u{0}", "javascript:alert(1)",
        ])
    func malformed(text: String) { #expect(WebAddress(text) == nil) }

    @Test("Only this machine is spoken to without TLS")
    func privacy() {
        for text in [
            "https://a.example", "wss://a.example", "http://127.0.0.1", "http://127.9.9.9", "http://localhost",
            "http://[::1]",
        ] {
            #expect(WebAddress(text)?.isPrivate == true, "\(text)")
        }
        for text in [
            "http://a.example", "ws://a.example", "http://127.0.0.1.evil.org", "http://localhost.evil.org",
            "http://10.0.0.1",
        ] {
            #expect(WebAddress(text)?.isPrivate == false, "\(text)")
        }
    }

    @Test("References are resolved at their origin, and what leads elsewhere shows")
    func references() {
        let base = WebAddress("https://auth.example.com:8443/authorize?x=1")
        #expect(base?.resolving("/login")?.description == "https://auth.example.com:8443/login")
        #expect(base?.resolving("/login?a=b")?.query == "a=b")
        #expect(base?.resolving("")?.path == "/authorize")
        #expect(base?.resolving("https://evil.example/")?.origin == "https://evil.example")
        for reference in [
            "//evil.example/", "/\\evil.example", "\\\\evil.example", "javascript:x", "login", "../a", "/a/../b",
            "data:,x",
        ] {
            #expect(base?.resolving(reference) == nil, "\(reference)")
        }
    }

    @Test("Form text goes both ways, for every octet")
    func forms() throws {
        let all = String(decoding: (0...127).map { UInt8($0) }, as: UTF8.self) + "äöü🔒"
        let encoded = FormText.encode([("a b", all), ("c", "")])
        #expect(encoded.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F })
        #expect(FormText.decode(encoded) == ["a b": all, "c": ""])
        #expect(FormText.decode("a+b=c+d") == ["a b": "c d"])
        #expect(FormText.decode("") == [:])
        for text in ["a=1&a=2", "a=%", "a=%4", "a=%zz", "%ff=1"] { #expect(FormText.decode(text) == nil, "\(text)") }
    }
}
