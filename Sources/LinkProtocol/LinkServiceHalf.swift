package import Diagnostics

/// The service's half of a link as a pure state machine: hello, welcome, deliveries under the credit it granted, one
/// answer or decline for each, drain.
///
/// One value per connection, driven by one caller at a time; no clock, no socket. Every method returns what is to be
/// done, in order. After a `.close` action it takes nothing more.
package struct LinkServiceHalf: Sendable {
    package enum Action: Equatable, Sendable {
        case send(LinkFrame)
        /// The core has accepted the link.
        case opened(LinkWelcome)
        case deliver(id: UInt64, source: String, text: [UInt8])
        /// The core knows that this one was declined: what it had sent of its sender before has come.
        case noted(id: UInt64)
        /// The one outcome of a call of this service.
        case called(id: UInt64, LinkCallOutcome)
        /// Of a feed that this service subscribed to.
        case feed(LinkFeedFrame)
        case close(LinkCloseCode, DiagnosedError?)
    }

    private enum State { case start, greeted, open, draining, ended }

    private var state = State.start
    private var hello: LinkHello
    private let wishedWindow: Int
    /// The most deliveries that may be unanswered: what the service wishes and the core allows.
    private var window = 0
    /// Deliveries that the core may still send.
    private var granted = 0
    /// Places that became free and were not granted again yet.
    private var owed = 0
    private var outstanding: Set<UInt64> = []
    /// The core tells when it has taken note of a decline.
    package private(set) var isToldOfNotes = false
    /// Declined, and not noted yet.
    private var unnoted: Set<UInt64> = []
    /// The details changed between hello and welcome.
    private var owesDetails = false
    /// The core keeps a list of nodes; the one of the hello may have changed since.
    private var takesLists = false
    private var owesList = false
    /// The most calls that the core lets be unanswered; 0 for one that knows no calls.
    private var callLimit = 0
    private var calls: Set<UInt64> = []
    private var lastCall: UInt64 = 0
    private var feeds = LinkFeedIntake()

    /// `window`: the most deliveries that the service wants to hold unanswered.
    package init(hello: LinkHello, window: Int) {
        self.hello = hello
        wishedWindow = max(1, window)
    }

    package var isOpen: Bool { state == .open }
    package var outstandingCount: Int { outstanding.count }

    /// The WebSocket stands.
    package mutating func connected() -> [Action] {
        guard state == .start else { return [] }
        state = .greeted
        return [.send(.hello(hello))]
    }

    package mutating func received(_ frame: LinkFrame) -> [Action] {
        switch (state, frame) {
        case (.ended, _): return []
        case (.greeted, .welcome(let welcome)):
            state = .open
            window = min(wishedWindow, Int(welcome.credit))
            granted = window
            callLimit = Int(welcome.calls)
            feeds.offered = Set(welcome.feeds)
            var actions: [Action] = [.opened(welcome), .send(.credit(UInt32(window)))]
            if owesDetails { actions.append(.send(.publish(details: hello.details))) }
            takesLists = welcome.nodeList != nil
            isToldOfNotes = welcome.sendsNotes
            if owesList, takesLists, let list = hello.nodeList { actions.append(.send(.nodes(list))) }
            return actions
        case (.open, .deliver(let id, let source, let text)):
            if let violation = judgeDelivery(id) { return violation }
            outstanding.insert(id)
            return [.deliver(id: id, source: source, text: text)]
        case (.draining, .deliver(let id, _, _)):
            // No place is granted again: the core's credit runs dry and the string goes to another link.
            if let violation = judgeDelivery(id) { return violation }
            if isToldOfNotes { unnoted.insert(id) }
            return [.send(.decline(id: id, reason: "the service is stopping"))]
        case (.open, .noted(let id)), (.draining, .noted(let id)):
            guard unnoted.remove(id) != nil else { return violated(.linkViolation("a note has no decline")) }
            return [.noted(id: id)]
        case (.open, .reply(let id, let text)), (.draining, .reply(let id, let text)):
            guard calls.remove(id) != nil else { return violated(.linkViolation("a reply has no call")) }
            return [.called(id: id, .answered(text))]
        case (.open, .refuse(let id, let reason)), (.draining, .refuse(let id, let reason)):
            guard calls.remove(id) != nil else { return violated(.linkViolation("a refusal has no call")) }
            return [.called(id: id, .refused(reason))]
        case (.open, .feed(let frame)):
            do throws(DiagnosedError) {
                return try feeds.received(frame).map { [.feed($0)] } ?? []
            } catch {
                return violated(error)
            }
        // Whoever takes the feed over gets what is not acknowledged.
        case (.draining, .feed): return []
        default: return violated(.linkViolation("the core sent a frame that is not due", found: frame.name))
        }
    }

    /// Asks for a feed, or anew for one from another cursor; one that the core does not offer ends at once.
    package mutating func subscribe(_ feed: String, from: LinkFeedStart, credit: UInt32) -> [Action] {
        guard state == .open else { return [] }
        guard let frame = feeds.subscribe(feed, from: from, credit: credit) else {
            return [.feed(.ended(feed: feed, .notOffered, LinkFeedSpan()))]
        }
        return [.send(.feed(frame))]
    }

    /// The item of that cursor was dealt with; so many further ones are welcome.
    package mutating func acknowledge(_ feed: String, cursor: UInt64, credit: UInt32) -> [Action] {
        guard state == .open || state == .draining else { return [] }
        let acknowledged = Action.send(.feed(.acknowledge(feed: feed, cursor: cursor)))
        guard let grant = feeds.grant(feed, credit) else { return [acknowledged] }
        return [acknowledged, .send(.feed(grant))]
    }

    /// Octets that are no frame.
    package mutating func receivedMalformed(_ error: DiagnosedError) -> [Action] {
        state == .ended ? [] : violated(error)
    }

    /// Nothing happens for an id that is not outstanding: every delivery has exactly one answer.
    package mutating func answer(_ id: UInt64, text: [UInt8]) -> [Action] {
        settle(id, with: .answer(id: id, text: text))
    }

    /// A core that tells so (`isToldOfNotes`) takes note of it: `.noted` follows, unless the link ends first.
    package mutating func decline(_ id: UInt64, reason: String) -> [Action] {
        let actions = settle(id, with: .decline(id: id, reason: reason))
        guard isToldOfNotes, !actions.isEmpty else { return actions }
        unnoted.insert(id)
        // What is on its way is bounded by the window; a core that notes nothing must not fill the memory.
        guard unnoted.count <= max(Self.leastUnnoted, 16 * window) else {
            return actions + violated(.linkViolation("the core says that it notes declines, and does not"))
        }
        return actions
    }

    private static let leastUnnoted = 1024

    package mutating func drop(_ id: UInt64, reason: String) -> [Action] {
        settle(id, with: .drop(id: id, reason: reason))
    }

    /// Asks the service of another destination. The outcome comes as one `.called` action of that id, at the latest when
    /// the link ends; without a link that takes calls it is told at once.
    package mutating func call(_ destination: String, text: [UInt8]) -> (id: UInt64, actions: [Action]) {
        lastCall += 1
        func refused(_ reason: LinkCallRefusal) -> (UInt64, [Action]) {
            (lastCall, [.called(id: lastCall, .refused(reason))])
        }
        guard state == .open || state == .draining else { return refused(.notLinked) }
        guard callLimit > 0 else { return refused(.notSupported) }
        guard calls.count < callLimit else { return refused(.tooMany) }
        guard text.count <= LinkFrame.maximumStringBytes, destination.utf8.count <= LinkFrame.maximumSourceBytes else {
            return refused(.tooLong)
        }
        calls.insert(lastCall)
        return (lastCall, [.send(.call(id: lastCall, destination: destination, text: text))])
    }

    /// A new details document: sent as soon as the link is open, with the hello when that is still to come.
    package mutating func publish(_ details: String) -> [Action] {
        hello.details = details
        switch state {
        case .open, .draining: return [.send(.publish(details: details))]
        case .greeted:
            owesDetails = true
            return []
        case .start, .ended: return []
        }
    }

    /// A newer list of nodes: sent as soon as the link is open, to a core that keeps one.
    package mutating func publish(nodeList: String) -> [Action] {
        guard hello.nodeList != nodeList else { return [] }
        hello.nodeList = nodeList
        switch state {
        case .open, .draining: return takesLists ? [.send(.nodes(nodeList))] : []
        case .greeted:
            owesList = true
            return []
        case .start, .ended: return []
        }
    }

    /// No new deliveries; closes with 1001 once the last answer is out.
    package mutating func drain() -> [Action] {
        switch state {
        case .start, .greeted: return end(.goingAway)
        case .open:
            state = .draining
            return outstanding.isEmpty ? end(.goingAway) : []
        case .draining, .ended: return []
        }
    }

    /// The drain took too long, or the process must end: what is outstanding the core delivers elsewhere.
    package mutating func stop() -> [Action] { state == .ended ? [] : end(.goingAway) }

    /// The connection is gone: calls without an outcome get theirs.
    package mutating func lost() -> [Action] { state == .ended ? [] : end(.goingAway).filter { !$0.isClose } }

    private mutating func settle(_ id: UInt64, with frame: LinkFrame) -> [Action] {
        guard state == .open || state == .draining, outstanding.remove(id) != nil else { return [] }
        if state == .draining { return outstanding.isEmpty ? [.send(frame)] + end(.goingAway) : [.send(frame)] }
        owed += 1
        // A quarter at a time saves frames, and can not stall: what is not owed is outstanding or still granted.
        guard owed >= max(1, window / 4) else { return [.send(frame)] }
        defer { owed = 0 }
        granted += owed
        return [.send(frame), .send(.credit(UInt32(owed)))]
    }

    private mutating func judgeDelivery(_ id: UInt64) -> [Action]? {
        guard granted > 0 else { return violated(.linkViolation("a delivery came without credit")) }
        guard !outstanding.contains(id) else { return violated(.linkViolation("an id was delivered twice")) }
        granted -= 1
        return nil
    }

    private mutating func violated(_ error: DiagnosedError) -> [Action] { end(.protocolViolated, error) }

    private mutating func end(_ code: LinkCloseCode, _ error: DiagnosedError? = nil) -> [Action] {
        state = .ended
        outstanding.removeAll()
        defer { calls.removeAll() }
        return calls.sorted().map { .called(id: $0, .refused(.notLinked)) } + [.close(code, error)]
    }
}

extension LinkServiceHalf.Action {
    fileprivate var isClose: Bool { if case .close = self { true } else { false } }
}

extension LinkFrame {
    /// The name of its type, for messages.
    package var name: String {
        switch self {
        case .hello: "hello"
        case .welcome: "welcome"
        case .deliver: "deliver"
        case .answer: "answer"
        case .decline: "decline"
        case .drop: "drop"
        case .noted: "noted"
        case .credit: "credit"
        case .publish: "publish"
        case .nodes: "nodes"
        case .call: "call"
        case .reply: "reply"
        case .refuse: "refuse"
        case .feed(let frame): frame.name
        }
    }
}
