import Diagnostics
import TestServers
import Testing

@testable import HDSClient

@Suite("Hosts of join details")
struct JoinHostsTests {
    private static let hosts = JoinHosts(["meet.example.net", "core.example.net:8443"])

    private static func profile(_ hosts: [String]) throws -> DomainProfile {
        let pki = try TestServers.TestPKI.shared.get()
        return try DomainProfile(
            domain: "example.com", issuer: "https://auth.example.com", issuerTrust: ServerTrust(roots: []),
            core: "https://core.example.com:8443", coreTrust: ServerTrust(roots: []),
            kmsCluster: "kms://kms.example.com", kmsRoots: [pki.customerRoot], joinHosts: hosts)
    }

    @Test("without a list of the profile the core's own host counts, with its port")
    func standard() throws {
        let hosts = JoinHosts(try Self.profile([]))
        try hosts.check(url: "https://core.example.com:8443/meet/1")
        try hosts.check(sip: "1234@core.example.com")
        #expect(code { try hosts.check(url: "https://core.example.com/meet/1") } == .joinHostRefused)
        #expect(JoinHosts(try Self.profile(["meet.example.net"])) == JoinHosts(["meet.example.net"]))
    }

    @Test("the list is pinned with the profile, and read back from its file")
    func pinned() throws {
        let profile = try Self.profile(["meet.example.net", "m.example.net:444"])
        #expect(try DomainProfile(json: Array(profile.fileText.utf8)) == profile)
        #expect(code { try DomainPins(profile).check(Self.profile([])) } == .domainChanged)
    }

    @Test(
        "what is no host is refused in a profile",
        arguments: [
            "https://meet.example.net", "Meet.example.net", "meet.example.net/x", "a@meet.example.net", "", "h:0x",
        ])
    func malformed(entry: String) {
        #expect(code { _ = try Self.profile([entry]) } == .profileInvalid)
    }

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
