import Diagnostics
import LinkProtocol
import Testing
import WireText

@testable import CloudCore

/// A relay with a hand-moved clock, driven as the hub drives it.
struct RelayBench {
    static let destination = "kms://kms.acme.example.com"
    static let grant = Relay.Grant(organisation: "acme", destination: destination)

    var relay: Relay
    var now: Int64 = 1_000
    var log: [Relay.Action] = []
    /// Whether epochs are on the disk as soon as they are raised.
    var storesEpochs = true

    init(_ limits: Relay.Limits = Relay.Limits()) { relay = Relay(limits: limits) }

    static func hello(
        node: String = "n1", organisation: String = "acme", destination: String = destination,
        service: String = "kms", details: String? = nil, epoch: Int64 = 1
    ) -> LinkHello {
        LinkHello(
            service: service, node: node, organisation: organisation, version: "1", epoch: epoch,
            destination: destination,
            details: details ?? #"{"kmsCluster":"\#(destination)","rsaPublicKey":"{}"}"#)
    }

    mutating func open(_ link: Relay.LinkID, node: String? = nil, credit: UInt32 = 10) {
        relay.connected(link, grant: Self.grant, now: now)
        receive(.hello(Self.hello(node: node ?? "n\(link)")), from: link)
        receive(.credit(credit), from: link)
    }

    @discardableResult
    mutating func receive(_ frame: LinkFrame, from link: Relay.LinkID) -> [Relay.Action] {
        var actions = relay.received(frame, from: link, now: now, wall: Timestamp(milliseconds: now))
        for case .raised(let destination, let epoch) in actions where storesEpochs {
            actions += relay.epochStored(
                epoch, of: destination, by: link, now: now, wall: Timestamp(milliseconds: now))
        }
        return keep(actions)
    }

    @discardableResult
    mutating func submit(_ texts: String..., from source: String = "d1", origin: Relay.Origin? = nil) -> [Relay.Action]
    {
        switch relay.submit(
            texts.map { Array($0.utf8) }, to: Self.destination, from: source, origin: origin ?? .device(source),
            now: now)
        {
        case .success(let actions): return keep(actions)
        case .failure(let refusal):
            Issue.record("refused: \(refusal)")
            return []
        }
    }

    @discardableResult
    mutating func drop(_ link: Relay.LinkID) -> [Relay.Action] { keep(relay.disconnected(link, now: now)) }

    @discardableResult
    mutating func tick(_ milliseconds: Int64 = 0) -> [Relay.Action] {
        now += milliseconds
        return keep(relay.tick(now: now))
    }

    private mutating func keep(_ actions: [Relay.Action]) -> [Relay.Action] {
        log += actions
        return actions
    }
}

extension [Relay.Action] {
    var deliveries: [(link: Relay.LinkID, id: UInt64, text: String)] {
        compactMap {
            guard case .send(let link, .deliver(let id, _, let text)) = $0 else { return nil }
            return (link, id, String(decoding: text, as: UTF8.self))
        }
    }
    var answers: [(origin: Relay.Origin, text: String)] {
        compactMap {
            guard case .answered(let origin, let text) = $0 else { return nil }
            return (origin, String(decoding: text, as: UTF8.self))
        }
    }
    var closes: [(link: Relay.LinkID, code: LinkCloseCode)] {
        compactMap { if case .close(let link, let code, _) = $0 { (link, code) } else { nil } }
    }
}

@Suite("Relay")
struct RelayTests {
    @Test("strings wait for a link and go out in order when one comes")
    func held() {
        var bench = RelayBench()
        #expect(bench.submit("a", "b").isEmpty)
        bench.open(1)
        #expect(bench.log.deliveries.map(\.text) == ["a", "b"])
        #expect(bench.log.deliveries.map(\.link) == [1, 1])
    }

    @Test("an answer goes to the device that asked")
    func answered() {
        var bench = RelayBench()
        bench.open(1)
        let first = bench.submit("a", from: "alice").deliveries
        let second = bench.submit("b", from: "bob").deliveries
        #expect(
            bench.receive(.answer(id: second[0].id, text: Array("B".utf8)), from: 1).answers.map(\.origin) == [
                .device("bob")
            ])
        #expect(
            bench.receive(.answer(id: first[0].id, text: Array("A".utf8)), from: 1).answers.map(\.origin) == [
                .device("alice")
            ])
        #expect(bench.relay.pendingCount == 0)
    }

    @Test("no more is delivered than the service granted")
    func credit() {
        var bench = RelayBench()
        bench.open(1, credit: 2)
        #expect(bench.submit("a", "b", "c").deliveries.map(\.text) == ["a", "b"])
        #expect(bench.receive(.answer(id: bench.log.deliveries[0].id, text: []), from: 1).deliveries.isEmpty)
        #expect(bench.receive(.credit(1), from: 1).deliveries.map(\.text) == ["c"])
    }

    @Test("what a lost link had not answered is delivered again byte for byte, in order, with the same id")
    func redelivery() {
        var bench = RelayBench()
        bench.open(1, credit: 2)
        let before = bench.submit("a", "b", "c").deliveries
        bench.drop(1)
        bench.log = []
        bench.open(2)
        #expect(bench.log.deliveries.map(\.text) == ["a", "b", "c"])
        #expect(bench.log.deliveries.prefix(2).map(\.id) == before.map(\.id))
        #expect(bench.relay.counts.redelivered == 2)
    }

    @Test("a violation of the protocol closes the link and loses nothing")
    func violation() {
        var bench = RelayBench()
        bench.open(1)
        bench.submit("a")
        #expect(
            bench.receive(
                .welcome(
                    LinkWelcome(connection: "", heartbeatSeconds: 5, credit: 1, serverTime: .init(milliseconds: 0))),
                from: 1
            ).closes.map(\.code) == [.protocolViolated])
        bench.log = []
        bench.open(2)
        #expect(bench.log.deliveries.map(\.text) == ["a"])
    }

    @Test("a string older than 30 s is dropped, queued or in flight, and a late answer goes nowhere")
    func expiry() {
        var bench = RelayBench()
        bench.open(1, credit: 1)
        let id = bench.submit("in flight", "queued").deliveries[0].id
        #expect(!bench.tick(29_999).contains { if case .expired = $0 { true } else { false } })
        #expect(bench.tick(1) == [.expired(.device("d1")), .expired(.device("d1"))])
        #expect(bench.relay.pendingCount == 0)
        #expect(bench.receive(.answer(id: id, text: []), from: 1).isEmpty, "late, but no violation")
        #expect(bench.relay.counts.late == 1)
        #expect(bench.receive(.credit(5), from: 1).deliveries.isEmpty)
    }

    @Test("a declined string goes back to its place and out again, elsewhere at once, to the same link after a pause")
    func declined() {
        var bench = RelayBench()
        bench.open(1)
        let id = bench.submit("a").deliveries[0].id
        #expect(bench.receive(.decline(id: id, reason: "overload"), from: 1).deliveries.isEmpty)
        #expect(bench.tick(499).deliveries.isEmpty)
        #expect(bench.tick(1).deliveries.map(\.id) == [id])
        bench.open(2)
        #expect(bench.receive(.decline(id: id, reason: "overload"), from: 1).deliveries.map(\.link) == [2])
    }

    @Test("behind a declined string nothing of its sender is delivered until all that is in flight is settled")
    func settling() {
        var bench = RelayBench()
        bench.open(1)
        let ids = bench.submit("a", "b", "c").deliveries.map(\.id)
        bench.open(2)
        let actions = bench.receive(.decline(id: ids[0], reason: "no lease"), from: 1)
        #expect(actions.first == .send(1, .noted(id: ids[0])) && actions.deliveries.isEmpty)
        #expect(bench.submit("d").deliveries.isEmpty)
        #expect(bench.submit("e", from: "d2").deliveries.map(\.link) == [2], "others go on")
        #expect(bench.tick(1_000).deliveries.isEmpty)
        #expect(bench.receive(.decline(id: ids[1], reason: "behind"), from: 1).deliveries.isEmpty)
        let last = bench.receive(.decline(id: ids[2], reason: "behind"), from: 1)
        #expect(last.first == .send(1, .noted(id: ids[2])))
        #expect(last.deliveries.map(\.id).prefix(3) == ids.prefix(3) && last.deliveries.map(\.link) == [2, 2, 2, 2])
    }

    @Test("an answer that was the last thing in flight lets the declined one go at once")
    func settledByAnswer() {
        var bench = RelayBench()
        bench.open(1)
        let ids = bench.submit("a", "b").deliveries.map(\.id)
        bench.open(2)
        #expect(bench.receive(.decline(id: ids[1], reason: "no lease"), from: 1).deliveries.isEmpty)
        #expect(bench.receive(.answer(id: ids[0], text: []), from: 1).deliveries.map(\.id) == [ids[1]])
    }

    @Test("a service of an earlier release gets no notes, and none of the others loses its place by it")
    func withoutNotes() {
        var bench = RelayBench()
        var hello = RelayBench.hello(node: "n1")
        hello.knowsNotes = false
        bench.relay.connected(1, grant: RelayBench.grant, now: bench.now)
        let welcome = bench.receive(.hello(hello), from: 1)
        let tells = welcome.contains {
            if case .send(1, .welcome(let welcome)) = $0 { welcome.sendsNotes } else { false }
        }
        #expect(!tells)
        bench.receive(.credit(4), from: 1)
        let id = bench.submit("a").deliveries[0].id
        let actions = bench.receive(.decline(id: id, reason: "overload"), from: 1)
        #expect(!actions.contains(.send(1, .noted(id: id))))
    }

    @Test("a dropped string is forgotten, whoever waits is told, and what follows goes out at once on the same link")
    func dropped() {
        var bench = RelayBench()
        bench.open(1, credit: 2)
        let id = bench.submit("a", origin: .caller(1)).deliveries[0].id
        _ = bench.submit("b")
        let next = bench.submit("c")
        #expect(next.deliveries.isEmpty, "no credit is left")
        #expect(bench.receive(.drop(id: id, reason: "too many"), from: 1).contains(.expired(.caller(1))))
        #expect(bench.receive(.credit(1), from: 1).deliveries.map(\.link) == [1])
        #expect(bench.relay.counts.dropped == 1)
        #expect(bench.tick(60_000).deliveries.isEmpty, "it never comes again")
    }

    @Test("a cancelled string is not delivered, and in flight its answer goes nowhere")
    func cancelled() {
        var bench = RelayBench()
        bench.open(1, credit: 1)
        let id = bench.submit("a", origin: .caller(1)).deliveries[0].id
        bench.submit("b", origin: .caller(2))
        bench.relay.cancel(.caller(1))
        bench.relay.cancel(.caller(2))
        #expect(bench.receive(.answer(id: id, text: []), from: 1).answers.isEmpty)
        #expect(bench.receive(.credit(2), from: 1).deliveries.isEmpty)
        #expect(bench.relay.counts.cancelled == 2 && bench.relay.pendingCount == 0)
    }

    @Test("full queues refuse the whole batch: 429 for one sender, 503 for the destination")
    func bounds() {
        var limits = Relay.Limits()
        limits.maximumStringsPerSource = 3
        limits.maximumStringsPerDestination = 5
        limits.maximumOctetsPerDestination = 100
        var relay = Relay(limits: limits)
        func submit(_ count: Int, octets: Int = 1, from source: String) -> Relay.Refusal? {
            let texts = Array(repeating: [UInt8](repeating: 65, count: octets), count: count)
            switch relay.submit(texts, to: "kms://x", from: source, origin: .device(source), now: 0) {
            case .success: return nil
            case .failure(let refusal): return refusal
            }
        }
        #expect(submit(4, from: "a") == .sourceIsFull)
        #expect(submit(3, from: "a") == nil)
        #expect(submit(1, from: "a") == .sourceIsFull)
        #expect(submit(3, from: "b") == .destinationIsFull)
        #expect(submit(1, octets: 98, from: "b") == .destinationIsFull)
        #expect(submit(2, from: "b") == nil)
        #expect(relay.pendingCount == 5 && relay.counts.refused == 9)
        _ = relay.tick(now: 30_000)
        #expect(submit(3, from: "a") == nil, "expired strings make room")
    }

    @Test("a hello for another organisation, destination or service is refused with 4403")
    func foreignHello() {
        let foreign = [
            RelayBench.hello(organisation: "other"), RelayBench.hello(destination: "kms://kms.other.example.com"),
            RelayBench.hello(service: "indexer"),
        ]
        for hello in foreign {
            var bench = RelayBench()
            bench.relay.connected(1, grant: RelayBench.grant, now: 0)
            #expect(bench.receive(.hello(hello), from: 1).closes.map(\.code) == [.notAllowed])
            #expect(bench.submit("a").deliveries.isEmpty)
        }
    }

    @Test("details that are not of this destination are refused, in hello and later")
    func foreignDetails() {
        let bad = [
            "", "[]", "{", #"{"kmsCluster":"kms://kms.other.example.com","rsaPublicKey":"{}"}"#,
            #"{"kmsCluster":"kms://kms.acme.example.com","rsaPublicKey":{}}"#,
            #"{"kmsCluster":"kms://kms.acme.example.com","rsaPublicKey":"\#(String(repeating: "x", count: 70_000))"}"#,
        ]
        for details in bad {
            var bench = RelayBench()
            bench.relay.connected(1, grant: RelayBench.grant, now: 0)
            #expect(
                bench.receive(.hello(RelayBench.hello(details: details)), from: 1).closes.map(\.code) == [
                    .protocolViolated
                ])
            bench.open(2)
            #expect(bench.receive(.publish(details: details), from: 2).closes.map(\.code) == [.protocolViolated])
        }
        var bench = RelayBench()
        bench.open(1)
        let good = #"{"kmsCluster":"kms://kms.acme.example.com","rsaPublicKey":"{\"new\":1}"}"#
        #expect(
            bench.receive(.publish(details: good), from: 1) == [
                .published(destination: RelayBench.destination, details: good)
            ])
    }

    @Test("a newer link of the same node replaces the older with 4409 and takes over its strings")
    func replaced() {
        var bench = RelayBench()
        bench.open(1, node: "n")
        bench.submit("a")
        bench.log = []
        bench.open(2, node: "n")
        #expect(bench.log.closes.map(\.link) == [1] && bench.log.closes.map(\.code) == [.replaced])
        #expect(bench.log.deliveries.map(\.link) == [2])
        #expect(bench.relay.openLinkCount(of: RelayBench.destination) == 1)
    }

    @Test("more links than allowed are closed with 4429")
    func tooManyLinks() {
        var limits = Relay.Limits()
        limits.maximumLinksPerDestination = 2
        var bench = RelayBench(limits)
        for link: Relay.LinkID in 1...3 { bench.open(link) }
        #expect(bench.log.closes.map(\.link) == [3] && bench.log.closes.map(\.code) == [.tooManyLinks])
    }

    @Test("a link that does not say hello within 10 s is closed with 4400")
    func helloDeadline() {
        var bench = RelayBench()
        bench.relay.connected(1, grant: RelayBench.grant, now: bench.now)
        bench.open(2)
        #expect(bench.tick(9_999).isEmpty)
        #expect(bench.tick(1).closes.map(\.link) == [1])
        #expect(bench.tick(60_000).isEmpty)
    }

    @Test("strings of one sender stay on one link, those of several are spread by credit")
    func affinity() {
        var bench = RelayBench()
        bench.open(1, credit: 2)
        bench.open(2, credit: 5)
        bench.submit("a1", from: "a")
        bench.submit("b1", from: "b")
        #expect(bench.log.deliveries.map(\.link) == [2, 2], "the link with most credit first")
        bench.submit("a2", "a3", "a4", "a5", from: "a")
        #expect(bench.log.deliveries.map(\.text) == ["a1", "b1", "a2", "a3", "a4"])
        #expect(Set(bench.log.deliveries.map(\.link)) == [2], "a5 waits for its link although another has room")
        bench.submit("c1", from: "c")
        #expect(bench.log.deliveries.last?.link == 1)
        #expect(bench.receive(.credit(1), from: 2).deliveries.map(\.text) == ["a5"])
    }

    @Test("ids start where the process says, so that two runs do not share them")
    func firstID() {
        var relay = Relay(firstID: 1 << 40)
        relay.connected(1, grant: RelayBench.grant, now: 0)
        _ = relay.received(.hello(RelayBench.hello()), from: 1, now: 0, wall: .init(milliseconds: 0))
        _ = relay.received(.credit(1), from: 1, now: 0, wall: .init(milliseconds: 0))
        let actions = try? relay.submit([[1]], to: RelayBench.destination, from: "", origin: .device(""), now: 0).get()
        #expect(actions?.deliveries.map(\.id) == [1 << 40])
    }
}
