import SignedPolicy
import Testing
import WireText

@Suite("Differences of policies")
struct PolicyDifferenceTests {
    private static let head = "name: a, type: t, subject: s, "
    private static func changes(_ old: String, _ new: String) throws -> [PolicyChange] {
        PolicyDifference.changes(from: try Cast.policy(old), to: try Cast.policy(version: 2, new))
    }
    private static func service(_ text: String) -> String { "services: [{\(head)\(text)}]" }

    @Test(
        "a change is told from both sides: what widens one way narrows the other",
        arguments: [
            ("", service("spaces: all, notAfter: 2027-12-31"), "services.a"),
            ("", "agents: [{user: u}]", "agents.u"),
            ("agents: [{user: u, notAfter: 2027-05-05}]", "agents: [{user: u}]", "agents.u.notAfter"),
            (
                "agents: [{user: u, notAfter: 2027-05-05}]", "agents: [{user: u, notAfter: 2027-05-06}]",
                "agents.u.notAfter"
            ),
            ("", "publicAuthorizations: true", "publicAuthorizations"),
            ("", "moderation: false", "moderation"), ("", "erasure: {fourEyes: false}", "erasure.fourEyes"),
            ("explanations: {fourEyes: true}", "", "explanations.fourEyes"),
            ("freeze: {secondOfficerOver: 10}", "", "freeze.secondOfficerOver"),
            ("freeze: {secondOfficerOver: 10}", "freeze: {secondOfficerOver: 20}", "freeze.secondOfficerOver"),
            ("limits: {massDeletion: 1}", "limits: {massDeletion: 2}", "limits.massDeletion"),
            ("limits: {perUserPerMinute: 10}", "", "limits.perUserPerMinute"),
            ("retention: {auditDays: 20}", "retention: {auditDays: 10}", "retention.auditDays"),
            ("personalClients: [app]", "", "personalClients"),
            ("personalClients: [app]", "personalClients: [app, web]", "personalClients"),
            (
                "anomaly: {keyReadsPerUserPerHour: 5}", "anomaly: {keyReadsPerUserPerHour: 6}",
                "anomaly.keyReadsPerUserPerHour"
            ),
            ("federation: []", "federation: [{domain: a.example, partners: all}]", "federation.a.example"),
            ("federation: [{domain: a.example, partners: all}]", "", "federation"),
            (
                service("spaces: all, notAfter: 2027-12-31"), service("spaces: all, notAfter: 2028-01-01"),
                "services.a.notAfter"
            ),
            (
                service("spaces: [\"\(Cast.space)\"], notAfter: 2027-12-31"),
                service("spaces: all, notAfter: 2027-12-31"), "services.a.spaces"
            ),
            (
                service("spaces: all, notAfter: 2027-12-31, notBefore: 2027-02-01"),
                service("spaces: all, notAfter: 2027-12-31"), "services.a.notBefore"
            ),
            (
                service("spaces: all, notAfter: 2027-12-31, organisations: [o]"),
                service("spaces: all, notAfter: 2027-12-31"), "services.a.organisations"
            ),
            (
                service("spaces: all, notAfter: 2027-12-31"),
                service("spaces: all, notAfter: 2027-12-31, operations: [create]"), "services.a.operations"
            ),
            (
                service("spaces: all, notAfter: 2027-12-31"),
                service("spaces: all, notAfter: 2027-12-31, mayActOnBehalf: true"), "services.a.mayActOnBehalf"
            ),
            (
                service("spaces: all, notAfter: 2027-12-31"),
                service("spaces: all, notAfter: 2027-12-31, formerMembers: true"), "services.a.formerMembers"
            ),
        ])
    func directions(narrow: String, wide: String, path: String) throws {
        let widening = try Self.changes(narrow, wide), narrowing = try Self.changes(wide, narrow)
        #expect(widening.map(\.path) == [path] && widening.map(\.effect) == [.widens], "\(widening)")
        #expect(narrowing.map(\.path) == [path] && narrowing.map(\.effect) == [.narrows], "\(narrowing)")
        #expect(widening.allSatisfy { !$0.sentence.isEmpty })
    }

    @Test("a policy does not differ from itself but for its version")
    func same() throws {
        let lines = Self.service("spaces: all, notAfter: 2027-12-31") + "\nagents: [{user: u}]"
        #expect(try Self.changes(lines, lines).isEmpty)
    }

    @Test("spaces that come and spaces that go are two changes")
    func bothWays() throws {
        let changes = try Self.changes(
            Self.service("spaces: [\"\(Cast.space)\"], notAfter: 2027-12-31"),
            Self.service("spaces: [\"\(Cast.otherSpace)\"], notAfter: 2027-12-31"))
        #expect(Set(changes.map(\.effect)) == [.widens, .narrows] && changes.count == 2)
    }

    @Test("another account or client behind the same name is a widening, whoever it was before")
    func otherAccount() throws {
        let old = "services: [{name: a, type: t, subject: s, client: c, spaces: all, notAfter: 2027-12-31}]"
        for new in [
            "services: [{name: a, type: t, subject: r, client: c, spaces: all, notAfter: 2027-12-31}]",
            "services: [{name: a, type: u, subject: s, client: c, spaces: all, notAfter: 2027-12-31}]",
            "services: [{name: a, type: t, subject: s, client: d, spaces: all, notAfter: 2027-12-31}]",
        ] {
            #expect(try Self.changes(old, new).contains { $0.effect == .widens })
        }
    }

    @Test("a withdrawn consent that was all that held a client back is told as a widening too")
    func freedClient() throws {
        let consent = "services: [{name: a, type: t, subject: s, client: c, spaces: all, notAfter: 2027-12-31}]"
        let freed = try Self.changes(consent, "")
        #expect(freed.map(\.path) == ["services.a", "services.a.client"])
        #expect(freed.map(\.effect) == [.narrows, .widens])
        let listed = try Self.changes("personalClients: [app]\n" + consent, "personalClients: [app]")
        #expect(listed.map(\.effect) == [.narrows])
    }

    @Test("the sentences say what is allowed, by whom, where and until when")
    func sentences() throws {
        let policy = try Cast.policy(
            Self.service("spaces: [\"\(Cast.space)\"], notAfter: 2027-12-31, client: api") + "\nagents: [{user: zoe}]")
        let text = PolicySentences.sentences(policy, now: Cast.noon).joined(separator: "\n")
        for part in ["service a", "account s", "client api", Cast.space, "until 2028-01-01", "zoe", "no partners"] {
            #expect(text.contains(part), "\(part)")
        }
        #expect(!text.contains("It is over"))
        let later = PolicySentences.sentences(policy, now: Cast.noon.adding(seconds: 400 * 86_400))
        #expect(later.joined().contains("It is over"))
        #expect(PolicySentences.sentences(try Cast.policy(), now: Cast.noon).joined().contains("No service may"))
    }
}
