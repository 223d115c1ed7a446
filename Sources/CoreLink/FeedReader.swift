package import Diagnostics
package import LinkProtocol
import ServiceLifecycle
import Synchronization

/// Follows a feed of the core over a link: at least once, in order, acknowledged when the handler has succeeded.
///
/// The handler is called for one item at a time, or for those that have come, up to a number. When it throws it is called
/// again with the same items after a pause, for as long as the link stands; nothing is skipped. After a new link, a restart, or when another node takes over, items come
/// again from the first that is not acknowledged: a handler has to be idempotent by the item's cursor. One node of a service
/// reads a feed at a time; the others wait and the core lets the next one go on. At most `window` items wait in memory.
/// ```swift
/// let reader = FeedReader(link, feed: "conversations") { item in try await index.add(item) }
/// ```
package final class FeedReader: Service {
    package struct Item: Sendable, Equatable {
        /// Its place in the feed, from 1, without gaps.
        package let cursor: UInt64
        package let octets: [UInt8]
    }

    package enum State: Sendable, Equatable {
        /// No link, or another node of this service reads.
        case waiting
        /// So many items of the log are not dealt with, as far as this reader knows.
        case reading(behind: UInt64)
        /// The handler did not take an item; it will be given again.
        case failing(cursor: UInt64, DiagnosedError)
        /// The core sends nothing; `start` asks anew, and each new link does.
        case refused(LinkFeedEnd, LinkFeedSpan)
    }

    package struct Pauses: Sendable {
        package var shortest: Duration
        package var longest: Duration

        package init(shortest: Duration = .milliseconds(100), longest: Duration = .seconds(10)) {
            self.shortest = shortest
            self.longest = longest
        }
    }

    private let link: CoreLink
    private let feed: String
    private let window: UInt32
    private let pauses: Pauses
    private let batch: Int
    private let handler: @Sendable ([Item]) async throws -> Void
    private let report: @Sendable (State) -> Void
    private let inbox = FeedInbox()
    /// From where the next subscription starts; what was acknowledged, once the core has taken another start.
    private let wanted: Mutex<LinkFeedStart>
    private let kept: @Sendable () -> UInt64?

    /// - Parameter start: another one than `.acknowledged` is told to the core once, and counts from then on.
    package convenience init(
        _ link: CoreLink, feed: String, from start: LinkFeedStart = .acknowledged, window: UInt32 = 64,
        pauses: Pauses = Pauses(), state: @escaping @Sendable (State) -> Void = { _ in },
        handler: @escaping @Sendable (Item) async throws -> Void
    ) {
        self.init(link, feed: feed, batch: 1, from: start, window: window, pauses: pauses, state: state) { items in
            for item in items { try await handler(item) }
        }
    }

    /// - Parameters:
    ///   - batch: at most so many items are handed over at once, and acknowledged together.
    ///   - start: another one than `.acknowledged` is told to the core once, and counts from then on.
    ///   - kept: asked before each subscription: the last cursor that the handler itself has kept. The core's knowledge is one for all
    ///     nodes of a service; one that needs every item by itself goes on behind its own last. Nil: the core's counts.
    package init(
        _ link: CoreLink, feed: String, batch: Int, from start: LinkFeedStart = .acknowledged, window: UInt32 = 64,
        pauses: Pauses = Pauses(), kept: @escaping @Sendable () -> UInt64? = { nil },
        state: @escaping @Sendable (State) -> Void = { _ in },
        items handler: @escaping @Sendable ([Item]) async throws -> Void
    ) {
        self.batch = max(1, batch)
        self.link = link
        self.feed = feed
        self.window = max(1, window)
        self.pauses = pauses
        self.handler = handler
        report = state
        self.kept = kept
        wanted = Mutex(start)
    }

    /// Reads from another place, from the next item on: to read all again, or to go on after `.refused`.
    package func start(from start: LinkFeedStart) {
        wanted.withLock { $0 = start }
        link.reopen(inbox)
    }

    /// Runs until graceful shutdown or cancellation; ends after the item that is being dealt with.
    package func run() async throws {
        link.follow(feed, with: inbox)
        await cancelWhenGracefulShutdown { [self] in
            var progress = Progress()
            for await _ in inbox.signals {
                while !Task.isCancelled, let event = inbox.next() { await take(event, &progress) }
            }
        }
    }

    private var start: LinkFeedStart {
        let wanted = wanted.withLock { $0 }
        guard case .acknowledged = wanted, let kept = kept() else { return wanted }
        return .after(kept)
    }

    private struct Progress {
        var last: UInt64 = 0
        /// The cursor of the next item; nil until the core has said that items come.
        var next: UInt64?
        /// Dealt with and not granted again.
        var owed: UInt32 = 0
    }

    private func take(_ event: FeedInbox.Event, _ progress: inout Progress) async {
        switch event {
        case .lost: report(.waiting)
        case .opened(let conversation):
            progress = Progress()
            report(.waiting)
            inbox.asks()
            let reports = conversation.subscribe(feed, from: start, credit: window)
            for case .feed(let frame) in reports { await take(frame, conversation, &progress) }
        case .frame(let frame, let conversation): await take(frame, conversation, &progress)
        }
    }

    private func take(_ frame: LinkFeedFrame, _ conversation: LinkConversation, _ progress: inout Progress) async {
        switch frame {
        case .subscribed(_, let span):
            // Whatever start was asked for is what is acknowledged now.
            wanted.withLock { $0 = .acknowledged }
            progress.last = span.last
            progress.next = span.acknowledged + 1
            report(.reading(behind: span.last - min(span.last, span.acknowledged)))
        case .item(_, let cursor, let octets):
            guard cursor == progress.next else { return }
            var items = [Item(cursor: cursor, octets: octets)]
            // The half of the link has seen to it that there are no gaps.
            items += inbox.items(of: conversation, atMost: batch - 1).map { Item(cursor: $0.cursor, octets: $0.octets) }
            let cursor = items[items.count - 1].cursor
            guard await handle(items) else { return }
            progress.next = cursor + 1
            progress.owed += UInt32(items.count)
            // A quarter at a time saves frames.
            let grant = progress.owed >= max(1, window / 4) ? progress.owed : 0
            if grant > 0 { progress.owed = 0 }
            conversation.acknowledge(feed, cursor: cursor, credit: grant)
            progress.last = max(progress.last, cursor)
            report(.reading(behind: progress.last - cursor))
        case .ended(_, let reason, let span):
            report(.refused(reason, span))
            guard reason == .unavailable else { return }
            let subscription = inbox.subscription
            guard (try? await Task.sleep(for: pauses.longest)) != nil, inbox.subscription == subscription else {
                return
            }
            link.reopen(inbox)
        case .subscribe, .acknowledge, .credit: break
        }
    }

    /// False when the items can not be acknowledged any more: the link is gone, or the reader ends.
    private func handle(_ items: [Item]) async -> Bool {
        let subscription = inbox.subscription
        var pause = pauses.shortest
        while !Task.isCancelled, inbox.subscription == subscription {
            do {
                try await handler(items)
                return true
            } catch {
                if Task.isCancelled { return false }
                report(.failing(cursor: items[0].cursor, Self.diagnosed(error)))
            }
            guard (try? await Task.sleep(for: pause)) != nil else { return false }
            pause = min(pause * 2, pauses.longest)
        }
        return false
    }

    private static func diagnosed(_ error: any Error) -> DiagnosedError {
        error as? DiagnosedError
            ?? DiagnosedError(
                .feedItemFailed, fault: .internal, "an item of a feed could not be dealt with",
                found: "an error of type \(type(of: error))")
    }
}

extension DiagnosedError.Code {
    /// The handler of a feed does not take an item.
    package static let feedItemFailed: Self = "feed-item-failed"
}
