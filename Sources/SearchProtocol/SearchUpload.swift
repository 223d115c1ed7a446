package import Diagnostics

/// A batch that the indexer hands to the search service: what to store and what to take away.
///
/// The service takes a batch as a whole or not at all; the same batch again changes nothing.
package struct SearchUpload: Equatable, Sendable {
    package static let formatVersion: UInt8 = 1
    package static let maximumBytes = 8 << 20
    package static let maximumItems = 10_000

    package enum Item: Equatable, Sendable {
        /// Stored if it supersedes what stands there (`SearchEntry.supersedes`).
        case entry(SearchEntry)
        /// Takes away the stored entry of this message if it is of this epoch, without a tombstone: compaction.
        case withdrawal(room: String, message: String, epoch: UInt32)
        /// The message was deleted, says one that has no key of its room: what stands there goes, and what comes later is
        /// ignored.
        case burial(room: String, message: String, sequence: UInt64)
    }

    package let items: [Item]

    package init(_ items: [Item]) throws(DiagnosedError) {
        guard (1...Self.maximumItems).contains(items.count) else {
            throw .searchLimit(
                "a batch has the wrong size", expected: "1 to \(Self.maximumItems) items", found: "\(items.count)")
        }
        for item in items {
            switch item {
            case .entry: break
            case .withdrawal(let room, let message, _), .burial(let room, let message, _):
                try SearchName.check(room, "the room")
                try SearchName.check(message, "the message id")
            }
        }
        self.items = items
    }

    package func encode() -> [UInt8] {
        var octets: [UInt8] = [Self.formatVersion]
        octets.append(search: UInt64(items.count), octets: 2)
        for item in items {
            switch item {
            case .entry(let entry):
                let encoded = entry.encode()
                octets.append(1)
                octets.append(search: UInt64(encoded.count), octets: 2)
                octets.append(contentsOf: encoded)
            case .withdrawal(let room, let message, let epoch):
                octets.append(2)
                octets.append(searchName: room)
                octets.append(searchName: message)
                octets.append(search: UInt64(epoch), octets: 4)
            case .burial(let room, let message, let sequence):
                octets.append(3)
                octets.append(searchName: room)
                octets.append(searchName: message)
                octets.append(search: sequence, octets: 8)
            }
        }
        return octets
    }

    package init(decoding octets: [UInt8]) throws(DiagnosedError) {
        guard octets.count <= Self.maximumBytes else {
            throw .searchMalformed(
                "a batch is too long", expected: "at most \(Self.maximumBytes) octets", found: "\(octets.count)")
        }
        var reader = SearchReader(octets)
        let version = try reader.octet("version")
        guard version == Self.formatVersion else {
            throw .searchMalformed("a batch has another version", expected: "1", found: "\(version)")
        }
        let count = Int(try reader.number(octets: 2, "count of items"))
        guard (1...Self.maximumItems).contains(count) else {
            throw .searchMalformed("a batch has the wrong size", expected: "1 to 10000 items", found: "\(count)")
        }
        var items: [Item] = []
        items.reserveCapacity(count)
        for _ in 0..<count {
            switch try reader.octet("kind of item") {
            case 1:
                let span = try reader.span(Int(try reader.number(octets: 2, "length of an entry")), "entry")
                var entry = SearchReader(octets, in: span)
                items.append(.entry(try SearchEntry(&entry)))
                try entry.finish("an entry")
            case 2:
                items.append(
                    .withdrawal(
                        room: try reader.name("room"), message: try reader.name("message id"),
                        epoch: UInt32(try reader.number(octets: 4, "epoch"))))
            case 3:
                items.append(
                    .burial(
                        room: try reader.name("room"), message: try reader.name("message id"),
                        sequence: try reader.number(octets: 8, "sequence")))
            case let kind: throw .searchMalformed("an item has no known kind", expected: "1 or 2", found: "\(kind)")
            }
        }
        try reader.finish("a batch")
        self.items = items
    }
}
