import AuditTrail
import JOSEEncryption
import Synchronization
import WireText

/// Keeps the requests of one session in their order while different sessions run side by side.
///
/// Several deployed clients match answers to requests by order (protocol, section 5). A lane is the header text of the
/// wrapped string: all requests of a session by one client carry the same. Within a lane a request is judged when the
/// one before has been judged and its change is committed; answers leave in the same order, each when its record is in
/// the audit trail, so that one sync serves many (`LaneTable`). Handshakes of one sender share a lane, so that a client
/// that retries in a loop opens one session at a time, and only a few of them wait. The number of strings waiting over
/// all lanes is bounded.
package final class RequestLanes: Sendable {
    private struct Item: Sendable {
        let text: [UInt8]
        let source: String
        let lane: Lane
        let answer: @Sendable (RequestHandler.Reply) -> Void
    }

    private struct State {
        var table: LaneTable<Item>
        var idle: [CheckedContinuation<Void, Never>] = []
    }

    /// So many strings of a lane are judged before another lane has its turn.
    private static let turn = 8

    private let handler: RequestHandler
    private let workers: any LaneWorkers
    private let clock: @Sendable () -> Int64
    private let awaitsNotes: Bool
    private let state: Mutex<State>

    /// - Parameters:
    ///   - depth: how many answers of one lane wait for their record.
    ///   - capacity: how many of all lanes do, before each lane waits for its own.
    ///   - awaitsNotes: `noted` is called for each decline; until then strings of its lane are declined.
    ///   - clock: milliseconds, never jumping.
    package init(
        handler: RequestHandler, workers: any LaneWorkers, maximumWaiting: Int = 10_000, depth: Int = 64,
        capacity: Int = 1024, awaitsNotes: Bool = false,
        clock: @escaping @Sendable () -> Int64 = { KernelClock.monotonicMilliseconds() }
    ) {
        self.clock = clock
        self.awaitsNotes = awaitsNotes
        self.handler = handler
        self.workers = workers
        state = Mutex(State(table: LaneTable(maximumWaiting: maximumWaiting, depth: depth, capacity: capacity)))
    }

    /// How many strings wait or are being answered.
    package var waiting: Int { state.withLock { $0.table.waiting } }
    /// How many of them have been judged, or are, and have not left.
    package var outstanding: Int { state.withLock { $0.table.outstanding } }

    /// Takes one string; `answer` is called exactly once, from a worker or at once when too many wait.
    package func submit(
        _ text: [UInt8], source: String, answer: @escaping @Sendable (RequestHandler.Reply) -> Void
    ) {
        let lane = Self.lane(of: text, source: source)
        let item = Item(text: text, source: source, lane: lane, answer: answer)
        let now = clock()
        switch state.withLock({ $0.table.submit(item, lane: lane.name, isHandshake: lane.isHandshake, now: now) }) {
        case .refused: send(.decline("too many requests wait"), to: item)
        case .behindDeclined: send(.decline(RequestHandler.behindDeclined), to: item)
        case .storm: answer(.drop("too many session openings of this sender"))
        case .queued: break
        case .judge(let lane): judge(lane)
        }
    }

    /// The core has taken note of one decline of that lane: all that it had sent before has come. Not certain: it
    /// does not tell.
    package func noted(_ lane: Lane, isCertain: Bool) {
        guard !lane.isHandshake else { return }
        state.withLock { $0.table.noted(lane.name, isCertain: isCertain) }
    }

    /// Where a string belongs; not the string, which may be large.
    package struct Lane: Sendable {
        fileprivate let name: OctetKey
        fileprivate let isHandshake: Bool
    }

    package static func lane(of text: [UInt8], source: String) -> Lane {
        let (name, isHandshake) = Self.name(of: text, source: source)
        return Lane(name: name, isHandshake: isHandshake)
    }

    private func send(_ reply: RequestHandler.Reply, to item: Item) {
        if awaitsNotes, !item.lane.isHandshake, case .decline = reply {
            let now = clock()
            state.withLock { $0.table.awaitNote(of: item.lane.name, now: now) }
        }
        item.answer(reply)
    }

    /// Returns when nothing waits any more.
    package func drain() async {
        await withCheckedContinuation { continuation in
            let isIdle = state.withLock { state in
                if state.table.waiting == 0 { return true }
                state.idle.append(continuation)
                return false
            }
            if isIdle { continuation.resume() }
        }
    }

    private func judge(_ lane: Int) {
        Task(executorPreference: workers) {
            var taken = 0
            while let (item, slot) = self.state.withLock({ $0.table.take(lane) }) {
                switch await self.handler.judge(item.text, source: item.source) {
                case .ready(let reply):
                    if case .decline = reply { self.declineBehind(lane, slot) }
                    if self.settle(lane, slot, { reply }) { self.leave(lane) }
                case .keeping(let ticket, let octets, let settle):
                    self.state.withLock { $0.table.hold(lane, slot: slot, octets: octets) }
                    // From here on it is the trail's thread that says when; settling and sending is not its work.
                    ticket.whenEnded { failure in
                        guard self.settle(lane, slot, { settle(failure) }) else { return }
                        Task(executorPreference: self.workers) { self.leave(lane) }
                    }
                }
                taken += 1
                // Where nobody waits, giving up the turn would only wake another thread.
                if taken % Self.turn == 0, self.workers.isBusy { await Task.yield() }
            }
        }
    }

    private func settle(_ lane: Int, _ slot: Int, _ settle: @escaping @Sendable () -> RequestHandler.Reply) -> Bool {
        state.withLock { $0.table.settle(lane, slot: slot, settle) }
    }

    /// Lets answers of the lane leave as long as the oldest one may; one at a time does.
    private func leave(_ lane: Int) {
        var left = 0
        while true {
            let (departure, idle) = state.withLock { state in
                let departure = state.table.depart(lane, left: left)
                guard state.table.waiting == 0 else { return (departure, [CheckedContinuation<Void, Never>]()) }
                defer { state.idle = [] }
                return (departure, state.idle)
            }
            for continuation in idle { continuation.resume() }
            if departure.judge { judge(lane) }
            guard !departure.answers.isEmpty else { return }
            // First all lines of the log, then all answers: each goes out in one piece.
            let (replies, isDeclined) = handler.log.together { Self.replies(departure) }
            for (answer, reply) in zip(departure.answers, replies) { send(reply, to: answer.item) }
            if isDeclined { declineBehind(lane, nil) }
            left = departure.answers.count
        }
    }

    /// What leaves; behind one that is declined all are.
    private static func replies(
        _ departure: LaneTable<Item>.Departure
    ) -> (replies: [RequestHandler.Reply], isDeclined: Bool) {
        var isDeclined = false
        let replies = departure.answers.map { answer in
            guard !isDeclined else { return RequestHandler.Reply.decline(RequestHandler.behindDeclined) }
            let reply = answer.settle()
            if case .decline = reply { isDeclined = true }
            return reply
        }
        return (replies, isDeclined)
    }

    private func declineBehind(_ lane: Int, _ slot: Int?) {
        let now = clock()
        let unjudged = state.withLock { $0.table.decline(lane, slot: slot, now: now) }
        for item in unjudged { send(.decline(RequestHandler.behindDeclined), to: item) }
    }

    /// The header text; for a handshake its sender or, without one, the header with the encrypted key behind it.
    private static func name(of text: [UInt8], source: String) -> (name: OctetKey, isHandshake: Bool) {
        let head = text.prefix(2048)
        guard let dot = head.firstIndex(of: UInt8(ascii: ".")) else {
            return (OctetKey(Array(head.prefix(64))), false)
        }
        if dot + 1 < head.endIndex && head[dot + 1] == UInt8(ascii: ".") {
            return (OctetKey(Array(head[..<dot])), false)
        }
        guard source.isEmpty else { return (OctetKey(Array("handshake ".utf8) + source.utf8), true) }
        return (OctetKey(Array(head.prefix(min(head.count, dot + 64)))), true)
    }
}
