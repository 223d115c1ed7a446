import SignedPolicy
import Testing
import WireText

@Suite("Consent")
struct ConsentRulesTests {
    private static func rules(_ consent: String, _ more: String = "") throws -> ConsentRules {
        ConsentRules(
            try Cast.policy(
                """
                services: [{name: indexer, type: search-indexing, subject: svc, notAfter: 2027-12-31, \(consent)}]
                \(more)
                """))
    }

    private static func service(
        _ subject: String = "svc", client: String? = nil, organisation: String? = nil
    ) -> ConsentIdentity {
        ConsentIdentity(subject: subject, clientID: client, organisation: organisation)
    }

    @Test("without a policy no service may do anything, and every refusal names its rule")
    func defaultDeny() {
        let rules = ConsentRules(.none(organisation: "example-org"))
        let verdict = rules.judge(Self.service(), space: Cast.space, now: Cast.noon)
        #expect(!verdict.allowed && verdict.rule == "no-consent" && verdict.consent == nil)
        #expect(!rules.isService("svc"))
    }

    @Test("a service with consent may retrieve, and the verdict names the consent")
    func allowed() throws {
        let rules = try Self.rules("spaces: all")
        let verdict = rules.judge(Self.service(), space: Cast.space, now: Cast.noon)
        #expect(verdict.allowed && verdict.rule == "service-consent:indexer" && verdict.consent?.name == "indexer")
        #expect(rules.isService("svc"))
        #expect(rules.judge(Self.service("other"), space: Cast.space, now: Cast.noon).rule == "no-consent")
    }

    @Test(
        "each rule refuses what it is there for, and nothing else",
        arguments: [
            ("spaces: all, client: api", "client-mismatch"),
            ("spaces: all, organisations: [other-org]", "organisation-not-covered"),
            ("spaces: all, notBefore: 2027-03-02", "consent-not-yet"),
            ("spaces: [\"\(Cast.otherSpace)\"]", "space-not-covered"),
        ])
    func refusals(consent: String, rule: String) throws {
        let verdict = try Self.rules(consent).judge(
            Self.service(client: "cli", organisation: "example-org"), space: Cast.space, now: Cast.noon)
        #expect(!verdict.allowed && verdict.rule == rule && !verdict.sentence.isEmpty)
        let wide = try Self.rules(
            "spaces: [\"\(Cast.space)\"], client: cli, organisations: [example-org], notBefore: 2027-03-01")
        #expect(
            wide.judge(
                Self.service(client: "cli", organisation: "example-org"), space: Cast.space,
                spaceOrganisation: "example-org", now: Cast.noon
            ).allowed)
    }

    @Test("a consent ends with the day that it names, not a moment later")
    func expiry() throws {
        let rules = try Self.rules("spaces: all")
        let end = Timestamp(iso8601: "2028-01-01T00:00:00Z")!
        #expect(rules.judge(Self.service(), space: Cast.space, now: end.adding(milliseconds: -1)).allowed)
        #expect(rules.judge(Self.service(), space: Cast.space, now: end).rule == "consent-expired")
    }

    @Test("retrieving is always part of a consent, everything else only if it is named")
    func operations() throws {
        func rule(_ consent: String, _ operation: String) throws -> String {
            try Self.rules(consent).judge(Self.service(), space: Cast.space, operation: operation, now: Cast.noon).rule
        }
        #expect(try rule("spaces: all", "create") == "operation-not-covered")
        #expect(try rule("spaces: all, operations: [create]", "create") == "service-consent:indexer")
        #expect(try rule("spaces: all, operations: [create]", "retrieve") == "service-consent:indexer")
        #expect(try rule("spaces: all, operations: [create]", "delete") == "operation-not-covered")
    }

    @Test("acting for somebody else needs its own word")
    func onBehalf() throws {
        let without = try Self.rules("spaces: all"), with = try Self.rules("spaces: all, mayActOnBehalf: true")
        #expect(
            without.judge(Self.service(), space: Cast.space, onBehalf: true, now: Cast.noon).rule
                == "on-behalf-not-covered")
        #expect(with.judge(Self.service(), space: Cast.space, onBehalf: true, now: Cast.noon).allowed)
        #expect(
            with.judge(Self.service(), space: Cast.space, operation: "create", onBehalf: true, now: Cast.noon).rule
                == "operation-not-covered")
    }

    @Test("an organisation that is not known is not one of those that are named")
    func unknownOrganisation() throws {
        let rules = try Self.rules("spaces: all, organisations: [example-org]")
        #expect(
            rules.judge(Self.service(), space: Cast.space, now: Cast.noon).rule == "organisation-not-covered")
        #expect(
            rules.judge(
                Self.service(organisation: "example-org"), space: Cast.space, spaceOrganisation: "other-org",
                now: Cast.noon
            ).rule == "organisation-not-covered")
    }

    @Test("of several consents the one that fits counts; if none does, the closest one names the rule")
    func several() throws {
        let rules = ConsentRules(
            try Cast.policy(
                """
                services:
                  - {name: old, type: t, subject: svc, spaces: all, notAfter: 2027-01-31}
                  - {name: new, type: t, subject: svc, spaces: ["\(Cast.space)"], notBefore: 2027-02-01, notAfter: 2027-12-31}
                """))
        #expect(rules.judge(Self.service(), space: Cast.space, now: Cast.noon).rule == "service-consent:new")
        #expect(rules.judge(Self.service(), space: Cast.otherSpace, now: Cast.noon).rule == "space-not-covered")
        let january = Timestamp(iso8601: "2027-01-20T00:00:00Z")!
        #expect(rules.judge(Self.service(), space: Cast.otherSpace, now: january).rule == "service-consent:old")
    }

    @Test("a person's token that an API client holds is judged by that client's consent")
    func apiClient() throws {
        let person = Self.service("ada@example.com", client: "api")
        let covered = try Self.rules("spaces: [\"\(Cast.space)\"], client: api")
        #expect(covered.judgeClient(person, space: Cast.space, now: Cast.noon)?.allowed == true)
        #expect(covered.judgeClient(person, space: Cast.otherSpace, now: Cast.noon)?.rule == "space-not-covered")
        let end = Timestamp(iso8601: "2028-01-01T00:00:00Z")!
        #expect(covered.judgeClient(person, space: Cast.space, now: end)?.rule == "consent-expired")
        // The apps of persons, and tokens that name no client, are nobody's consent.
        for client in ["app", nil] {
            #expect(
                covered.judgeClient(Self.service("ada@example.com", client: client), space: Cast.space, now: Cast.noon)
                    == nil)
        }
    }

    @Test("integration-without-consent: an integration is no client of persons, also where all of those are let in")
    func integration() throws {
        func rule(_ client: String, _ rules: ConsentRules) -> String? {
            let identity = ConsentIdentity(
                subject: "ada", clientID: client, organisation: "example-org", isIntegration: true)
            return rules.judgeClient(identity, space: Cast.space, now: Cast.noon)?.rule
        }
        let all = try Self.rules("spaces: all, client: crm")
        #expect(rule("crm", all) == "service-consent:indexer")
        #expect(rule("other", all) == "integration-without-consent")
        // Standing on the list of personal clients is no consent.
        let listed = try Self.rules("spaces: all, client: crm", "personalClients: [other]")
        #expect(rule("other", listed) == "integration-without-consent")
    }

    @Test("where the clients of persons are listed, no other one gets through")
    func personalClients() throws {
        let rules = try Self.rules("spaces: all, client: api", "personalClients: [app]")
        func rule(_ client: String?) -> String? {
            rules.judgeClient(Self.service("ada", client: client), space: Cast.space, now: Cast.noon)?.rule
        }
        #expect(rule("app") == nil && rule("api") == "service-consent:indexer")
        #expect(rule("rogue") == "unknown-client" && rule(nil) == "unknown-client")
    }

    @Test("a compliance officer is one for the time and the matter that the policy names")
    func agents() throws {
        let rules = ConsentRules(
            try Cast.policy(
                """
                agents:
                  - {user: zoe}
                  - {user: yan, notAfter: 2027-02-28}
                  - {user: xia, matter: case-7, notAfter: 2027-12-31}
                """))
        func rule(_ user: String, _ matter: String? = nil) -> String {
            rules.agent(user: user, matter: matter, now: Cast.noon).rule
        }
        #expect(rules.agent(user: "zoe", now: Cast.noon).allowed && rule("zoe", "case-9") == "compliance-officer")
        #expect(rule("yan") == "agent-expired" && rule("nobody") == "not-an-agent")
        #expect(rule("xia", "case-7") == "compliance-officer")
        #expect(rule("xia", "case-9") == "agent-matter" && rule("xia") == "agent-matter")
        #expect(!rules.agent(user: "xia", now: Cast.noon).allowed)
    }
}
