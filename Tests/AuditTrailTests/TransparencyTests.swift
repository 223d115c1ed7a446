import Diagnostics
import Foundation
import Testing
import WireText

@testable import AuditTrail

/// Reports of releases: counted from trails that hold, about nobody, and believed only as they were signed.
@Suite("Transparency reports")
struct TransparencyTests {
    private static let day = Timestamp(iso8601: "2026-11-26T00:00:00Z")!
    private static let next = Timestamp(iso8601: "2026-11-27T00:00:00Z")!

    private static func release(
        _ user: String, for effective: String? = nil, by rule: String, type: String = "KEY", status: Int = 200,
        at time: Timestamp
    ) -> AuditRecord {
        var record = AuditRecord(.decision, at: time)
        (record.user, record.effectiveUser) = ("u:\(user)", "u:\(effective ?? user)")
        (record.method, record.type, record.rule, record.status) = ("retrieve", type, rule, status)
        return record
    }

    /// A trail that begins before the day and ends behind it.
    private func fixture(_ records: [AuditRecord], through end: Timestamp = next) async throws -> AuditFixture {
        let fixture = try AuditFixture()
        fixture.now = Self.day.adding(seconds: -60)
        let trail = try await fixture.open()
        try await trail.keep(Self.release("alice", by: "member", at: fixture.now))
        for record in records { try await trail.keep(record) }
        fixture.now = end
        try await trail.keep(Self.release("alice", by: "member", at: end))
        try await fixture.seal(trail)
        return fixture
    }

    private func report(
        _ fixture: AuditFixture, nodes: [String] = [], partners: [String: String] = [:]
    ) throws -> TransparencyReport {
        try TransparencyReport.make(
            of: [fixture.folder], trust: AttestationTrust(keys: [fixture.key.publicKey]),
            witnesses: [fixture.witness], from: Self.day, to: Self.next, nodes: nodes, partners: partners,
            issued: Self.next)
    }

    private static var mixed: [AuditRecord] {
        let noon = day.adding(seconds: 43_200)
        var records = (0..<11).map { release("user\($0)", by: "member", at: noon) }
        records += [
            release("svc", by: "service-consent:indexer", at: noon),
            release("svc", for: "bob", by: "nested", type: "RESOURCE_KEYS", at: noon),
            release("svc", for: "bob", by: "query-key:indexer", at: noon),
            release("disc", for: "bob", by: "former-member:discovery", at: noon),
            release("carla", for: "bob", by: "member", at: noon),
            release("kms.partner.example", for: "p", by: "partner:member", at: noon),
            release("nobody", by: "anonymous-bearer", at: noon), release("dora", by: "partner-decided", at: noon),
            // None of these gave a key to anybody.
            release("eve", by: "not-a-member", status: 403, at: noon),
            release("svc", by: "service-consent:indexer", type: "RESOURCE", at: noon),
        ]
        return records
    }

    @Test("each release is counted once, under the service, the partner, the officer or the persons who got the key")
    func counted() async throws {
        let report = try report(
            try await fixture(Self.mixed), nodes: ["kms-1"],
            partners: ["u:kms.partner.example": "kms.partner.example"])
        #expect(
            report.services == [.init(name: "discovery", releases: 1), .init(name: "indexer", releases: 3)])
        #expect(report.partners == [.init(name: "kms.partner.example", releases: 1)])
        #expect(report.officers == [.init(name: "officer 1", releases: 10)])
        #expect((report.users, report.unnamed, report.fromPartners) == (20, 10, 10))
        #expect(report.isComplete && report.sources.first?.isWitnessed == true)
    }

    @Test(
        "nothing in the report, its text or its page names a person, an object or a client, not as a pseudonym either")
    func nobody() async throws {
        let fixture = try await fixture(Self.mixed)
        let report = try report(fixture, partners: ["u:kms.partner.example": "kms.partner.example"])
        let texts = [
            String(decoding: report.json(), as: UTF8.self), report.text(signedBy: "key"), report.html(signedBy: "key"),
        ]
        for text in texts {
            for name in ["u:", "o:", "alice", "bob", "carla", "dora", "nobody", "user1"] {
                #expect(!text.contains(name), "\(name)")
            }
        }
    }

    @Test("one release more or less of a person does not show, in one report or between two")
    func differences() async throws {
        let noon = Self.day.adding(seconds: 43_200)
        let members = (0..<5).map { Self.release("user\($0)", by: "member", at: noon) }
        let (less, more) = (
            try report(try await fixture(Array(members.dropLast()))), try report(try await fixture(members))
        )
        #expect(less.users == more.users && less.users == 10)
    }

    @Test("a period that is not of whole days that are over is refused")
    func periods() async throws {
        let fixture = try await fixture([])
        let trust = AttestationTrust(keys: [fixture.key.publicKey])
        for (from, to, issued) in [
            (Self.day, Self.day, Self.next), (Self.next, Self.day, Self.next),
            (Self.day, Self.next.adding(seconds: -1), Self.next), (Self.day, Self.next, Self.day),
        ] {
            #expect(throws: DiagnosedError.self) {
                try TransparencyReport.make(of: [fixture.folder], trust: trust, from: from, to: to, issued: issued)
            }
        }
    }

    @Test("a missing node, a trail that ends early and records that nobody signed are named, and it is not complete")
    func gaps() async throws {
        let noon = Self.day.adding(seconds: 43_200)
        let short = try await fixture([], through: noon)
        #expect(try report(short).sources.first?.gaps.contains { $0.contains("before the period does") } == true)
        let missing = try report(try await fixture([]), nodes: ["kms-1", "kms-2"])
        #expect(missing.missingNodes == ["kms-2"] && !missing.isComplete)
        #expect(missing.text(signedBy: "key").contains("NOT COMPLETE"))
        let open = try AuditFixture()
        open.now = Self.day.adding(seconds: -60)
        let trail = try await open.open()
        try await open.seal(trail)
        try await trail.keep(Self.release("svc", by: "service-consent:indexer", at: noon))
        let unsigned = try report(open)
        #expect(unsigned.services.isEmpty && (unsigned.sources.first?.unproven ?? 0) > 0 && !unsigned.isComplete)
    }

    @Test("a trail that somebody changed gives figures that are not called proven")
    func changed() async throws {
        let fixture = try await fixture(Self.mixed)
        for name in fixture.segments {
            let lines = try fixture.lines(name)
            fixture.write(name, lines: lines.map { $0.replacingOccurrences(of: "query-key:", with: "query-kez:") })
        }
        let report = try report(fixture)
        #expect(report.sources.first?.isVerified == false && !report.isComplete)
        #expect(report.text(signedBy: "key").contains("NOT VERIFIED"))
    }

    @Test("the same node twice is refused")
    func twice() async throws {
        let fixture = try await fixture([])
        #expect(throws: DiagnosedError.self) {
            try TransparencyReport.make(
                of: [fixture.folder, fixture.folder], trust: AttestationTrust(keys: [fixture.key.publicKey]),
                from: Self.day, to: Self.next, issued: Self.next)
        }
    }

    @Test("what was signed is read back; another key, another kind or a changed character is refused")
    func signed() async throws {
        let fixture = try await fixture(Self.mixed)
        let report = try report(fixture)
        let file = try report.file(signedBy: fixture.key)
        let trust = AttestationTrust(fingerprints: [fixture.key.fingerprint])
        #expect(try TransparencyReport.verify(file: file, trust: trust).report == report)
        #expect(throws: DiagnosedError.self) {
            try TransparencyReport.verify(
                file: file, trust: AttestationTrust(fingerprints: [try AttestationKey.createP256().fingerprint]))
        }
        let other =
            "{\"certificate\":\"\(try fixture.key.sign(report.json(), as: .rotation))\",\"key\":\(fixture.key.jwk)}"
        #expect(throws: DiagnosedError.self) { try TransparencyReport.verify(file: other, trust: trust) }
        for position in stride(from: 20, to: file.utf8.count - 200, by: 101) {
            var changed = Array(file.utf8)
            changed[position] = changed[position] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            #expect(throws: (any Error).self, "octet \(position)") {
                try TransparencyReport.verify(file: String(decoding: changed, as: UTF8.self), trust: trust)
            }
        }
    }

    @Test("names of trails reach neither a terminal nor a page as anything but text")
    func hostileNames() async throws {
        let noon = Self.day.adding(seconds: 43_200)
        let fixture = try await fixture([Self.release("s", by: "service-consent:<b>\u{1B}[2J&", at: noon)])
        let report = try report(fixture)
        #expect(report.html(signedBy: "key").contains("&lt;b&gt;?[2J&amp;"))
        #expect(!report.text(signedBy: "key").contains("\u{1B}"))
    }
}
