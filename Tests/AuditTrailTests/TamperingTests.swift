import Cryptography
import Diagnostics
import Glibc
import JOSESignature
import TestServers
import Testing
import WireText

@testable import AuditTrail

@Suite("Tampering that the verification finds")
struct TamperingTests {
    private let fixture: AuditFixture
    private let middle = "kms-1.0000000000000012.audit"

    init() async throws {
        fixture = try AuditFixture()
        await (try await fixture.story()).abandon()
        let names = fixture.segments
        try #require(names.count == 3)
        try #require(names[1] == middle, "\(names)")
    }

    private func edit(_ name: String, _ change: (inout [String]) throws -> Void) throws {
        var lines = try fixture.lines(name)
        try change(&lines)
        fixture.write(name, lines: lines)
    }

    private func expect(
        _ code: DiagnosedError.Code, at place: String, witness: Bool = false,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let finding = try fixture.finding(witness: witness)
        #expect(finding?.code == code, "\(finding?.description ?? "nothing")", sourceLocation: sourceLocation)
        #expect(
            finding?.summary.contains(place) == true, "\(finding?.description ?? "nothing")",
            sourceLocation: sourceLocation)
    }

    /// Chains the lines from one on anew, as somebody does who knows the format and has no key.
    private func rechain(_ name: String, _ lines: inout [String], from index: Int) throws {
        for position in index..<lines.count {
            let before = try #require(LineHeader(Array(lines[position - 1].utf8)))
            let own = try #require(LineHeader(Array(lines[position].utf8)))
            let chain = TrailHash.chain(before.chain, leaf: own.leaf)
            lines[position] = lines[position].dropLast(66) + Hexadecimal.encode(chain) + "\"}"
        }
    }

    @Test("Untouched it verifies, with and without its witness, and the unsealed tail is named")
    func untouched() throws {
        let report = try fixture.verify(witness: true)
        #expect(report.segments == 3 && report.roots == 2 && report.first == 1)
        #expect(report.unsealed == 3 && report.sealedThrough == report.last - 3)
        #expect(report.unsealedSince == fixture.now)
        #expect(report.witnessedThrough.map { $0 < report.sealedThrough } == true)
        #expect(report.text().contains("not proven: 3 records from \(report.sealedThrough + 1) on"))
        #expect(report.json().contains("\"unsealed\":3"))
        #expect(try fixture.verify().witnessedThrough == nil)
    }

    @Test("A changed record")
    func changed() throws {
        try edit(middle) { $0[4] = $0[4].replacing("\"status\":200", with: "\"status\":201") }
        try expect(.auditChainBroken, at: "\(middle) line 5: record 16")
    }

    @Test("Every octet of a record that is changed")
    func everyOctet() async throws {
        let small = try AuditFixture()
        let trail = try await small.open()
        try await small.fill(trail, 0..<1)
        try await small.seal(trail)
        let name = small.segments[0]
        let bytes = try small.read(name)
        let start = try small.lines(name)[0].utf8.count + 1
        for offset in start..<start + (try small.lines(name)[1].utf8.count) {
            var changed = bytes
            changed[offset] ^= 0x01
            small.write(name, changed)
            let finding = try small.finding()
            #expect(finding?.summary.contains("\(name) line 2") == true, "\(offset): \(String(describing: finding))")
        }
    }

    @Test("A removed record")
    func removed() throws {
        try edit(middle) { $0.remove(at: 4) }
        try expect(.auditSequenceBroken, at: "\(middle) line 5")
    }

    @Test("An inserted and a doubled record")
    func inserted() throws {
        try edit(middle) { $0.insert($0[4], at: 4) }
        try expect(.auditSequenceBroken, at: "\(middle) line 6")
        try edit(middle) { lines in
            lines[5] = lines[5].replacing("{\"seq\":16", with: "{\"seq\":17")
        }
        try expect(.auditChainBroken, at: "\(middle) line 6")
    }

    @Test("Two records that changed places")
    func reordered() throws {
        try edit(middle) { $0.swapAt(3, 4) }
        try expect(.auditSequenceBroken, at: "\(middle) line 4")
    }

    @Test("A changed record with a chain made to fit, before a head and before a root")
    func rechained() throws {
        try edit(middle) { lines in
            lines[2] = lines[2].replacing("\"status\":200", with: "\"status\":201")
            try rechain(middle, &lines, from: 2)
        }
        try expect(.auditHeadInvalid, at: "\(middle) line 7: a head")
        // Without the heads the root of the segment finds it.
        try edit(middle) { lines in
            lines.removeAll { $0.contains("\"kind\":\"head\"") }
            for index in lines.indices.dropFirst() {
                let seq = try #require(LineHeader(Array(lines[index].utf8))).seq
                lines[index] = lines[index].replacing("{\"seq\":\(seq),", with: "{\"seq\":\(12 + index),")
            }
            try rechain(middle, &lines, from: 1)
        }
        let finding = try fixture.finding()
        #expect(finding?.code == .auditSegmentMissing, "\(String(describing: finding))")
    }

    @Test("The last segment rewritten behind its last head passes without a witness as what it is: not proven")
    func unsealedTail() throws {
        let last = try #require(fixture.segments.last)
        try edit(last) { lines in
            let index = lines.count - 2
            lines[index] = lines[index].replacing("\"status\":200", with: "\"status\":201")
            try rechain(last, &lines, from: index)
        }
        #expect(try fixture.verify(witness: true).unsealed == 3)
    }

    @Test("Segments that were swapped, renamed or taken away")
    func segments() throws {
        let first = fixture.segments[0], last = fixture.segments[2]
        let whole = try fixture.copy()
        fixture.write(first, try #require(whole[middle]))
        fixture.write(middle, try #require(whole[first]))
        try expect(.auditSequenceBroken, at: "\(first) line 1")
        fixture.putBack(whole)
        unlink("\(fixture.folder)/\(middle)")
        try expect(.auditSegmentMissing, at: last)
        fixture.putBack(whole)
        unlink("\(fixture.folder)/\(last)")
        // The root of the middle one stands in the file of roots: the middle is sealed, and the witness knows more.
        #expect(try fixture.verify().unsealed == 0)
        try expect(.auditWitnessContradicts, at: "the trail ends before", witness: true)
        unlink("\(fixture.folder)/\(middle)")
        try expect(.auditSegmentMissing, at: "the trail ends before what its roots cover")
        fixture.putBack(whole)
        rename("\(fixture.folder)/\(last)", "\(fixture.folder)/kms-2.0000000000000023.audit")
        #expect(try fixture.finding()?.code == .auditTrailForeign)
    }

    @Test("A tail cut off before a witnessed head")
    func truncated() throws {
        let last = try #require(fixture.segments.last)
        try edit(last) { $0.removeLast(6) }
        #expect(try fixture.finding() == nil)
        try expect(.auditWitnessContradicts, at: "the trail ends before what", witness: true)
    }

    @Test("An old copy of the whole folder, also one that grew again")
    func replayed() async throws {
        let other = try AuditFixture()
        var trail = try await other.open()
        try await other.fill(trail, 0..<3)
        try await other.seal(trail)
        let old = try other.copy()
        try await other.fill(trail, 3..<6)
        try await other.seal(trail)
        await trail.abandon()
        other.putBack(old)
        #expect(try other.finding() == nil)
        #expect(try other.finding(witness: true)?.code == .auditWitnessContradicts)
        trail = try await other.open { $0.witnessFiles = [] }
        try await other.fill(trail, 10..<20)
        await trail.abandon()
        let finding = try other.finding(witness: true)
        #expect(finding?.code == .auditWitnessContradicts)
        #expect(finding?.summary.contains("is not the one that") == true)
    }

    @Test("A head by another key, of another kind, or about something else")
    func forgedHeads() throws {
        let lines = try fixture.lines(middle)
        let index = try #require(lines.firstIndex { $0.contains("\"kind\":\"head\"") })
        let stored = try StoredRecord(line: Array(lines[index].utf8))
        let jws = try #require(stored.record.jws)
        let payload = try AttestationTrust(keys: [fixture.key.publicKey]).verify(jws, as: .head).payload
        let stranger = try AttestationKey.createP256()
        let forged: [(String, DiagnosedError.Code)] = [
            (try stranger.sign(payload, as: .head), .attestationKeyUnknown),
            (try fixture.key.sign(payload, as: .root), .attestationTypeWrong),
            (try fixture.key.sign(payload, as: .gap), .attestationTypeWrong),
            (jws.dropLast(4) + "AAAA", .joseSignatureInvalid),
            (
                try fixture.key.sign(
                    HeadStatement(
                        node: "kms-1", trail: "another", seq: stored.seq - 1, chain: stored.chain, position: nil,
                        time: fixture.now
                    ).json(), as: .head), .auditHeadInvalid
            ),
        ]
        for (text, code) in forged {
            try edit(middle) { changed in
                changed = lines
                changed[index] = changed[index].replacing(jws, with: text)
                try rechain(middle, &changed, from: index)
            }
            try expect(code, at: "\(middle) line \(index + 1)")
        }
    }

    @Test("A root that was exchanged, repeated or signed by another key")
    func forgedRoots() throws {
        let roots = try fixture.lines("roots")
        try #require(roots.count == 3)
        fixture.write("roots", lines: [roots[0], roots[2]])
        try expect(.auditRootInvalid, at: "roots line 2")
        fixture.write("roots", lines: [roots[0], roots[1], roots[1], roots[2]])
        try expect(.auditRootInvalid, at: "roots line 3")
        fixture.write("roots", lines: roots + ["{\"root\":\"a.b.c\"}"])
        #expect(try fixture.finding()?.summary.hasPrefix("roots line 4") == true)
        // The same statement with another signature is still not the one in the chain.
        let jws = String(roots[2].dropFirst(9).dropLast(2))
        let payload = try AttestationTrust(keys: [fixture.key.publicKey]).verify(jws, as: .root).payload
        let other = try fixture.key.sign(payload, as: .root)
        fixture.write("roots", lines: [roots[0], roots[1], "{\"root\":\"\(other)\"}"])
        try expect(.auditRootInvalid, at: fixture.segments[2])
        // A new file of roots by another key is not believed, whatever key it brings along.
        let stranger = try AttestationKey.createP256()
        fixture.write(
            "roots", lines: ["{\"key\":\(stranger.jwk)}", "{\"root\":\"\(try stranger.sign(payload, as: .root))\"}"])
        #expect(try fixture.finding()?.code == .attestationKeyUnknown)
    }

    @Test("A deleted segment is covered by its root; without it the rest is not believed")
    func deleted() throws {
        unlink("\(fixture.folder)/\(fixture.segments[0])")
        let report = try fixture.verify(witness: true)
        #expect(report.first == 12 && report.segments == 2)
        #expect(report.text().contains("deleted: records 1 to 11"))
        let roots = try fixture.lines("roots")
        fixture.write("roots", lines: [roots[0]])
        #expect(try fixture.finding()?.code == .auditSegmentMissing)
        // A changed first segment behind the gap does not continue the root.
        fixture.write("roots", lines: roots)
        try edit(middle) { lines in
            lines[2] = lines[2].replacing("\"status\":200", with: "\"status\":201")
            try rechain(middle, &lines, from: 2)
        }
        #expect(try fixture.finding()?.code == .auditHeadInvalid)
    }

    @Test("A whole trail forged with another key is not believed")
    func otherKey() async throws {
        let forger = try AuditFixture()
        await (try await forger.story()).abandon()
        #expect(try forger.finding() == nil)
        #expect(try forger.finding(key: fixture.key)?.code == .attestationKeyUnknown)
    }

    @Test("A witness whose heads are not genuine, or that was given garbage, is a break of its own")
    func badWitness() throws {
        let stranger = try AttestationKey.createP256()
        _ = try PosixAppendFile(fixture.witness).append(Array((try stranger.sign([1], as: .head) + "\n").utf8))
        let finding = try fixture.finding(witness: true)
        #expect(finding?.code == .attestationKeyUnknown && finding?.summary.contains("witness line") == true)
    }
}
