package import Diagnostics

/// What the search service answers to a lookup: one page of candidates, the newest first.
///
/// The word of the service alone: it may leave out, repeat or invent. Whoever asked checks every candidate on the message.
package struct SearchHits: Equatable, Sendable {
    package static let formatVersion: UInt8 = 1

    package struct Hit: Hashable, Sendable {
        /// The cell of the lookup that the message was found by: tells room and epoch.
        package let cell: Int
        package let message: String
        package let sequence: UInt64
        /// Milliseconds since 1970, by the core's clock.
        package let published: Int64

        package init(cell: Int, message: String, sequence: UInt64, published: Int64) {
            self.cell = cell
            self.message = message
            self.sequence = sequence
            self.published = published
        }
    }

    /// That of the lookup.
    package let id: [UInt8]
    package let hits: [Hit]
    /// For the next page; empty when there is none. A page may be short or empty and still have a next one.
    package let next: [UInt8]

    package init(id: [UInt8], hits: [Hit], next: [UInt8]) throws(DiagnosedError) {
        guard id.count == SearchLookup.idByteCount, hits.count <= SearchLookup.maximumHits,
            next.count <= SearchLookup.maximumCursorBytes
        else {
            throw .searchLimit(
                "an answer is out of its bounds",
                expected: "at most \(SearchLookup.maximumHits) hits, a cursor of at most "
                    + "\(SearchLookup.maximumCursorBytes) octets", found: "\(hits.count), \(next.count)")
        }
        for hit in hits { try SearchName.check(hit.message, "the message id") }
        self.id = id
        self.hits = hits
        self.next = next
    }

    package func encode() -> [UInt8] {
        var octets: [UInt8] = [Self.formatVersion]
        octets.append(contentsOf: id)
        octets.append(UInt8(next.count))
        octets.append(contentsOf: next)
        octets.append(search: UInt64(hits.count), octets: 2)
        for hit in hits {
            octets.append(search: UInt64(hit.cell), octets: 2)
            octets.append(searchName: hit.message)
            octets.append(search: hit.sequence, octets: 8)
            octets.append(search: UInt64(bitPattern: hit.published), octets: 8)
        }
        return octets
    }

    /// Refuses what does not answer this lookup: another id, more hits than wanted, a cell that was not asked for.
    package init(decoding octets: [UInt8], to lookup: SearchLookup) throws(DiagnosedError) {
        var reader = SearchReader(octets)
        let version = try reader.octet("version")
        guard version == Self.formatVersion else {
            throw .searchMalformed("an answer has another version", expected: "1", found: "\(version)")
        }
        let id = try reader.take(SearchLookup.idByteCount, "id")
        guard id == lookup.id else { throw .searchMalformed("an answer belongs to another lookup") }
        let next = try reader.take(Int(try reader.octet("length of the cursor")), "cursor")
        let count = Int(try reader.number(octets: 2, "count of hits"))
        guard count <= lookup.limit else {
            throw .searchMalformed(
                "an answer has too many hits", expected: "at most \(lookup.limit)", found: "\(count)")
        }
        var hits: [Hit] = []
        hits.reserveCapacity(count)
        for _ in 0..<count {
            let cell = Int(try reader.number(octets: 2, "cell"))
            guard cell < lookup.cells.count else {
                throw .searchMalformed("a hit names a cell that was not asked for", found: "\(cell)")
            }
            hits.append(
                Hit(
                    cell: cell, message: try reader.name("message id"),
                    sequence: try reader.number(octets: 8, "sequence"), published: try reader.signed("time")))
        }
        try reader.finish("an answer")
        try self.init(id: id, hits: hits, next: next)
    }
}
