import Diagnostics
import Glibc
import Synchronization
import Testing
import WireText

@testable import AuditTrail

@Suite("Keeping records")
struct KeepingTests {
    @Test("A kept record stands in a file of mode 0600 that verifies, behind the start of the trail")
    func keep() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        let record = fixture.record(1)
        try await trail.keep(record)
        #expect(fixture.segments == ["kms-1.0000000000000001.audit"])
        var status = stat()
        #expect(stat("\(fixture.folder)/\(fixture.segments[0])", &status) == 0 && status.st_mode & 0o7777 == 0o600)
        let lines = try fixture.lines(fixture.segments[0]).map { try StoredRecord(line: Array($0.utf8)) }
        #expect(lines.map(\.record.kind) == [.start, .decision])
        #expect(lines[1].record == record)
        #expect(try fixture.verify().last == 2)
        #expect(try await trail.contains(record.id))
        #expect(try await !trail.contains(.make(at: fixture.now)))
        #expect(try await trail.ids(since: 1) == [record.id])
    }

    @Test("Eight tasks keep at once: each record stands once, in each task's order, in one chain")
    func concurrency() async throws {
        let fixture = try AuditFixture()
        let files = FaultingFileSystem()
        let trail = try await fixture.open { $0.fileSystem = files }
        let each = 250
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask {
                    // Pairs, so that there is always something that can share a sync.
                    for number in stride(from: 0, to: each, by: 2) {
                        async let first: Void = trail.keep(fixture.record(task * 1000 + number))
                        async let second: Void = trail.keep(fixture.record(task * 1000 + number + 1))
                        _ = try await (first, second)
                    }
                }
            }
            try await group.waitForAll()
        }
        let report = try fixture.verify()
        #expect(report.last == Int64(8 * each + 1))
        let objects = try trail.reader.records(AuditQuery()).compactMap(\.record.object)
        #expect(objects.count == 8 * each && Set(objects).count == 8 * each)
        for task in 0..<8 {
            let pairs = objects.compactMap { Int($0.dropFirst(2)) }.filter { $0 / 1000 == task }.map { $0 % 1000 / 2 }
            #expect(pairs == pairs.sorted())
        }
        #expect(files.faults.withLock { $0.syncs } <= 8 * each + 4)
    }

    @Test("Many records that wait together share one sync")
    func groupSync() async throws {
        let fixture = try AuditFixture()
        let files = FaultingFileSystem()
        let trail = try await fixture.open { $0.fileSystem = files }
        let before = files.faults.withLock { $0.syncs }
        try await trail.keep((0..<100).map { fixture.record($0) })
        #expect(files.faults.withLock { $0.syncs } == before + 1)
        #expect(try fixture.verify().last == 101)
    }

    @Test("Records that only the trail itself writes are refused, and several are kept all or none")
    func foreignKinds() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        for kind in AuditRecord.Kind.allCases where !kind.isKept {
            let found = await code { try await trail.keep([fixture.record(1), AuditRecord(kind, at: fixture.now)]) }
            #expect(found == .auditRecordInvalid)
        }
        #expect(trail.state.lastSeq == 1)
    }

    @Test("A record of a later hour begins a segment with the root of the one before; an earlier one does not")
    func turning() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        try await fixture.fill(trail, 0..<3)
        let early = fixture.record(99)
        fixture.advance(seconds: 3600)
        try await fixture.fill(trail, 3..<5)
        try await trail.keep(early)
        try await trail.sealRoot(now: fixture.now)
        #expect(fixture.segments == ["kms-1.0000000000000001.audit", "kms-1.0000000000000005.audit"])
        let kinds = try fixture.lines(fixture.segments[1]).map { try StoredRecord(line: Array($0.utf8)).record.kind }
        #expect(kinds == [.root, .decision, .decision, .decision])
        let report = try fixture.verify()
        #expect(report.sealedThrough == 4 && report.unsealed == 4 && report.roots == 1)
    }

    @Test("After the clock was set back by hours the next tick begins a segment, and everything is still found")
    func clockSetBack() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        let first = fixture.record(1)
        try await trail.keep(first)
        fixture.advance(seconds: 365 * 86_400)
        let future = fixture.record(2)
        try await trail.keep(future)
        fixture.now = AuditFixture.start.adding(seconds: 60)
        let second = fixture.record(3)
        try await trail.keep(second)
        #expect(fixture.segments.count == 2)
        try await trail.sealRoot(now: fixture.now)
        try await trail.sealRoot(now: fixture.now)
        let third = fixture.record(4)
        try await trail.keep(third)
        #expect(fixture.segments.count == 3)
        for record in [first, future, second, third] { #expect(try await trail.contains(record.id)) }
        #expect(throws: Never.self) { try fixture.verify() }
    }

    @Test("A batch across the hour is divided, and everybody in it is answered")
    func batchAcrossTheHour() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        let records = (0..<40).map { number in
            var record = AuditRecord(.decision, at: fixture.now.adding(seconds: Int64(number) * 600))
            record.object = "o:\(number)"
            return record
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for record in records { group.addTask { try await trail.keep(record) } }
            try await group.waitForAll()
        }
        #expect(Set(try trail.reader.records(AuditQuery()).compactMap(\.record.object)).count == 40)
        #expect(throws: Never.self) { try fixture.verify() }
    }

    @Test("A second writer is refused while the first is there, and not afterwards")
    func lock() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        #expect(await code { _ = try await fixture.open() } == .auditLocked)
        try await trail.close()
        #expect(await code { try await trail.keep(fixture.record(1)) } == .auditClosed)
    }

    @Test("Closing writes a stop and seals everything")
    func close() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        try await fixture.fill(trail, 0..<3)
        try await trail.close()
        let report = try fixture.verify()
        #expect(report.unsealed == 0 && report.last == 6)
        #expect(try fixture.lines(fixture.segments[0]).contains { $0.contains("\"kind\":\"stop\"") })
    }

    @Test(
        "A node's name that can not be part of a file name is refused", arguments: ["", "a/b", "a.b", "ä", "..", "a b"])
    func nodeName(name: String) async throws {
        let fixture = try AuditFixture()
        #expect(await code { _ = try await fixture.open { $0.node = name } } == .auditFolder)
    }

    @Test("A gap record is signed and names what is lost")
    func gap() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        try await trail.keepGap(node: "kms-2", trail: "t", lastSeq: 812, reason: "disk lost")
        let stored = try #require(try trail.reader.records(AuditQuery()).last)
        #expect(stored.record.kind == .gap && stored.record.detail == "disk lost")
        let payload = try AttestationTrust(keys: [fixture.key.publicKey])
            .verify(try #require(stored.record.jws), as: .gap).payload
        let statement = try GapStatement(payload)
        #expect(statement.node == "kms-2" && statement.lastSeq == 812 && statement.trail == "t")
        #expect(try fixture.verify().last == 2)
    }
}
