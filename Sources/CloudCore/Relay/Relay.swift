import Diagnostics
import LinkProtocol
import WireText

/// Strings on their way to the services and answers on their way back, as one pure state machine for all links.
///
/// A string is accepted, queued under its destination, delivered to a link with credit, and ends in exactly one way:
/// answered, dropped, expired or cancelled. When a link ends, what it had not answered goes back to its place in the queue and
/// is delivered again byte for byte. Strings of one sender are never on two links at once, so their order is kept.
/// Times are milliseconds of a monotonic clock, given by the caller. Every method returns what is to be done, in
/// order; the strings are opaque throughout.
struct Relay: Sendable {
    typealias LinkID = UInt64

    struct Limits: Sendable {
        var maximumStringsPerDestination = 20_000
        var maximumOctetsPerDestination = 64 << 20
        var maximumStringsPerSource = 1_000
        var maximumLinksPerDestination = 16
        /// After this a string is dropped: its client has sent it anew.
        var lifetimeMilliseconds: Int64 = 30_000
        var helloMilliseconds: Int64 = 10_000
        /// A link that declined gets nothing for so long.
        var declinePauseMilliseconds: Int64 = 500
        var heartbeatSeconds: Int64 = 1
        /// The most unanswered deliveries on one link.
        var linkCredit: Int64 = 4_096
        /// The most calls of one link without an outcome.
        var linkCalls: Int64 = 256
        /// After this a call is refused: less than the 6 s after which a client sends anew.
        var callMilliseconds: Int64 = 4_000
    }

    /// Where an answer goes.
    enum Origin: Hashable, Sendable {
        case device(String)
        /// A request of the HTTP interface that waits for it.
        case caller(UInt64)
        /// The service at another link.
        case link(LinkID, call: UInt64)
    }

    enum Action: Equatable, Sendable {
        case send(LinkID, LinkFrame)
        case answered(Origin, [UInt8])
        case expired(Origin)
        /// The destination's service gave its details document.
        case published(destination: String, details: String)
        /// A link is up: its greeting, for the log.
        case opened(LinkID, LinkHello)
        case close(LinkID, LinkCloseCode, DiagnosedError?)
        /// A destination is in a higher epoch than before.
        case raised(destination: String, epoch: Int64)
        /// A newer list of nodes counts from now on.
        case listed(destination: String, String)
        /// A list that does not count.
        case listRefused(destination: String, DiagnosedError)
        /// What a service wants of a feed.
        case feed(LinkFeedFrame)
        /// A call for a service of the core itself, by its destination.
        case called(LinkID, call: UInt64, destination: String, [UInt8])
    }

    enum Refusal: Error, Equatable {
        case destinationIsFull
        case sourceIsFull
    }

    /// What the token of a link's upgrade request allows.
    struct Grant: Sendable, Equatable {
        var organisation: String
        var destination: String
        /// The kind of service.
        var service = "kms"
        /// Feeds that it may subscribe to.
        var feeds: [String] = []
        /// Whether it may have messages deleted.
        var mayRemove = false
    }

    struct Counts: Sendable, Equatable {
        var accepted = 0
        var delivered = 0
        var answered = 0
        var expired = 0
        var cancelled = 0
        var declined = 0
        /// Nobody will answer them, the service said.
        var dropped = 0
        /// Delivered again after a link ended or declined.
        var redelivered = 0
        /// Answers to strings that had expired or were cancelled.
        var late = 0
        var refused = 0
        /// Calls of services that were refused, for whatever reason.
        var callsRefused = 0
    }

    struct Request {
        var destination: String
        var source: String
        var origin: Origin
        var text: [UInt8]
        var accepted: Int64
        var link: LinkID?
        var wasDelivered = false
    }

    private struct Lane {
        var queue = OrderedIDs()
        /// Queued and in flight.
        var strings = 0
        var octets = 0
        var links: [LinkID] = []
    }

    struct Link {
        var half = LinkCoreHalf()
        var grant: Grant
        var connected: Int64
        var service = ""
        var node = ""
        var version = ""
        var epoch: Int64 = 0
        var pausedUntil: Int64 = .min
        var calls: Set<Origin> = []
        /// What its hello has to prove, and the hello: judged again by each new list of nodes.
        var challenge: NodeAdmission.Challenge?
        var hello: LinkHello?
        /// Judged, and welcomed when its epoch is on the disk.
        var awaiting: LinkHello?
    }

    private struct Source {
        var pending = 0
        var inFlight = 0
        var link: LinkID?
        /// One of its strings was declined and others are in flight: nothing is delivered until these are settled, so
        /// that what is declined with it keeps its place.
        var isSettling = false
    }

    let limits: Limits
    /// By destination, which others its service may call: the two customers have agreed on it.
    let callable: [String: Set<String>]
    /// By destination, which nodes are taken; without an entry all with a good token are.
    var admissions: [String: NodeAdmission]
    /// The signature of a welcome to that hello; nil from a core without a key, or for a service that asks for none.
    private let sign: @Sendable (LinkHello, LinkWelcome) -> [UInt8]?
    var counts = Counts()
    private var nextID: UInt64
    var requests: [UInt64: Request] = [:]
    private var lanes: [String: Lane] = [:]
    var links: [LinkID: Link] = [:]
    private var sources: [String: Source] = [:]
    var origins: [Origin: Set<UInt64>] = [:]
    private var ages = OrderedIDs()
    var callAges = OrderedIDs()
    /// By destination, the highest epoch that a link said; never falls.
    private(set) var epochs: [String: Int64] = [:]
    /// As much of them as is on the disk.
    private var storedEpochs: [String: Int64] = [:]
    /// Who was last refused for a lower epoch, by destination.
    private(set) var superseded: [String: Superseded] = [:]

    /// `firstID` differs between runs of the process, so that an answer can not meet a string of an earlier run.
    init(
        limits: Limits = Limits(), firstID: UInt64 = 1, callable: [String: Set<String>] = [:],
        admissions: [String: NodeAdmission] = [:],
        sign: @escaping @Sendable (LinkHello, LinkWelcome) -> [UInt8]? = { _, _ in nil }
    ) {
        self.limits = limits
        self.sign = sign
        self.callable = callable
        self.admissions = admissions
        nextID = max(1, firstID)
    }

    var pendingCount: Int { requests.count }
    func pendingCount(of destination: String) -> Int { lanes[destination]?.strings ?? 0 }
    /// Node, release and epoch of each open link.
    func nodes(of destination: String) -> [LinkedNode] {
        (lanes[destination]?.links ?? []).compactMap { links[$0] }.filter(\.half.isOpen)
            .map { LinkedNode(node: $0.node, version: $0.version, epoch: $0.epoch) }.sorted { $0.node < $1.node }
    }
    func openLinkCount(of destination: String) -> Int {
        lanes[destination]?.links.count { links[$0]?.half.isOpen == true } ?? 0
    }

    // MARK: strings

    /// Takes all the strings or none.
    mutating func submit(
        _ texts: [[UInt8]], to destination: String, from source: String, origin: Origin, now: Int64
    ) -> Result<[Action], Refusal> {
        let octets = texts.reduce(0) { $0 + $1.count }
        let lane = lanes[destination] ?? Lane()
        if lane.strings + texts.count > limits.maximumStringsPerDestination
            || lane.octets + octets > limits.maximumOctetsPerDestination
        {
            counts.refused += texts.count
            return .failure(.destinationIsFull)
        }
        if (sources[source]?.pending ?? 0) + texts.count > limits.maximumStringsPerSource {
            counts.refused += texts.count
            return .failure(.sourceIsFull)
        }
        for text in texts {
            let id = nextID
            nextID += 1
            requests[id] = Request(
                destination: destination, source: source, origin: origin, text: text, accepted: now)
            lanes[destination, default: Lane()].queue.insert(id)
            origins[origin, default: []].insert(id)
            ages.insert(id)
        }
        lanes[destination, default: Lane()].strings += texts.count
        lanes[destination, default: Lane()].octets += octets
        sources[source, default: Source()].pending += texts.count
        counts.accepted += texts.count
        return .success(dispatch(destination, now: now))
    }

    /// Nobody waits any more: what is queued is not delivered, what is in flight is answered to nobody.
    mutating func cancel(_ origin: Origin) {
        for id in origins[origin] ?? [] where forget(id) != nil { counts.cancelled += 1 }
    }

    /// Drops what is too old, closes links without a hello, and gives paused links their due. Call it a few times a
    /// second.
    mutating func tick(now: Int64) -> [Action] {
        var actions = refuseOldCalls(now)
        while let id = ages.first {
            guard let request = requests[id] else {
                ages.removeFirst()
                continue
            }
            guard request.accepted + limits.lifetimeMilliseconds <= now else { break }
            ages.removeFirst()
            forget(id)
            counts.expired += 1
            actions.append(.expired(request.origin))
        }
        for (id, link) in links.sorted(by: { $0.key < $1.key })
        where link.node.isEmpty && link.connected + limits.helloMilliseconds <= now {
            actions += end(
                id, .protocolViolated,
                DiagnosedError(
                    .linkViolation, fault: .peer, "no hello came",
                    expected: "hello within \(limits.helloMilliseconds / 1000) s"), now: now)
        }
        for destination in lanes.keys.sorted() { actions += dispatch(destination, now: now) }
        return actions
    }

    // MARK: epochs

    struct Superseded: Sendable, Equatable {
        var node: String
        var epoch: Int64
        var at: Int64
    }

    /// What an earlier run has seen.
    mutating func setEpoch(_ epoch: Int64, of destination: String) {
        epochs[destination] = max(epochs[destination] ?? 1, epoch)
        storedEpochs[destination] = max(storedEpochs[destination] ?? 1, epoch)
    }

    /// An epoch that was raised is on the disk: the link that came with it is welcomed, unless a higher one came meanwhile
    /// or its node was removed.
    mutating func epochStored(
        _ epoch: Int64, of destination: String, by link: LinkID, now: Int64, wall: Timestamp
    ) -> [Action] {
        setEpoch(epoch, of: destination)
        guard let hello = links[link]?.awaiting else { return [] }
        links[link]?.awaiting = nil
        if let error = admissions[destination]?.refusal(of: hello, challenge: links[link]?.challenge) {
            return end(link, .notListed, error, now: now)
        }
        if let ending = judgeEpoch(hello, link, destination, now: now) { return ending }
        return admit(hello, link, destination, now: now, wall: wall)
    }

    /// It can not be stored: a core that takes the link all the same would take an older one after a crash.
    mutating func epochNotStored(by link: LinkID, now: Int64) -> [Action] {
        guard links[link]?.awaiting != nil else { return [] }
        return end(link, .internalError, .epochNotStored, now: now)
    }

    /// A service that says no epoch (0, of earlier releases) is in the first one.
    private mutating func judgeEpoch(_ hello: LinkHello, _ link: LinkID, _ destination: String, now: Int64) -> [Action]?
    {
        let highest = epochs[destination] ?? 1
        let epoch = max(1, hello.epoch)
        guard epoch >= highest else {
            superseded[destination] = Superseded(node: hello.node, epoch: epoch, at: now)
            return end(link, .superseded, .superseded(epoch, highest: highest), now: now)
        }
        guard epoch > highest else { return nil }
        epochs[destination] = epoch
        return nil
    }

    /// Ends links that a higher epoch has overtaken.
    private mutating func endLower(than epoch: Int64, of destination: String, now: Int64) -> [Action] {
        var actions: [Action] = []
        for other in lanes[destination]?.links ?? [] where links[other].map({ $0.epoch < epoch }) == true {
            actions += end(other, .superseded, .superseded(links[other]?.epoch ?? 0, highest: epoch), now: now)
        }
        return actions
    }

    // MARK: links

    /// A WebSocket with a good token; hello comes next.
    mutating func connected(
        _ link: LinkID, grant: Grant, challenge: NodeAdmission.Challenge? = nil, now: Int64
    ) {
        links[link] = Link(grant: grant, connected: now, challenge: challenge)
    }

    mutating func received(_ frame: LinkFrame, from link: LinkID, now: Int64, wall: Timestamp) -> [Action] {
        guard let half = links[link]?.half.received(frame) else { return [] }
        return apply(half, link, now: now, wall: wall)
    }

    /// Octets that are no frame.
    mutating func receivedMalformed(_ error: DiagnosedError, from link: LinkID, now: Int64) -> [Action] {
        guard links[link] != nil else { return [] }
        return end(link, .protocolViolated, error, now: now)
    }

    /// The link is gone: what it had not answered is delivered again.
    mutating func disconnected(_ link: LinkID, now: Int64) -> [Action] {
        guard let gone = links.removeValue(forKey: link) else { return [] }
        let destination = gone.grant.destination
        lanes[destination]?.links.removeAll { $0 == link }
        for id in gone.half.inFlight.sorted() { requeue(id) }
        // Nobody is left to be told the outcome of its calls.
        for origin in gone.calls { cancel(origin) }
        return dispatch(destination, now: now)
    }

    private mutating func apply(
        _ steps: [LinkCoreHalf.Action], _ link: LinkID, now: Int64, wall: Timestamp
    ) -> [Action] {
        var actions: [Action] = []
        for step in steps {
            switch step {
            case .send(let frame): actions.append(.send(link, frame))
            case .greeted(let hello): actions += judge(hello, link, now: now, wall: wall)
            case .answered(let id, let text):
                let wasSettling = requests[id].map { sources[$0.source]?.isSettling == true } ?? false
                guard let request = forget(id) else {
                    counts.late += 1
                    continue
                }
                counts.answered += 1
                if case .link(let caller, let call) = request.origin {
                    actions += settle(call, of: caller, .answered(text))
                } else {
                    actions.append(.answered(request.origin, text))
                }
                // What waited for this one may go now.
                if wasSettling { actions += dispatch(request.destination, now: now) }
            case .declined(let id, _):
                counts.declined += 1
                links[link]?.pausedUntil = now + limits.declinePauseMilliseconds
                requeue(id)
                if let source = requests[id]?.source, sources[source]?.inFlight ?? 0 > 0 {
                    sources[source]?.isSettling = true
                }
                actions += dispatch(links[link]?.grant.destination ?? "", now: now)
            case .dropped(let id, _):
                guard let request = forget(id) else { continue }
                counts.dropped += 1
                actions.append(.expired(request.origin))
                actions += dispatch(request.destination, now: now)
            case .published(let details): actions += publish(details, link, now: now)
            case .listed(let text):
                actions += take(nodeList: text, of: links[link]?.grant.destination ?? "", now: now)
            case .called(let id, let destination, let text):
                actions += call(id, destination, text, from: link, now: now)
            case .feed(let frame): actions.append(.feed(frame))
            case .credited: actions += dispatch(links[link]?.grant.destination ?? "", now: now)
            case .close(let code, let error): actions += end(link, code, error, now: now)
            }
        }
        return actions
    }

    private mutating func judge(_ hello: LinkHello, _ link: LinkID, now: Int64, wall: Timestamp) -> [Action] {
        guard let grant = links[link]?.grant else { return [] }
        if let error = LinkAdmission.refusal(of: hello, grant: grant) {
            return end(link, error.code == .linkViolation ? .protocolViolated : .notAllowed, error, now: now)
        }
        var actions: [Action] = []
        if let list = hello.nodeList { actions += take(nodeList: list, of: grant.destination, now: now) }
        if let error = admissions[grant.destination]?.refusal(of: hello, challenge: links[link]?.challenge) {
            return actions + end(link, .notListed, error, now: now)
        }
        if let ending = judgeEpoch(hello, link, grant.destination, now: now) { return actions + ending }
        let epoch = max(1, hello.epoch)
        guard epoch > storedEpochs[grant.destination] ?? 1 else {
            return actions + admit(hello, link, grant.destination, now: now, wall: wall)
        }
        links[link]?.awaiting = hello
        actions.append(.raised(destination: grant.destination, epoch: epoch))
        return actions + endLower(than: epoch, of: grant.destination, now: now)
    }

    /// Welcomes a link that was judged.
    private mutating func admit(
        _ hello: LinkHello, _ link: LinkID, _ destination: String, now: Int64, wall: Timestamp
    ) -> [Action] {
        guard let grant = links[link]?.grant else { return [] }
        var actions: [Action] = []
        let others = lanes[destination]?.links ?? []
        for other in others where links[other]?.node == hello.node && links[other]?.service == hello.service {
            actions += end(other, .replaced, nil, now: now)
        }
        guard lanes[destination]?.links.count ?? 0 < limits.maximumLinksPerDestination else {
            return actions + end(link, .tooManyLinks, nil, now: now)
        }
        links[link]?.node = hello.node
        links[link]?.service = hello.service
        links[link]?.version = hello.version
        links[link]?.epoch = max(1, hello.epoch)
        links[link]?.hello = hello
        lanes[destination, default: Lane()].links.append(link)
        actions.append(.published(destination: destination, details: hello.details))
        var welcome = LinkWelcome(
            connection: "\(link)", heartbeatSeconds: limits.heartbeatSeconds, credit: limits.linkCredit,
            serverTime: wall, calls: callable[destination]?.isEmpty == false ? limits.linkCalls : 0,
            feeds: grant.feeds)
        welcome.signature = sign(hello, welcome)
        welcome.nodeList = admissions[destination]?.version
        welcome.sendsNotes = hello.knowsNotes
        for case .send(let frame) in links[link]?.half.accept(welcome) ?? [] { actions.append(.send(link, frame)) }
        actions.append(.opened(link, hello))
        return actions
    }

    private mutating func publish(_ details: String, _ link: LinkID, now: Int64) -> [Action] {
        guard let destination = links[link]?.grant.destination else { return [] }
        if let error = LinkAdmission.refusal(ofDetails: details, destination: destination) {
            return end(link, .protocolViolated, error, now: now)
        }
        return [.published(destination: destination, details: details)]
    }

    mutating func end(
        _ link: LinkID, _ code: LinkCloseCode, _ error: DiagnosedError?, now: Int64
    ) -> [Action] {
        [.close(link, code, error)] + disconnected(link, now: now)
    }

    // MARK: delivery

    private mutating func dispatch(_ destination: String, now: Int64) -> [Action] {
        var actions: [Action] = []
        var position = 0
        while let lane = lanes[destination], position < lane.queue.count {
            let id = lane.queue[position]
            guard let request = requests[id] else {
                lanes[destination]?.queue.remove(at: position)
                continue
            }
            guard let roomiest = roomiestLink(of: lane, now: now) else { break }
            var target = roomiest
            if let source = sources[request.source], source.inFlight > 0, let bound = source.link {
                guard hasRoom(bound, now: now), !source.isSettling else {
                    position += 1
                    continue
                }
                target = bound
            }
            guard
                let frame = links[target]?.half.deliver(id: id, source: request.source, text: request.text)
            else { break }
            lanes[destination]?.queue.remove(at: position)
            requests[id]?.link = target
            sources[request.source]?.link = target
            sources[request.source]?.inFlight += 1
            counts.delivered += 1
            if request.wasDelivered { counts.redelivered += 1 }
            requests[id]?.wasDelivered = true
            actions.append(.send(target, frame))
        }
        return actions
    }

    private func hasRoom(_ link: LinkID, now: Int64) -> Bool {
        guard let link = links[link] else { return false }
        return link.half.canDeliver && link.pausedUntil <= now
    }

    private func roomiestLink(of lane: Lane, now: Int64) -> LinkID? {
        var best: (link: LinkID, credit: Int)?
        for id in lane.links where hasRoom(id, now: now) {
            let credit = links[id]?.half.credit ?? 0
            if best == nil || credit > best?.credit ?? 0 { best = (id, credit) }
        }
        return best?.link
    }

    /// Back to its place in the queue, unless it has expired or was cancelled.
    private mutating func requeue(_ id: UInt64) {
        guard let request = requests[id] else { return }
        releaseSource(request)
        requests[id]?.link = nil
        lanes[request.destination]?.queue.insert(id)
    }

    private mutating func releaseSource(_ request: Request) {
        guard request.link != nil else { return }
        sources[request.source]?.inFlight -= 1
        guard sources[request.source]?.inFlight == 0 else { return }
        sources[request.source]?.link = nil
        sources[request.source]?.isSettling = false
    }

    /// The string is settled. Its id may still stand in the queues, where it is skipped.
    @discardableResult
    mutating func forget(_ id: UInt64) -> Request? {
        guard let request = requests.removeValue(forKey: id) else { return nil }
        releaseSource(request)
        sources[request.source]?.pending -= 1
        if sources[request.source]?.pending == 0 { sources[request.source] = nil }
        origins[request.origin]?.remove(id)
        if origins[request.origin]?.isEmpty == true { origins[request.origin] = nil }
        lanes[request.destination]?.strings -= 1
        lanes[request.destination]?.octets -= request.text.count
        while let first = lanes[request.destination]?.queue.first, requests[first] == nil {
            lanes[request.destination]?.queue.removeFirst()
        }
        return request
    }
}
