import Diagnostics
import LinkProtocol
import TestServers
import Testing
import WireText

@testable import CloudCore

/// The core takes links of the highest epoch that it has seen, and of no lower one.
@Suite("Epochs at the core") struct EpochTests {
    private func greet(_ bench: inout RelayBench, _ link: Relay.LinkID, epoch: Int64, node: String? = nil)
        -> [Relay.Action]
    {
        bench.relay.connected(link, grant: RelayBench.grant, now: bench.now)
        let actions = bench.receive(.hello(RelayBench.hello(node: node ?? "n\(link)", epoch: epoch)), from: link)
        // Nothing is taken before welcome.
        if bench.storesEpochs { bench.receive(.credit(10), from: link) }
        return actions
    }

    private func closes(_ actions: [Relay.Action]) -> [Relay.LinkID: LinkCloseCode] {
        actions.reduce(into: [:]) { closes, action in
            if case .close(let link, let code, _) = action { closes[link] = code }
        }
    }

    private func raises(_ actions: [Relay.Action]) -> [Int64] {
        actions.compactMap { if case .raised(_, let epoch) = $0 { epoch } else { nil } }
    }

    @Test("a higher epoch ends links of lower ones at once, and what they had not answered goes to it")
    func higher() {
        var bench = RelayBench()
        #expect(closes(greet(&bench, 1, epoch: 1)).isEmpty)
        #expect(closes(greet(&bench, 2, epoch: 1)).isEmpty)
        let delivered = bench.submit("a").deliveries
        #expect(delivered.count == 1)
        let actions = greet(&bench, 3, epoch: 2)
        #expect(closes(actions) == [1: .superseded, 2: .superseded])
        #expect(raises(actions) == [2])
        let again = bench.log.deliveries.filter { $0.link == 3 }
        #expect(again.map(\.text) == ["a"])
        #expect(again.first?.id == delivered.first?.id)
        #expect(bench.relay.nodes(of: RelayBench.destination).map(\.epoch) == [2])
    }

    @Test("a lower epoch is closed with 4410 and told of, and a new link of the same node under the new one is taken")
    func lower() {
        var bench = RelayBench()
        _ = greet(&bench, 1, epoch: 7)
        let actions = greet(&bench, 2, epoch: 6, node: "old")
        #expect(closes(actions) == [2: .superseded])
        #expect(bench.relay.superseded[RelayBench.destination]?.node == "old")
        #expect(closes(greet(&bench, 3, epoch: 7, node: "old")).isEmpty)
        #expect(bench.relay.openLinkCount(of: RelayBench.destination) == 2)
    }

    @Test("a service that says no epoch is in the first one: taken before a failover, and not after it")
    func none() {
        var bench = RelayBench()
        #expect(closes(greet(&bench, 1, epoch: 0)).isEmpty)
        #expect(closes(greet(&bench, 2, epoch: 1)).isEmpty)
        #expect(closes(greet(&bench, 3, epoch: 2)).count == 2)
        #expect(closes(greet(&bench, 4, epoch: 0)) == [4: .superseded])
    }

    /// Else a core that crashes in between would take the older epoch again.
    @Test("nobody is welcomed in a higher epoch before it is on the disk, and nobody when it can not get there")
    func storedFirst() {
        var bench = RelayBench()
        bench.storesEpochs = false
        let first = greet(&bench, 1, epoch: 2)
        #expect(raises(first) == [2] && bench.relay.openLinkCount(of: RelayBench.destination) == 0)
        #expect(raises(greet(&bench, 2, epoch: 2)) == [2], "what is not stored yet is raised again")
        let wall = Timestamp(milliseconds: bench.now)
        let welcome = bench.relay.epochStored(2, of: RelayBench.destination, by: 1, now: bench.now, wall: wall)
        #expect(welcome.contains { if case .opened(1, _) = $0 { true } else { false } })
        #expect(closes(bench.relay.epochNotStored(by: 2, now: bench.now)) == [2: .internalError])
        #expect(bench.relay.openLinkCount(of: RelayBench.destination) == 1)
        #expect(raises(greet(&bench, 3, epoch: 3)) == [3])
        #expect(raises(greet(&bench, 4, epoch: 4)) == [4])
        let late = bench.relay.epochStored(3, of: RelayBench.destination, by: 3, now: bench.now, wall: wall)
        #expect(closes(late) == [3: .superseded], "a higher one came meanwhile")
    }

    @Test("what an earlier run of the core has seen still counts, and is stored so that it never falls")
    func remembered() async throws {
        var bench = RelayBench()
        bench.relay.setEpoch(5, of: RelayBench.destination)
        #expect(closes(greet(&bench, 1, epoch: 4)) == [1: .superseded])
        #expect(raises(greet(&bench, 2, epoch: 5)).isEmpty)
        let folder = TemporaryFolder()
        let store = try CloudStore(path: folder.path + "/core.sqlite")
        #expect(try await store.epoch(of: RelayBench.destination) == nil)
        for epoch: Int64 in [3, 5, 4] {
            try await store.setEpoch(epoch, of: RelayBench.destination, now: Timestamp(milliseconds: 0))
        }
        #expect(try await store.epoch(of: RelayBench.destination) == 5)
        try store.close()
    }
}
