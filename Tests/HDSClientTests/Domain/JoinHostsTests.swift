import Diagnostics
import HDSClient
import Testing

@Suite("Hosts of join details")
struct JoinHostsTests {
    private static let hosts = JoinHosts(["meet.example.net", "core.example.net:8443"])

    @Test(
        "hosts on the list are taken, to the letter",
        arguments: [
            "https://meet.example.net/meet/abc", "https://MEET.example.net/x", "https://meet.example.net:443/x",
            "https://core.example.net:8443/meet/1?lang=de",
        ])
    func good(url: String) throws { try Self.hosts.check(url: url) }

    @Test(
        "nothing else is taken",
        arguments: [
            "http://meet.example.net/x", "https://meet.example.net:8443/x", "https://core.example.net/x",
            "https://evil.example/meet.example.net", "https://meet.example.net.evil.example/x",
            "https://sub.meet.example.net/x", "https://meet.example.net@evil.example/",
            "https://user@meet.example.net/",
            "https://meet.example.net\\@evil.example/", "https://meet.example.net#@evil.example", "javascript:alert(1)",
            "https://", "", "https://meet.example.net /x", "wss://meet.example.net/x",
        ])
    func bad(url: String) {
        #expect(code { try Self.hosts.check(url: url) } == .joinHostRefused)
    }

    @Test(
        "a SIP address is of a host on the list",
        arguments: [
            ("1234@meet.example.net", true), ("1234@core.example.net", true), ("1234@evil.example", false),
            ("@meet.example.net", false), ("1@2@meet.example.net", false), ("a b@meet.example.net", false), ("", false),
        ])
    func sip(address: String, isTaken: Bool) {
        #expect((code { try Self.hosts.check(sip: address) } == nil) == isTaken)
    }
}
