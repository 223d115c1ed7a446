import Foundation
import Glibc
import HTTPClient
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
            try domain.replace(
                "  file: kms.sqlite\n",
                with: """
                      postgresql:
                        hosts: ["localhost:\(server.port)"]
                        database: hds
                        user: hds
                        password: \(server.folder)/password
                        ca: \(server.folder)/root.pem
                    audit:
                      folder: audit

                    """, in: new)
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
