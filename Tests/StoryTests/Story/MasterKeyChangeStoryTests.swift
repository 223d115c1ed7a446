import Foundation
import Glibc
import HDSClient
import TestServers
import Testing

extension StoryTests {
    /// Rule 22 of the security model: a new key-encryption key reaches the nodes by rolling restart.
    @Suite("The master key changes while people work") struct MasterKeyChangeStoryTests {
        /// Two nodes on one database, each with the file of its configuration.
        private struct Nodes {
            let deployment: Deployment
            let keys: KeyDesk
            let environment: [String: String]
            var domain: Domain { deployment.domain }
            var socket: String { domain.path("kms/second.sock") }
            static let second = "kms/second.yaml"

            func startSecond(_ log: String = "second") throws -> ChildProcess {
                try ChildProcess(
                    Repository.program("hds-kms"), ["--config", domain.path(Self.second)],
                    output: domain.path("log/\(log).log"), environment: environment)
            }

            func restartFirst() async throws {
                deployment[.kms]?.send(SIGTERM)
                _ = try await deployment[.kms]?.end()
                try deployment.start(.kms, environment: environment)
                try await deployment.waitUntilReady(.kms)
                try await live("trial")
            }

            func restartSecond(_ old: ChildProcess) async throws -> ChildProcess {
                old.send(SIGTERM)
                _ = try await old.end()
                let child = try startSecond()
                try await up(child)
                return child
            }

            /// Its control socket answers: it holds the root keys.
            func up(_ child: ChildProcess) async throws {
                _ =
                    try await eventually("the second node", seen: { child.tail() }) {
                        guard child.isRunning else { throw NotInTime(what: "second", limit: .zero, seen: child.tail()) }
                        return (try? await keys.ask("status", socket: socket)) == nil ? nil : true
                    } as Bool
                try await live("second")
            }

            private func live(_ node: String) async throws {
                _ =
                    try await eventually("\(node) live") {
                        try await keys.ask("status").split(separator: "\n").contains {
                            $0.hasPrefix(node) && $0.contains("live")
                        } ? true : nil
                    } as Bool
            }

            /// Puts another master key into a node's configuration.
            func use(_ lines: String, insteadOf old: String, in file: String) throws {
                try domain.replace(old, with: lines, in: file)
            }
        }

        @Test(
            "From a file to a hardware token and on to a systemd credential, one node after the other",
            .enabled(
                if: TestPostgreSQL.isInstalled && StoryToken.isInstalled, "PostgreSQL or softhsm2 is not installed"))
        func rolling() async throws {
            let server = try await TestPostgreSQL.start()
            defer { server.end() }
            let first = Service.kms.configuration
            let change: (Domain) throws -> Void = { domain in
                try KeyDesk.prepare(domain)
                try KeyDesk.useDatabase(server, in: first, of: domain)
                let port = String(domain.healthPort(of: .kms))
                try domain.write(
                    domain.read(first).replacing("node: trial", with: "node: second")
                        .replacing(":\(port)", with: ":0").replacing("control.sock", with: "second.sock")
                        .replacing("folder: audit", with: "folder: audit-second"), to: Nodes.second)
                try FileManager.default.createDirectory(
                    atPath: domain.path("credentials"), withIntermediateDirectories: true)
                try StoryToken.prepare(domain)
            }
            try await Deployment.with(change: change) { deployment in
                let domain = deployment.domain
                let token = StoryToken(domain: domain)
                let environment = token.environment.merging(["CREDENTIALS_DIRECTORY": domain.path("credentials")]) {
                    $1
                }
                let keys = try await KeyDesk.enrol(deployment)
                let nodes = Nodes(deployment: deployment, keys: keys, environment: environment)
                let alice = try await Person.logIn("alice", in: deployment)
                let space = try await alice.spaces.create(name: "Kept", with: [])
                try await alice.spaces.post("hello", in: space)
                let key = try #require(try alice.keyURIs(of: space).first)
                func reads(_ when: String) async throws {
                    guard case .allowed = try await alice.client.verdict(onKey: key) else {
                        Issue.record("alice can not read \(when)")
                        return
                    }
                }
                // The token has to be there when a service first looks.
                let tokenPrint = try await token.create()
                func print(_ file: String) async throws -> String {
                    try await token.hdsctl(["master-key", "fingerprint", domain.path(file)])
                        .trimmingCharacters(in: .whitespacesAndNewlines)
                }
                let filePrint = try await print("kms/master-key")
                #expect(tokenPrint.count == 16 && filePrint.count == 16 && tokenPrint != filePrint)
                try await nodes.restartFirst()
                var second = try nodes.startSecond()
                defer { second.send(SIGKILL) }
                try await nodes.up(second)

                // 1. Wrapped for the token as well: nodes start with either.
                let wrapped = try await keys.confirmed(
                    "master-key", "change-kek", "--token", "hds", "--module", StoryToken.module, "--pin",
                    domain.path("kms/pin"))
                #expect(wrapped.contains(tokenPrint), "\(wrapped)")
                let section = StoryToken.section
                try nodes.use(section, insteadOf: "master-key: master-key", in: first)
                try await nodes.restartFirst()
                try await reads("while one node has the token and the other one the file")
                // Also one that starts with the old key meanwhile.
                second = try await nodes.restartSecond(second)
                let status = try await keys.ask("status")
                #expect(status.contains(tokenPrint) && status.contains(filePrint), "\(status)")
                _ =
                    try await eventually("the alarm of an unfinished change") {
                        try await keys.alarms().contains("ROTATION-RUNNING") ? true : nil
                    } as Bool
                let early = try await keys.refusal("master-key", "change-kek", "--finish")
                #expect(early.contains("\(filePrint) at second") && early.contains(tokenPrint), "\(early)")

                // 2. The other node, then nothing of the file is left.
                try nodes.use(section, insteadOf: "master-key: master-key", in: Nodes.second)
                second = try await nodes.restartSecond(second)
                let done = try await keys.confirmed("master-key", "change-kek", "--finish")
                #expect(done.contains("only \(tokenPrint) opens"), "\(done)")
                _ =
                    try await eventually("no alarm") {
                        try await keys.alarms().contains("ROTATION-RUNNING") ? nil : true
                    } as Bool
                try await reads("with the token")

                // 3. A foreign key, the old one among them, starts nothing and is told from the right one.
                second.send(SIGTERM)
                _ = try await second.end()
                let good = try domain.read(Nodes.second)
                try nodes.use("master-key: master-key", insteadOf: section, in: Nodes.second)
                let refused = try nodes.startSecond("refused")
                #expect(try await refused.end() == .exit(78), "\(refused.tail())")
                #expect(refused.log().contains(tokenPrint) && refused.log().contains(filePrint), "\(refused.log())")
                try domain.write(good, to: Nodes.second)
                second = try nodes.startSecond()
                try await nodes.up(second)

                // 4. On to what systemd hands over, by the same way.
                try await token.hdsctl(["master-key", "create", domain.path("credentials/kms-new")])
                let newPrint = try await print("credentials/kms-new")
                _ = try await keys.confirmed("master-key", "change-kek", "--to", "credential:kms-new")
                for file in [first, Nodes.second] {
                    try nodes.use("master-key: credential:kms-new", insteadOf: section, in: file)
                }
                try await nodes.restartFirst()
                second = try await nodes.restartSecond(second)
                let last = try await keys.confirmed("master-key", "change-kek", "--finish")
                #expect(last.contains("only \(newPrint) opens"), "\(last)")
                try await reads("with the credential")
                try await alice.spaces.post("and written", in: space)
                // A rotation finds one holder again.
                #expect(try await keys.ask("generate").contains("version 2 made"))
                #expect(try await keys.ask("undo").contains("version 2 is deleted"))
                await alice.close()
            }
        }

        @Test("An old version is destroyed only beside a newer proved backup; what dies with it is named before")
        func destroyed() async throws {
            try await Deployment.with(change: { try KeyDesk.prepare($0) }) { deployment in
                let domain = deployment.domain
                let keys = try await KeyDesk.enrol(deployment)
                let early = try await keys.provedBackup()
                // The master key of that backup goes, and no escrow was there.
                try await ChildProcess.run(
                    Repository.program("hdsctl"), ["master-key", "create", domain.path("kms/new-key")],
                    folder: domain.folder)
                _ = try await keys.confirmed("master-key", "change-kek", "--to", domain.path("kms/new-key"))
                let old = try domain.read("kms/master-key")
                try domain.write(domain.read("kms/new-key"), to: "kms/master-key")
                deployment[.kms]?.send(SIGTERM)
                _ = try await deployment[.kms]?.end()
                try deployment.start(.kms)
                try await deployment.waitUntilReady(.kms)
                _ =
                    try await eventually("the new key at the node") {
                        try? await keys.confirmed("master-key", "change-kek", "--finish")
                    } as String
                let late = try await keys.provedBackup()
                for step in ["generate", "stage", "promote"] { try await keys.ask(step) }
                _ = try await eventually("the old version to retire") {
                    try await keys.versions().first?.state == "retired" ? true : nil
                }
                func review() async throws -> [Substring] {
                    try await keys.ask("destroy", "1", "--review").split(separator: "\n")
                }
                let lines = try await review()
                let oldPrint = try #require(old.split(separator: " ").dropFirst().first)
                let newPrint = try #require(domain.read("kms/new-key").split(separator: " ").dropFirst().first)
                #expect(
                    lines.contains { $0.contains(early) && $0.contains("DIES: only master key \(oldPrint) of then") },
                    "\(lines)")
                #expect(
                    lines.contains {
                        $0.contains(late) && $0.hasSuffix("master key \(newPrint)") && !$0.contains("DIES")
                    },
                    "\(lines)")
                #expect(lines.contains { $0.contains("no newer backup was proved") }, "\(lines)")
                let refused = try await keys.refusal("master-key", "destroy", "1")
                #expect(refused.contains("no newer backup was proved"), "\(refused)")
                // Made and not proved is not enough.
                let third = try #require(try await keys.desk.ask("backup").split(separator: "\n").first).description
                #expect(try await keys.refusal("master-key", "destroy", "1").contains("no newer backup was proved"))
                _ = try await keys.desk.hdsctl(
                    [
                        "restore", third, "--verify", "--master-key", domain.path("kms/new-key"), "--scratch",
                        domain.folder,
                    ])
                let proved = try await review()
                #expect(proved.contains { $0.hasPrefix("newer and proved") && $0.hasSuffix(third) }, "\(proved)")
                let done = try await keys.confirmed("master-key", "destroy", "1")
                #expect(done.contains("with it die \(early)") && !done.contains(late), "\(done)")
                #expect(try await keys.destruction() == 1)
                // Die means: with what is there now. Who kept the old key file opens it for ever.
                await #expect(throws: NotInTime.self) {
                    _ = try await keys.desk.hdsctl(
                        [
                            "restore", early, "--verify", "--master-key", domain.path("kms/new-key"), "--scratch",
                            domain.folder,
                        ])
                }
                try domain.write(old, to: "kept-key")
                let kept = [
                    "restore", early, "--verify", "--master-key", domain.path("kept-key"), "--scratch", domain.folder,
                ]
                // The newest erasable keys are under root keys that the old file does not open; those of then are not.
                await #expect(throws: NotInTime.self) { _ = try await keys.desk.hdsctl(kept) }
                let erasable = early.dropLast(".hdsbackup".count) + ".hdserasable"
                _ = try await keys.desk.hdsctl(kept + ["--erasable", String(erasable)])
                #expect(try await keys.ask("undo").contains("version 1 is not destroyed"))
            }
        }
    }
}
