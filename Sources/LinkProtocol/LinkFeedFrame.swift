import Diagnostics

/// Frames of feeds: what happens in an organisation, in one order, for services that follow all of it.
///
/// A feed is a log of items with cursors 1, 2, 3 and so on without gaps. A service subscribes after a cursor, is sent items
/// as its credit allows, and acknowledges what it has dealt with; the core keeps the highest acknowledged cursor of each
/// service (docs/link-protocol.md).
package enum LinkFeedFrame: Equatable, Sendable {
    // service → core
    case subscribe(feed: String, from: LinkFeedStart, credit: UInt32)
    /// Everything up to this cursor has been dealt with.
    case acknowledge(feed: String, cursor: UInt64)
    /// So many further items are welcome.
    case credit(feed: String, UInt32)
    // core → service
    /// Items come now, the first one after `span.acknowledged`.
    case subscribed(feed: String, LinkFeedSpan)
    case item(feed: String, cursor: UInt64, octets: [UInt8])
    /// No further item comes: why, and what the log has.
    case ended(feed: String, LinkFeedEnd, LinkFeedSpan)

    /// The longest content of an item: with the longest name it fits into a frame.
    package static let maximumItemBytes = LinkFrame.maximumBytes - 1024

    enum Kind: UInt8 {
        case subscribe = 0x50
        case item = 0x51
        case acknowledge = 0x52
        case credit = 0x53
        case subscribed = 0x54
        case ended = 0x55
    }

    package var feed: String {
        switch self {
        case .subscribe(let feed, _, _), .acknowledge(let feed, _), .credit(let feed, _), .subscribed(let feed, _),
            .item(let feed, _, _), .ended(let feed, _, _):
            feed
        }
    }

    var name: String {
        switch self {
        case .subscribe: "subscribe"
        case .acknowledge: "acknowledge"
        case .credit: "feed-credit"
        case .subscribed: "subscribed"
        case .item: "item"
        case .ended: "feed-ended"
        }
    }

    func encode() -> [UInt8] {
        var bytes: [UInt8] = []
        func start(_ kind: Kind, reserving more: Int = 24) {
            bytes.reserveCapacity(3 + feed.utf8.count + more)
            bytes.append(kind.rawValue)
            bytes.append(text: feed)
        }
        switch self {
        case .subscribe(_, let from, let credit):
            start(.subscribe)
            bytes.append(number: from.wire)
            bytes.append(number: UInt64(credit), octets: 4)
        case .acknowledge(_, let cursor):
            start(.acknowledge)
            bytes.append(number: cursor)
        case .credit(_, let count):
            start(.credit)
            bytes.append(number: UInt64(count), octets: 4)
        case .subscribed(_, let span):
            start(.subscribed)
            span.append(to: &bytes)
        case .item(_, let cursor, let octets):
            start(.item, reserving: 8 + octets.count)
            bytes.append(number: cursor)
            bytes.append(contentsOf: octets)
        case .ended(_, let reason, let span):
            start(.ended)
            span.append(to: &bytes)
            bytes.append(contentsOf: reason.rawValue.utf8)
        }
        return bytes
    }

    init(_ kind: Kind, _ reader: inout LinkFrame.Reader) throws(DiagnosedError) {
        let feed = try reader.text(octets: Int(try reader.integer(octets: 2)))
        switch kind {
        case .subscribe:
            let from = LinkFeedStart(wire: try reader.integer(octets: 8))
            self = .subscribe(feed: feed, from: from, credit: UInt32(try reader.integer(octets: 4)))
        case .acknowledge: self = .acknowledge(feed: feed, cursor: try reader.integer(octets: 8))
        case .credit: self = .credit(feed: feed, UInt32(try reader.integer(octets: 4)))
        case .subscribed: self = .subscribed(feed: feed, try LinkFeedSpan(&reader))
        case .item:
            self = .item(feed: feed, cursor: try reader.integer(octets: 8), octets: reader.rest())
        case .ended:
            let span = try LinkFeedSpan(&reader)
            self = .ended(feed: feed, LinkFeedEnd(rawValue: try reader.restAsText()), span)
        }
        guard reader.isAtEnd else { throw .linkViolation("a frame of a feed is longer than its fields") }
    }
}

/// From where a service wants a feed.
package enum LinkFeedStart: Equatable, Sendable {
    /// After what the service last acknowledged; from the beginning for one that never did.
    case acknowledged
    /// After this cursor, which counts as acknowledged from then on; 0 is the beginning of all.
    case after(UInt64)

    fileprivate var wire: UInt64 {
        switch self {
        case .acknowledged: .max
        case .after(let cursor): min(cursor, .max - 1)
        }
    }

    fileprivate init(wire: UInt64) { self = wire == .max ? .acknowledged : .after(wire) }
}

/// What the core knows of a feed for a service.
package struct LinkFeedSpan: Equatable, Sendable {
    /// What the service has acknowledged.
    package var acknowledged: UInt64
    /// The oldest item that the log still has; one more than `last` when it has none.
    package var oldest: UInt64
    /// The newest item; 0 when there never was one.
    package var last: UInt64

    package init(acknowledged: UInt64 = 0, oldest: UInt64 = 1, last: UInt64 = 0) {
        self.acknowledged = acknowledged
        self.oldest = oldest
        self.last = last
    }

    fileprivate init(_ reader: inout LinkFrame.Reader) throws(DiagnosedError) {
        acknowledged = try reader.integer(octets: 8)
        oldest = try reader.integer(octets: 8)
        last = try reader.integer(octets: 8)
    }

    fileprivate func append(to bytes: inout [UInt8]) {
        for number in [acknowledged, oldest, last] { bytes.append(number: number) }
    }
}

/// Why no item comes, as a word on the wire; words of a newer core are taken as they are.
package struct LinkFeedEnd: RawRepresentable, Hashable, Sendable {
    package let rawValue: String
    package init(rawValue: String) { self.rawValue = rawValue }

    /// The token does not allow this service the feed, or there is none of that name.
    package static let notAllowed = Self(rawValue: "not-allowed")
    /// The log does not reach as far as the wanted cursor: it is another log, or an older copy of it.
    package static let cursorBeyond = Self(rawValue: "cursor-beyond")
    /// What follows the wanted cursor was in the log and is forgotten by now.
    package static let cursorGone = Self(rawValue: "cursor-gone")
    /// The log can not be read now: subscribe again.
    package static let unavailable = Self(rawValue: "unavailable")
    /// The core knows no feeds, or not this one for this service; never on the wire.
    package static let notOffered = Self(rawValue: "not-offered")
}

extension [UInt8] {
    fileprivate mutating func append(number: UInt64, octets: Int = 8) {
        for index in (0..<octets).reversed() { append(UInt8(truncatingIfNeeded: number >> UInt64(8 * index))) }
    }

    /// Behind its length as u16; a longer one is cut.
    fileprivate mutating func append(text: String) {
        let name = LinkFrame.clipped(text)
        append(number: UInt64(name.count), octets: 2)
        append(contentsOf: name)
    }
}
