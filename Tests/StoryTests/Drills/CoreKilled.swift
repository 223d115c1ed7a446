import TestServers
import Testing

extension Drill {
    /// The most connections of one node within a second, and in all; LinkBackoff makes some five in the first.
    private static let most = (inASecond: 8, inAll: 40)

    static let coreKilled = Drill("core-killed", "the core is killed and comes back after 30 s; nobody storms it") {
        run in
        let log = await run.node.log().utf8.count
        try await run.strike { try await run.cluster.killCore() }
        try await run.detected("a node says that its link is down") {
            String(await run.node.log().dropFirst(log)).contains("the link to the core ended")
        }
        try await run.hold(.seconds(30))
        try await run.restore { try run.cluster.deployment.start(.core) }
        try await run.recovered()
        let openings = run.wire.openings(to: run.network.core, since: run.blow)
        let perNode = run.network.nodes.map { node in openings.filter { $0.from == node.number } }
        let inASecond = perNode.flatMap { openings in
            openings.map { first in openings.count { $0.at >= first.at && first.at.duration(to: $0.at) < .seconds(1) } }
        }
        run.figure("connectionsOfANode", perNode.map(\.count).max() ?? 0)
        run.figure("connectionsOfANodeInASecond", inASecond.max() ?? 0)
        run.figure("connectionsOfClients", openings.count { $0.from == run.network.clients.number })
        #expect(perNode.allSatisfy { $0.count <= most.inAll } && inASecond.allSatisfy { $0 <= most.inASecond })
    }
}
