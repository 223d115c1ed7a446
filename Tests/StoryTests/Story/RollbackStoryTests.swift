import Foundation
import HDSClient
import KMSClient
import KMSProtocol
import TestServers
import Testing

extension StoryTests {
    /// Somebody who may write into the key store's file, against the real programs.
    @Suite("The database's owner") struct RollbackStoryTests {
        private typealias Desk = OversightStoryTests.Desk

        /// Statements on the file of the key store, as its owner's own tool runs them.
        private static func sql(_ statements: String, _ deployment: Deployment) async throws {
            let program = """
                import sqlite3, sys
                with sqlite3.connect(sys.argv[1], timeout=10) as database: database.executescript(sys.argv[2])
                """
            _ = try await ChildProcess.run(
                "/usr/bin/env", ["python3", "-c", program, deployment.domain.path("kms/kms.sqlite"), statements],
                folder: deployment.domain.folder)
        }

        /// What `hdsctl status` prints; it fails while an alarm of that severity stands.
        private static func alarms(_ desk: Desk) async throws -> String {
            try await desk.refused(["status"], with: ["--socket", desk.socket]).text
        }

        private static func status(_ person: Person, _ key: String) async throws -> Int {
            do {
                try await person.client.kms.perform(.retrieveKey(key))
                return 200
            } catch let refusal as KMSRefusal {
                return refusal.status
            }
        }

        @Test(
            "A removal that is undone in the database gives no key to anybody until an officer has accepted what was seen"
        )
        func removalUndone() async throws {
            try await Deployment.with(change: { try OversightStoryTests.enrolling($0) }) { deployment in
                let desk = try await Desk.enrol(deployment)
                let alice = try await Person.logIn("alice", in: deployment)
                let bob = try await Person.logIn("bob", in: deployment)
                guard case .keys(let keys) = try await alice.client.kms.perform(.createKeys(count: 1)).body,
                    case .resource(let space) = try await alice.client.kms.perform(
                        .createResource(keys: keys.map(\.uri), users: [alice.id, bob.id])
                    ).body
                else {
                    Issue.record("no space")
                    return
                }
                let key = keys[0].uri
                #expect(try await Self.status(bob, key) == 200)
                try await Self.sql("CREATE TABLE kept AS SELECT * FROM authorizations", deployment)
                try await alice.client.kms.perform(.deleteAuthorization(resource: space.uri, id: bob.id))
                #expect(try await Self.status(bob, key) == 403)
                let calm = try await desk.ask("rollback", "status")
                #expect(calm.contains("nothing was put back"), "\(calm)")

                try await Self.sql(
                    "DELETE FROM authorizations; INSERT INTO authorizations SELECT * FROM kept; DROP TABLE kept",
                    deployment)
                #expect(try await Self.status(bob, key) == 403)
                #expect(try await Self.status(alice, key) == 500)
                #expect(try await Self.alarms(desk).contains("HDS-STORE-ROLLBACK"))
                // A crash does not make it forgotten.
                try await deployment.restartAfterKill(.kms)
                try await deployment.waitUntilReady(.kms)
                let gap =
                    try await eventually("what was seen, or is seen again") {
                        try await desk.ask("rollback", "status", "--json").split(separator: "\"")
                            .first { $0.count == 16 }.map(String.init)
                    } as String
                let wrong = try await desk.refused(["rollback", "accept", "0123456789abcdef"])
                #expect(wrong.code != 0 && wrong.text.contains("not the gap that stands"), "\(wrong.text)")
                let accepted = try await desk.sign("rollback", "accept", gap)
                #expect(accepted.contains("nothing was put back"), "\(accepted)")
                #expect(try await Self.status(alice, key) == 200)
                #expect(try await Self.status(bob, key) == 403)
                #expect(try await !Self.alarms(desk).contains("HDS-STORE-ROLLBACK"))
                for person in [alice, bob] { await person.close() }
            }
        }

        @Test("The file as it was an hour ago, put back while the KMS stood still, is told at its start")
        func fileBack() async throws {
            try await Deployment.with(change: { try OversightStoryTests.enrolling($0) }) { deployment in
                let desk = try await Desk.enrol(deployment)
                let alice = try await Person.logIn("alice", in: deployment)
                let folder = deployment.domain.path("kms")
                _ = try await alice.client.kms.perform(.createKeys(count: 1))
                try await Self.sql("PRAGMA wal_checkpoint(TRUNCATE); VACUUM INTO '\(folder)/old'", deployment)
                _ = try await alice.client.kms.perform(.createKeys(count: 1))
                // What the node remembers is on the disk within a second.
                let file = folder + "/audit.counters"
                let before = try String(contentsOfFile: file, encoding: .utf8)
                _ = try await alice.client.kms.perform(.createKeys(count: 1))
                _ =
                    try await eventually("counters written") {
                        try String(contentsOfFile: file, encoding: .utf8) != before ? true : nil
                    } as Bool
                try await deployment[.kms]?.cut()
                _ = try await ChildProcess.run(
                    "/bin/bash",
                    [
                        "-c",
                        "rm \(folder)/kms.sqlite*; mv \(folder)/old \(folder)/kms.sqlite; chmod 600 \(folder)/kms.sqlite",
                    ],
                    folder: folder)
                try deployment.start(.kms)
                try await deployment.waitUntilReady(.kms)
                let status = try await desk.ask("rollback", "status")
                #expect(status.contains("NO KEY IS RELEASED") && status.contains("and was at"), "\(status)")
                #expect(try await Self.alarms(desk).contains("HDS-STORE-ROLLBACK"))
                await alice.close()
            }
        }
    }
}
