package import Diagnostics

/// What the indexer asks the search service: for each room and epoch the tokens that a message must have.
///
/// One query is one lookup, its cells in random order. The service learns rooms, epochs, a time span and opaque values;
/// neither words, nor sender, nor who asks.
package struct SearchLookup: Equatable, Sendable {
    package static let formatVersion: UInt8 = 1
    package static let maximumBytes = 8 << 20
    package static let maximumCells = 60_000
    /// The groups of a cell, and the tokens of a group.
    package static let maximumGroups = 32
    package static let maximumTokensOfGroup = 512
    package static let maximumHits = 1000
    package static let maximumCursorBytes = 255
    package static let idByteCount = 16

    /// What is wanted of one room and epoch: a message has at least one token of **each** group.
    package struct Cell: Equatable, Sendable {
        package let room: String
        package let epoch: UInt32
        package let profile: SearchProfile
        /// Not empty, no group empty. Of profiles `list` and `padded` only `high` is told, and `low` is 0.
        package let groups: [[SearchToken]]

        package init(
            room: String, epoch: UInt32, profile: SearchProfile, groups: [[SearchToken]]
        ) throws(DiagnosedError) {
            try SearchName.check(room, "the room")
            guard (1...SearchLookup.maximumGroups).contains(groups.count),
                groups.allSatisfy({ (1...SearchLookup.maximumTokensOfGroup).contains($0.count) })
            else {
                throw .searchLimit(
                    "a cell does not fit into a lookup",
                    expected: "1 to \(SearchLookup.maximumGroups) groups of 1 to \(SearchLookup.maximumTokensOfGroup)",
                    found: "\(groups.map(\.count))")
            }
            self.room = room
            self.epoch = epoch
            self.profile = profile
            self.groups =
                profile == .salted ? groups : groups.map { $0.map { SearchToken(high: $0.high, low: 0) } }
        }
    }

    /// Chosen at random by the asker; the answer carries it.
    package let id: [UInt8]
    /// At most so many hits in the answer.
    package let limit: Int
    /// What the answer before gave as `next`; empty for the first page.
    package let cursor: [UInt8]
    /// Milliseconds since 1970; messages published outside are left out.
    package let published: ClosedRange<Int64>
    package let cells: [Cell]

    package init(
        id: [UInt8], limit: Int, cursor: [UInt8] = [], published: ClosedRange<Int64> = .min ... .max, cells: [Cell]
    ) throws(DiagnosedError) {
        guard id.count == Self.idByteCount, (1...Self.maximumHits).contains(limit),
            cursor.count <= Self.maximumCursorBytes, (1...Self.maximumCells).contains(cells.count)
        else {
            throw .searchLimit(
                "a lookup is out of its bounds",
                expected: "an id of \(Self.idByteCount) octets, 1 to \(Self.maximumHits) hits, "
                    + "1 to \(Self.maximumCells) cells, a cursor of at most \(Self.maximumCursorBytes) octets",
                found: "\(id.count), \(limit), \(cells.count), \(cursor.count)")
        }
        self.id = id
        self.limit = limit
        self.cursor = cursor
        self.published = published
        self.cells = cells
    }

    /// The same question for the page after.
    package func page(after cursor: [UInt8], id: [UInt8]) throws(DiagnosedError) -> SearchLookup {
        try SearchLookup(id: id, limit: limit, cursor: cursor, published: published, cells: cells)
    }

    package func encode() -> [UInt8] {
        var octets: [UInt8] = [Self.formatVersion]
        octets.append(contentsOf: id)
        octets.append(search: UInt64(limit), octets: 2)
        octets.append(UInt8(cursor.count))
        octets.append(contentsOf: cursor)
        octets.append(search: UInt64(bitPattern: published.lowerBound), octets: 8)
        octets.append(search: UInt64(bitPattern: published.upperBound), octets: 8)
        octets.append(search: UInt64(cells.count), octets: 2)
        for cell in cells {
            octets.append(searchName: cell.room)
            octets.append(search: UInt64(cell.epoch), octets: 4)
            octets.append(cell.profile.rawValue)
            octets.append(UInt8(cell.groups.count))
            for group in cell.groups {
                octets.append(search: UInt64(group.count), octets: 2)
                for token in group {
                    octets.append(search: token.high, octets: 8)
                    if cell.profile == .salted { octets.append(search: token.low, octets: 8) }
                }
            }
        }
        return octets
    }

    package init(decoding octets: [UInt8]) throws(DiagnosedError) {
        guard octets.count <= Self.maximumBytes else {
            throw .searchMalformed(
                "a lookup is too long", expected: "at most \(Self.maximumBytes) octets", found: "\(octets.count)")
        }
        var reader = SearchReader(octets)
        let version = try reader.octet("version")
        guard version == Self.formatVersion else {
            throw .searchMalformed("a lookup has another version", expected: "1", found: "\(version)")
        }
        let id = try reader.take(Self.idByteCount, "id")
        let limit = Int(try reader.number(octets: 2, "limit"))
        let cursor = try reader.take(Int(try reader.octet("length of the cursor")), "cursor")
        let (from, until) = (try reader.signed("start of the time span"), try reader.signed("end of the time span"))
        guard from <= until else { throw .searchMalformed("a time span ends before it starts") }
        let count = Int(try reader.number(octets: 2, "count of cells"))
        var cells: [Cell] = []
        cells.reserveCapacity(count)
        for _ in 0..<count { cells.append(try Cell(&reader)) }
        try reader.finish("a lookup")
        try self.init(id: id, limit: limit, cursor: cursor, published: from...until, cells: cells)
    }
}

extension SearchLookup.Cell {
    fileprivate init(_ reader: inout SearchReader) throws(DiagnosedError) {
        let room = try reader.name("room")
        let epoch = UInt32(try reader.number(octets: 4, "epoch"))
        let kind = try reader.octet("profile")
        guard let profile = SearchProfile(rawValue: kind) else {
            throw .searchMalformed("a cell has no known profile", found: "\(kind)")
        }
        var groups: [[SearchToken]] = []
        for _ in 0..<Int(try reader.octet("count of groups")) {
            var group: [SearchToken] = []
            for _ in 0..<Int(try reader.number(octets: 2, "count of tokens")) {
                let high = try reader.number(octets: 8, "token")
                let low = profile == .salted ? try reader.number(octets: 8, "token") : 0
                group.append(SearchToken(high: high, low: low))
            }
            groups.append(group)
        }
        try self.init(room: room, epoch: epoch, profile: profile, groups: groups)
    }
}
