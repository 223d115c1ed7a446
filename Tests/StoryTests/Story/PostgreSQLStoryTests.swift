import Foundation
import Glibc
import HDSClient
import HTTPClient
import KMSClient
import TestServers
import Testing

extension StoryTests {
    @Suite("The KMS over PostgreSQL", .enabled(if: TestPostgreSQL.isInstalled)) struct PostgreSQLStoryTests {
        @Test("Moved from SQLite in the middle of the story, with a database that crashes later: the clients go on")
        func moved() async throws {
            let server = try await TestPostgreSQL.start()
            defer { server.end() }
            try await Deployment.with { deployment in
                let play = try await Play(deployment)
                for step in Play.Step.allCases {
                    switch step {
                    case .addBob: try await move(deployment, to: server)
                    case .bobPosts, .bobLeaves, .bobIsRefused:
                        // Nobody waits for the database to be there again: the requests do.
                        try await server.tell("stop")
                        async let back: Void = server.tell("start")
                        try await play.perform(step)
                        try await back
                        continue
                    default: break
                    }
                    try await play.perform(step)
                }
                try play.expectSameSessions()
                try await isAway(deployment, server)
                await play.close()
            }
        }

        @Test("Two nodes on one database: what an officer freezes at one is refused by the other within a second")
        func twoNodes() async throws {
            let server = try await TestPostgreSQL.start()
            defer { server.end() }
            let first = Service.kms.configuration, second = "kms/second.yaml"
            let change: (Domain) throws -> Void = { domain in
                try OversightStoryTests.enrolling(domain)
                try KeyDesk.useDatabase(server, in: first, of: domain)
                let port = String(domain.healthPort(of: .kms))
                try domain.write(
                    domain.read(first).replacing("node: trial", with: "node: second")
                        .replacing(":\(port)", with: ":0").replacing("control.sock", with: "second.sock")
                        .replacing("folder: audit", with: "folder: audit-second"), to: second)
            }
            try await Deployment.with(change: change) { deployment in
                let domain = deployment.domain
                let desk = try await OversightStoryTests.Desk.enrol(deployment)
                let alice = try await Person.logIn("alice", in: deployment)
                let space = try await alice.spaces.create(name: "Frozen", with: [])
                try await alice.spaces.post("hello", in: space)
                let key = try #require(try alice.keyURIs(of: space).first)
                // The newest link is the one that the core asks.
                let log = domain.path("log/second.log")
                let other = try ChildProcess(
                    Repository.program("hds-kms"), ["--config", domain.path(second)], output: log)
                defer { other.send(SIGKILL) }
                _ =
                    try await eventually("the second node answers", seen: { other.tail() }) {
                        guard case .allowed = try await alice.client.verdict(onKey: key) else { return nil }
                        return other.log().contains("retrieve KEY answered 200") ? true : nil
                    } as Bool
                let frozen = try await desk.sign("freeze", "--user", alice.id, "--reason", "lost laptop", "--json")
                let start = ContinuousClock.now
                let took = try await eventually("alice refused by the second node", within: .seconds(5)) {
                    guard case .refused(403, let reason) = try await alice.client.verdict(onKey: key),
                        reason.contains("frozen"), other.log().contains("RULE=frozen")
                    else { return nil as Duration? }
                    return start.duration(to: .now)
                }
                print("frozen on the other node after \(took)")
                let id = try #require(frozen.split(separator: "\"").first { $0.count == 36 }.map(String.init))
                _ = try await desk.sign("freeze", "lift", id)
                _ =
                    try await eventually("alice reads again", within: .seconds(5)) {
                        guard case .allowed = try await alice.client.verdict(onKey: key) else { return nil }
                        return true
                    } as Bool
            }
        }

        /// A database that stays away: not ready, an alarm, alive; and all of it over when it is back.
        private func isAway(_ deployment: Deployment, _ server: TestPostgreSQL) async throws {
            try await server.tell("stop")
            _ =
                try await eventually("an alarm and no readiness") {
                    let ready = await deployment.status(of: .kms, "/readyz")
                    let health = try await deployment.answer(of: .kms, "/healthz").body
                    return ready == 503 && String(decoding: health, as: UTF8.self).contains("HDS-DB-UNREACHABLE")
                        ? true : nil
                } as Bool
            #expect(await deployment.status(of: .kms, "/livez") == 200)
            try await server.tell("start")
            try await deployment.waitUntilReady(.kms)
            _ =
                try await eventually("the alarm's end") {
                    let health = try await deployment.answer(of: .kms, "/healthz").body
                    return String(decoding: health, as: UTF8.self).contains("HDS-DB-UNREACHABLE") ? nil : true
                } as Bool
        }

        /// As an operator does it: stop, move, change the configuration, start.
        private func move(_ deployment: Deployment, to server: TestPostgreSQL) async throws {
            let domain = deployment.domain
            let tool = Repository.program("hdsctl")
            let new = "kms/hds-kms-postgresql.yaml"
            let file = domain.path("kms/kms.sqlite")
            try domain.write(domain.read(Service.kms.configuration), to: new)
            try KeyDesk.useDatabase(server, in: new, of: domain)
            let words = ["migrate", "sqlite-to-postgres", "--from", file, "--to", domain.path(new)]
            await #expect(throws: (any Error).self, "the KMS still runs on it") {
                _ = try await ChildProcess.run(tool, words, folder: domain.folder)
            }
            deployment[.kms]?.send(SIGTERM)
            _ = try await deployment[.kms]?.end()
            let told = try await ChildProcess.run(tool, words, folder: domain.folder)
            #expect(told.contains("read back and compared"))
            let again = try await ChildProcess.run(tool, words + ["--json"], folder: domain.folder)
            #expect(again.contains("\"moved\":false"))
            try domain.write(domain.read(new), to: Service.kms.configuration)
            // It must not be needed any more.
            try FileManager.default.moveItem(atPath: file, toPath: file + ".left")
            try deployment.start(.kms)
            try await deployment.waitUntilReady(.kms)
        }
    }
}
