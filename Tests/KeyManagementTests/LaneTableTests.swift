import TestServers
import Testing
import WireText

@testable import KeyManagement

/// The bookkeeping of lanes, without threads: every interleaving is a sequence of calls.
@Suite("Lane table")
struct LaneTableTests {
    private static let settled: LaneTable<Int>.Settle = { .answer([]) }

    @Test(
        "whatever the order in which records are kept, a lane's answers leave once and in order, within the bounds",
        arguments: SeededGenerator.seeds)
    func order(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let depth = Int.random(in: 1...6, using: &random)
        let capacity = Int.random(in: 1...10, using: &random)
        var table = LaneTable<Int>(maximumWaiting: 40, depth: depth, capacity: capacity)
        var judging: Set<Int> = []
        var leaving: [Int: Int] = [:]
        var open: [(lane: Int, slot: Int)] = []
        var lanes: [Int: UInt8] = [:]
        var accepted: [UInt8: [Int]] = [:]
        var left: [UInt8: [Int]] = [:]
        var (item, gone) = (0, 0)
        var isSubmitting = true
        while isSubmitting || table.waiting > 0 {
            isSubmitting = item < 400
            switch Int.random(in: 0..<4, using: &random) {
            case 0 where isSubmitting:
                let name = UInt8.random(in: 0..<4, using: &random)
                let admission = table.submit(item, lane: OctetKey([name]), isHandshake: false, now: Int64(item) * 1000)
                let isFull = accepted.values.joined().count - gone >= 40
                #expect((admission == .refused) == isFull, "seed \(seed)")
                if admission != .refused { accepted[name, default: []].append(item) }
                if case .judge(let lane) = admission {
                    lanes[lane] = name
                    #expect(judging.insert(lane).inserted, "seed \(seed): one judges at a time")
                }
                item += 1
            case 1:
                guard let lane = judging.sorted().randomElement(using: &random) else { continue }
                if let (_, slot) = table.take(lane) {
                    open.append((lane, slot))
                    table.hold(lane, slot: slot, octets: slot + 1)
                } else {
                    judging.remove(lane)
                }
                #expect(open.count { $0.lane == lane } <= depth, "seed \(seed)")
            case 2:
                guard let index = open.indices.randomElement(using: &random) else { continue }
                let (lane, slot) = open.remove(at: index)
                if table.settle(lane, slot: slot, Self.settled) {
                    #expect(leaving.updateValue(0, forKey: lane) == nil, "seed \(seed): one lets leave at a time")
                }
            default:
                guard let (lane, count) = leaving.sorted(by: { $0.key < $1.key }).randomElement(using: &random) else {
                    continue
                }
                gone += count
                let departure = table.depart(lane, left: count)
                leaving[lane] = departure.answers.isEmpty ? nil : departure.answers.count
                left[lanes[lane] ?? 0, default: []] += departure.answers.map(\.item)
                if departure.judge { #expect(judging.insert(lane).inserted, "seed \(seed)") }
            }
            #expect(table.outstanding <= capacity + 4, "seed \(seed)")
        }
        #expect(left == accepted, "seed \(seed)")
        #expect(table.outstanding == 0 && table.octets == 0)
    }

    @Test("large answers that wait stop further judging, in their own lane and in others, until they have left")
    func octets() {
        var table = LaneTable<Int>(maximumWaiting: 100, depth: 64, capacity: 64)
        for item in 0..<4 { _ = table.submit(item, lane: OctetKey([UInt8(item % 2)]), isHandshake: false, now: 0) }
        let first = table.take(1)
        #expect(first?.slot == 0)
        table.hold(1, slot: 0, octets: LaneTable<Int>.maximumOctets)
        let (same, other, further) = (table.take(1), table.take(2), table.take(2))
        #expect(same == nil && other?.item == 1 && further == nil, "every lane may judge one")
        _ = table.settle(1, slot: 0, Self.settled)
        let departure = table.depart(1, left: 0)
        #expect(departure.answers.map(\.item) == [0] && departure.judge && table.octets == 0)
        let last = table.take(1)
        #expect(last?.item == 2)
    }

    @Test("handshakes of one sender are judged one at a time, eight wait, further ones are a storm")
    func handshakes() {
        var table = LaneTable<Int>(maximumWaiting: 100, depth: 64, capacity: 64)
        let admissions = (0...9).map { table.submit($0, lane: OctetKey([1]), isHandshake: true, now: 0) }
        #expect(admissions == [.judge(lane: 1)] + Array(repeating: .queued, count: 8) + [.storm])
        let other = table.submit(10, lane: OctetKey([2]), isHandshake: true, now: 0)
        #expect(other == .judge(lane: 2))
        let (first, second) = (table.take(1), table.take(1))
        #expect(first?.item == 0)
        #expect(second == nil, "the first has not left")
        let mayLeave = table.settle(1, slot: 0, Self.settled)
        let departure = table.depart(1, left: 0)
        #expect(mayLeave && departure.answers.map(\.item) == [0] && !departure.judge)
        let next = table.depart(1, left: 1)
        #expect(next.answers.isEmpty && next.judge)
        // The next may be judged, so one more may wait.
        let (late, tooLate) = (
            table.submit(11, lane: OctetKey([1]), isHandshake: true, now: 0),
            table.submit(12, lane: OctetKey([1]), isHandshake: true, now: 0)
        )
        #expect(late == .queued && tooLate == .storm)
    }

    @Test("what stands behind a declined string is declined with it, and so is what comes before the core can know")
    func declined() {
        var table = LaneTable<Int>(maximumWaiting: 100, depth: 64, capacity: 64)
        func submit(_ item: Int, _ lane: UInt8, at now: Int64) -> LaneTable<Int>.Admission {
            table.submit(item, lane: OctetKey([lane]), isHandshake: false, now: now)
        }
        for item in 0..<5 { _ = submit(item, 1, at: 0) }
        _ = submit(5, 2, at: 0)
        // Three of five are judged; the first has left when the second is declined.
        for _ in 0..<3 { _ = table.take(1) }
        _ = table.settle(1, slot: 0, Self.settled)
        _ = table.settle(1, slot: 1) { .decline("no lease") }
        let first = table.depart(1, left: 0)
        #expect(first.answers.map(\.item) == [0, 1])
        let unjudged = table.decline(1, slot: nil, now: 1000)
        #expect(unjudged == [3, 4])
        let rest = table.take(1)
        #expect(rest == nil)
        _ = table.settle(1, slot: 2, Self.settled)
        let second = table.depart(1, left: 2)
        #expect(second.answers.map { $0.settle() } == [.decline(RequestHandler.behindDeclined)])
        let (early, other) = (submit(6, 1, at: 1499), submit(7, 2, at: 1499))
        #expect(early == .behindDeclined && other == .queued)
        _ = table.depart(1, left: 1)
        if case .judge = submit(8, 1, at: 1500) {} else { Issue.record("it may come again") }
        // One that is declined while it is judged takes nothing along that stands before it.
        for item in 20..<23 { _ = submit(item, 3, at: 2000) }
        let lane = 3 + 1
        _ = table.take(lane)
        let judged = table.take(lane)
        #expect(judged?.item == 21)
        let last = table.decline(lane, slot: 1, now: 2000)
        #expect(last == [22])
        _ = table.settle(lane, slot: 0, Self.settled)
        let third = table.depart(lane, left: 0)
        #expect(third.answers.map { $0.settle() } == [.answer([])])
    }

    @Test(
        "where the core tells, a lane declines until it knows of every decline, however long; where it does not, for a pause"
    )
    func notes() {
        var table = LaneTable<Int>(maximumWaiting: 100, depth: 64, capacity: 64)
        let lane = OctetKey([1])
        func submit(_ item: Int, at now: Int64) -> LaneTable<Int>.Admission {
            table.submit(item, lane: lane, isHandshake: false, now: now)
        }
        func declineOne(at now: Int64) {
            _ = submit(0, at: now)
            _ = table.take(1)
            _ = table.decline(1, slot: 0, now: now)
            _ = table.settle(1, slot: 0) { .decline("no lease") }
            _ = table.take(1)
            _ = table.depart(1, left: 0)
            _ = table.depart(1, left: 1)
        }
        declineOne(at: 0)
        table.awaitNote(of: lane, now: 0)
        let early = submit(1, at: 10_000)
        #expect(early == .behindDeclined)
        table.awaitNote(of: lane, now: 10_000)
        table.noted(lane, isCertain: true)
        let still = submit(2, at: 20_000)
        #expect(still == .behindDeclined, "one of two is not noted")
        table.noted(lane, isCertain: true)
        if case .judge = submit(3, at: 10) {} else { Issue.record("it may come again at once") }

        var old = LaneTable<Int>(maximumWaiting: 100, depth: 64, capacity: 0)
        _ = old.submit(0, lane: lane, isHandshake: false, now: 0)
        _ = old.decline(1, slot: nil, now: 0)
        old.awaitNote(of: lane, now: 0)
        old.noted(lane, isCertain: false)
        let (inPause, after) = (
            old.submit(1, lane: lane, isHandshake: false, now: 499),
            old.submit(2, lane: lane, isHandshake: false, now: 500)
        )
        #expect(inPause == .behindDeclined && after != .behindDeclined)
        // A note of nothing is nothing.
        old.noted(OctetKey([9]), isCertain: true)
    }

    @Test("where too many wait, a session's next string does not get in before the one that was turned away")
    func refused() {
        var table = LaneTable<Int>(maximumWaiting: 1, depth: 4, capacity: 4)
        _ = table.submit(0, lane: OctetKey([1]), isHandshake: false, now: 0)
        let turnedAway = table.submit(1, lane: OctetKey([2]), isHandshake: false, now: 0)
        #expect(turnedAway == .refused)
        _ = table.take(1)
        _ = table.settle(1, slot: 0, Self.settled)
        _ = table.depart(1, left: 0)
        _ = table.depart(1, left: 1)
        let next = table.submit(2, lane: OctetKey([2]), isHandshake: false, now: 10)
        let stranger = table.submit(3, lane: OctetKey([3]), isHandshake: false, now: 10)
        #expect(next == .behindDeclined && stranger != .behindDeclined)
    }

    @Test("a queue gives back what was put in, in order, and holds nothing that has left")
    func queue() {
        final class Token { let number: Int; init(_ number: Int) { self.number = number } }
        var queue = FIFO<Token>()
        var next = 0
        for round in 0..<300 {
            for _ in 0...round % 3 { queue.append(Token(next)); next += 1 }
            weak let gone = queue.first
            #expect(gone != nil)
            let first = queue.popFirst()?.number
            #expect(first == round && gone == nil)
        }
        #expect(queue.count == next - 300 && queue[0].number == 300)
        while queue.popFirst() != nil {}
        #expect(queue.isEmpty && queue.first == nil)
    }
}
