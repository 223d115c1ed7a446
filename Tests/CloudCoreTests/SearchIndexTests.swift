import Cryptography
import SearchMatching
import SearchProtocol
import TestServers
import Testing
import WireText

@testable import CloudCore

/// The search service's store against the store in memory that does what docs/search.md says.
@Suite("Search index of the core")
struct SearchIndexTests {
    private static let mac = [UInt8](repeating: 7, count: SearchEntry.macByteCount)

    private struct Drawing {
        var random: SplitMix
        static let rooms = ["room-a", "room-b"]

        mutating func number(_ below: Int) -> Int { Int(random.next() % UInt64(below)) }

        /// Few values, so that entries share tokens and are replaced.
        mutating func entry() throws -> SearchEntry {
            let profile = SearchProfile.allCases[number(3)]
            let body: SearchEntry.Body
            switch (number(12), profile) {
            case (0, _): body = .tombstone
            case (_, .salted):
                let salt = (0..<SearchEntry.saltByteCount).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                // Of the tokens 1 to 12 some, as an indexer would make them.
                var prf = CodewordPRF()
                var codewords: Set<UInt32> = []
                for _ in 0..<number(6) {
                    prf.rekey(high: UInt64(1 + number(12)), low: 0)
                    codewords.insert(prf.codeword(for: salt))
                }
                body = .codewords(salt: salt, codewords.sorted())
            default: body = .tokens(Set((0..<number(6)).map { _ in UInt64(1 + number(12)) }).sorted())
            }
            return try SearchEntry(
                profile: profile, analyser: AnalyserID(rawValue: 1), room: Self.rooms[number(2)],
                epoch: UInt32(1 + number(2)), message: "message-\(number(40))", sequence: UInt64(1 + number(5)),
                body: body, mac: mac)
        }

        mutating func lookup(limit: Int) throws -> SearchLookup {
            let cells = try (0...number(3)).map { _ in
                try SearchLookup.Cell(
                    room: Self.rooms[number(2)], epoch: UInt32(1 + number(2)),
                    profile: SearchProfile.allCases[number(3)],
                    groups: (0...number(2)).map { _ in
                        (0...number(3)).map { _ in SearchToken(high: UInt64(1 + number(12)), low: 0) }
                    })
            }
            let from = Int64(number(30))
            return try SearchLookup(
                id: [UInt8](repeating: UInt8(truncatingIfNeeded: random.next()), count: SearchLookup.idByteCount),
                limit: limit, published: number(3) == 0 ? from...(from + 20) : .min ... .max, cells: cells)
        }
    }

    private static func published(_ message: String) -> Int64 {
        Int64(message.utf8.reduce(0) { $0 &* 31 &+ Int($1) } % 40)
    }

    @Test(
        "it finds what the store in memory finds, page by page, through replays, edits, tombstones and withdrawals",
        arguments: 1...12)
    func equal(_ seed: Int) async throws {
        let folder = TemporaryFolder()
        let index = try SearchIndex(path: folder.path + "/search.sqlite")
        var memory = MemorySearchStore(published: { Self.published($1) })
        var drawing = Drawing(random: SplitMix(seed: UInt64(seed)))
        var uploads: [SearchUpload] = []
        for round in 0..<12 {
            var items: [SearchUpload.Item] = []
            for _ in 0...drawing.number(20) { items.append(.entry(try drawing.entry())) }
            if drawing.number(3) == 0 {
                items.append(
                    .withdrawal(
                        room: Drawing.rooms[drawing.number(2)], message: "message-\(drawing.number(40))",
                        epoch: UInt32(1 + drawing.number(2))))
            }
            if drawing.number(3) == 0 {
                items.append(
                    .burial(
                        room: Drawing.rooms[drawing.number(2)], message: "message-\(drawing.number(40))",
                        sequence: UInt64(1 + drawing.number(5))))
            }
            // Sometimes one that came before.
            let upload =
                round > 3 && drawing.number(4) == 0 ? uploads[drawing.number(uploads.count)] : try SearchUpload(items)
            uploads.append(upload)
            memory.apply(upload)
            try await index.apply(
                upload, of: "acme",
                published: upload.items.map { item in
                    switch item {
                    case .entry(let entry): Self.published(entry.message)
                    case .withdrawal(_, let message, _), .burial(_, let message, _): Self.published(message)
                    }
                })
            for _ in 0..<6 {
                let lookup = try drawing.lookup(limit: 1000)
                let expected = try memory.hits(for: lookup).hits
                #expect(try await index.hits(for: lookup, of: "acme").hits == expected, "seed \(seed)")
                #expect(try await index.hits(for: lookup, of: "other").hits.isEmpty, "another organisation's")
                #expect(try await paged(index, lookup) == expected.map(\.message), "seed \(seed)")
            }
        }
        try index.close()
    }

    private func paged(_ index: SearchIndex, _ lookup: SearchLookup) async throws -> [String] {
        var found: [String] = []
        var page = try SearchLookup(id: lookup.id, limit: 3, published: lookup.published, cells: lookup.cells)
        while true {
            let hits = try await index.hits(for: page, of: "acme")
            found += hits.hits.map(\.message)
            guard !hits.next.isEmpty else { return found }
            page = try page.page(after: hits.next, id: lookup.id)
        }
    }

    @Test("what the core itself buried stays buried, whatever an indexer uploads later, and after a restart")
    func buried() async throws {
        let folder = TemporaryFolder()
        let path = folder.path + "/search.sqlite"
        var index = try SearchIndex(path: path)
        func entry(_ sequence: UInt64) throws -> SearchUpload {
            try SearchUpload([
                .entry(
                    try SearchEntry(
                        profile: .list, analyser: AnalyserID(rawValue: 1), room: "r", epoch: 1, message: "m",
                        sequence: sequence, body: .tokens([1, 2]), mac: Self.mac))
            ])
        }
        let lookup = try SearchLookup(
            id: [UInt8](repeating: 1, count: 16), limit: 10,
            cells: [try .init(room: "r", epoch: 1, profile: .list, groups: [[SearchToken(high: 2, low: 0)]])])
        try await index.apply(entry(1), of: "acme", published: [5])
        #expect(try await index.hits(for: lookup, of: "acme").hits.count == 1)
        try await index.bury("m", in: "r", of: "acme", sequence: 1)
        try await index.bury("never-seen", in: "r", of: "acme", sequence: 2)
        try index.close()
        index = try SearchIndex(path: path)
        try await index.apply(entry(9), of: "acme", published: [5])
        #expect(try await index.hits(for: lookup, of: "acme").hits.isEmpty)
        let counts = try await index.counts()
        #expect(counts.entries == 0 && counts.tombstones == 2 && counts.tokens == 0)
        try index.close()
    }

    @Test("a lookup of 2 words in 1,000 rooms is one question")
    func fanOut() async throws {
        let folder = TemporaryFolder()
        let index = try SearchIndex(path: folder.path + "/search.sqlite")
        for room in 0..<1000 {
            let items = try (0..<4).map { (message: Int) -> SearchUpload.Item in
                let tokens: [UInt64] = [UInt64(room * 10), UInt64(room * 10 + 1 + message % 2)]
                return .entry(
                    try SearchEntry(
                        profile: .list, analyser: AnalyserID(rawValue: 1), room: "room-\(room)", epoch: 1,
                        message: "\(room)-\(message)", sequence: 1, body: .tokens(tokens), mac: Self.mac))
            }
            try await index.apply(SearchUpload(items), of: "acme", published: [1, 2, 3, 4])
        }
        let cells = try (0..<1000).map { (room: Int) -> SearchLookup.Cell in
            let (first, second) = (UInt64(room * 10), UInt64(room * 10 + 1))
            let groups: [[SearchToken]] = [[SearchToken(high: first, low: 0)], [SearchToken(high: second, low: 0)]]
            return try SearchLookup.Cell(room: "room-\(room)", epoch: 1, profile: .list, groups: groups)
        }
        let lookup = try SearchLookup(id: [UInt8](repeating: 1, count: 16), limit: 1000, cells: cells)
        let page = try await index.hits(for: lookup, of: "acme")
        #expect(page.hits.count == 1000 && page.hits.allSatisfy { $0.published == 3 } && !page.next.isEmpty)
        let rest = try await index.hits(for: lookup.page(after: page.next, id: lookup.id), of: "acme")
        #expect(rest.hits.count == 1000 && rest.hits.allSatisfy { $0.published == 1 } && rest.next.isEmpty)
        try index.close()
    }
}

/// Numbers that a seed decides.
struct SplitMix {
    private var state: UInt64
    init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = (state ^ state >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}
