import Foundation
import Glibc
import HDSClient
import HTTPClient
import KMSClient
import KMSProtocol
import TestServers
import Testing

extension StoryTests {
    /// Several nodes over one PostgreSQL, with people at work.
    @Suite("Several nodes over one database", .enabled(if: TestPostgreSQL.isInstalled)) struct ClusterStoryTests {
        @Test("A node that falls silent in mid-request: others answer in time, each string once; it comes back")
        func silent() async throws {
            let server = try await TestPostgreSQL.start()
            defer { server.end() }
            try await Self.with(nodes: ["kms-1", "kms-2"], over: [server]) { deployment, nodes in
                var people: [Person] = []
                for device in 0..<6 {
                    people.append(try await Person.logIn("alice", in: deployment, device: "device-\(device)"))
                }
                for person in people { try await person.client.kms.perform(.ping) }
                let before = try await deployment.outcomes()
                // Stopped it can receive and not answer: its lease ends, its sockets stay open.
                await nodes[0].send(SIGSTOP)
                let stopped = ContinuousClock.now
                let asked = people.map { Self.askForKey($0) }
                for task in asked { #expect(try await task.value == 201) }
                print("a node fell silent: all \(people.count) answered after \(stopped.duration(to: .now))")
                let after = try await deployment.outcomes()
                let redelivered = after["redelivered", default: 0] - before["redelivered", default: 0]
                let delivered = after["delivered", default: 0] - before["delivered", default: 0]
                #expect(redelivered > 0, "the stopped node had something")
                // Nobody sent anew: each was answered before a client's first timeout of 6 s.
                #expect(delivered - redelivered == people.count)
                #expect(after["answered", default: 0] - before["answered", default: 0] == people.count)
                await nodes[0].send(SIGCONT)
                _ =
                    try await eventually("the node is back with its lease") {
                        let list = try await Self.nodeList(nodes[1])
                        return list.contains("kms-1") && !list.contains("no lease") ? true : nil
                    } as Bool
                _ =
                    try await eventually("the link of both") {
                        try await deployment.health(of: .core).contains("kms-1") ? true : nil
                    } as Bool
                let late = try await deployment.outcomes()
                #expect(late["answered"] == after["answered"], "what it had been given before went nowhere")
                for person in people {
                    try await person.client.kms.perform(.ping)
                    await person.close()
                }
            }
        }

        @Test("Three nodes started again one by one under load: no request is lost; other releases are told of")
        func rolling() async throws {
            let server = try await TestPostgreSQL.start()
            defer { server.end() }
            try await Self.with(nodes: ["kms-1", "kms-2", "kms-3"], over: [server]) { deployment, nodes in
                let people = [
                    try await Person.logIn("alice", in: deployment), try await Person.logIn("bob", in: deployment),
                ]
                let load = KeyLoad(people)
                let sessions = try people.map { try $0.sessionURI() }
                for node in nodes {
                    #expect(try await node.stop() == .exit(0))
                    let count = await load.acknowledged
                    _ =
                        try await eventually("others go on without \(node.name)") {
                            await load.acknowledged > count ? true : nil
                        } as Bool
                    try await node.start()
                    try await node.waitUntilReady()
                }
                await load.stop()
                #expect(await load.failures == [])
                #expect(await load.acknowledged > 3)
                #expect(try await load.missing() == 0)
                #expect(try people.map { try $0.sessionURI() } == sessions || sessions.contains(nil))
                let list = try await Self.nodeList(nodes[0])
                for node in nodes { #expect(list.contains(node.name)) }
                #expect(list.contains("0.1.0") && list.contains("epoch 1") && list.contains("lease held"), "\(list)")
                try await skew(server, nodes[0])
                for person in people { await person.close() }
            }
        }

        private static func askForKey(_ person: Person) -> Task<Int, any Error> {
            Task { try await person.client.kms.perform(.createKeys(count: 1)).status }
        }

        /// A row as a node of another release writes it, as long as it lives.
        private func skew(_ server: TestPostgreSQL, _ node: ClusterNode) async throws {
            let row = """
                INSERT INTO hds_kms.leases (node, epoch, renewals, at, synchronous, release)
                VALUES ('kms-old', 1, 1, now(), false, '0.0.9')
                ON CONFLICT (node) DO UPDATE SET at = now(), renewals = hds_kms.leases.renewals + 1
                """
            _ =
                try await eventually("HDS-VERSION-SKEW") {
                    try await server.sql(row)
                    return try await node.alarms().contains("HDS-VERSION-SKEW") ? true : nil
                } as Bool
            _ =
                try await eventually("its end, with the other release") {
                    try await node.alarms().contains("HDS-VERSION-SKEW") ? nil : true
                } as Bool
        }

        static func nodeList(_ node: ClusterNode) async throws -> String {
            try await ChildProcess.run(
                Repository.program("hdsctl"), ["node", "list", "--socket", node.socket], folder: node.domain.folder)
        }

        /// Authorization service and core, and these nodes instead of the one KMS.
        static func with(
            nodes names: [String], over servers: [TestPostgreSQL],
            _ body: (Deployment, [ClusterNode]) async throws -> Void
        ) async throws {
            let deployment = Deployment(try await Domain.make())
            var nodes: [ClusterNode] = []
            do {
                for service in [Service.auth, .core] {
                    try deployment.start(service)
                    try await deployment.waitUntilReady(service)
                }
                for name in names {
                    let node = try ClusterNode(name, deployment.domain, servers: servers)
                    nodes.append(node)
                    try await node.start()
                    try await node.waitUntilReady()
                }
                try await body(deployment, nodes)
            } catch {
                for node in nodes { print("\(node.name): \(await node.log().suffix(2000))") }
                for node in nodes { try? await node.end() }
                try? await deployment.end()
                throw error
            }
            for node in nodes { try await node.end() }
            try await deployment.end()
        }
    }
}

extension Deployment {
    /// What became of strings at the core, by outcome.
    func outcomes() async throws -> [String: Int] {
        let text = String(decoding: try await answer(of: .core, "/metrics").body, as: UTF8.self)
        return text.split(separator: "\n").reduce(into: [:]) { counts, line in
            guard line.hasPrefix("hds_core_deliveries_total{"),
                let name = line.split(separator: "\"").dropFirst().first,
                let value = line.split(separator: " ").last.flatMap({ Double($0) })
            else { return }
            counts[String(name)] = Int(value)
        }
    }

    func health(of service: Service) async throws -> String {
        String(decoding: try await answer(of: service, "/healthz").body, as: UTF8.self)
    }
}
