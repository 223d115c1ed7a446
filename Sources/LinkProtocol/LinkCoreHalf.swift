package import Diagnostics

/// The core's half of a link as a pure state machine: waits for hello, then delivers under the credit that the service
/// grants, and takes exactly one answer, decline or drop per delivery.
///
/// One value per connection, driven by one caller at a time; no clock, no socket. Every method returns what is to be
/// done, in order. After a `.close` action it takes nothing more.
package struct LinkCoreHalf: Sendable {
    package enum Action: Equatable, Sendable {
        case send(LinkFrame)
        /// The service named itself: judge it, then call `accept` or `refuse`.
        case greeted(LinkHello)
        case answered(id: UInt64, text: [UInt8])
        case declined(id: UInt64, reason: String)
        case dropped(id: UInt64, reason: String)
        case published(details: String)
        /// A signed list of nodes; the sender may be anybody, its signature says what it is worth.
        case listed(String)
        /// The service asks another one; exactly one `reply` or `refuse` of that id is due.
        case called(id: UInt64, destination: String, text: [UInt8])
        /// More deliveries are welcome.
        case credited
        /// Subscribe, acknowledge or credit of a feed.
        case feed(LinkFeedFrame)
        case close(LinkCloseCode, DiagnosedError?)
    }

    private enum State { case start, judging, open, ended }

    private var state = State.start
    private var limit = 0
    private var callLimit = 0
    private var takesLists = false
    private var sendsNotes = false
    /// Calls of the service that have no outcome yet.
    private var calls: Set<UInt64> = []
    /// Deliveries that the service takes now.
    package private(set) var credit = 0
    /// Delivered and neither answered nor declined; still readable after the end, for these go to another link.
    package private(set) var inFlight: Set<UInt64> = []

    package init() {}

    package var canDeliver: Bool { state == .open && credit > 0 }
    package var isOpen: Bool { state == .open }

    package mutating func received(_ frame: LinkFrame) -> [Action] {
        switch (state, frame) {
        case (.ended, _): return []
        case (.start, .hello(let hello)):
            guard hello.protocolVersion == LinkHello.protocolVersion else {
                return violated(
                    .linkViolation(
                        "the service speaks another version", expected: "protocol \(LinkHello.protocolVersion)",
                        found: "\(hello.protocolVersion)"))
            }
            state = .judging
            return [.greeted(hello)]
        case (.open, .answer(let id, let text)):
            guard inFlight.remove(id) != nil else { return violated(.linkViolation("an answer has no delivery")) }
            return [.answered(id: id, text: text)]
        case (.open, .decline(let id, let reason)):
            guard inFlight.remove(id) != nil else { return violated(.linkViolation("a decline has no delivery")) }
            // Before anything that the decline lets be delivered.
            return (sendsNotes ? [.send(.noted(id: id))] : []) + [.declined(id: id, reason: reason)]
        case (.open, .drop(let id, let reason)):
            guard inFlight.remove(id) != nil else { return violated(.linkViolation("a drop has no delivery")) }
            return [.dropped(id: id, reason: reason)]
        case (.open, .credit(let more)):
            // Never more than the core is ready to hold, whatever is granted.
            credit = max(credit, min(credit + Int(more), limit - inFlight.count))
            return [.credited]
        case (.open, .publish(let details)): return [.published(details: details)]
        case (.open, .nodes(let list)) where takesLists && list.utf8.count <= LinkFrame.maximumListBytes:
            return [.listed(list)]
        case (.open, .call(let id, let destination, let text)):
            guard text.count <= LinkFrame.maximumStringBytes else {
                return violated(.linkViolation("a called string is too long"))
            }
            guard callLimit > 0 else { return violated(.linkViolation("a call came where none are taken")) }
            guard !calls.contains(id) else { return violated(.linkViolation("an id was called twice")) }
            guard calls.count < callLimit else { return [.send(.refuse(id: id, reason: .tooMany))] }
            calls.insert(id)
            return [.called(id: id, destination: destination, text: text)]
        case (.open, .feed(let frame)):
            switch frame {
            case .subscribe, .acknowledge, .credit: return [.feed(frame)]
            case .subscribed, .item, .ended:
                return violated(.linkViolation("the service sent a frame that is not due", found: frame.name))
            }
        default: return violated(.linkViolation("the service sent a frame that is not due", found: frame.name))
        }
    }

    /// Octets that are no frame, or a text message.
    package mutating func receivedMalformed(_ error: DiagnosedError) -> [Action] {
        state == .ended ? [] : violated(error)
    }

    package mutating func accept(_ welcome: LinkWelcome) -> [Action] {
        guard state == .judging else { return [] }
        state = .open
        limit = Int(welcome.credit)
        callLimit = Int(welcome.calls)
        takesLists = welcome.nodeList != nil
        sendsNotes = welcome.sendsNotes
        return [.send(.welcome(welcome))]
    }

    package mutating func refuse(_ code: LinkCloseCode, _ error: DiagnosedError? = nil) -> [Action] {
        state == .ended ? [] : end(code, error)
    }

    /// The frame of a delivery; nil without credit, or when that id is on this link already.
    package mutating func deliver(id: UInt64, source: String, text: [UInt8]) -> LinkFrame? {
        guard canDeliver, inFlight.insert(id).inserted else { return nil }
        credit -= 1
        return .deliver(id: id, source: source, text: text)
    }

    /// The outcome of a call; nil when the link has ended or the call has one already.
    package mutating func settle(_ call: UInt64, _ outcome: LinkCallOutcome) -> LinkFrame? {
        guard state == .open, calls.remove(call) != nil else { return nil }
        switch outcome {
        case .answered(let text): return .reply(id: call, text: text)
        case .refused(let reason): return .refuse(id: call, reason: reason)
        }
    }

    private mutating func violated(_ error: DiagnosedError) -> [Action] { end(.protocolViolated, error) }

    private mutating func end(_ code: LinkCloseCode, _ error: DiagnosedError?) -> [Action] {
        state = .ended
        credit = 0
        calls.removeAll()
        return [.close(code, error)]
    }
}
