import TestServers
import Testing

extension Drill {
    static let databaseLost = Drill(
        "database-lost",
        "the primary's host is gone; its standby is promoted by PostgreSQL and made the one that counts",
        on: .own
    ) { run in
        let (primary, standby) = (run.cluster.servers[0], run.cluster.servers[1])
        try await run.strike {
            // Gone as a host is: nobody gets an end of his connection.
            let others = [run.network.databases[1], run.network.clients] + run.network.nodes
            run.wire.set(.cut, between: [run.network.databases[0]], and: others)
            try await primary.tell("stop")
        }
        try await run.detected("HDS-LEASE-LOST") { try await run.node.alarms().contains("HDS-LEASE-LOST") }
        try await standby.tell("promote")
        let (code, text) = try await FailoverDrill.hdsctl(
            ["promote", "--to", "\(standby.host):\(standby.port)", "--json"], run.node)
        #expect(code == 0 && text.contains("proved"), "\(code): \(text)")
        try await run.recovered()
        try await run.restore {}
    }
}
