import Diagnostics
import LinkProtocol
import Synchronization
import WireText

/// Feeds of all links: one node of a service reads a feed at a time, the others wait in the order in which they asked.
///
/// Any thread. When the link of the reader ends, what it has acknowledged is stored and the next one goes on after it.
final class FeedHub: Sendable {
    /// All activities and what else happens in the conversations that an organisation has made.
    static let conversations = "conversations"
    /// Kinds of services that may follow a feed; a KMS has no business with the conversations themselves.
    static let services: Set<String> = ["indexer", "ediscovery", "calendar"]
    /// Kinds that link and follow none: a transcoder is asked, and an API server asks.
    static let others: Set<String> = ["transcode", "api"]

    private struct State {
        /// The first one reads.
        var lines: [CloudStore.FeedReaderKey: [FeedSubscription]] = [:]
        var running: [ObjectIdentifier: Task<Void, Never>] = [:]
    }

    private let store: CloudStore
    private let relay: RelayHub
    private let wall: @Sendable () -> Timestamp
    private let state = Mutex(State())

    init(store: CloudStore, relay: RelayHub, wall: @escaping @Sendable () -> Timestamp) {
        self.store = store
        self.relay = relay
        self.wall = wall
    }

    /// Takes a frame of an open link; what violates the protocol is thrown, and ends the link.
    func take(_ frame: LinkFeedFrame, from link: Relay.LinkID, grant: Relay.Grant) throws(DiagnosedError) {
        let key = CloudStore.FeedReaderKey(
            organisation: grant.organisation, service: grant.service, feed: frame.feed)
        switch frame {
        case .subscribe(let feed, let from, let credit):
            guard grant.feeds.contains(feed) else {
                return _ = relay.send(.feed(.ended(feed: feed, .notAllowed, LinkFeedSpan())), to: link)
            }
            subscribe(key, link, from, credit)
        case .acknowledge(_, let cursor): try subscription(key, link)?.acknowledge(cursor)
        case .credit(_, let count): subscription(key, link)?.grant(count)
        case .subscribed, .item, .ended: break
        }
    }

    private func subscribe(
        _ key: CloudStore.FeedReaderKey, _ link: Relay.LinkID, _ from: LinkFeedStart, _ credit: UInt32
    ) {
        let new = FeedSubscription(key, link: link, from: from, credit: credit, store, relay, wall)
        let (replaced, isFirst) = state.withLock { state -> (FeedSubscription?, Bool) in
            var line = state.lines[key] ?? []
            // The same link asks anew: it keeps its place, behind the one that ends.
            if let index = line.firstIndex(where: { $0.link == link && !$0.isEnding }) {
                let old = line[index]
                if index == 0 { line.insert(new, at: 1) } else { line[index] = new }
                state.lines[key] = line
                return (index == 0 ? old : nil, false)
            }
            line.append(new)
            state.lines[key] = line
            return (nil, line.count == 1)
        }
        replaced?.end()
        if isFirst { begin(new, key) }
    }

    private func begin(_ subscription: FeedSubscription, _ key: CloudStore.FeedReaderKey) {
        // The lock is held until the task is known: its end removes it.
        state.withLock { state in
            state.running[ObjectIdentifier(subscription)] = Task {
                await subscription.run()
                let next = self.state.withLock { state -> FeedSubscription? in
                    state.running[ObjectIdentifier(subscription)] = nil
                    state.lines[key]?.removeAll { $0 === subscription }
                    if state.lines[key]?.isEmpty == true { state.lines[key] = nil }
                    return state.lines[key]?.first
                }
                if let next { self.begin(next, key) }
            }
        }
    }

    /// After the last link has ended: what was acknowledged is stored when it returns.
    func close() async {
        while let task = state.withLock({ state in
            for line in state.lines.values { for subscription in line { subscription.end() } }
            return state.running.values.first
        }) { await task.value }
    }

    private func subscription(_ key: CloudStore.FeedReaderKey, _ link: Relay.LinkID) -> FeedSubscription? {
        state.withLock { $0.lines[key]?.last { $0.link == link } }
    }

    /// The link is gone.
    func disconnect(_ link: Relay.LinkID) {
        let ended = state.withLock { state in
            var ended: [FeedSubscription] = []
            for (key, line) in state.lines {
                ended += line.filter { $0.link == link }
                // The one that reads leaves when it has ended.
                state.lines[key] = line.enumerated().filter { $0.offset == 0 || $0.element.link != link }
                    .map(\.element)
            }
            return ended
        }
        for subscription in ended { subscription.end() }
    }

    /// Items that were sent and not acknowledged, of all readers.
    var unacknowledged: Int {
        state.withLock { $0.lines.values.compactMap(\.first) }.reduce(0) { $0 + $1.unacknowledged }
    }

    /// Something was logged.
    func wake(_ organisation: String) {
        let readers = state.withLock { state in
            state.lines.filter { $0.key.organisation == organisation }.compactMap(\.value.first)
        }
        for reader in readers { reader.wake() }
    }
}

/// One subscription from its turn to its end: reads the log and sends, stores what is acknowledged.
final class FeedSubscription: Sendable {
    let link: Relay.LinkID
    private let key: CloudStore.FeedReaderKey
    private let from: LinkFeedStart
    private let store: CloudStore
    private let relay: RelayHub
    private let wall: @Sendable () -> Timestamp

    private struct State {
        var sender: FeedSender?
        /// Credit that came before its turn.
        var credit: UInt32
        var stored: UInt64 = 0
        var isEnding = false
    }

    private let state: Mutex<State>
    private let sends: AsyncStream<Void>
    private let send: AsyncStream<Void>.Continuation
    private let acknowledgements: AsyncStream<Void>
    private let acknowledged: AsyncStream<Void>.Continuation

    init(
        _ key: CloudStore.FeedReaderKey, link: Relay.LinkID, from: LinkFeedStart, credit: UInt32, _ store: CloudStore,
        _ relay: RelayHub, _ wall: @escaping @Sendable () -> Timestamp
    ) {
        (self.key, self.link, self.from) = (key, link, from)
        (self.store, self.relay, self.wall) = (store, relay, wall)
        state = Mutex(State(credit: credit))
        (sends, send) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        (acknowledgements, acknowledged) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    var unacknowledged: Int { state.withLock { $0.sender?.unacknowledged ?? 0 } }
    var isEnding: Bool { state.withLock { $0.isEnding } }

    func wake() { send.yield() }

    func end() {
        state.withLock { $0.isEnding = true }
        send.finish()
        acknowledged.finish()
    }

    func grant(_ count: UInt32) {
        state.withLock { state in
            if state.sender == nil {
                state.credit = min(state.credit &+ count, UInt32(FeedSender.maximumCredit))
            } else {
                state.sender?.grant(count)
            }
        }
        send.yield()
    }

    func acknowledge(_ cursor: UInt64) throws(DiagnosedError) {
        let result = state.withLock { state -> Result<Bool, DiagnosedError> in
            Result { () throws(DiagnosedError) in try state.sender?.acknowledge(cursor) ?? false }
        }
        guard try result.get() else { return }
        acknowledged.yield()
        send.yield()
    }

    /// Until the link ends, it is replaced, or the core can not go on with it.
    func run() async {
        do {
            switch try await store.openFeed(key, from: from, now: wall()) {
            case .refused(let reason, let span): return tell(.ended(feed: key.feed, reason, span))
            case .opened(let span):
                state.withLock { state in
                    state.sender = FeedSender(after: span.acknowledged, credit: state.credit)
                    state.stored = span.acknowledged
                }
                tell(.subscribed(feed: key.feed, span))
            }
        } catch {
            return tell(.ended(feed: key.feed, .unavailable, LinkFeedSpan()))
        }
        send.yield()
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.storeAcknowledgements() }
            do {
                for await _ in sends { try await sendWhatMay() }
            } catch {
                tell(.ended(feed: key.feed, .unavailable, LinkFeedSpan()))
            }
            end()
        }
    }

    private func sendWhatMay() async throws {
        while !isEnding, let room = state.withLock({ $0.sender?.room }) {
            let items = try await store.feedItems(
                of: key.organisation, after: room.after, limit: room.items, octets: room.octets)
            guard !items.isEmpty else { return }
            for item in items {
                let isSent = state.withLock { state in
                    guard !state.isEnding, state.sender?.mayTake(item.octets.count) == true else { return false }
                    state.sender?.noteSent(item.cursor, octets: item.octets.count)
                    return true
                }
                guard isSent else { break }
                tell(.item(feed: key.feed, cursor: item.cursor, octets: item.octets))
            }
        }
    }

    /// Many that come while one is stored are stored as one; the last one before the next reader begins.
    private func storeAcknowledgements() async {
        for await _ in acknowledgements { await storeAcknowledged() }
        await storeAcknowledged()
    }

    private func storeAcknowledged() async {
        let (cursor, stored) = state.withLock { ($0.sender?.acknowledged ?? 0, $0.stored) }
        guard cursor > stored else { return }
        // What can not be stored is told again after the next acknowledgement, or its items come again.
        guard (try? await store.acknowledge(cursor, by: key, now: wall())) != nil else { return }
        state.withLock { $0.stored = cursor }
    }

    /// A link that does not keep up is ended like any other.
    private func tell(_ frame: LinkFeedFrame) {
        if !relay.send(.feed(frame), to: link) { relay.endSlow(link) }
    }
}
