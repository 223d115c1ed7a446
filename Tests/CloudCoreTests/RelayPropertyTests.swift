import TestServers
import LinkProtocol
import Testing
import WireText

@testable import CloudCore

/// Random runs of the relay against a small model: links come and go, decline, answer late or never, callers give up,
/// time passes. `HDS_SEED` repeats a run.
@Suite("Relay properties")
struct RelayPropertyTests {
    private struct World {
        var bench: RelayBench
        var random: SeededGenerator
        /// What each open link has and has not answered, in order of delivery.
        var held: [Relay.LinkID: [UInt64]] = [:]
        var granted: [Relay.LinkID: Int] = [:]
        var nextLink: Relay.LinkID = 1
        var submitted: [String] = []
        var ended: [String: Int] = [:]
        var cancelled: Set<String> = []
        /// Text by id, to see that redelivery is byte for byte.
        var texts: [UInt64: String] = [:]
        var lastDelivered: [Relay.LinkID: [String: UInt64]] = [:]
    }

    @Test(
        "every string is answered once, or expires, or was cancelled; credit is never exceeded; order is kept",
        arguments: SeededGenerator.seeds)
    func runs(seed: UInt64) {
        var world = World(bench: RelayBench(), random: SeededGenerator(seed: seed))
        for _ in 0..<4_000 {
            step(&world, seed)
            check(&world, seed)
        }
        // The world calms down: one good link answers all that is left.
        for link in world.held.keys.sorted() {
            drop(link, &world)
            check(&world, seed)
        }
        open(&world, credit: 4_000)
        world.bench.tick(1_000)
        check(&world, seed)
        for link in world.held.keys.sorted() {
            for id in world.held[link] ?? [] { answer(id, link, &world) }
            check(&world, seed)
        }
        world.bench.tick(40_000)
        check(&world, seed)
        #expect(world.bench.relay.pendingCount == 0, "seed \(seed)")
        for text in world.submitted {
            let ends = (world.ended[text] ?? 0) + (world.cancelled.contains(text) ? 1 : 0)
            #expect(ends == 1, "seed \(seed): \(text) ended \(ends) times")
        }
        let counts = world.bench.relay.counts
        #expect(
            counts.accepted == counts.answered + counts.dropped + counts.expired + counts.cancelled, "seed \(seed)")
        #expect(
            counts.redelivered > 0 && counts.expired > 0 && counts.declined > 0 && counts.dropped > 0,
            "seed \(seed): a tame run proves little")
    }

    private func step(_ world: inout World, _ seed: UInt64) {
        switch Int.random(in: 0..<100, using: &world.random) {
        case 0..<40:
            let source = "d\(Int.random(in: 0..<5, using: &world.random))"
            let text = "\(source)/\(world.submitted.count)"
            let isCaller = Int.random(in: 0..<10, using: &world.random) == 0
            world.submitted.append(text)
            world.bench.submit(
                text, from: source, origin: isCaller ? .caller(UInt64(world.submitted.count)) : .device(text))
            if isCaller, Bool.random(using: &world.random) {
                let before = world.bench.relay.counts.cancelled
                world.bench.relay.cancel(.caller(UInt64(world.submitted.count)))
                if world.bench.relay.counts.cancelled > before { world.cancelled.insert(text) }
            }
        case 40..<44 where world.held.count < 4: open(&world, credit: UInt32.random(in: 0...6, using: &world.random))
        case 44..<47:
            if let link = world.held.keys.sorted().randomElement(using: &world.random) { drop(link, &world) }
        case 47..<55:
            guard let link = world.held.keys.sorted().randomElement(using: &world.random) else { return }
            let more = UInt32.random(in: 0...5, using: &world.random)
            world.granted[link, default: 0] += Int(more)
            world.bench.receive(.credit(more), from: link)
        case 55..<60:
            guard let (link, id) = pick(&world) else { return }
            world.held[link]?.removeAll { $0 == id }
            let isGone = Bool.random(using: &world.random)
            world.bench.receive(isGone ? .drop(id: id, reason: "no") : .decline(id: id, reason: "busy"), from: link)
        case 60..<90:
            guard let (link, id) = pick(&world) else { return }
            answer(id, link, &world)
            world.granted[link, default: 0] += 1
            world.bench.receive(.credit(1), from: link)
        default: world.bench.tick(Int64.random(in: 0...1_500, using: &world.random))
        }
    }

    private func pick(_ world: inout World) -> (Relay.LinkID, UInt64)? {
        guard let link = world.held.keys.sorted().randomElement(using: &world.random),
            let id = world.held[link]?.randomElement(using: &world.random)
        else { return nil }
        return (link, id)
    }

    private func open(_ world: inout World, credit: UInt32) {
        let link = world.nextLink
        world.nextLink += 1
        world.held[link] = []
        world.granted[link] = Int(credit)
        world.bench.open(link, credit: credit)
    }

    private func drop(_ link: Relay.LinkID, _ world: inout World) {
        world.held[link] = nil
        world.granted[link] = nil
        world.lastDelivered[link] = nil
        world.bench.drop(link)
    }

    private func answer(_ id: UInt64, _ link: Relay.LinkID, _ world: inout World) {
        world.held[link]?.removeAll { $0 == id }
        world.bench.receive(.answer(id: id, text: Array("answer to \(world.texts[id] ?? "?")".utf8)), from: link)
    }

    /// Takes what the relay did into the model and holds it against the rules.
    private func check(_ world: inout World, _ seed: UInt64) {
        let log = world.bench.log
        world.bench.log = []
        for action in log {
            switch action {
            case .send(let link, .deliver(let id, let source, let bytes)):
                let text = String(decoding: bytes, as: UTF8.self)
                #expect(world.texts[id, default: text] == text, "seed \(seed): redelivered with other octets")
                world.texts[id] = text
                #expect(text.hasPrefix(source + "/"), "seed \(seed)")
                world.granted[link, default: 0] -= 1
                #expect(world.granted[link] ?? -1 >= 0, "seed \(seed): credit of link \(link) exceeded")
                #expect(world.held[link]?.contains(id) == false, "seed \(seed): twice on one link")
                for (other, ids) in world.held where other != link {
                    #expect(!ids.contains(id), "seed \(seed): on two links at once")
                }
                world.held[link]?.append(id)
            case .answered(let origin, let bytes):
                let answer = String(decoding: bytes, as: UTF8.self)
                let text = String(answer.dropFirst("answer to ".count))
                world.ended[text, default: 0] += 1
                if case .device(let device) = origin {
                    #expect(device == text, "seed \(seed): an answer went to another device")
                }
            case .expired(.device(let text)): world.ended[text, default: 0] += 1
            case .expired(.caller(let number)): world.ended[world.submitted[Int(number) - 1], default: 0] += 1
            case .expired(.link): Issue.record("seed \(seed): a call where there are none")
            case .close(_, let code, _): Issue.record("seed \(seed): closed with \(code)")
            case .send, .published, .opened, .raised, .listed, .listRefused, .feed, .called: break
            }
        }
    }

    @Test(
        "with one link the strings of a destination go out in the order in which they came, over every loss",
        arguments: SeededGenerator.seeds)
    func order(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var bench = RelayBench()
        var link: Relay.LinkID = 1
        var unanswered: [UInt64] = []
        bench.open(link, credit: 3)
        for round in 0..<600 {
            bench.log = []
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<5: bench.submit("\(round)", from: "d\(Int.random(in: 0..<3, using: &random))")
            case 5:
                bench.drop(link)
                unanswered = []
                link += 1
                bench.log = []
                bench.open(link, credit: UInt32.random(in: 0...5, using: &random))
            default:
                guard !unanswered.isEmpty else { continue }
                bench.receive(.answer(id: unanswered.removeFirst(), text: []), from: link)
                bench.receive(.credit(1), from: link)
            }
            for delivery in bench.log.deliveries {
                #expect(
                    unanswered.last ?? 0 < delivery.id, "seed \(seed): \(delivery.id) after \(unanswered.last ?? 0)")
                unanswered.append(delivery.id)
            }
        }
    }

    @Test("ordered ids come out sorted and once, whatever goes in", arguments: SeededGenerator.seeds)
    func orderedIDs(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var queue = OrderedIDs()
        var model: Set<UInt64> = []
        for _ in 0..<5_000 {
            switch Int.random(in: 0..<3, using: &random) {
            case 0:
                let id = UInt64.random(in: 0..<500, using: &random)
                queue.insert(id)
                model.insert(id)
            case 1:
                #expect(queue.first == model.min(), "seed \(seed)")
                if let first = model.min() { model.remove(first) }
                queue.removeFirst()
            default:
                guard queue.count > 0 else { continue }
                let position = Int.random(in: 0..<queue.count, using: &random)
                model.remove(queue[position])
                queue.remove(at: position)
            }
            #expect(queue.count == model.count, "seed \(seed)")
        }
        #expect((0..<queue.count).map { queue[$0] } == model.sorted(), "seed \(seed)")
    }
}
