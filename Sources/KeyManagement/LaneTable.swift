import WireText

/// The lanes' bookkeeping as a value: what waits, what is judged, what waits for its record, and what leaves next.
///
/// In one lane strings are judged one after the other, and leave in this order. Judging goes on while earlier ones wait
/// for their record, up to `depth` of them, and up to `capacity` and `maximumOctets` over all lanes; beyond that a lane
/// waits for its own answers before it goes on. So whatever the number of lanes, what is held is bounded.
///
/// A string that is declined comes again later, here or at another node. So that nothing overtakes it, what stands behind
/// it in its lane is declined with it, and so is what the core had sent before it knew.
struct LaneTable<Item> {
    /// How many handshakes of one sender wait behind the one under way.
    static var maximumHandshakes: Int { 8 }
    /// Octets of answers that wait for their records: a few large lists must not fill the memory.
    static var maximumOctets: Int { 16 << 20 }
    /// So long after a decline the strings of its lane are declined, in milliseconds, when the core does not tell that it
    /// knows (`noted`): it had sent them before, and pauses the link for as long. Not prolonged by these.
    static var declinePause: Int64 { 500 }

    typealias Settle = @Sendable () -> RequestHandler.Reply

    private struct Slot {
        let item: Item
        /// What leaves, once that is known.
        var settle: Settle?
        /// Of the answer that waits.
        var octets = 0
        /// One before it was declined.
        var isDeclined = false
    }

    private struct Lane {
        let name: OctetKey
        let depth: Int
        let isHandshake: Bool
        var queue = FIFO<Item>()
        /// Judged, or being judged; the oldest first.
        var slots = FIFO<Slot>()
        /// Number of the oldest slot.
        var first = 0
        var isJudging = false
        /// Somebody lets answers leave, so many of them now.
        var isLeaving = false
        var leaving = 0
        /// Judged, or being judged, and not left.
        var outstanding: Int { slots.count + leaving }
    }

    enum Admission: Equatable { case refused, behindDeclined, storm, queued, judge(lane: Int) }

    /// What may leave, in this order; `judge` says that the lane goes on and somebody has to do it.
    struct Departure {
        var answers: [(item: Item, settle: Settle)] = []
        var judge = false
    }

    let maximumWaiting: Int
    let depth: Int
    let capacity: Int
    /// Strings that wait or are not answered yet.
    private(set) var waiting = 0
    /// Those that are judged, or being judged, and have not left.
    private(set) var outstanding = 0
    private(set) var octets = 0
    private var numbers: [OctetKey: Int] = [:]
    private var lanes: [Int: Lane] = [:]
    private var next = 0
    /// Lanes of which a string was declined.
    private var declining: [OctetKey: Declining] = [:]

    private struct Declining {
        var until: Int64
        /// Declines of which the core has not taken note.
        var unnoted = 0
        func holds(_ now: Int64) -> Bool { unnoted > 0 || now < until }
    }
    private var sweep = 64

    init(maximumWaiting: Int, depth: Int, capacity: Int) {
        self.maximumWaiting = maximumWaiting
        self.depth = max(1, depth)
        self.capacity = capacity
    }

    /// `now`: milliseconds of a clock that does not jump.
    mutating func submit(_ item: Item, lane name: OctetKey, isHandshake: Bool, now: Int64) -> Admission {
        if let known = declining[name] {
            guard !known.holds(now) else { return .behindDeclined }
            declining[name] = nil
        }
        guard waiting < maximumWaiting else {
            if !isHandshake { noteDecline(name, now) }
            return .refused
        }
        let number: Int
        if let known = numbers[name] {
            number = known
        } else {
            next += 1
            number = next
            numbers[name] = number
            // One session at a time for each sender.
            lanes[number] = Lane(name: name, depth: isHandshake ? 1 : depth, isHandshake: isHandshake)
        }
        // Every number in `numbers` has its lane.
        let ahead = lanes[number]!.queue.count + lanes[number]!.outstanding
        guard !isHandshake || ahead <= Self.maximumHandshakes else { return .storm }
        waiting += 1
        lanes[number]!.queue.append(item)
        return begins(&lanes[number]!) ? .judge(lane: number) : .queued
    }

    /// Whether nobody judges in the lane and somebody may; from then on that one does.
    private func begins(_ lane: inout Lane) -> Bool {
        guard !lane.isJudging, !lane.queue.isEmpty, mayJudge(lane) else { return false }
        lane.isJudging = true
        return true
    }

    private func mayJudge(_ lane: Lane) -> Bool {
        lane.outstanding == 0
            || (lane.outstanding < lane.depth && outstanding < capacity && octets < Self.maximumOctets)
    }

    /// The next string for who judges in the lane, with the number of its slot; nil: he is done.
    mutating func take(_ number: Int) -> (item: Item, slot: Int)? {
        guard var lane = lanes.removeValue(forKey: number) else { return nil }
        defer { put(lane, number) }
        guard mayJudge(lane), let item = lane.queue.popFirst() else {
            lane.isJudging = false
            return nil
        }
        outstanding += 1
        lane.slots.append(Slot(item: item))
        return (item, lane.first + lane.slots.count - 1)
    }

    /// Takes note of an answer that waits for its record.
    mutating func hold(_ number: Int, slot: Int, octets count: Int) {
        guard lanes[number] != nil else { return }
        lanes[number]!.slots[slot - lanes[number]!.first].octets = count
        octets += count
    }

    /// Takes note of what leaves from a slot; true: who asks has to let answers leave until `depart` has none.
    mutating func settle(_ number: Int, slot: Int, _ settle: @escaping Settle) -> Bool {
        guard lanes[number] != nil else { return false }
        lanes[number]!.slots[slot - lanes[number]!.first].settle = settle
        guard !lanes[number]!.isLeaving, lanes[number]!.slots.first?.settle != nil else { return false }
        lanes[number]!.isLeaving = true
        return true
    }

    /// What leaves next, after so many of the lane have left.
    mutating func depart(_ number: Int, left: Int) -> Departure {
        guard var lane = lanes.removeValue(forKey: number) else { return Departure() }
        defer { put(lane, number) }
        waiting -= left
        outstanding -= left
        var departure = Departure()
        while let slot = lane.slots.first, let settle = slot.settle {
            _ = lane.slots.popFirst()
            lane.first += 1
            octets -= slot.octets
            departure.answers.append((slot.item, slot.isDeclined ? Self.declined : settle))
        }
        lane.leaving = departure.answers.count
        lane.isLeaving = lane.leaving > 0
        departure.judge = begins(&lane)
        return departure
    }

    /// A string of the lane is declined, while it is judged (`slot`) or as it leaves (nil): with it, what stands behind it.
    /// Returns what nobody had judged, for the caller to decline.
    mutating func decline(_ number: Int, slot: Int?, now: Int64) -> [Item] {
        guard var lane = lanes.removeValue(forKey: number) else { return [] }
        defer { put(lane, number) }
        // Who opens a session waits for the answer: nothing follows in order.
        guard !lane.isHandshake else { return [] }
        noteDecline(lane.name, now)
        let behind = slot.map { $0 + 1 - lane.first } ?? 0
        for position in behind..<lane.slots.count { lane.slots[position].isDeclined = true }
        var unjudged: [Item] = []
        while let item = lane.queue.popFirst() { unjudged.append(item) }
        waiting -= unjudged.count
        return unjudged
    }

    private static var declined: Settle { { .decline(RequestHandler.behindDeclined) } }

    private mutating func noteDecline(_ name: OctetKey, _ now: Int64) {
        if declining.count >= sweep {
            declining = declining.filter { $0.value.holds(now) }
            sweep = max(64, 2 * declining.count)
        }
        declining[name, default: Declining(until: now)].until = now + Self.declinePause
    }

    /// A decline of the lane goes out, and it will be told when the core knows.
    mutating func awaitNote(of name: OctetKey, now: Int64) {
        declining[name, default: Declining(until: now)].unnoted += 1
    }

    /// The core knows of one of them. Not certain: it does not tell, and the pause has to do.
    mutating func noted(_ name: OctetKey, isCertain: Bool) {
        guard let known = declining[name], known.unnoted > 0 else { return }
        declining[name]?.unnoted -= 1
        if known.unnoted == 1, isCertain { declining[name] = nil }
    }

    private mutating func put(_ lane: Lane, _ number: Int) {
        if lane.queue.isEmpty, lane.slots.isEmpty, !lane.isJudging, !lane.isLeaving {
            numbers[lane.name] = nil
        } else {
            lanes[number] = lane
        }
    }
}

/// A queue in an array: both ends in constant time on average, and nothing that has left is held.
struct FIFO<Element> {
    private var elements: [Element?] = []
    private var head = 0

    var count: Int { elements.count - head }
    var isEmpty: Bool { count == 0 }
    var first: Element? { isEmpty ? nil : elements[head] }

    mutating func append(_ element: Element) { elements.append(element) }

    mutating func popFirst() -> Element? {
        guard head < elements.count else { return nil }
        let element = elements[head]
        elements[head] = nil
        head += 1
        if head == elements.count {
            elements.removeAll(keepingCapacity: elements.capacity <= 64)
            head = 0
        } else if head >= 64, head * 2 >= elements.count {
            elements.removeFirst(head)
            head = 0
        }
        return element
    }

    /// By position from the first; it has to be there.
    subscript(_ position: Int) -> Element {
        get { elements[head + position]! }
        set { elements[head + position] = newValue }
    }
}
