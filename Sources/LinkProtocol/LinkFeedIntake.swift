import Diagnostics

/// The service's part in feeds on one link, as a pure state machine: what it subscribed to, and that items come in order,
/// without a gap and under its credit.
struct LinkFeedIntake: Sendable {
    private struct Feed {
        /// The cursor of the next item; nil until the core has said that items come.
        var next: UInt64?
        var granted: UInt64
    }

    /// What the core offers to this service.
    var offered: Set<String> = []
    private var feeds: [String: Feed] = [:]

    /// Nil for what the core does not offer.
    mutating func subscribe(_ feed: String, from: LinkFeedStart, credit: UInt32) -> LinkFeedFrame? {
        guard offered.contains(feed) else { return nil }
        feeds[feed] = Feed(next: nil, granted: UInt64(credit))
        return .subscribe(feed: feed, from: from, credit: credit)
    }

    mutating func grant(_ feed: String, _ count: UInt32) -> LinkFeedFrame? {
        guard count > 0, feeds[feed] != nil else { return nil }
        feeds[feed]?.granted += UInt64(count)
        return .credit(feed: feed, count)
    }

    /// What of a frame the service is told; nil for an item that belongs to an earlier subscription.
    mutating func received(_ frame: LinkFeedFrame) throws(DiagnosedError) -> LinkFeedFrame? {
        guard var feed = feeds[frame.feed] else { throw .linkViolation("a feed came that nobody subscribed to") }
        switch frame {
        case .subscribed(_, let span):
            feed.next = span.acknowledged + 1
        case .item(_, let cursor, _):
            guard let next = feed.next else { return nil }
            guard cursor == next else {
                throw .linkViolation(
                    "an item of a feed is missing or came twice", expected: "cursor \(next)", found: "\(cursor)")
            }
            guard feed.granted > 0 else { throw .linkViolation("an item of a feed came without credit") }
            feed.granted -= 1
            feed.next = next + 1
        case .ended:
            feeds[frame.feed] = nil
            return frame
        case .subscribe, .acknowledge, .credit:
            throw .linkViolation("the core sent a frame that is not due", found: frame.name)
        }
        feeds[frame.feed] = feed
        return frame
    }
}
