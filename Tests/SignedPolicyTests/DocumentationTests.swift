import Diagnostics
import PolicyFiles
import SignedPolicy
import Testing
import WireText

@Suite("The policy of docs/policy.md")
struct DocumentationTests {
    /// The first block of YAML in the document.
    private static func example() throws -> String {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let text = String(decoding: try OwnFile.read(root + "/docs/policy.md", upTo: 1 << 20), as: UTF8.self)
        let start = try #require(text.firstRange(of: "```yaml\n")).upperBound
        let end = try #require(text[start...].firstRange(of: "```")).lowerBound
        return String(text[start..<end])
    }

    @Test("can be signed, checked, loaded and judged by")
    func works() async throws {
        let cast = try Cast()
        let (draft, canonical) = try PolicySource.read(try Self.example(), file: "docs/policy.md")
        let text = try SignedPolicyText.sign(canonical, with: cast.ada.key)
        let holder = PolicyHolder(
            organisation: draft.organisation, signaturesNeeded: 1, recall: { nil }, remember: { _ in })
        let outcome = try await holder.load(text: text, officers: cast.roster, now: Cast.noon)
        #expect(outcome.widens && holder.current == draft)

        let rules = ConsentRules(holder.current)
        func identity(_ subject: String, _ client: String?) -> ConsentIdentity {
            ConsentIdentity(subject: subject, clientID: client, organisation: "example-org")
        }
        let indexer = rules.judge(identity("svc-indexer", nil), space: Cast.space, now: Cast.noon)
        #expect(indexer.allowed && indexer.rule == "service-consent:indexer")
        #expect(rules.judge(identity("svc-stranger", nil), space: Cast.space, now: Cast.noon).rule == "no-consent")
        let person = identity("bob@example.com", "crm-connector")
        #expect(rules.judgeClient(person, space: Cast.space, now: Cast.noon)?.allowed == true)
        #expect(rules.judgeClient(person, space: Cast.otherSpace, now: Cast.noon)?.allowed == false)
        let discovery = rules.judge(
            identity("svc-ediscovery", "hds-ediscovery"), space: Cast.space, onBehalf: true, now: Cast.noon)
        #expect(discovery.allowed && discovery.consent?.formerMembers == true)
        #expect(rules.agent(user: "carla@example.com", now: Cast.noon).allowed)
    }

    @Test("shows every member that a policy can have")
    func complete() throws {
        let example = try Self.example()
        for name in [
            "version", "organisation", "issued", "agents", "user", "notAfter", "matter", "services", "name", "type",
            "subject", "client", "spaces", "organisations", "notBefore", "operations", "mayActOnBehalf",
            "formerMembers", "personalClients", "partners", "host", "domains", "issuers", "users", "anchors",
            "direction", "cacheSeconds", "federation", "domain", "freeze", "secondOfficerOver", "erasure", "fourEyes",
            "explanations",
            "moderation", "publicAuthorizations", "retention", "tombstoneDays", "intervalDays", "auditDays", "limits",
            "perUserPerMinute", "perServicePerMinute", "perDevicePerMinute", "sessionOpeningsPerDevice",
            "massDeletion", "anomaly", "keyReadsPerUserPerHour", "spacesPerUserPerHour", "refusalsPerUserPerHour",
            "newDevicesPerUserPerDay",
        ] {
            #expect(example.contains("\(name):"), "\(name)")
        }
    }
}
