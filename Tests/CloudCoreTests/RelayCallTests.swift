import LinkProtocol
import TestServers
import Testing
import WireText

@testable import CloudCore

/// Three customers: a and b have agreed on calls, c with nobody.
private struct CallBench {
    static func cluster(_ name: String) -> String { "kms://kms.\(name).example.com" }

    var relay: Relay
    var now: Int64 = 1_000

    init(_ limits: Relay.Limits = Relay.Limits()) {
        relay = Relay(
            limits: limits,
            callable: [Self.cluster("a"): [Self.cluster("b")], Self.cluster("b"): [Self.cluster("a")]])
    }

    @discardableResult
    mutating func open(_ link: Relay.LinkID, _ name: String, credit: UInt32 = 10) -> [Relay.Action] {
        relay.connected(link, grant: .init(organisation: name, destination: Self.cluster(name)), now: now)
        var actions = receive(
            .hello(RelayBench.hello(node: "n\(link)", organisation: name, destination: Self.cluster(name))), from: link)
        actions += receive(.credit(credit), from: link)
        return actions
    }

    @discardableResult
    mutating func receive(_ frame: LinkFrame, from link: Relay.LinkID) -> [Relay.Action] {
        relay.received(frame, from: link, now: now, wall: Timestamp(milliseconds: now))
    }

    @discardableResult
    mutating func call(_ id: UInt64, to name: String, _ text: String = "q", from link: Relay.LinkID) -> [Relay.Action] {
        receive(.call(id: id, destination: Self.cluster(name), text: Array(text.utf8)), from: link)
    }

    mutating func tick(_ milliseconds: Int64) -> [Relay.Action] {
        now += milliseconds
        return relay.tick(now: now)
    }
}

extension [Relay.Action] {
    fileprivate var outcomes: [(link: Relay.LinkID, id: UInt64, outcome: LinkCallOutcome)] {
        compactMap {
            switch $0 {
            case .send(let link, .reply(let id, let text)): (link, id, .answered(text))
            case .send(let link, .refuse(let id, let reason)): (link, id, .refused(reason))
            default: nil
            }
        }
    }
    fileprivate func refused(_ id: UInt64) -> LinkCallRefusal? {
        for case .send(_, .refuse(id, let reason)) in self { return reason }
        return nil
    }
}

@Suite("Calls through the relay")
struct RelayCallTests {
    @Test("a call is delivered under a name of the calling service, and its answer comes back to the caller alone")
    func answered() {
        var bench = CallBench()
        bench.open(1, "a")
        bench.open(2, "b")
        let delivered = bench.call(7, to: "a", "wrapped", from: 2)
        guard case .send(1, .deliver(let id, let source, let text))? = delivered.first else {
            Issue.record("nothing was delivered: \(delivered)")
            return
        }
        #expect(source == "service/b/n2" && text == Array("wrapped".utf8))
        let back = bench.receive(.answer(id: id, text: Array("answer".utf8)), from: 1)
        #expect(back == [.send(2, .reply(id: 7, text: Array("answer".utf8)))])
        #expect(bench.relay.pendingCount == 0)
        #expect(bench.tick(60_000).isEmpty, "a call has one outcome")
    }

    @Test("welcome promises calls only to a service that has somebody to call")
    func promise() {
        var bench = CallBench()
        func calls(_ actions: [Relay.Action]) -> Int64? {
            for case .send(_, .welcome(let welcome)) in actions { return welcome.calls }
            return nil
        }
        #expect(calls(bench.open(1, "a")) == Relay.Limits().linkCalls)
        #expect(calls(bench.open(3, "c")) == 0)
        #expect(bench.call(1, to: "a", from: 3).closes.map(\.code) == [.protocolViolated])
    }

    @Test("refused at once: a destination without agreement, the caller's own, one that is not linked")
    func refused() {
        var bench = CallBench()
        bench.open(2, "b")
        #expect(bench.call(1, to: "c", from: 2).refused(1) == .unknownDestination)
        #expect(bench.call(2, to: "b", from: 2).refused(2) == .unknownDestination)
        #expect(bench.call(3, to: "nowhere", from: 2).refused(3) == .unknownDestination)
        #expect(bench.call(4, to: "a", from: 2).refused(4) == .notLinked)
        // One that connected and was not welcomed yet is not linked.
        bench.relay.connected(1, grant: .init(organisation: "a", destination: CallBench.cluster("a")), now: bench.now)
        #expect(bench.call(5, to: "a", from: 2).refused(5) == .notLinked)
        #expect(bench.relay.pendingCount == 0)
        #expect(bench.relay.counts.callsRefused == 5)
    }

    @Test("after 4 s a call is refused, is not delivered later, and its late answer goes nowhere")
    func timeout() {
        var bench = CallBench()
        bench.open(1, "a", credit: 1)
        bench.open(2, "b")
        let first = bench.call(1, to: "a", from: 2).deliveries
        #expect(bench.call(2, to: "a", from: 2).deliveries.isEmpty, "no credit is left")
        #expect(bench.tick(3_999).isEmpty)
        #expect(bench.tick(1).outcomes.map(\.outcome) == [.refused(.timeout), .refused(.timeout)])
        #expect(bench.receive(.answer(id: first[0].id, text: []), from: 1).isEmpty)
        #expect(bench.receive(.credit(5), from: 1).deliveries.isEmpty)
        #expect(bench.relay.counts.late == 1)
    }

    @Test("too many calls of a link, or at a destination that is full, are refused and the others go on")
    func tooMany() {
        var limits = Relay.Limits()
        limits.linkCalls = 2
        limits.maximumStringsPerDestination = 3
        var bench = CallBench(limits)
        bench.open(1, "a", credit: 0)
        bench.open(2, "b")
        bench.open(4, "b")
        bench.call(1, to: "a", from: 2)
        bench.call(2, to: "a", from: 2)
        #expect(bench.call(3, to: "a", from: 2).refused(3) == .tooMany)
        bench.call(1, to: "a", from: 4)
        #expect(bench.call(2, to: "a", from: 4).refused(2) == .tooMany, "the destination is full")
        #expect(bench.receive(.credit(10), from: 1).deliveries.count == 3)
    }

    @Test("a destination that loses its link gets the call again on its next one; a caller that is lost gets nothing")
    func lost() {
        var bench = CallBench()
        bench.open(1, "a")
        bench.open(2, "b")
        let before = bench.call(9, to: "a", "q", from: 2).deliveries
        _ = bench.relay.disconnected(1, now: bench.now)
        let again = bench.open(3, "a").deliveries
        #expect(again.map(\.id) == before.map(\.id) && again.map(\.text) == ["q"])
        _ = bench.relay.disconnected(2, now: bench.now)
        #expect(bench.relay.pendingCount == 0)
        #expect(bench.receive(.answer(id: again[0].id, text: []), from: 3).isEmpty)
        #expect(bench.tick(10_000).isEmpty)
    }

    @Test("each call has exactly one outcome, whatever happens to links and time", arguments: SeededGenerator.seeds)
    func property(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var bench = CallBench()
        var links: [Relay.LinkID: String] = [:]
        var next: Relay.LinkID = 1
        var lastCall: UInt64 = 0
        var waiting: [UInt64: Relay.LinkID] = [:]
        var ended: [UInt64: Int] = [:]
        var lost: Set<UInt64> = []
        var held: [Relay.LinkID: [UInt64]] = [:]
        func take(_ actions: [Relay.Action]) {
            for delivery in actions.deliveries { held[delivery.link, default: []].append(delivery.id) }
            for (link, id, _) in actions.outcomes {
                #expect(waiting[id] == link, "seed \(seed): an outcome went to another link")
                ended[id, default: 0] += 1
            }
        }
        func drop(_ link: Relay.LinkID) {
            links[link] = nil
            held[link] = nil
            for (call, caller) in waiting where caller == link && ended[call] == nil { lost.insert(call) }
            take(bench.relay.disconnected(link, now: bench.now))
        }
        for _ in 0..<3_000 {
            let any = links.keys.sorted().randomElement(using: &random)
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<6 where links.count < 5:
                let name = Bool.random(using: &random) ? "a" : "b"
                links[next] = name
                take(bench.open(next, name, credit: 50))
                next += 1
            case 6..<9: if let any { drop(any) }
            case 9..<50:
                guard let any, let own = links[any] else { continue }
                lastCall += 1
                waiting[lastCall] = any
                take(bench.call(lastCall, to: own == "a" ? "b" : "a", from: any))
            case 50..<85:
                guard let any, let id = held[any]?.popLast() else { continue }
                take(bench.receive(.answer(id: id, text: []), from: any))
                if links[any] != nil { take(bench.receive(.credit(1), from: any)) }
            default: take(bench.tick(Int64.random(in: 0...400, using: &random)))
            }
        }
        take(bench.tick(5_000))
        for call in waiting.keys {
            #expect((ended[call] ?? 0) + (lost.contains(call) ? 1 : 0) == 1, "seed \(seed): call \(call)")
        }
        #expect(bench.relay.pendingCount == 0, "seed \(seed)")
        #expect(!lost.isEmpty && ended.count > 100, "seed \(seed): a tame run proves little")
    }
}
