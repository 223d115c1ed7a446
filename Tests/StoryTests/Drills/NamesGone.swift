extension Drill {
    static let namesGone = Drill("names-gone", "no name server answers for 20 s, and a node has to link anew") { run in
        try await run.strike {
            let hosts = [run.network.clients, run.network.core, run.network.auth] + run.network.nodes
            run.wire.set(.cut, between: [run.network.names], and: hosts)
            run.wire.forgetConnections(between: run.network.nodes[0], and: run.network.core)
        }
        try await run.detected("HDS-DNS-SLOW") { try await run.node.alarms().contains("HDS-DNS-SLOW") }
        try await run.recovered()
        try await run.hold(.seconds(20))
        try await run.restore { run.wire.mend() }
    }
}
