import Diagnostics
import Glibc
import TestServers
import Testing
import WireText

@testable import AuditTrail

@Suite("Export and deletion")
struct SpoolTests {
    private func trust(_ fixture: AuditFixture) -> AttestationTrust { AttestationTrust(keys: [fixture.key.publicKey]) }

    private func export(_ fixture: AuditFixture, _ name: String = "export", marks: Bool = true) throws
        -> AuditExport.Summary
    {
        try AuditExport(folder: fixture.folder, to: fixture.temporary.path + "/" + name, trust: trust(fixture))
            .run(now: fixture.now, marks: marks)
    }

    @Test("An export holds the sealed segments, verifies alone, and names its files by digest")
    func export() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.story()
        let summary = try export(fixture)
        #expect(summary.first == 1 && summary.last == 22 && summary.segments == 2 && summary.trail == trail.trail)
        let target = fixture.temporary.path + "/export"
        let report = try TrailVerifier(folder: target, trust: trust(fixture)).verify()
        #expect(report.last == 22 && report.unsealed == 0 && report.roots == 2)
        #expect(
            fixture.temporary.names(in: "export")
                == [fixture.segments[0], fixture.segments[1], "manifest.json", "roots"])
        #expect(try fixture.temporary.contents(of: "export/manifest.json").contains("\"sha256\":\""))
        #expect(try ExportMark.read(from: TrailFolder(path: fixture.folder))?.through == 22)
        // Never over something that is there.
        #expect(await code { _ = try export(fixture) } == .auditFolder)
    }

    @Test("A broken trail is not exported, and one without a sealed segment neither; no mark is left")
    func noExport() async throws {
        let young = try AuditFixture()
        let trail = try await young.open()
        try await young.fill(trail, 0..<2)
        #expect(await code { _ = try export(young) } == .auditSegmentMissing)
        let broken = try AuditFixture()
        await (try await broken.story()).abandon()
        var lines = try broken.lines(broken.segments[0])
        lines.remove(at: 3)
        broken.write(broken.segments[0], lines: lines)
        #expect(await code { _ = try export(broken) } == .auditSequenceBroken)
        #expect(try ExportMark.read(from: TrailFolder(path: broken.folder)) == nil)
        #expect(broken.temporary.names(in: "export").isEmpty)
    }

    @Test("Near the limit only exported segments go, the oldest first; what is left verifies")
    func pruning() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open { $0.limit = 20_000 }
        func hour(_ number: Int) async throws {
            try await fixture.fill(trail, number * 10..<number * 10 + 8)
            fixture.advance(seconds: 3600)
            try await trail.sealRoot(now: fixture.now)
            try await fixture.seal(trail)
        }
        for number in 0..<3 { try await hour(number) }
        while trail.state.percent < 80 { try await trail.keep(fixture.record(1)) }
        #expect(trail.state.level >= .high && trail.state.segments == 4)
        // Not exported: nothing goes, and in the end releases are blocked.
        while await code(of: { try await trail.keep(fixture.record(1)) }) == nil {}
        #expect(trail.state.blocked?.code == .auditBlocked)
        try await fixture.seal(trail)
        #expect(trail.state.segments == 4)
        _ = try export(fixture)
        // The next head looks for the mark; a position makes one although nothing is new.
        try await fixture.seal(trail, position: 1)
        #expect(trail.state.blocked == nil && trail.state.level == .normal)
        #expect(trail.state.segments < 4 && trail.state.exportedThrough > 20)
        try await trail.keep(fixture.record(2))
        let report = try fixture.verify(witness: true)
        #expect(report.first > 1 && report.roots == 3)
    }

    @Test("Segments past the retention go, exported or not; the others stay; a restart knows the ages")
    func retention() async throws {
        let fixture = try AuditFixture()
        var trail = try await fixture.open { $0.retention = 3 * 3600 }
        for number in 0..<6 {
            try await fixture.fill(trail, number * 10..<number * 10 + 2)
            try await fixture.seal(trail)
            fixture.advance(seconds: 3600)
        }
        try await fixture.fill(trail, 0..<1)
        try await fixture.seal(trail)
        #expect(trail.state.segments == 4)
        #expect(fixture.segments.count == 4)
        #expect(try fixture.verify(witness: true).roots == 6)
        try await trail.close()
        fixture.advance(seconds: 3600)
        trail = try await fixture.open { $0.retention = 3 * 3600 }
        try await fixture.seal(trail)
        #expect(fixture.segments.count == 4)
        #expect(try fixture.verify(witness: true).first > 10)
        // Another retention counts at the next head.
        trail.retention = 3600
        try await fixture.seal(trail)
        #expect(fixture.segments.count == 2)
    }

    @Test("A clock that jumps ahead lets only a few segments go at each head")
    func clockJump() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        for number in 0..<6 {
            try await fixture.fill(trail, number..<number + 1)
            fixture.advance(seconds: 3600)
        }
        fixture.advance(seconds: 10 * 365 * 86_400)
        try await fixture.seal(trail)
        #expect(fixture.segments.count == 5)
        #expect(try fixture.verify(witness: true).roots == 6)
    }

    @Test("A mark of another trail, or none, lets nothing go")
    func foreignMark() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open { $0.limit = 15_000 }
        for number in 0..<3 {
            try await fixture.fill(trail, number * 10..<number * 10 + 8)
            fixture.advance(seconds: 3600)
        }
        while trail.state.percent < 80 { try await trail.keep(fixture.record(1)) }
        try ExportMark(trail: "another", through: 1000, time: fixture.now).write(to: TrailFolder(path: fixture.folder))
        try await fixture.seal(trail)
        #expect(trail.state.segments == 4 && trail.state.exportedThrough == 0)
        fixture.write("exported", Array("garbage".utf8))
        try await fixture.seal(trail)
        #expect(trail.state.segments == 4)
    }
}
