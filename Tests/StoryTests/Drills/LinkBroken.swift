import TestServers

extension Drill {
    static let linkCut = Drill("link-cut", "nothing passes between a node and the core, either way") { run in
        try await run.strike { run.wire.set(.cut, between: [run.network.nodes[0]], and: [run.network.core]) }
        try await run.lostAndMended()
    }

    static let linkCutToCore = Drill("link-cut-to-core", "what a node sends to the core is lost; it hears the core") {
        run in
        try await run.strike { run.wire.set(.cut, from: [run.network.nodes[0]], to: [run.network.core]) }
        try await run.lostAndMended()
    }

    static let linkCutFromCore = Drill("link-cut-from-core", "what the core sends to a node is lost; it hears the node")
    {
        run in
        try await run.strike { run.wire.set(.cut, from: [run.network.core], to: [run.network.nodes[0]]) }
        try await run.lostAndMended()
    }

    static let linkHalfOpen = Drill("link-half-open", "a firewall forgets the link without a word; new ones pass") {
        run in
        try await run.strike { run.wire.forgetConnections(between: run.network.nodes[0], and: run.network.core) }
        try await run.lostAndMended()
    }

    static let siteOffline = Drill("site-offline", "no node reaches the core, for 10 s") { run in
        try await run.strike { run.wire.set(.cut, between: run.network.nodes, and: [run.network.core]) }
        try await run.detectedByCore(run.node)
        try await run.hold(.seconds(10))
        try await run.restore { run.wire.mend() }
        try await run.recovered()
    }
}

extension DrillRun {
    fileprivate func lostAndMended() async throws {
        try await detectedByCore(node)
        try await recovered()
        try await restore { wire.mend() }
    }
}
