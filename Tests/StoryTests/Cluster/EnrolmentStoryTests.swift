import Foundation
import Glibc
import HDSClient
import HTTPClient
import KMSClient
import KMSProtocol
import TestServers
import Testing
import WireText

extension StoryTests {
    /// Rules 5 and 34 of the security model, with real processes: who is a node, who becomes one, who is none any more.
    @Suite("Nodes come and go by an officer's word", .enabled(if: TestPostgreSQL.isInstalled))
    struct EnrolmentStoryTests {
        /// The tool at a node, with the key of an officer.
        struct Desk {
            let domain: Domain
            var key: String { domain.path("ada.pem") }
            var passphrase: String { domain.path("passphrase") }

            /// An officer with the duty cluster, known to the KMS and to the core.
            static func enrol(_ domain: Domain) async throws -> Desk {
                let desk = try await enrolOfficer(domain)
                try domain.replace(
                    "control:\n", with: "officers:\n  file: ../officers.json\ncontrol:\n", in: "kms/hds-kms.yaml")
                try domain.replace(
                    "    kms-cluster:", with: "    node-list:\n      officers: ../officers.json\n    kms-cluster:",
                    in: "core/hds-core.yaml")
                return desk
            }

            /// Her key, and the file of officers beside the services' folders.
            static func enrolOfficer(_ domain: Domain) async throws -> Desk {
                let desk = Desk(domain: domain)
                try domain.write("correct horse battery staple\n", to: "passphrase")
                let text = try await desk.run(
                    "officer", "create", desk.key, "--id", "ada", "--passphrase-file", desk.passphrase, "--duty",
                    "cluster")
                let entry = try #require(text.split(separator: "\n").first { $0.hasPrefix("{") })
                try domain.write(#"{"officers": [\#(entry)]}"#, to: "officers.json", mode: 0o644)
                return desk
            }

            func run(_ arguments: String...) async throws -> String {
                try await ChildProcess.run(Repository.program("hdsctl"), arguments, folder: domain.folder)
            }

            func ask(_ node: ClusterNode, _ arguments: String...) async throws -> String {
                try await ChildProcess.run(
                    Repository.program("hdsctl"), arguments + ["--socket", node.socket], folder: domain.folder)
            }

            func sign(_ node: ClusterNode, _ arguments: String...) async throws -> String {
                try await ChildProcess.run(
                    Repository.program("hdsctl"),
                    arguments + ["--socket", node.socket, "--officer-key", key, "--passphrase-file", passphrase],
                    folder: domain.folder)
            }

            /// What the tool says when it fails.
            func refused(_ arguments: [String]) async throws -> String {
                let child = try ChildProcess(
                    Repository.program("hdsctl"), arguments, output: domain.path("refused-\(UUID().uuidString).log"))
                let ending = try await child.end()
                #expect(ending != .exit(0), "\(child.log())")
                return child.log()
            }

            /// The key of a node that waits for an officer, as a node that runs tells it.
            func waiting(_ name: String, at node: ClusterNode) async throws -> String {
                let log = await node.log()
                return try await eventually("the key of \(name)", seen: { String(log.suffix(500)) }) {
                    guard let text = try? await ask(node, "node", "list", "--json") else { return nil }
                    let list = try JSONDocument(text: text).root
                    return list["nodes"]?.elements?.first { $0["node"]?.string == name }?["waiting"]?.string
                }
            }

            /// An invitation's code in a file of mode 0600.
            func invite(_ name: String, at node: ClusterNode) async throws -> String {
                let text = try await ask(node, "node", "invite", name, "--json")
                let code = try #require(try JSONDocument(text: text).root["code"]?.string)
                try domain.write(code + "\n", to: "code-\(name)")
                return domain.path("code-\(name)")
            }
        }

        @Test(
            "A node joins by a one-time code and an officer's word, drains, and is none within a second of its removal")
        func life() async throws {
            let server = try await TestPostgreSQL.start()
            defer { server.end() }
            let deployment = Deployment(try await Domain.make())
            let domain = deployment.domain
            let desk = try await Desk.enrol(domain)
            let nodes = [
                try ClusterNode("kms-1", domain, servers: [server]),
                try ClusterNode("kms-2", domain, servers: [server]),
            ]
            do {
                try await story(deployment, desk, nodes[0], nodes[1])
            } catch {
                for node in nodes { print("\(node.name): \(await node.log().suffix(3000))") }
                for node in nodes { try? await node.end() }
                try? await deployment.end()
                throw error
            }
            for node in nodes { try await node.end() }
            try await deployment.end()
        }

        private func story(
            _ deployment: Deployment, _ desk: Desk, _ first: ClusterNode, _ second: ClusterNode
        ) async throws {
            for service in [Service.auth, .core] {
                try deployment.start(service)
                try await deployment.waitUntilReady(service)
            }
            // On no list it is no service.
            try await first.start()
            let key = try await desk.waiting("kms-1", at: first)
            _ =
                try await eventually("the core's refusal") {
                    try await first.alarms().contains("HDS-NODE-UNLISTED") ? true : nil
                } as Bool
            #expect(await first.isReady() == false)
            _ = try await desk.sign(first, "node", "approve", "kms-1", key)
            try await first.waitUntilReady()
            let alice = try await Person.logIn("alice", in: deployment)
            try await alice.client.kms.perform(.ping)

            try await join(second, at: first, desk)
            try await second.waitUntilReady()
            try await linked("kms-2", deployment)
            _ =
                try await eventually("both on the list, with leases") {
                    let list = try await desk.ask(first, "node", "list")
                    let held = list.split(separator: "\n").filter { $0.contains("active") && $0.contains("lease held") }
                    return list.contains("list of nodes version 2") && held.count == 2 ? true : nil
                } as Bool
            try await drain(second, at: first, desk, deployment)
            try await remove(second, at: first, desk, deployment)
            try await alice.client.kms.perform(.ping)
            #expect(try await alice.client.kms.perform(.createKeys(count: 1)).status == 201)
            await alice.close()
        }

        /// With a master key of its own: it is given nothing of the cluster but the database and the code.
        private func join(_ node: ClusterNode, at first: ClusterNode, _ desk: Desk) async throws {
            let domain = desk.domain
            _ = try await desk.run("master-key", "create", domain.path("kms-2/own-key"))
            try domain.replace(": ../kms/master-key\n", with: ": own-key\n", in: "kms-2/hds-kms.yaml")
            // Without an approval it can open nothing.
            let stranger = try ChildProcess(
                Repository.program("hds-kms"), ["--config", node.configuration], output: domain.path("log/stranger.log")
            )
            #expect(try await stranger.end() == .exit(78), "\(stranger.log())")
            let arguments = ["node", "join", "--config", node.configuration, "--wait", "60", "--code-file"]
            let old = try await desk.invite("kms-2", at: first)
            let spent = try domain.read("code-kms-2")
            let code = try await desk.invite("kms-2", at: first)
            try domain.write(spent, to: "code-old")
            #expect(try await desk.refused(arguments + [domain.path("code-old")]).contains("not the code"), "\(old)")
            let text = try await ChildProcess.run(
                Repository.program("hdsctl"), arguments + [code, "--json"], folder: domain.folder)
            let joined = try JSONDocument(text: text).root
            let fingerprint = try #require(joined["fingerprint"]?.string)
            #expect(try await desk.refused(arguments + [code]).contains("was used"))
            #expect(try await desk.waiting("kms-2", at: first) == fingerprint)
            let signed = [
                "--socket", first.socket, "--officer-key", desk.key, "--passphrase-file", desk.passphrase,
            ]
            let other = fingerprint.hasPrefix("0") ? "1" + fingerprint.dropFirst() : "0" + fingerprint.dropFirst()
            #expect(
                try await desk.refused(["node", "approve", "kms-2", other] + signed).contains("has another key"))
            let approved = try await desk.sign(first, "node", "approve", "kms-2", fingerprint, "--json")
            let answer = try JSONDocument(text: String(try #require(approved.split(separator: "\n").last))).root
            #expect(answer["cluster"]?.string == joined["cluster"]?.string && joined["cluster"] != nil)
            #expect(try await desk.ask(first, "master-key", "status").contains("node "))
            try await node.start()
        }

        private func drain(
            _ node: ClusterNode, at first: ClusterNode, _ desk: Desk, _ deployment: Deployment
        ) async throws {
            _ =
                try await eventually("its own master key in the place of the wrap to its public key") {
                    try await desk.ask(first, "master-key", "status").contains("node ") ? nil : true
                } as Bool
            _ = try await desk.ask(first, "node", "drain", "kms-2")
            try await unlinked("kms-2", deployment)
            #expect(try await desk.ask(first, "node", "list").contains("drained"))
            _ =
                try await eventually("the node says so") {
                    try await node.alarms().contains("this node is drained") ? true : nil
                } as Bool
            _ = try await desk.ask(first, "node", "drain", "kms-2", "--end")
            try await linked("kms-2", deployment)
        }

        private func remove(
            _ node: ClusterNode, at first: ClusterNode, _ desk: Desk, _ deployment: Deployment
        ) async throws {
            let began = ContinuousClock.now
            let command = Task { try await desk.sign(first, "node", "remove", "kms-2") }
            _ =
                try await eventually("one link at the core", within: .seconds(60)) {
                    let metrics = try await deployment.answer(of: .core, "/metrics").body
                    return String(decoding: metrics, as: UTF8.self).contains("\nhds_core_links 1") ? true : nil
                } as Bool
            let ended = Timestamp.now()
            let taken = Self.moment(of: "list of nodes 3", in: await first.log())
            print(
                "the core has no link of the removed node \(began.duration(to: .now)) after the command began, "
                    + "\(taken.map { "\(ended.milliseconds - $0.milliseconds) ms" } ?? "-") after the list was taken")
            let text = try await command.value
            #expect(text.contains("removed in version 3"), "\(text)")
            #expect(text.contains("version 2 of the root key is active"), "\(text)")
            #expect(text.contains("NOLOGIN") && !text.contains("change-kek"), "its master key was its own: \(text)")
            _ =
                try await eventually("both know that it is none") {
                    let alarms = try await node.alarms()
                    return alarms.contains("HDS-NODE-UNLISTED") && alarms.contains("HDS-LEASE-LOST") ? true : nil
                } as Bool
            // It comes back with the same key, and finds every door closed.
            _ = try await node.stop()
            try await node.start()
            _ =
                try await eventually("its end: no root key opens to it", within: .seconds(60)) {
                    await node.isRunning() ? nil : true
                } as Bool
            // The core looks at its links every few seconds.
            _ =
                try await eventually("the core names it no more", within: .seconds(30)) {
                    try await deployment.health(of: .core).contains("kms-2") ? nil : true
                } as Bool
            let list = try await desk.ask(first, "node", "list")
            #expect(list.split(separator: "\n").contains { $0.hasPrefix("kms-2") && $0.contains("removed") }, "\(list)")
        }

        /// When a line of a log was written.
        private static func moment(of text: String, in log: String) -> Timestamp? {
            log.split(separator: "\n").first { $0.contains(text) }?.split(separator: " ").first
                .flatMap { Timestamp(iso8601: String($0)) }
        }

        private func linked(_ name: String, _ deployment: Deployment) async throws {
            _ =
                try await eventually("the link of \(name)", within: .seconds(60)) {
                    try await deployment.health(of: .core).contains(name) ? true : nil
                } as Bool
        }

        private func unlinked(_ name: String, _ deployment: Deployment) async throws {
            _ =
                try await eventually("no link of \(name)", within: .seconds(60)) {
                    try await deployment.health(of: .core).contains(name) ? nil : true
                } as Bool
        }
    }
}
