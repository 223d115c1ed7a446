extension Drill {
    static let proxyKilled = Drill(
        "proxy-killed", "the proxy between nodes and core is killed for 10 s", on: .behindProxy
    ) {
        run in
        try await run.strike { try await run.cluster.proxy?.kill() }
        try await run.detected("HDS-PROXY-FAIL") { try await run.node.alarms().contains("HDS-PROXY-FAIL") }
        try await run.hold(.seconds(10))
        try await run.restore { try await run.cluster.proxy?.comeBack() }
        try await run.recovered()
    }
}
