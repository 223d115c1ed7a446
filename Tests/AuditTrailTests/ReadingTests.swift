import Diagnostics
import Glibc
import TestServers
import Testing
import WireText

@testable import AuditTrail

@Suite("Reading a trail")
struct ReadingTests {
    @Test("By id, request, user, object, kind and time, in both directions, with a limit")
    func queries() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.story()
        let reader = TrailReader(folder: fixture.folder)
        let all = try reader.records(AuditQuery())
        #expect(all.map(\.seq) == Array(1...trail.state.lastSeq))
        var query = AuditQuery()
        query.newestFirst = true
        #expect(try reader.records(query).map(\.seq) == all.map(\.seq).reversed())
        query.limit = 3
        #expect(try reader.records(query).map(\.seq) == all.suffix(3).map(\.seq).reversed())

        func found(_ change: (inout AuditQuery) -> Void) throws -> [String] {
            var query = AuditQuery()
            change(&query)
            return try reader.records(query).map { $0.record.object ?? "-" }
        }
        for stored in all { #expect(try found { $0.id = stored.record.id }.count == 1) }
        #expect(try found { $0.id = .make(at: fixture.now) } == [])
        #expect(try found { $0.requestId = "request-1" }.count == 12)
        #expect(try found { $0.requestId = "request-" } == [])
        #expect(
            try found {
                $0.user = "u:2"; $0.kind = .decision
            }.count == 8)
        #expect(try found { $0.object = "o:14" } == ["o:14"])
        let second = AuditFixture.start.adding(seconds: 3600)
        #expect(
            try found {
                $0.since = second; $0.until = second.adding(seconds: 1); $0.kind = .decision
            }.count == 8)
        #expect(try found { $0.kind = .head }.count == 5)
    }

    @Test("A record that was kept hours after it was made is found by its id")
    func lateRecord() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        let late = fixture.record(77)
        for number in 0..<5 {
            try await fixture.fill(trail, number..<number + 1)
            fixture.advance(seconds: 3600)
        }
        try await trail.keep(late)
        #expect(try await trail.contains(late.id))
        var query = AuditQuery()
        query.id = late.id
        #expect(try trail.reader.records(query).map(\.record.object) == ["o:77"])
    }

    @Test("Beside a running writer: a line that is being written is not seen")
    func tornLine() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.open()
        try await fixture.fill(trail, 0..<3)
        let name = fixture.segments[0]
        fixture.write(name, try fixture.read(name) + Array("{\"seq\":5,\"id\":".utf8))
        var query = AuditQuery()
        #expect(try trail.reader.records(query).count == 4)
        query.newestFirst = true
        #expect(try trail.reader.records(query).map(\.seq) == [4, 3, 2, 1])
    }

    @Test("Lines of all lengths come out of both readers as they are in the file", arguments: SeededGenerator.seeds)
    func lineReaders(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let fixture = try AuditFixture()
        let path = fixture.temporary.path + "/lines"
        let lines = (0..<40).map { _ in
            [UInt8](
                repeating: UInt8.random(in: 0x20...0x7E, using: &generator),
                count: Int.random(in: 0...60_000, using: &generator) >> Int.random(in: 0...16, using: &generator))
        }
        try PosixAppendFile(path).append(lines.flatMap { $0 + [0x0A] } + Array("rest".utf8))
        let forward = try LineReader(path)
        let backward = try BackwardLineReader(path)
        for line in lines { #expect(try forward.next() == line, "seed \(seed)") }
        for line in lines.reversed() { #expect(try backward.next() == line, "seed \(seed)") }
        #expect(try forward.next() == nil && backward.next() == nil, "seed \(seed)")
        #expect(forward.rest == Array("rest".utf8), "seed \(seed)")
    }

    @Test("A file without a line feed does not fill the memory")
    func endlessLine() throws {
        let fixture = try AuditFixture()
        let path = fixture.temporary.path + "/lines"
        try PosixAppendFile(path).append([UInt8](repeating: 0x61, count: 1 << 20))
        let forward = try LineReader(path)
        #expect(throws: DiagnosedError(.auditLineMalformed, fault: .client, "")) { try forward.next() }
        let backward = try BackwardLineReader(path)
        #expect(throws: DiagnosedError(.auditLineMalformed, fault: .client, "")) { try backward.next() }
    }
}

@Suite("Proofs of single records")
struct ProofTests {
    @Test("Every record under a root is proven by its proof and the key's fingerprint alone; those behind are not")
    func proofs() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.story()
        let trust = AttestationTrust(keys: [fixture.key.publicKey])
        for stored in try trail.reader.records(AuditQuery()) {
            guard stored.seq <= 22 else {
                #expect(throws: DiagnosedError(.auditProofInvalid, fault: .client, "")) {
                    try AuditProof.make(for: stored.record.id, folder: fixture.folder, trust: trust)
                }
                continue
            }
            let made = try AuditProof.make(for: stored.record.id, folder: fixture.folder, trust: trust)
            let proof = try AuditProof(json: Array(made.json().utf8))
            let pinned = AttestationTrust(fingerprints: [fixture.key.fingerprint])
            let (root, members) = try proof.verify(trust: pinned)
            #expect(members.seq == stored.seq && root.count == 11)
            #expect(proof.record.hasPrefix("{\"seq\":\(stored.seq),\"id\":\"\(stored.record.id)\""))
        }
    }

    @Test("A proof does not prove another record, place, root or under another key")
    func wrongProofs() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.story()
        let trust = AttestationTrust(keys: [fixture.key.publicKey])
        let records = try trail.reader.records(AuditQuery())
        let proof = try AuditProof.make(for: records[4].record.id, folder: fixture.folder, trust: trust)
        let other = try AuditProof.make(for: records[15].record.id, folder: fixture.folder, trust: trust)
        #expect(throws: Never.self) { try proof.verify(root: proof.root, trust: trust) }
        #expect(throws: DiagnosedError(.auditProofInvalid, fault: .client, "")) {
            try proof.verify(root: other.root, trust: trust)
        }
        let stranger = AttestationTrust(keys: [try AttestationKey.createP256().publicKey])
        #expect(throws: DiagnosedError(.attestationKeyUnknown, fault: .client, "")) {
            try proof.verify(trust: stranger)
        }
        let json = proof.json()
        let wrong = [
            json.replacing("\\\"status\\\":200", with: "\\\"status\\\":403"),
            json.replacing("\"index\":4", with: "\"index\":5"), json.replacing("\"count\":11", with: "\"count\":12"),
            json.replacing(Hexadecimal.encode(proof.path[0]), with: Hexadecimal.encode(proof.path[1])),
            json.replacing(",\"\(Hexadecimal.encode(proof.path[1]))\"", with: ""),
        ]
        for text in wrong {
            #expect(text != json)
            let changed = try AuditProof(json: Array(text.utf8))
            #expect(throws: DiagnosedError(.auditProofInvalid, fault: .client, "")) { try changed.verify(trust: trust) }
        }
        #expect(throws: (any Error).self) { try AuditProof(json: Array("{}".utf8)) }
    }

    @Test("No proof is made from a segment that was changed")
    func changedSegment() async throws {
        let fixture = try AuditFixture()
        let trail = try await fixture.story()
        let trust = AttestationTrust(keys: [fixture.key.publicKey])
        let id = try trail.reader.records(AuditQuery())[4].record.id
        var lines = try fixture.lines(fixture.segments[0])
        lines[2] = lines[2].replacing("\"status\":200", with: "\"status\":201")
        fixture.write(fixture.segments[0], lines: lines)
        #expect(throws: DiagnosedError(.auditRootInvalid, fault: .client, "")) {
            try AuditProof.make(for: id, folder: fixture.folder, trust: trust)
        }
    }
}
