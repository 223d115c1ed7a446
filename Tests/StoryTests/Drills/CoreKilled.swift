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
        let openings = run.network.openings(to: run.network.core, since: run.blow)
        let ofClients = run.wire.openings(to: run.network.core, since: run.blow)
        run.figure("connectionsOfANode", openings.inAll)
        run.figure("connectionsOfANodeInASecond", openings.inASecond)
        run.figure("connectionsOfClients", ofClients.count { $0.from == run.network.clients.number })
        #expect(openings.inAll <= most.inAll && openings.inASecond <= most.inASecond)
    }
}
