extension Drill {
    static let linkLossy = Drill("link-lossy", "30 % of all packets between core and nodes are lost, for 20 s") { run in
        try await run.bear(Wire.Condition(loss: 0.3))
    }

    static let linkDelayed = Drill("link-delayed", "500 ms each way between core and nodes, for 20 s") { run in
        try await run.bear(Wire.Condition(delay: .milliseconds(500)))
    }

    static let linkThrottled = Drill("link-throttled", "64 kbit/s each way between core and each node, for 20 s") {
        run in
        try await run.bear(Wire.Condition(octetsPerSecond: 8000))
    }
}

extension DrillRun {
    /// There is nothing to be told of: everybody is served, only later.
    fileprivate func bear(_ condition: Wire.Condition) async throws {
        try await strike { wire.set(condition, between: network.nodes, and: [network.core]) }
        try await recovered()
        try await hold(.seconds(20))
        figure("linksLost", linksLost)
        try await restore { wire.mend() }
    }
}
