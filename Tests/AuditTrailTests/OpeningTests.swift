import Diagnostics
import Glibc
import TestServers
import Testing
import WireText

@testable import AuditTrail

@Suite("Opening a trail again")
struct OpeningTests {
    @Test("Number, chain, position and trail go on, with a start record")
    func goesOn() async throws {
        let fixture = try AuditFixture()
        var trail = try await fixture.open()
        let id = trail.trail
        try await fixture.fill(trail, 0..<4)
        try await fixture.seal(trail, position: 41)
        try await fixture.fill(trail, 4..<6)
        try await trail.close()
        fixture.advance(seconds: 60)
        trail = try await fixture.open()
        #expect(trail.trail == id && trail.state.position == 41)
        try await fixture.fill(trail, 6..<8)
        let kinds = try trail.reader.records(AuditQuery()).map(\.record.kind)
        #expect(kinds.filter { $0 == .start }.count == 2 && kinds.filter { $0 == .decision }.count == 8)
        #expect(fixture.segments.count == 1)
        #expect(throws: Never.self) { try fixture.verify(witness: true) }
    }

    @Test("The position of the last head is found in an earlier segment")
    func earlierPosition() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        try await fixture.seal(trail, position: 9)
        fixture.advance(seconds: 3600)
        try await fixture.fill(trail, 0..<2)
        try await trail.close()
        fixture.advance(seconds: 7200)
        #expect(try await fixture.open().state.position == 9)
    }

    @Test("After a crash the caller completes the trail: each record of the ledger stands once")
    func completion() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        let ledger = (0..<10).map { fixture.record($0) }
        // Out of order, and one from behind the position stands before the head.
        for index in [0, 1, 2, 5] { try await trail.keep(ledger[index]) }
        try await fixture.seal(trail, position: 2)
        for index in [3, 7] { try await trail.keep(ledger[index]) }
        try await trail.close()
        fixture.advance(seconds: 5000)
        let reopened = try await fixture.open()
        let behind = Array(ledger[Int(try #require(reopened.state.position)) + 1..<10])
        let standing = try await reopened.present(behind.map(\.id))
        #expect(standing == Set([3, 5, 7].map { ledger[$0].id }))
        try await reopened.keep(behind.filter { !standing.contains($0.id) })
        let ids = try await reopened.ids(since: 0).filter { Set(ledger.map(\.id)).contains($0) }
        #expect(ids.count == 10 && Set(ids).count == 10)
        #expect(throws: Never.self) { try fixture.verify(witness: true) }
    }

    /// The state of a folder as a crash can leave it: the last records at any length, with any garbage behind.
    @Test(
        "Wherever a crash tore the last records, the trail opens, keeps what was whole and says what it cut",
        arguments: [[], Array("garbage".utf8), [0x0A], [0, 0, 0, 0x0A, 0], Array("{\"seq\":99,\n\n".utf8)] as [[UInt8]])
    func torn(garbage: [UInt8]) async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        try await fixture.fill(trail, 0..<1)
        try await fixture.seal(trail)
        try await fixture.fill(trail, 1..<2)
        await trail.abandon()
        let whole = try fixture.copy()
        let name = fixture.segments[0]
        let bytes = try #require(whole[name])
        let ends = bytes.indices.filter { bytes[$0] == 0x0A }.map { $0 + 1 }
        unlink(fixture.witness)
        let files = FaultingFileSystem()
        files.set { $0.skipsSyncs = true }
        // Every octet of the last record; steps for the others and with garbage keep the test short.
        let offsets =
            Array(stride(from: ends[ends.count - 2], through: bytes.count, by: garbage.isEmpty ? 1 : 13))
            + [bytes.count - 1, bytes.count] + stride(from: 1, to: ends[ends.count - 2], by: 97)
        for offset in offsets {
            fixture.putBack(whole)
            let content = Array(bytes[..<offset]) + garbage
            fixture.write(name, content)
            let good = ends.filter { content.count >= $0 && content[..<$0] == bytes[..<$0] }
            let reopened = try await fixture.open { $0.fileSystem = files }
            try await reopened.keep(fixture.record(77))
            await reopened.abandon()
            guard let end = good.last else {
                // Not even the start was whole: nothing was ever acknowledged, a new trail begins.
                #expect(try fixture.verify().last == 2, "offset \(offset)")
                continue
            }
            let cut = content.count - end
            let after = try fixture.read(name)
            #expect(after[..<end] == bytes[..<end], "offset \(offset)")
            let report = try fixture.verify()
            #expect(report.last == Int64(good.count + (cut > 0 ? 3 : 2)), "offset \(offset)")
            let told = try reopened.reader.records(AuditQuery()).last { $0.record.kind == .cut }?.record.count
            #expect(told == (cut > 0 ? Int64(cut) : nil), "offset \(offset)")
        }
    }

    @Test("A torn first line of a new segment is no segment, and the turn is made again")
    func tornTurn() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        try await fixture.fill(trail, 0..<2)
        let before = try fixture.copy()
        fixture.advance(seconds: 3600)
        try await trail.sealRoot(now: fixture.now)
        await trail.abandon()
        let name = try #require(fixture.segments.last)
        let root = try fixture.read(name)
        let roots = try fixture.read("roots")
        for count in [0, 1, 100, root.count - 1, root.count] {
            fixture.putBack(before)
            fixture.write(name, Array(root[..<count]))
            // The crash was before the file of roots was written, or while it was.
            if count == root.count { fixture.write("roots", Array(roots[..<(roots.count - 30)])) }
            let reopened = try await fixture.open()
            try await reopened.keep(fixture.record(5))
            await reopened.abandon()
            let report = try fixture.verify()
            #expect(report.segments == 2 && report.roots == 1, "count \(count)")
            #expect(try fixture.lines("roots").count == 2, "count \(count)")
        }
    }

    @Test("A record that was changed in the last segment stops the start and is named")
    func changed() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        try await fixture.fill(trail, 0..<6)
        await trail.abandon()
        var lines = try fixture.lines(fixture.segments[0])
        lines[3] = lines[3].replacing("\"status\":200", with: "\"status\":403")
        fixture.write(fixture.segments[0], lines: lines)
        do {
            _ = try await fixture.open()
            Issue.record("opened")
        } catch let error as DiagnosedError {
            #expect(error.code == .auditChainBroken)
            #expect(error.summary.hasPrefix("kms-1.0000000000000001.audit line 4: record 4"))
        }
        lines[3] = "garbage"
        fixture.write(fixture.segments[0], lines: lines)
        #expect(await code { _ = try await fixture.open() } == .auditLineMalformed)
    }

    @Test("Another key opens the trail only with a succession, which stands in the trail")
    func succession() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        try await fixture.fill(trail, 0..<2)
        try await trail.close()
        let (second, third) = (try AttestationKey.createP256(), try AttestationKey.createP256())
        #expect(await code { _ = try await fixture.open { $0.key = second } } == .attestationKeyUnknown)
        let successions = [
            try fixture.key.succession(to: second.publicKey, at: fixture.now),
            try second.succession(to: third.publicKey, at: fixture.now),
        ]
        fixture.advance(seconds: 3600)
        for key in [second, third, third] {
            let again = try await fixture.open {
                $0.key = key
                $0.successions = successions
                if key.fingerprint == second.fingerprint { $0.successions.removeLast() }
            }
            try await fixture.fill(again, 2..<4)
            try await fixture.seal(again)
            try await again.close()
            fixture.advance(seconds: 3600)
        }
        let report = try fixture.verify(witness: true)
        #expect(report.key == third.fingerprint && report.unsealed == 0)
        // Only the oldest fingerprint leads to all.
        #expect(try fixture.finding(key: third)?.code == .attestationKeyUnknown)
        // A key that stepped back opens it no more.
        #expect(
            await code {
                _ = try await fixture.open { $0.successions = successions }
            } == .attestationKeyUnknown)
    }
}

extension OpeningTests {
    @Test("A crash between the key record and the file of roots is mended, so that the oldest fingerprint leads to all")
    func successionMended() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        try await fixture.fill(trail, 0..<2)
        try await trail.close()
        let next = try AttestationKey.createP256()
        let succession = try fixture.key.succession(to: next.publicKey, at: fixture.now)
        let before = try fixture.read("roots")
        func reopen() async throws -> AuditTrail {
            try await fixture.open {
                $0.key = next
                $0.successions = [succession]
            }
        }
        await (try await reopen()).abandon()
        // The crash: the key record stands, the file of roots does not know the succession.
        fixture.write("roots", before)
        let again = try await reopen()
        #expect(try fixture.lines("roots").filter { $0.contains("succession") }.count == 1)
        fixture.advance(seconds: 3600)
        try await again.sealRoot(now: fixture.now)
        try await again.close()
        #expect(try fixture.verify().key == next.fingerprint)
    }
}
