import Diagnostics
import SearchProtocol
import Testing
import WireText

@Suite("Index format")
struct FormatTests {
    private static let mac = [UInt8](0..<16)

    static func entry(
        _ body: SearchEntry.Body, profile: SearchProfile = .list, message: String = "m-1", sequence: UInt64 = 7,
        epoch: UInt32 = 2
    ) throws -> SearchEntry {
        try SearchEntry(
            profile: profile, analyser: AnalyserID(rawValue: 1), room: "raum-ä", epoch: epoch, message: message,
            sequence: sequence, body: body, mac: mac)
    }

    private static var samples: [SearchEntry] {
        get throws {
            [
                try entry(.tokens([])), try entry(.tokens([1, 2, .max]), profile: .padded),
                try entry(.codewords(salt: [UInt8](repeating: 9, count: 16), [0, 5, 0xFFFFFF]), profile: .salted),
                try entry(.tombstone, profile: .salted),
            ]
        }
    }

    @Test("An entry is read as it was written, octet for octet as documented")
    func roundTrip() throws {
        for entry in try Self.samples {
            #expect(try SearchEntry(decoding: entry.encode()) == entry)
        }
        let octets = try Self.entry(.tokens([0x0102_0304_0506_0708])).encode()
        #expect(
            Hexadecimal.encode(octets) == "01010001077261756d2dc3a400000002036d2d31"
                + "00000000000000070001" + "0102030405060708" + "000102030405060708090a0b0c0d0e0f")
    }

    @Test(
        "Calls and answers of a walk are read as they were written; shortened ones and ones out of bounds are refused")
    func walks() throws {
        let calls: [SearchCall] = [
            .rooms(after: nil, limit: 500), .rooms(after: "ä", limit: 1), .history(room: "r", after: .max, limit: 1000),
            .census(room: "r"), .entries([.init(room: "r", id: "ä"), .init(room: "r", id: "b")]), .entries([]),
            .upload(try SearchUpload([.burial(room: "r", message: "m", sequence: .max)])),
        ]
        for call in calls { #expect(try SearchCall(decoding: call.encode()) == call) }
        for call in [SearchCall.rooms(after: nil, limit: 501), .history(room: "r", after: 0, limit: 0)] {
            #expect(throws: DiagnosedError.self) { try SearchCall(decoding: call.encode()) }
        }
        let replies: [SearchCall.Reply] = [
            .rooms([]), .rooms([.init(id: "ä", last: 7), .init(id: "b", last: 0)]), .history([[1, 2], []], next: nil),
            .history([], next: 8), .census([.init(epoch: 3, entries: .max)]), .census([]),
        ]
        for reply in replies {
            #expect(try SearchCall.Reply(decoding: reply.encode()) == reply)
            #expect(throws: DiagnosedError.self) { try SearchCall.Reply(decoding: reply.encode() + [1]) }
        }
    }

    @Test("A shortened, lengthened or changed entry is refused or read as another, and never traps")
    func damage() throws {
        for entry in try Self.samples {
            let octets = entry.encode()
            for count in 0..<octets.count {
                #expect(throws: DiagnosedError.self) { try SearchEntry(decoding: Array(octets.prefix(count))) }
            }
            #expect(throws: DiagnosedError.self) { try SearchEntry(decoding: octets + [0]) }
            for index in octets.indices {
                for bit in 0..<8 {
                    var damaged = octets
                    damaged[index] ^= 1 << UInt8(bit)
                    if let read = try? SearchEntry(decoding: damaged) { #expect(read != entry) }
                }
            }
        }
    }

    @Test("Tokens that do not ascend, too many of them and bodies of another profile are refused")
    func strictness() throws {
        let salt = [UInt8](repeating: 1, count: 16)
        #expect(throws: DiagnosedError.self) { try Self.entry(.tokens([2, 1])) }
        #expect(throws: DiagnosedError.self) { try Self.entry(.tokens([2, 2])) }
        #expect(throws: DiagnosedError.self) { try Self.entry(.tokens(Array(0...1024))) }
        #expect(throws: DiagnosedError.self) { try Self.entry(.tokens([1]), profile: .salted) }
        #expect(throws: DiagnosedError.self) { try Self.entry(.codewords(salt: salt, [1]), profile: .padded) }
        #expect(throws: DiagnosedError.self) { try Self.entry(.codewords(salt: salt, [1 << 24]), profile: .salted) }
        #expect(throws: DiagnosedError.self) { try Self.entry(.codewords(salt: [], [1]), profile: .salted) }
        #expect(throws: DiagnosedError.self) { try Self.entry(.tokens([]), message: "") }
        let long = String(repeating: "x", count: 256)
        #expect(throws: DiagnosedError.self) { try Self.entry(.tokens([]), message: long) }
        var descending = try Self.entry(.tokens([1, 2])).encode()
        descending[descending.count - 17] = 0
        let error = try #require(throws: DiagnosedError.self) { try SearchEntry(decoding: descending) }
        #expect(error.code == .searchMalformed)
    }

    @Test("The higher version stays, then the higher epoch; a tombstone stays for ever")
    func supersedes() throws {
        let old = try Self.entry(.tokens([1]), sequence: 1)
        let new = try Self.entry(.tokens([2]), sequence: 2)
        let moved = try Self.entry(.tokens([3]), sequence: 1, epoch: 9)
        let gone = try Self.entry(.tombstone, sequence: 1)
        #expect(new.supersedes(old) && !old.supersedes(new) && !new.supersedes(new))
        #expect(moved.supersedes(old) && !old.supersedes(moved) && new.supersedes(moved))
        #expect(gone.supersedes(new) && !new.supersedes(gone) && !gone.supersedes(gone))
    }

    @Test("Batches are read as written, and refused when anything in them is wrong")
    func uploads() throws {
        let upload = try SearchUpload(
            try Self.samples.map { .entry($0) } + [.withdrawal(room: "r", message: "m", epoch: 3)])
        let octets = upload.encode()
        #expect(try SearchUpload(decoding: octets) == upload)
        for count in 0..<octets.count {
            #expect(throws: DiagnosedError.self) { try SearchUpload(decoding: Array(octets.prefix(count))) }
        }
        #expect(throws: DiagnosedError.self) { try SearchUpload([]) }
        #expect(throws: DiagnosedError.self) { try SearchUpload(decoding: octets + [0]) }
        let many = [SearchUpload.Item](repeating: .withdrawal(room: "r", message: "m", epoch: 3), count: 10_001)
        #expect(throws: DiagnosedError.self) { try SearchUpload(many) }
    }

    static func lookup(limit: Int = 10) throws -> SearchLookup {
        try SearchLookup(
            id: [UInt8](repeating: 5, count: 16), limit: limit, cursor: [1, 2], published: -5...1_700_000_000_000,
            cells: [
                try .init(
                    room: "r1", epoch: 1, profile: .padded,
                    groups: [
                        [SearchToken(high: 1, low: 99), SearchToken(high: 2, low: 0)], [SearchToken(high: 3, low: 4)],
                    ]),
                try .init(room: "r2", epoch: 4, profile: .salted, groups: [[SearchToken(high: 7, low: 8)]]),
            ])
    }

    @Test("A lookup is read as written; profiles that compare 8 octets are told no more")
    func lookups() throws {
        let lookup = try Self.lookup()
        let octets = lookup.encode()
        #expect(try SearchLookup(decoding: octets) == lookup)
        #expect(lookup.cells[0].groups[0][0].low == 0)
        #expect(lookup.cells[1].groups[0][0].low == 8)
        for count in 0..<octets.count {
            #expect(throws: DiagnosedError.self) { try SearchLookup(decoding: Array(octets.prefix(count))) }
        }
        for index in octets.indices {
            for bit in 0..<8 {
                var damaged = octets
                damaged[index] ^= 1 << UInt8(bit)
                if let read = try? SearchLookup(decoding: damaged) { #expect(read != lookup) }
            }
        }
        #expect(throws: DiagnosedError.self) { try Self.lookup(limit: 0) }
        #expect(throws: DiagnosedError.self) { try Self.lookup(limit: 1001) }
        #expect(throws: DiagnosedError.self) { try SearchLookup.Cell(room: "r", epoch: 1, profile: .list, groups: []) }
        #expect(throws: DiagnosedError.self) {
            try SearchLookup.Cell(room: "r", epoch: 1, profile: .list, groups: [[]])
        }
    }

    @Test("An answer that does not fit its lookup is refused")
    func answers() throws {
        let lookup = try Self.lookup()
        func answer(_ cells: [Int], id: [UInt8]? = nil) throws -> [UInt8] {
            try SearchHits(
                id: id ?? lookup.id,
                hits: cells.map { .init(cell: $0, message: "m\($0)", sequence: 3, published: -1) }, next: [7]
            ).encode()
        }
        let octets = try answer([1, 0])
        let read = try SearchHits(decoding: octets, to: lookup)
        #expect(read.hits.map(\.cell) == [1, 0] && read.next == [7] && read.hits[0].published == -1)
        for count in 0..<octets.count {
            #expect(throws: DiagnosedError.self) { try SearchHits(decoding: Array(octets.prefix(count)), to: lookup) }
        }
        #expect(throws: DiagnosedError.self) { try SearchHits(decoding: try answer([2]), to: lookup) }
        #expect(throws: DiagnosedError.self) {
            try SearchHits(decoding: try answer([0], id: [UInt8](repeating: 6, count: 16)), to: lookup)
        }
        #expect(throws: DiagnosedError.self) {
            try SearchHits(decoding: try answer([Int](repeating: 0, count: 11)), to: lookup)
        }
    }

    @Test("Profiles have names")
    func profiles() {
        for profile in SearchProfile.allCases { #expect(SearchProfile(name: profile.name) == profile) }
        #expect(SearchProfile(name: "open") == nil)
    }
}
