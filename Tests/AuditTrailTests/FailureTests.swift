import Diagnostics
import Glibc
import TestServers
import Testing
import WireText

@testable import AuditTrail

@Suite("A trail whose disk fails")
struct FailureTests {
    private func opened(_ fixture: AuditFixture) async throws -> (AuditTrail, FaultingFileSystem) {
        let files = FaultingFileSystem()
        let trail = try await fixture.open { $0.fileSystem = files }
        try await trail.keep(fixture.record(0))
        return (trail, files)
    }

    @Test("A write that gets n octets far leaves nothing, wherever it ends, and the next keep works")
    func fullDisk() async throws {
        let fixture = try AuditFixture()
        let (trail, files) = try await opened(fixture)
        let size = try fixture.read(fixture.segments[0]).count
        for room in stride(from: 0, to: 400, by: 7) {
            files.set { $0.room = room }
            #expect(await code { try await trail.keep(fixture.record(1)) } == .auditBlocked, "\(room)")
            #expect(trail.state.blocked?.code == .auditBlocked && trail.state.blocked?.hint != nil)
            #expect(try fixture.read(fixture.segments[0]).count == size, "\(room)")
        }
        files.set { $0.room = nil }
        try await trail.keep(fixture.record(2))
        #expect(trail.state.blocked == nil)
        let report = try fixture.verify()
        #expect(report.last == 3 && report.tornOctets == 0)
    }

    @Test("Everybody who waits for the batch that fails is told, and nobody's record stays")
    func everybodyFails() async throws {
        let fixture = try AuditFixture()
        let (trail, files) = try await opened(fixture)
        files.set { $0.syncFails = true }
        let failures = await withTaskGroup(of: Bool.self) { group in
            for number in 0..<50 {
                group.addTask { await code { try await trail.keep(fixture.record(number)) } == .auditBlocked }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(failures == 50)
        files.set { $0.syncFails = false }
        try await trail.keep(fixture.record(7))
        #expect(try fixture.verify().last == 3)
    }

    @Test("As long as a torn end can not be cut off nothing is written behind it")
    func cutFails() async throws {
        let fixture = try AuditFixture()
        let (trail, files) = try await opened(fixture)
        files.set { $0 = .init(room: 100, truncateFails: true) }
        #expect(await code { try await trail.keep(fixture.record(1)) } == .auditBlocked)
        let torn = try fixture.read(fixture.segments[0])
        files.set { $0.room = nil }
        #expect(await code { try await trail.keep(fixture.record(2)) } == .auditBlocked)
        #expect(try fixture.read(fixture.segments[0]) == torn)
        #expect(try fixture.verify().tornOctets == 100)
        files.set { $0.truncateFails = false }
        try await trail.keep(fixture.record(3))
        #expect(try fixture.verify().last == 3)
    }

    @Test(
        "A new segment that can not be written is taken away, and made when the disk works again", arguments: [0, 500])
    func turnFails(room: Int) async throws {
        let fixture = try AuditFixture()
        let (trail, files) = try await opened(fixture)
        fixture.advance(seconds: 3600)
        files.set { $0.room = room }
        #expect(await code { try await trail.keep(fixture.record(1)) } == .auditBlocked)
        #expect(fixture.segments.count == 1)
        files.set { $0 = .init(syncFails: true, removeFails: true) }
        #expect(await code { try await trail.keep(fixture.record(1)) } == .auditBlocked)
        #expect(fixture.segments.count == 2)
        // The left-over segment has to go before anything else is written.
        #expect(await code { try await trail.keep(AuditRecord(.decision, at: AuditFixture.start)) } == .auditBlocked)
        files.set { $0 = .init() }
        try await trail.keep(fixture.record(2))
        let report = try fixture.verify()
        #expect(report.segments == 2 && report.last == 4 && report.roots == 1)
    }

    @Test("Sealing fails with the disk and works again; refusals that can not be written stay counted")
    func sealingFails() async throws {
        let fixture = try AuditFixture()
        let (trail, files) = try await opened(fixture)
        files.set { $0.room = 0 }
        for _ in 0..<20 { trail.noteRefusal(fixture.record(1, status: 403), source: "u:1") }
        #expect(await code { try await fixture.seal(trail) } == .auditBlocked)
        #expect(trail.state.refusalsWaiting == 20)
        files.set { $0.room = nil }
        try await fixture.seal(trail)
        #expect(trail.state.refusalsWaiting == 0)
        let counted = try trail.reader.records(AuditQuery()).filter { $0.record.kind == .refusals }
        #expect(counted.map(\.record.count) == [20])
        #expect(try fixture.verify().unsealed == 0)
    }

    @Test("A real full device is a blocked trail with a reason and a fix")
    func fullDevice() throws {
        let file = try PosixAppendFile("/dev/full")
        do throws(DiagnosedError) {
            try file.append([1])
            Issue.record("written to a full device")
        } catch {
            #expect(error.code == .auditBlocked && error.fault == .store)
            #expect(error.found == systemText(ENOSPC) && error.hint?.contains("free space") == true)
        }
    }

    @Test("A missing folder above, a folder that is a link's dangling end or a file is told as configuration")
    func noFolder() async throws {
        let fixture = try AuditFixture()
        #expect(await code { _ = try await fixture.open { $0.folder += "/a/b" } } == .auditFolder)
        #expect(await code { _ = try await fixture.open { $0.folder = "/dev/null" } } == .auditFolder)
        mkdir(fixture.folder, 0o700)
        chmod(fixture.folder, 0o770)
        #expect(await code { _ = try await fixture.open() } == .auditFolder)
    }
}
