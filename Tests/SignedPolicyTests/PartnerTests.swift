import Cryptography
import Diagnostics
import SignedPolicy
import Testing
import WireText

@Suite("Partners of a policy")
struct PartnerTests {
    private static let pin = "sha256/" + Base64.encode([UInt8](repeating: 7, count: 32))

    private static func partner(_ host: String, _ more: String) -> String {
        "{host: \(host), organisation: other, anchors: [\"\(pin)\"], \(more)}"
    }

    @Test("a partner has a host, users of its own and something that proves it")
    func accepted() throws {
        let policy = try Cast.policy(
            """
            partners: [\(Self.partner("kms.other.example", "direction: both, domains: [other.example], cacheSeconds: 60"))]
            federation: [{domain: example.com, partners: [kms.other.example]}, {domain: example.org, partners: all}]
            """)
        #expect(policy.partners[0].pins == [[UInt8](repeating: 7, count: 32)])
        #expect(policy.partners[0].direction == .both && policy.partners[0].cacheSeconds == 60)
        let domains = try #require(policy.federation)
        #expect(domains[0].partners.covers("kms.other.example"))
        #expect(!domains[0].partners.covers("kms.third.example"))
        #expect(domains[1].partners.covers("kms.third.example"))
        #expect(try Cast.policy("").federation == nil)
        #expect(try Cast.policy("federation: []").federation == [])
    }

    @Test(
        "two partners never claim one user",
        arguments: ["domains: [other.example]", "issuers: [\"https://auth.example\"]", "users: [u1]"])
    func claims(claim: String) {
        let two = ["kms.a.example", "kms.b.example"].map { Self.partner($0, "direction: inbound, \(claim)") }
        let error = Cast.error { try Cast.policy("partners: [\(two.joined(separator: ", "))]") }
        #expect(error?.summary.contains("partners[1]: two partners claim the same users") == true)
        #expect(throws: Never.self) { try Cast.policy("partners: [\(two[0])]") }
    }

    @Test(
        "what proves nothing or says too little is refused",
        arguments: [
            ("{host: k.example, organisation: o, anchors: [], direction: both, users: [u]}", "nothing proves"),
            (
                "{host: k.example, organisation: o, anchors: [\"sha256/AAAA\"], direction: both, users: [u]}",
                "no anchor"
            ),
            (
                "{host: k.example, organisation: o, anchors: [\"-----BEGIN CERTIFICATE-----\"], direction: both, users: [u]}",
                "no anchor"
            ),
            ("{host: k.example, organisation: o, anchors: [\"PIN\", \"PIN\"], direction: both, users: [u]}", "twice"),
            ("{host: k.example, organisation: o, anchors: [\"PIN\"], direction: inbound}", "speaks for nobody"),
            ("{host: k.example, organisation: o, anchors: [\"PIN\"], direction: out, users: [u]}", "no direction"),
            (
                "{host: k.example, organisation: o, anchors: [\"PIN\"], direction: both, users: [u], cacheSeconds: 3601}",
                "a number"
            ),
            ("{host: k..example, organisation: o, anchors: [\"PIN\"], direction: both, users: [u]}", "no DNS name"),
        ])
    func refused(partner: String, reason: String) {
        let text = partner.split(separator: "PIN", omittingEmptySubsequences: false).joined(separator: Self.pin)
        let error = Cast.error { try Cast.policy("partners: [\(text)]") }
        #expect(
            error?.code == .policyMalformed && error?.summary.contains(reason) == true, "\(String(describing: error))")
    }

    @Test("a partner may not speak for the users of an own domain")
    func ownDomain() {
        let lines = """
            partners: [\(Self.partner("kms.a.example", "direction: inbound, domains: [example.com]"))]
            federation: [{domain: example.com, partners: all}]
            """
        #expect(Cast.error { try Cast.policy(lines) }?.summary.contains("an own domain can not be a partner's") == true)
    }
}
