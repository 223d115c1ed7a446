import Foundation
import Glibc
import HDSClient
import HTTPClient
import TestServers
import Testing

extension StoryTests {
    /// A KMS over PostgreSQL is lost with its database and its master key; another machine goes on from a backup.
    @Suite("Another machine after a loss") struct NewMachineStoryTests {
        @Test(
            "From PostgreSQL with shares alone into another PostgreSQL under a key in a token: frozen until an officer's yes",
            .enabled(
                if: TestPostgreSQL.isInstalled && StoryToken.isInstalled, "PostgreSQL or softhsm2 is not installed"))
        func lost() async throws {
            let old = try await TestPostgreSQL.start()
            defer { old.end() }
            let change: (Domain) throws -> Void = { domain in
                try KeyDesk.prepare(domain)
                try KeyDesk.useDatabase(old, in: Service.kms.configuration, of: domain)
                try StoryToken.prepare(domain)
            }
            try await Deployment.with(change: change) { deployment in
                let domain = deployment.domain
                let desk = try await KeyDesk.enrol(deployment).desk
                let alice = try await Person.logIn("alice", in: deployment)
                let bob = try await Person.logIn("bob", in: deployment)
                let space = try await alice.spaces.create(name: "Kept", with: [bob.email])
                try await alice.spaces.post("hello", in: space)
                let key = try #require(try alice.keyURIs(of: space).first)
                try await ChildProcess.run(
                    "/bin/bash",
                    [
                        "-c",
                        "set -eo pipefail; \"$0\" escrow create --shares 3 --needed 2 --words-fd 3 --socket \"$1\" "
                            + "--officer-key \"$2\" --passphrase-file \"$3\" 3>&1 >/dev/null 2>/dev/null | cat > \"$4\"",
                        Repository.program("hdsctl"), desk.socket, desk.path("ada.pem"), desk.path("passphrase"),
                        domain.path("words"),
                    ], folder: domain.folder)
                let words = try domain.read("words").split(separator: "\n").map(String.init)

                // Over the control socket, while it serves; proved with the master key, and with shares alone.
                let file = try #require(try await desk.ask("backup").split(separator: "\n").first).description
                let proved = try await desk.hdsctl(
                    ["restore", file, "--verify", "--config", domain.path("kms/hds-kms.yaml")]
                        + ["--scratch", domain.folder])
                #expect(proved.contains("The backup is whole"), "\(proved)")
                let token = StoryToken(domain: domain)
                let byShares = try await token.hdsctl(
                    ["restore", file, "--verify", "--shares", "--words-fd", "0", "--scratch", domain.folder],
                    input: .text(words[2] + "\n" + words[0] + "\n"))
                #expect(byShares.contains("The backup is whole"), "\(byShares)")
                try await alice.spaces.remove(bob.email, from: space)

                // The machine, its database and its master key are gone; the journal was copied.
                try await deployment[.kms]?.cut()
                old.end()
                try await ChildProcess.run(
                    "/bin/bash",
                    ["-c", "cd \"$0\"; mv kms/removals copied; rm -r kms/audit kms/master-key; ls kms", domain.folder],
                    folder: domain.folder)
                let tokenPrint = try await token.create()
                let new = try await TestPostgreSQL.start()
                defer { new.end() }
                try domain.write(
                    domain.read("kms/hds-kms.yaml").replacing("master-key: master-key", with: StoryToken.section)
                        .replacing(":\(old.port)\"", with: ":\(new.port)\"")
                        .replacing(old.folder + "/", with: new.folder + "/"), to: "kms/hds-kms.yaml")
                let recover = [
                    "escrow", "recover", file, "--config", domain.path("kms/hds-kms.yaml"), "--journal",
                    domain.path("copied"), "--words-fd", "0", "--scratch", domain.folder,
                ]
                let told = try await token.hdsctl(recover, input: .text(words[1] + "\n" + words[2] + "\n"))
                #expect(told.contains("is whole and frozen") && told.contains(tokenPrint), "\(told)")
                #expect(told.contains("re-applied: 1") && !told.contains("unknown:"), "\(told)")
                // Nothing is overwritten.
                await #expect(throws: NotInTime.self) {
                    _ = try await token.hdsctl(recover, input: .text(words[1] + "\n" + words[2] + "\n"))
                }

                try deployment.start(.kms, environment: token.environment)
                try await deployment.waitUntilReady(.kms)
                let again = try await Person.logIn("alice", in: deployment, device: "second")
                try await Self.expectFrozen(again, key)
                let status = try await desk.ask("restore", "status")
                #expect(status.contains("re-applied: 1") && status.contains("frozen; open it with"), "\(status)")
                _ = try await desk.sign("restore", "open")
                try await Self.expectReads(again, key)
                let left = try await Person.logIn("bob", in: deployment, device: "second")
                guard case .refused(403, let why) = try await left.client.verdict(onKey: key), !why.contains("frozen")
                else {
                    Issue.record("Bob, who was removed after the backup, reads again")
                    return
                }
                try await again.spaces.post("on another machine", in: space)
                let health = try await deployment.answer(of: .kms, "/healthz").body
                #expect(!String(decoding: health, as: UTF8.self).contains("HDS-STORE-ROLLBACK"))

                // A backup under the token, proved with it and put into yet another database of the configuration.
                let next = try #require(try await desk.ask("backup").split(separator: "\n").first).description
                let config = ["--config", domain.path("kms/hds-kms.yaml"), "--scratch", domain.folder]
                let trial = try await token.hdsctl(["restore", next, "--verify"] + config)
                #expect(trial.contains("The backup is whole"), "\(trial)")
                try await deployment[.kms]?.cut()
                try await new.sql("CREATE DATABASE third OWNER hds", database: "postgres")
                try domain.replace("database: hds", with: "database: third", in: "kms/hds-kms.yaml")
                let third = try await token.hdsctl(
                    ["restore", next, "--journal", domain.path("kms/removals")] + config)
                #expect(third.contains("in the database third is whole and frozen"), "\(third)")
                try deployment.start(.kms, environment: token.environment)
                try await deployment.waitUntilReady(.kms)
                let last = try await Person.logIn("alice", in: deployment, device: "third")
                try await Self.expectFrozen(last, key)
                // The journals of the machine that is gone are older than this backup; the new one was given.
                _ = try await desk.sign("restore", "open")
                try await Self.expectReads(last, key)
            }
        }

        private static func expectFrozen(_ person: Person, _ key: String) async throws {
            guard case .refused(403, let reason) = try await person.client.verdict(onKey: key) else {
                Issue.record("a restored KMS gives no key before an officer's yes")
                return
            }
            #expect(reason.contains("frozen"), "\(reason)")
        }

        private static func expectReads(_ person: Person, _ key: String) async throws {
            guard case .allowed = try await person.client.verdict(onKey: key) else {
                Issue.record("what was acknowledged before the backup is not readable")
                return
            }
        }
    }
}
