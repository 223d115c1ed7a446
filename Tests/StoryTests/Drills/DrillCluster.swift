import Foundation
import HDSClient
import Synchronization
import TestServers

/// Core, authorization service, three nodes, a database with a synchronous standby and six clients, each service on a
/// host of its own.
final class DrillCluster: Sendable {
    let network: DrillNetwork
    let deployment: Deployment
    let nodes: [ClusterNode]
    /// The primary first.
    let servers: [TestPostgreSQL]
    let people: [Person]
    /// Where the nodes go through one.
    let proxy: DrillProxy?
    /// Where the log of the core that runs now begins.
    private let coreLogStart = Mutex(0)

    private init(
        _ network: DrillNetwork, _ deployment: Deployment, _ nodes: [ClusterNode], _ servers: [TestPostgreSQL],
        _ people: [Person], _ proxy: DrillProxy?
    ) {
        (self.network, self.deployment, self.nodes, self.servers) = (network, deployment, nodes, servers)
        (self.people, self.proxy) = (people, proxy)
    }

    static func start(_ ground: Drill.Ground = .shared) async throws -> DrillCluster {
        let network = try DrillNetwork.shared.get()
        network.wire.mend()
        var proxy: DrillProxy?
        if case .behindProxy = ground { proxy = try await DrillProxy.start(at: network.proxy) }
        var programs: String?
        if case .oldRelease = ground { programs = ProcessInfo.processInfo.environment["HDS_DRILL_OLD"] }
        let primary = try await TestPostgreSQL.start(at: network.databases[0])
        let standby = try await TestPostgreSQL.start(standbyOf: primary, at: network.databases[1])
        try await primary.sql("GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer) TO hds")
        try await primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        try await primary.sql("SELECT pg_reload_conf()")
        let domain = try await Domain.make(logLevel: "info", hosts: (network.auth, network.core))
        if let proxy {
            try domain.replace(
                "control:\n", with: "proxy:\n  address: http://\(network.proxy.name):\(proxy.port)\ncontrol:\n",
                in: Service.kms.configuration)
        }
        let deployment = Deployment(domain, at: [.auth: network.auth, .core: network.core])
        for service in [Service.auth, .core] {
            try deployment.start(service)
            try await deployment.waitUntilReady(service)
        }
        var nodes: [ClusterNode] = []
        do {
            for (index, place) in network.nodes.enumerated() {
                let node = try ClusterNode("kms-\(index + 1)", domain, servers: [primary, standby], at: place)
                nodes.append(node)
                try await node.start(programs)
                try await node.waitUntilReady()
            }
            var people: [Person] = []
            for name in ["alice", "bob"] {
                for device in 1...3 {
                    people.append(try await Person.logIn(name, in: deployment, device: "device-\(device)"))
                }
            }
            return DrillCluster(network, deployment, nodes, [primary, standby], people, proxy)
        } catch {
            for node in nodes { print("\(node.name): \(await node.log().suffix(2000))") }
            for node in nodes { try? await node.end() }
            try? await deployment.end()
            throw error
        }
    }

    func end() async {
        network.wire.mend()
        for person in people { await person.close() }
        for node in nodes { try? await node.end() }
        try? await deployment.end()
        for server in servers { try? await onOwnThread { server.end() } }
        try? await proxy?.kill()
    }

    /// What the core has written so far.
    var coreLog: String { (try? deployment.domain.read("log/hds-core.log")) ?? "" }

    /// The core is killed: its links are gone, and it can not say so.
    func killCore() async throws {
        try await deployment[.core]?.cut()
        let length = coreLog.utf8.count
        coreLogStart.withLock { $0 = length }
    }

    /// Which nodes have a link, as the core says it.
    func linked() -> Set<String> {
        var linked: Set<String> = []
        let log = coreLog.utf8.dropFirst(coreLogStart.withLock { $0 })
        for line in String(decoding: Array(log), as: UTF8.self).split(separator: "\n") {
            for node in nodes {
                if line.contains("the core accepted a link of \(node.name) ") { linked.insert(node.name) }
                if line.contains("the link of \(node.name) ended") { linked.remove(node.name) }
            }
        }
        return linked
    }

    /// Every node is ready and has its link.
    func isWhole() async -> Bool {
        guard linked().count == nodes.count else { return false }
        for node in nodes where await !node.isReady() { return false }
        return true
    }
}

/// A proxy that is killed and comes back at its address.
actor DrillProxy {
    nonisolated let port: Int
    private let place: NetworkPlace
    private var proxy: TestProxy?

    private init(_ proxy: TestProxy, _ place: NetworkPlace) {
        (self.proxy, self.place, port) = (proxy, place, proxy.port)
    }

    static func start(at place: NetworkPlace) async throws -> DrillProxy {
        DrillProxy(try await TestProxy.start(.tinyproxy, at: place), place)
    }

    func kill() async throws {
        guard let proxy else { return }
        self.proxy = nil
        try await onOwnThread { proxy.end() }
    }

    func comeBack() async throws { proxy = try await TestProxy.start(.tinyproxy, at: place, port: port) }
}
