import Diagnostics
import Glibc
import Synchronization
import TestServers
import Testing
import WireText

@testable import AuditTrail

@Suite("Heads and witnesses")
struct WitnessTests {
    @Test("A head goes to every witness once, and none is written where nothing is new")
    func heads() async throws {
        let fixture = try AuditFixture()
        let journal = Mutex<[SignedHead]>([])
        let trail = try await fixture.open {
            $0.witnesses.append(ClosureWitness("journal") { head in journal.withLock { $0.append(head) } })
        }
        try await fixture.fill(trail, 0..<3)
        try await fixture.seal(trail, position: 5)
        try await fixture.seal(trail, position: 5)
        try await fixture.seal(trail)
        #expect(journal.withLock { $0.map(\.statement.seq) } == [4])
        #expect(try fixture.temporary.contents(of: "witness").split(separator: "\n").count == 1)
        #expect(trail.state.lastSeq == 5 && trail.state.sealedThrough == 5)
        // Another position is news.
        try await fixture.seal(trail, position: 6)
        #expect(journal.withLock { $0.map(\.statement.position) } == [5, 6])
        let report = try fixture.verify(witness: true)
        #expect(report.witnessedThrough == 5 && report.unsealed == 0)
        #expect(trail.state.witnesses.map(\.deliveredThrough) == [5, 5])
    }

    @Test("A witness that fails is seen in the state, and the others still get the head")
    func failingWitness() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open { $0.witnesses.insert(FileWitness("/no/such/folder/witness"), at: 0) }
        try await fixture.fill(trail, 0..<1)
        try await fixture.seal(trail)
        #expect(trail.state.witnesses.map { $0.failure?.code } == [.auditFolder, nil])
        #expect(try fixture.verify(witness: true).witnessedThrough == 2)
    }

    @Test("A witness that hangs holds up nobody and gets the newest head when it comes back")
    func hangingWitness() async throws {
        let fixture = try AuditFixture()
        let seen = Mutex<[Int64]>([])
        let (gate, opener) = AsyncStream<Void>.makeStream()
        let trail = try await fixture.open {
            $0.witnesses.append(
                ClosureWitness("slow") { head in
                    seen.withLock { $0.append(head.statement.seq) }
                    for await _ in gate { break }
                })
        }
        for number in 0..<5 {
            try await trail.keep(fixture.record(number))
            try await trail.sealHead(now: fixture.now)
        }
        opener.finish()
        await trail.witnessesSettled()
        let heads = seen.withLock { $0 }
        #expect(heads.last == 10 && heads == heads.sorted())
        #expect(trail.state.witnesses.last?.deliveredThrough == 10)
    }

    @Test("A torn line in the witness file hides neither the heads before nor those after")
    func tornWitness() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        try await fixture.fill(trail, 0..<1)
        try await fixture.seal(trail)
        try PosixAppendFile(fixture.witness).append(Array("eyJhbGci".utf8))
        let trust = AttestationTrust(keys: [fixture.key.publicKey])
        #expect(try WitnessHeads.newest(in: fixture.witness, node: "kms-1", trust: trust)?.seq == 2)
        try await fixture.fill(trail, 1..<2)
        try await fixture.seal(trail)
        #expect(try WitnessHeads.newest(in: fixture.witness, node: "kms-1", trust: trust)?.seq == 4)
        #expect(try WitnessHeads.newest(in: fixture.witness, node: "kms-2", trust: trust) == nil)
        let report = try fixture.verify(witness: true)
        #expect(report.witnessedThrough == 4 && report.unreadableWitnessLines == 1)
        #expect(report.text().contains("1 lines of witnesses"))
    }

    @Test("A folder that went back, was cut, emptied or replaced does not open")
    func rollback() async throws {
        let fixture = try AuditFixture()
        var trail = try await fixture.open()
        try await fixture.fill(trail, 0..<3)
        try await fixture.seal(trail)
        let old = try fixture.copy()
        try await fixture.fill(trail, 3..<6)
        try await fixture.seal(trail)
        try await trail.close()
        let new = try fixture.copy()

        fixture.putBack(old)
        #expect(await code { _ = try await fixture.open() } == .auditRolledBack)
        // Even when it grew again, unseen: the number is high enough, the chain is another.
        trail = try await fixture.open { $0.witnessFiles = [] }
        try await fixture.fill(trail, 10..<30)
        await trail.abandon()
        #expect(await code { _ = try await fixture.open() } == .auditRolledBack)
        // A later segment does not hide it.
        fixture.advance(seconds: 3600)
        trail = try await fixture.open { $0.witnessFiles = [] }
        await trail.abandon()
        #expect(await code { _ = try await fixture.open() } == .auditRolledBack)

        fixture.putBack([:])
        #expect(await code { _ = try await fixture.open() } == .auditRolledBack)
        fixture.putBack(new)
        trail = try await fixture.open()
        #expect(trail.state.lastSeq > 9)
    }

    @Test("With a reason a new trail begins in an empty folder and records the gap")
    func newTrail() async throws {
        let fixture = try AuditFixture()
        var trail = try await fixture.open()
        let lost = trail.trail
        try await fixture.fill(trail, 0..<3)
        try await fixture.seal(trail)
        await trail.abandon()
        let old = try fixture.copy()
        fixture.putBack([:])
        fixture.advance(seconds: 10)
        trail = try await fixture.open { $0.newTrailReason = "the disk burnt" }
        let gap = try #require(try trail.reader.records(AuditQuery()).last?.record)
        #expect(gap.kind == .gap && gap.detail == "the disk burnt" && gap.own.trail == lost && gap.count == 4)
        try await fixture.seal(trail)
        #expect(throws: Never.self) { try fixture.verify(witness: true) }
        await trail.abandon()
        // The old one, put back, is not the newest trail any more.
        fixture.putBack(old)
        #expect(await code { _ = try await fixture.open() } == .auditRolledBack)
        #expect(try fixture.finding(witness: true)?.code == .auditWitnessContradicts)
    }
}
