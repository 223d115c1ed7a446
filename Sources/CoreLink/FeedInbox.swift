import LinkProtocol
import Synchronization

/// What came of a feed and was not dealt with yet. Any thread.
///
/// It never holds more items than the credit that was given: a new link starts it anew.
final class FeedInbox: Sendable {
    enum Event: Sendable {
        case opened(LinkConversation)
        case frame(LinkFeedFrame, LinkConversation)
        case lost
    }

    private struct State {
        var conversation: LinkConversation?
        var events: [Event] = []
        /// The reader has not asked on this link yet: what comes belongs to nobody.
        var isFresh = false
        var subscription: UInt64 = 0

        mutating func begin(_ conversation: LinkConversation?) {
            self.conversation = conversation
            events = [conversation.map { .opened($0) } ?? .lost]
            isFresh = true
            subscription += 1
        }
    }

    private let state = Mutex(State())
    /// One element when something came.
    let signals: AsyncStream<Void>
    private let signal: AsyncStream<Void>.Continuation

    init() { (signals, signal) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1)) }

    /// A link is open; what came on an earlier one comes again.
    func opened(_ conversation: LinkConversation) {
        state.withLock { state in
            // Told twice when the reader came while the link opened.
            if state.conversation !== conversation { state.begin(conversation) }
        }
        signal.yield()
    }

    /// The reader wants to ask anew on the link that stands.
    func restarted(_ conversation: LinkConversation) {
        state.withLock { $0.begin(conversation) }
        signal.yield()
    }

    func lost(_ conversation: LinkConversation) {
        state.withLock { state in
            if state.conversation === conversation { state.begin(nil) }
        }
        signal.yield()
    }

    func take(_ frame: LinkFeedFrame, of conversation: LinkConversation) {
        state.withLock { state in
            guard state.conversation === conversation, !state.isFresh else { return }
            state.events.append(.frame(frame, conversation))
        }
        signal.yield()
    }

    /// The reader asks now.
    func asks() { state.withLock { $0.isFresh = false } }
    func next() -> Event? { state.withLock { $0.events.isEmpty ? nil : $0.events.removeFirst() } }
    /// Items of this conversation that stand at the front, in their order, at most so many.
    func items(of conversation: LinkConversation, atMost limit: Int) -> [(cursor: UInt64, octets: [UInt8])] {
        state.withLock { state in
            var items: [(cursor: UInt64, octets: [UInt8])] = []
            for event in state.events.prefix(max(0, limit)) {
                guard case .frame(.item(_, let cursor, let octets), let owner) = event, owner === conversation else {
                    break
                }
                items.append((cursor, octets))
            }
            state.events.removeFirst(items.count)
            return items
        }
    }
    /// Another one with each link and each question: what was begun under an earlier one counts no more.
    var subscription: UInt64 { state.withLock { $0.subscription } }
}
