import Cryptography
import Diagnostics
import PolicyFiles
import SignedPolicy
import TestServers
import Testing
import WireText

@Suite("Policy documents")
struct PolicyDocumentTests {
    private static let consent =
        "services: [{name: indexer, type: search-indexing, subject: svc-indexer, spaces: all, notAfter: 2027-12-31}]"

    @Test("a policy of three lines allows nothing and keeps the strict defaults")
    func smallest() throws {
        let policy = try Cast.policy()
        #expect(policy.version == 1 && policy.organisation == "example-org")
        #expect(policy.services.isEmpty && policy.agents.isEmpty && policy.partners.isEmpty)
        #expect(policy.erasure.fourEyes && policy.moderation && !policy.publicAuthorizations)
        #expect(policy.personalClients == .all && policy.freeze.secondOfficerOver == nil)
        let none = Policy.none(organisation: "example-org")
        #expect(policy.limits == none.limits && policy.retention == none.retention && policy.anomaly == none.anomaly)
    }

    @Test("no policy is version 0 and just as strict")
    func none() {
        let none = Policy.none(organisation: "example-org")
        #expect(none.version == 0 && none.services.isEmpty && none.erasure.fourEyes && !none.publicAuthorizations)
    }

    @Test(
        "what is not exactly a policy is refused at its place",
        arguments: [
            ("extra: 1", "policy: there is no member 'extra'"),
            ("services: 7", "services: a list is expected"),
            ("services: [{name: a}]", "services[0]: the member 'type' is missing"),
            ("services: [7]", "services[0]: a mapping is expected"),
            ("moderation: on", "moderation: true or false"),
            ("moderation: 1", "moderation: true or false"),
            ("freeze: {secondOfficerOver: always}", "freeze.secondOfficerOver: a number or the word never"),
            ("freeze: {secondOfficerOver: -1}", "freeze.secondOfficerOver: a number"),
            ("limits: {perUserPerMinute: 0}", "limits.perUserPerMinute: a number"),
            ("limits: {perUserPerMinute: 99999999999}", "limits.perUserPerMinute: a number"),
            ("limits: {perUserPerHour: 1}", "limits: there is no member 'perUserPerHour'"),
            ("retention: {tombstoneDays: 2.5}", "retention.tombstoneDays: a number"),
            ("agents: [{user: a}, {user: a}]", "agents[1]: this agent stands in the list twice"),
            ("agents: [{user: a, notAfter: 2027-02-30}]", "agents[0].notAfter: this is no date"),
            ("agents: [{user: a, notAfter: tomorrow}]", "agents[0].notAfter: this is no date"),
            ("agents: [{user: \" a\"}]", "agents[0].user: the text holds characters that do not show"),
            ("agents: [{user: \"a\\u202Eb\"}]", "agents[0].user: the text holds characters that do not show"),
            ("agents: [{user: \"\"}]", "agents[0].user: the text has the wrong length"),
            ("personalClients: some", "personalClients: the word all or a list"),
            ("federation: [{domain: Example.com, partners: all}]", "federation[0].domain: this is no DNS name"),
            ("federation: [{domain: a.example, partners: [b.example]}]", "federation[0]: there is no such partner"),
        ])
    func refused(lines: String, place: String) {
        let error = Cast.error { try Cast.policy(lines) }
        #expect(error?.code == .policyMalformed)
        #expect(error?.summary.contains(place) == true, "\(error?.description ?? "accepted")")
    }

    @Test(
        "a consent that could be misunderstood is refused",
        arguments: [
            ("spaces: all", "spaces: []", "services[0].spaces: it covers nothing"),
            ("spaces: all", "spaces: everything", "services[0].spaces: the word all or a list"),
            ("spaces: all", "spaces: [\"kms://kms.example.com/keys/x\"]", "services[0].spaces[0]: this names no space"),
            (
                "spaces: all",
                "spaces: [\"kms://KMS.example.com/resources/0b8cfd7e-5b1f-4f0e-9b0a-6f3a3f0b1c2d\"]",
                "services[0].spaces[0]: this names no space"
            ),
            ("spaces: all", "spaces: [\"\(Cast.space)\", \"\(Cast.space)\"]", "services[0].spaces[1]: it stands"),
            (
                "notAfter: 2027-12-31", "notBefore: 2027-12-31, notAfter: 2027-12-30",
                "services[0].notAfter: the consent"
            ),
            ("name: indexer", "name: Indexer", "services[0].name: this is no name"),
            ("subject: svc-indexer", "subject: [a]", "services[0].subject: a text"),
            ("type: search-indexing", "type: search-indexing, operations: [Update]", "services[0].operations[0]"),
            ("type: search-indexing", "type: search-indexing, mayActOnBehalf: yes", "services[0].mayActOnBehalf"),
        ])
    func refusedConsent(part: String, replacement: String, place: String) throws {
        let range = try #require(Self.consent.firstRange(of: part))
        let lines = Self.consent.replacingCharacters(in: range, with: replacement)
        let error = Cast.error { try Cast.policy(lines) }
        #expect(error?.code == .policyMalformed)
        #expect(error?.summary.contains(place) == true, "\(error?.description ?? "accepted")")
        #expect(throws: Never.self) { try Cast.policy(Self.consent) }
    }

    @Test("a day as the end of a consent is in it, a day as its beginning begins it")
    func days() throws {
        let policy = try Cast.policy(
            """
            services: [{name: a, type: t, subject: s, spaces: all, notBefore: 2027-02-01, notAfter: 2027-02-28}]
            """)
        #expect(policy.services[0].notBefore == Timestamp(iso8601: "2027-02-01T00:00:00Z"))
        #expect(policy.services[0].notAfter == Timestamp(iso8601: "2027-03-01T00:00:00Z"))
        #expect(policy.services[0].operations == ["retrieve"])
    }

    @Test(
        "two consents for one question are refused, two for different ones are not",
        arguments: [
            ("spaces: all, notAfter: 2027-12-31", "spaces: all, notAfter: 2027-06-30", true),
            ("spaces: all, notAfter: 2027-12-31", "spaces: [\"\(Cast.space)\"], notAfter: 2027-06-30", true),
            (
                "spaces: [\"\(Cast.space)\"], notAfter: 2027-12-31",
                "spaces: [\"\(Cast.otherSpace)\"], notAfter: 2027-12-31", false
            ),
            ("spaces: all, notAfter: 2027-06-30", "spaces: all, notBefore: 2027-07-01, notAfter: 2027-12-31", false),
            ("spaces: all, notAfter: 2027-06-30", "spaces: all, notBefore: 2027-06-30, notAfter: 2027-12-31", true),
            ("client: a, spaces: all, notAfter: 2027-12-31", "client: b, spaces: all, notAfter: 2027-12-31", false),
            ("client: a, spaces: all, notAfter: 2027-12-31", "spaces: all, notAfter: 2027-12-31", true),
            (
                "organisations: [x], spaces: all, notAfter: 2027-12-31",
                "organisations: [y], spaces: all, notAfter: 2027-12-31", false
            ),
        ])
    func overlaps(first: String, second: String, overlap: Bool) throws {
        let lines = """
            services:
              - {name: one, type: t, subject: s, \(first)}
              - {name: two, type: t, subject: s, \(second)}
            """
        let error = Cast.error { try Cast.policy(lines) }
        #expect((error != nil) == overlap, "\(error?.description ?? "accepted")")
        // Another subject is never in the way.
        #expect(throws: Never.self) {
            try Cast.policy(lines.replacingOccurrences(ofLast: "subject: s,", with: "subject: other,"))
        }
    }

    @Test("two services of one name, and a client for persons and services alike, are refused")
    func names() {
        let twice = """
            services:
              - {name: one, type: t, subject: s, spaces: all, notAfter: 2027-12-31}
              - {name: one, type: t, subject: r, spaces: all, notAfter: 2027-12-31}
            """
        #expect(Cast.error { try Cast.policy(twice) }?.summary.contains("services[1]: another service") == true)
        let both = """
            personalClients: [app, api]
            services: [{name: one, type: api-access, subject: s, client: api, spaces: all, notAfter: 2027-12-31}]
            """
        #expect(Cast.error { try Cast.policy(both) }?.summary.contains("personalClients") == true)
    }

    @Test("lists have limits")
    func limits() {
        let users = (0...1000).map { "{user: u\($0)}" }.joined(separator: ", ")
        #expect(Cast.error { try Cast.policy("agents: [\(users)]") }?.found == "1001")
        let deep = String(repeating: "[", count: 20) + String(repeating: "]", count: 20)
        #expect(Cast.error { try Cast.policy("agents: \(deep)") }?.code == .policyMalformed)
    }

    @Test("the signed form is one: another order, white space or a member twice is refused")
    func canonicalForm() throws {
        let bytes = try Cast.canonical(Self.consent)
        #expect(try Policy(canonical: bytes).services.count == 1)
        let text = String(decoding: bytes, as: UTF8.self)
        for changed in [
            text + "\n", " " + text, text.replacingOccurrences(ofLast: "\"version\":1", with: "\"version\": 1"),
            text.replacingOccurrences(ofLast: "\"version\":1", with: "\"version\":1,\"version\":1"),
            text.replacingOccurrences(ofLast: "example-org", with: "ex\\u0061mple-org"),
        ] {
            #expect(changed != text)
            #expect(throws: DiagnosedError.self) { try Policy(canonical: Array(changed.utf8)) }
        }
    }

    @Test("octets that nobody planned never get through, and never crash", arguments: SeededGenerator.seeds)
    func damaged(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let bytes = try Cast.canonical(Self.consent + "\nagents: [{user: ada}]\nlimits: {massDeletion: 5}")
        let original = try Policy(canonical: bytes)
        for _ in 0..<300 {
            var changed = bytes
            for _ in 0...Int.random(in: 0...2, using: &random) {
                changed[Int.random(in: 0..<changed.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if Bool.random(using: &random) { changed.removeLast(Int.random(in: 0..<changed.count, using: &random)) }
            // A change may be another policy; then it has another digest, and that is what is signed.
            if let policy = try? Policy(canonical: changed), changed != bytes {
                #expect(policy.digest != original.digest, "seed \(seed)")
            }
            _ = try? PolicySource.read(String(decoding: changed, as: UTF8.self), file: "x")
        }
    }
}

extension String {
    func replacingCharacters(in range: Range<String.Index>, with text: String) -> String {
        String(self[..<range.lowerBound]) + text + String(self[range.upperBound...])
    }

    func replacingOccurrences(ofLast part: String, with text: String) -> String {
        ranges(of: part).last.map { replacingCharacters(in: $0, with: text) } ?? self
    }
}
