import Diagnostics
import TestServers
import Testing
import WireText

@testable import AuditTrail

@Suite("Refusals and the spool")
struct RefusalTests {
    @Test("The first refusals of a source stand by themselves, the others are counted for each source, rule and status")
    func aggregation() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        for number in 0..<12 { trail.noteRefusal(fixture.record(number, status: 403), source: "u:a") }
        for number in 0..<3 { trail.noteRefusal(fixture.record(number, status: 403), source: "u:b") }
        fixture.advance(seconds: 30)
        for number in 0..<4 { trail.noteRefusal(fixture.record(number, status: 403), source: "u:a") }
        #expect(trail.state.refusalsWaiting == 11)
        try await fixture.seal(trail)
        let records = try trail.reader.records(AuditQuery()).map(\.record)
        #expect(records.filter { $0.kind == .decision && $0.status == 403 }.count == 8)
        let counted = records.filter { $0.kind == .refusals }
        #expect(counted.count == 1)
        #expect(counted[0].source == "u:a" && counted[0].count == 11 && counted[0].rule == "not-a-member")
        #expect(counted[0].since == AuditFixture.start && counted[0].until == fixture.now)
        #expect(trail.state.refusalsWaiting == 0)
        #expect(try fixture.verify().unsealed == 0)
    }

    @Test("A source or a rule of any length and content can be counted and written")
    func strangeSources() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        var record = fixture.record(1, status: 403)
        record.rule = String(repeating: "\u{1}", count: 5000)
        for source in ["", String(repeating: "ä", count: 3000), "*"] {
            for _ in 0..<7 { trail.noteRefusal(record, source: source) }
        }
        // None of them fits into a record of its own, for the rule is too long: all are counted.
        #expect(trail.state.refusalsWaiting == 21)
        try await fixture.seal(trail)
        #expect(trail.state.refusalsWaiting == 0)
        let counted = try trail.reader.records(AuditQuery()).filter { $0.record.kind == .refusals }
        #expect(counted.map(\.record.count) == [7, 7, 7])
        #expect(throws: Never.self) { try fixture.verify() }
    }

    @Test("Many sources share one budget a minute, and what is kept in memory is bounded")
    func budget() {
        var ledger = RefusalLedger()
        var kept = 0
        for number in 0..<5000 {
            let counter = RefusalLedger.Counter(source: "u:\(number)", rule: "r", status: 403)
            if ledger.note(counter, at: AuditFixture.start) { kept += 1 }
        }
        #expect(kept == 100 && ledger.waiting == 4900)
        let aggregates = ledger.take()
        #expect(aggregates.count == 201 && aggregates.first?.counter == .others)
        #expect(aggregates.reduce(0) { $0 + $1.count } == 4900)
        #expect(ledger.waiting == 0)
        // The next minute has a budget of its own.
        let isKept = ledger.note(
            .init(source: "u:1", rule: "r", status: 403), at: AuditFixture.start.adding(seconds: 60))
        #expect(isKept)
    }

    @Test("Counting never loses or invents a refusal", arguments: SeededGenerator.seeds)
    func property(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var ledger = RefusalLedger(.init(perSource: 2, perMinute: 10, counters: 6))
        var (kept, written, noted) = (0, Int64(0), 0)
        for step in 0..<2000 {
            switch Int.random(in: 0..<20, using: &generator) {
            case 0: written += ledger.take().reduce(0) { $0 + $1.count }
            case 1: for aggregate in ledger.take() { ledger.add(aggregate) }
            default:
                noted += 1
                let counter = RefusalLedger.Counter(
                    source: "u:\(Int.random(in: 0..<12, using: &generator))", rule: "r", status: 403)
                if ledger.note(counter, at: AuditFixture.start.adding(seconds: Int64(step / 10))) { kept += 1 }
            }
        }
        written += ledger.take().reduce(0) { $0 + $1.count }
        #expect(Int64(kept) + written == Int64(noted), "seed \(seed)")
    }

    @Test("Refusals have a quota for each segment, decisions a limit before the reserve, releases all of it")
    func quota() {
        let quota = SpoolQuota(limit: 1_000_000, hours: 10)
        #expect(quota.refusalsPerSegment == 20_000 && quota.reserve == 100_000)
        #expect(quota.admits(.refusal, octets: 500, used: 0, refusals: 19_500))
        #expect(!quota.admits(.refusal, octets: 501, used: 0, refusals: 19_500))
        #expect(!quota.admits(.refusal, octets: 1, used: 900_000, refusals: 0))
        #expect(quota.admits(.ordinary, octets: 100, used: 899_900, refusals: 0))
        #expect(!quota.admits(.ordinary, octets: 101, used: 899_900, refusals: 0))
        #expect(quota.admits(.reserved, octets: 100_000, used: 900_000, refusals: 0))
        #expect(!quota.admits(.reserved, octets: 100_001, used: 900_000, refusals: 0))
        #expect(quota.admits(.own, octets: 100, used: 2_000_000, refusals: 0))
    }

    @Test("A flood of refusals does not fill the spool, and a release is still kept behind it")
    func flood() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open {
            $0.limit = 200_000
            $0.retention = 10 * 3600
        }
        for minute in 0..<50 {
            for number in 0..<200 {
                trail.noteRefusal(fixture.record(number, status: 403), source: "u:\(number % 40)")
            }
            _ = minute
            fixture.advance(seconds: 60)
            try await fixture.seal(trail)
        }
        #expect(trail.state.refusalsWaiting > 0)
        #expect(trail.state.blocked == nil && trail.state.percent < 50)
        try await trail.keep(fixture.record(1))
        let used = try fixture.read(fixture.segments[0])
            .split(separator: 0x0A).filter { String(decoding: $0, as: UTF8.self).contains("not-a-member") }
        #expect(used.reduce(0) { $0 + $1.count + 1 } <= 4096)
        #expect(throws: Never.self) { try fixture.verify() }
    }

    @Test("The state tells 50 and 80 %; refused decisions stop before the reserve, releases at the limit")
    func levels() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open { $0.limit = 60_000 }
        var levels: [AuditTrailState.Level] = [trail.state.level]
        var ordinary = 0
        while await code(of: { try await trail.keep(fixture.record(1, status: 403)) }) == nil {
            ordinary += 1
            if trail.state.level != levels.last { levels.append(trail.state.level) }
        }
        #expect(levels == [.normal, .half, .high])
        #expect(trail.state.blocked == nil)
        var releases = 0
        while await code(of: { try await trail.keep(fixture.record(1)) }) == nil { releases += 1 }
        #expect(ordinary > 50 && releases > 5)
        #expect(trail.state.blocked?.code == .auditBlocked && trail.state.level == .full)
        #expect(await code { try await trail.keep(fixture.record(1)) } == .auditBlocked)
        #expect(trail.state.usedOctets <= 60_000)
        // A head can still be signed: what stands there has to be proven.
        try await fixture.seal(trail)
        #expect(try fixture.verify(witness: true).unsealed == 0)
    }

    @Test("The quota of refusals goes on after a restart")
    func quotaAfterRestart() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        for number in 0..<5 { trail.noteRefusal(fixture.record(number, status: 403), source: "u:1") }
        try await trail.close()
        let opening = try TrailOpening(fixture.configuration)
        var copy = opening
        let writer = try copy.open()
        #expect(writer.tip.refusalOctets > 1000)
    }
}
