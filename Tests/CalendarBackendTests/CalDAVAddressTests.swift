import CalendarBackend
import Testing

@testable import CalDAVClient

@Suite("Addresses on a calendar server")
struct CalDAVAddressTests {
    private let base = CalDAVAddress("https://cal.example.com/dav/users/")

    @Test(
        "What a server names is resolved as RFC 3986 says",
        arguments: [
            ("/a/b.ics", "https://cal.example.com/a/b.ics"), ("b.ics", "https://cal.example.com/dav/users/b.ics"),
            ("https://cal.example.com:443/x", "https://cal.example.com/x"),
            ("HTTPS://CAL.example.com/x#y", "https://cal.example.com/x"), ("//other/x", "https://other/x"),
            ("http://127.0.0.1:5232", "http://127.0.0.1:5232/"),
            ("/Büro 1.ics", "https://cal.example.com/B%C3%BCro%201.ics"),
            ("/100%.ics", "https://cal.example.com/100%25.ics"), ("/a%2fb", "https://cal.example.com/a%2fb"),
            ("/mail:to/x", "https://cal.example.com/mail:to/x"), ("/a?b=c", "https://cal.example.com/a?b=c"),
            ("/x://y", "https://cal.example.com/x://y"),
        ])
    func resolved(_ reference: String, _ url: String) throws {
        #expect(try #require(base).resolve(reference).url == url)
    }

    @Test(
        "What leads up, breaks a request or is no URL is refused",
        arguments: [
            "", "/a/../b", "/a/%2E%2e/b", "..", "/./a", "/a\r\nHost: x", "/a\u{0}", "https://user@host/x",
            "ftp://host/x",
            "https:///x", "https://host:99999/x", "https://host:x/", String(repeating: "a", count: 4097),
        ])
    func refused(_ reference: String) throws {
        let base = try #require(base)
        #expect(throws: CalendarError.violation("")) { try base.resolve(reference) }
    }

    @Test("Settings that lead nowhere are refused", arguments: ["", "cal.example.com", "ldap://x", "https://"])
    func settings(_ url: String) {
        #expect(throws: CalendarError.configuration("", expected: "")) { try CalDAVGround.client(url) }
    }
}
