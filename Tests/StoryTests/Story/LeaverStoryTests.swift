import Foundation
import HDSClient
import HTTPClient
import KMSClient
import KMSProtocol
import TestServers
import Synchronization
import Testing
import WireText

extension StoryTests {
    /// A person is cut off everywhere: by command, by an LDAP directory, by SCIM; with the real programs.
    @Suite("People who leave") struct LeaverStoryTests {
        private static let scimToken = String(repeating: "5c1m", count: 16)

        private static func prepare(
            _ domain: Domain, ldap server: TestDirectoryServer? = nil, _ files: DirectoryServerFiles? = nil
        ) throws {
            var section = """
                control:
                  socket: control.sock
                directory:
                  organisation: example
                  scim:
                    token: scim-token

                """
            if let server, let files {
                section += """
                      ldap:
                        - name: corp
                          url: ldap://127.0.0.1:\(server.port)
                          start-tls: true
                          ca: \(files.root)
                          bind-dn: \(TestDirectoryServer.reader.dn)
                          password: ldap-password
                          people: {base: "\(TestDirectoryServer.people)"}
                          every: 1s

                    """
                try domain.write(TestDirectoryServer.reader.password + "\n", to: "auth/ldap-password")
            }
            try domain.write(scimToken + "\n", to: "auth/scim-token")
            try domain.replace("runtime:\n", with: section + "runtime:\n", in: "auth/hds-auth.yaml")
        }

        private static func hdsctl(_ deployment: Deployment, _ words: [String]) async throws -> String {
            try await ChildProcess.run(Repository.program("hdsctl"), words, folder: deployment.domain.folder)
        }

        private static func user(_ deployment: Deployment, _ verb: String, _ person: String) async throws -> String {
            try await hdsctl(
                deployment,
                [
                    "user", verb, person, "--auth-socket", deployment.domain.path("auth/control.sock"), "--socket",
                    deployment.domain.path("kms/control.sock"),
                ])
        }

        /// Whether the KMS still answers, asked with the tokens that the client has.
        private static func isAnswered(_ person: Person) async -> Bool {
            (try? await person.client.kms.perform(.ping)) != nil
        }

        /// Who is not cut off is answered, now or when the machine has a moment.
        private static func expectAnswer(to person: Person) async throws {
            let last = Mutex("")
            _ =
                try await eventually("an answer for \(person.name)", seen: { last.withLock { $0 } }) {
                    do {
                        try await person.client.kms.perform(.ping)
                        return true
                    } catch {
                        last.withLock { $0 = "\(error)" }
                        return nil
                    }
                } as Bool
        }

        @Test("'hdsctl user disable' cuts off at once, says what it did and what remains, and 'enable' lets in again")
        func byCommand() async throws {
            try await Deployment.with(change: { try Self.prepare($0) }) { deployment in
                let alice = try await Person.logIn("alice", in: deployment)
                let bob = try await Person.logIn("bob", in: deployment)
                let space = try await alice.spaces.create(name: "Leavers", with: [])
                _ = try await alice.spaces.add(bob.email, to: space)
                try await alice.spaces.post("hello", in: space)
                #expect(try await bob.texts(of: try await bob.spaces.find("Leavers")) == ["hello"])

                let report = try await Self.user(deployment, "disable", bob.email)
                print("what hdsctl user disable says:\n\(report)")
                #expect(await !Self.isAnswered(bob), "no poll in between: it was done when the command returned")
                #expect(report.contains("\(bob.email) (\(bob.id)) is disabled") && report.contains("1 logins"))
                #expect(report.contains("1 sessions ended") && report.contains(" ms"))
                #expect(report.contains("out of reach") && report.contains("what devices of"))
                #expect(report.contains("1 client to be wiped"))
                #expect(report.contains("the core brings the word to clients that are there"))
                // He is connected, and wiped by the time he looks.
                _ =
                    try await eventually("Bob's device is wiped") {
                        try await Self.user(deployment, "status", bob.id).contains("  wiped ") ? true : nil
                    } as Bool
                #expect(throws: (any Error).self) { try bob.store.current() }
                try await alice.client.kms.perform(.ping)
                let status = try await Self.user(deployment, "status", bob.id)
                #expect(status.contains("KMS     refuses since") && status.contains("0 sessions"))
                // A crash of the KMS forgets nothing.
                try await deployment.restartAfterKill(.kms)
                _ =
                    try await eventually("the KMS that knows it still") {
                        try await Self.user(deployment, "status", bob.id).contains("KMS     refuses since") ? true : nil
                    } as Bool

                let enabled = try await Self.user(deployment, "enable", bob.email)
                #expect(enabled.contains("is not disabled"))
                let again = try await Person.logIn("bob", in: deployment)
                try await Self.expectAnswer(to: again)
                let log = try deployment.domain.read("log/hds-kms.log") + deployment.domain.read("log/hds-auth.log")
                #expect(log.contains("HDS-USER-DISABLED") || log.contains("is cut off"))
                for person in [alice, bob, again] { await person.close() }
            }
        }

        @Test(
            "who is deleted from a real OpenLDAP directory is cut off within a minute, and who is emptied out is not",
            .enabled(if: TestDirectoryServer.isInstalled))
        func byLDAP() async throws {
            let files = try DirectoryServerFiles()
            let server = try await TestDirectoryServer.start(files)
            defer { server.end() }
            try await Deployment.with(change: { try Self.prepare($0, ldap: server, files) }) { deployment in
                try await server.change(TestDirectoryServer.person("alice"))
                try await server.change(TestDirectoryServer.person("bob"))
                try await server.add(people: 1...20)
                func directory(_ verb: String) async throws -> String {
                    try await Self.hdsctl(
                        deployment,
                        ["directory", verb, "--auth-socket", deployment.domain.path("auth/control.sock")])
                }
                _ =
                    try await eventually("the directory is read") {
                        try await directory("status").contains("22 people") ? true : nil
                    } as Bool
                let alice = try await Person.logIn("alice", in: deployment)
                let bob = try await Person.logIn("bob", in: deployment)
                try await Self.expectAnswer(to: bob)
                let begun = ContinuousClock.now
                try await server.remove("bob")
                _ = try await eventually("Bob is cut off") { await Self.isAnswered(bob) ? nil : true } as Bool
                let took = begun.duration(to: .now)
                print("a leaver of the directory was cut off at the KMS after \(took)")
                #expect(took < .seconds(60))
                try await Self.expectAnswer(to: alice)
                // Everybody at once: an alarm, and nobody is cut off. A reading may fall in between and see a few gone, who are
                // leavers then; alice is the last.
                try await server.remove((1...20).map { "user\($0)" } + ["alice"])
                _ =
                    try await eventually("the leavers wait") {
                        try await directory("status").contains("people are gone at once and wait") ? true : nil
                    } as Bool
                let health = String(decoding: try await deployment.answer(of: .auth, "/healthz").body, as: UTF8.self)
                #expect(health.contains("HDS-DIRECTORY-LEAVERS"))
                try await Self.expectAnswer(to: alice)
                #expect(try await directory("accept").contains("leavers accepted"))
                // Who was seen gone only after that is to be accepted as well.
                _ =
                    try await eventually("Alice is cut off") {
                        _ = try? await directory("accept")
                        return await Self.isAnswered(alice) ? nil : true
                    } as Bool
                for person in [alice, bob] { await person.close() }
            }
        }

        @Test("who is set inactive by SCIM over TLS is cut off")
        func bySCIM() async throws {
            try await Deployment.with(change: { try Self.prepare($0) }) { deployment in
                let bob = try await Person.logIn("bob", in: deployment)
                let client = try deployment.authClient()
                func send(_ method: String, _ path: String, _ body: String, token: String = Self.scimToken) async throws
                    -> WebResponse
                {
                    try await client.send(
                        WebRequest(
                            method: method, url: deployment.domain.authURL + "/scim/v2" + path,
                            headers: [("Authorization", "Bearer \(token)"), ("Content-Type", "application/scim+json")],
                            body: Array(body.utf8)))
                }
                #expect(try await send("GET", "/Users", "", token: "wrong").status == 401)
                let made = try await send(
                    "POST", "/Users", #"{"userName":"\#(bob.email)","displayName":"Bob","active":true}"#)
                #expect(made.status == 201)
                #expect(try JSONDocument(made.body).root["id"]?.string == bob.id, "he is the account of the file")
                try await Self.expectAnswer(to: bob)
                let patch = #"{"Operations":[{"op":"Replace","path":"active","value":"False"}]}"#
                #expect(try await send("PATCH", "/Users/\(bob.id)", patch).status == 200)
                _ = try await eventually("Bob is cut off") { await Self.isAnswered(bob) ? nil : true } as Bool
                #expect(try await send("GET", "/Schemas", "").status == 200)
                await client.close()
                await bob.close()
            }
        }
    }
}
