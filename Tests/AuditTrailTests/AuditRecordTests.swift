import Cryptography
import Testing
import TestServers
import WireText

@testable import AuditTrail

@Suite("Audit records and lines")
struct AuditRecordTests {
    private func line(_ record: AuditRecord, seq: Int64 = 7, previous: [UInt8] = .init(repeating: 9, count: 32)) throws
        -> [UInt8]
    {
        var output: [UInt8] = []
        var writer = LineWriter()
        _ = writer.append(
            try RecordBody(record, node: "kms-1").text, seq: seq, previous: previous, to: &output)
        #expect(output.last == 0x0A)
        return output.dropLast()
    }

    private func full() throws -> AuditRecord {
        let fixture = try AuditFixture()
        return fixture.record(4)
    }

    @Test("A line has its members in the order of the format")
    func form() throws {
        var record = AuditRecord(
            .decision, id: try #require(AuditID("019abf5c-0000-7abc-8def-0123456789ab")), at: AuditFixture.start)
        record.user = "u:1"
        record.requestId = "a \"quoted\"\n"
        record.status = 200
        let text = String(decoding: try line(record), as: UTF8.self)
        let start =
            #"{"seq":7,"id":"019abf5c-0000-7abc-8def-0123456789ab","time":"2026-11-26T11:05:00.000Z","kind":"decision","#
            + #""node":"kms-1","user":"u:1","requestId":"a \"quoted\"\n","status":200,"chain":""#
        #expect(text.hasPrefix(start))
        #expect(text.utf8.count == start.utf8.count + 66)
    }

    @Test("Leaf and chain can be computed from the text alone")
    func hashes() throws {
        let previous = [UInt8](repeating: 9, count: 32)
        let line = try line(try full(), previous: previous)
        let text = String(decoding: line, as: UTF8.self)
        let cut = try #require(text.firstRange(of: ",\"chain\":\""))
        let hashed = Array((text[..<cut.lowerBound] + "}").utf8)
        let chain = SHA256.hash(previous + SHA256.hash([0] + hashed))
        #expect(text.hasSuffix(",\"chain\":\"\(Hexadecimal.encode(chain))\"}"))
    }

    @Test("A stored record gives back every member")
    func roundTrip() throws {
        let record = try full()
        let stored = try StoredRecord(line: try line(record))
        #expect(stored.record == record)
        #expect(stored.seq == 7)
        #expect(stored.node == "kms-1")
    }

    @Test("Strange texts come back as they were", arguments: ["", "\u{0}\u{1f}\"\\/", "ü€😀", "\",\"chain\":\"00\"}"])
    func strangeTexts(text: String) throws {
        var record = try full()
        record.requestId = text
        record.user = text
        #expect(try StoredRecord(line: try line(record)).record == record)
    }

    @Test("A line in any other form is no record")
    func strict() throws {
        let text = String(decoding: try line(try full()), as: UTF8.self)
        #expect(throws: Never.self) { try StoredRecord(line: Array(text.utf8)) }
        let wrong = [
            text + " ", " " + text, text.replacing("\"user\":\"u:1\"", with: "\"user\": \"u:1\""),
            text.replacing("\"user\":\"u:1\"", with: "\"user\":\"u:1\",\"more\":1"),
            text.replacing("\"user\":\"u:1\"", with: "\"user\":\"u:1\",\"user\":\"u:1\""),
            text.replacing("\"user\":\"u:1\"", with: "\"user\":\"\\u0075:1\""),
            text.replacing("\"status\":200", with: "\"status\":200.0"),
            text.replacing("\"status\":200", with: "\"status\":\"200\""),
            text.replacing(
                "\"method\":\"retrieve\",\"type\":\"KEY\"", with: "\"type\":\"KEY\",\"method\":\"retrieve\""),
            text.replacing("\"seq\":7", with: "\"seq\":07"), text.replacing("\"seq\":7", with: "\"seq\":-7"),
            text.replacing("decision", with: "decisions"), text.replacing("T11:05:00.000Z", with: "T11:05:00.00Z0"),
            text.replacing("\"chain\":\"", with: "\"chain\":\"A"), String(text.dropLast(2)) + "F\"}", "", "{}", "[]",
        ]
        for line in wrong { #expect(throws: (any Error).self, "\(line)") { try StoredRecord(line: Array(line.utf8)) } }
    }

    @Test("No octet of a line can be changed so that the line stays a record with the same chain and hash")
    func everyOctet() throws {
        let original = try line(try full())
        let header = try #require(LineHeader(original))
        for index in original.indices {
            var changed = original
            changed[index] ^= 1
            guard let other = LineHeader(changed) else { continue }
            #expect(other.leaf != header.leaf || other.chain != header.chain, "octet \(index)")
        }
    }

    @Test("Sealed text has every letter of base64url and no other octet")
    func sealedAlphabet() throws {
        for octet in UInt8.min...UInt8.max {
            var record = AuditRecord(.decision, at: Timestamp(milliseconds: 0))
            record.sealed = "AA" + String(UnicodeScalar(octet)) + "AA"
            let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8
            let isKept = (try? RecordBody(record, node: "kms-1")) != nil
            #expect(isKept == letters.contains(octet), "\(octet)")
        }
    }

    @Test("Records that are too long or not sealed as base64url are refused")
    func limits() throws {
        var long = try full()
        long.requestId = String(repeating: "a", count: 1025)
        #expect(throws: (any Error).self) { try RecordBody(long, node: "n") }
        var fits = try full()
        fits.requestId = String(repeating: "\u{1}", count: 1024)
        fits.path = String(repeating: "p", count: 4096)
        fits.sealed = String(repeating: "_", count: 32 << 10)
        #expect(throws: Never.self) { try RecordBody(fits, node: "n") }
        var unsealed = try full()
        unsealed.sealed = "not base64url!"
        #expect(throws: (any Error).self) { try RecordBody(unsealed, node: "n") }
    }

    @Test("Ids are UUIDs of version 7 that sort by time", arguments: SeededGenerator.seeds)
    func ids(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var last: AuditID?
        for step in 0..<50 {
            let time = AuditFixture.start.adding(milliseconds: Int64(step))
            let id = AuditID(at: time, using: &generator)
            #expect(UUIDText.isValid(id.description), "seed \(seed)")
            #expect(Array(id.description)[14] == "7" && "89ab".contains(Array(id.description)[19]), "seed \(seed)")
            #expect(AuditID(id.description) == id && id.time == time, "seed \(seed)")
            if let last { #expect(last < id, "seed \(seed)") }
            last = id
        }
        #expect(AuditID(UUIDText.random()) == nil)
        #expect(AuditID("019ABF5C-0000-7abc-8def-0123456789ab") == nil)
        #expect(AuditID("019abf5c-0000-7abc-0def-0123456789ab") == nil)
    }
}
