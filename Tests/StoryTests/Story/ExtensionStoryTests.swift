import Diagnostics
import Foundation
import HDSClient
import HTTPClient
import KMSProtocol
import TestServers
import Testing
import WireText

extension StoryTests {
    @Suite("Previews and the API server, with a real KMS and real processes") struct ExtensionStoryTests {
        private static let services = ["transcode", "api"]

        /// The domain with an officer, an account for each service, an integration, and configurations; no policy yet.
        private func prepare() async throws -> Deployment {
            let domain = try await Domain.make()
            for service in Self.services {
                try await domain.enter(service: service)
                // The package has the same name for the same program.
                try FileManager.default.createSymbolicLink(
                    atPath: domain.path("\(service)/hds-\(service)"),
                    withDestinationPath: Repository.program("hds-ediscovery"))
            }
            let accounts = try domain.read("auth/accounts.yaml")
            let integrations = ["crm", "spy"].map {
                "  - {id: \($0), name: \($0), redirect-uris: [\"http://127.0.0.1/callback\"], integration: true}\n"
            }.joined()
            try #require(!accounts.contains("\nclients:"))
            try domain.write(accounts + "clients:\n" + integrations, to: "auth/accounts.yaml")
            try await domain.enterPolicyOfficer()
            return Deployment(domain)
        }

        private func start(_ service: String, _ more: String, in domain: Domain) throws -> (ChildProcess, port: Int) {
            let port = try LoopbackPort.take()
            try domain.write(
                try domain.configuration(of: service, node: "\(service)-1", health: port, more),
                to: "\(service)/hds-\(service).yaml")
            let child = try ChildProcess(
                domain.path("\(service)/hds-\(service)"), ["--config", domain.path("\(service)/hds-\(service).yaml")],
                output: domain.path("log/\(service).log"))
            return (child, port)
        }

        private func sign(_ version: Int, _ services: [String], in domain: Domain) async throws {
            let lines = services.map { "  - {\($0), spaces: all, notAfter: 2099-12-31}\n" }.joined()
            try await domain.sign(policy: version, "services:\n\(lines)")
        }

        private func health(_ port: Int) async -> String? {
            guard let answer = try? await HealthAddress(port: port, place: nil).answer("/healthz") else { return nil }
            return String(decoding: answer.body, as: UTF8.self)
        }

        /// What a program of others gets when a person lets it act for him.
        private func tokens(_ name: String, client: String, in deployment: Deployment) async throws -> Tokens {
            let store = try StateStore.open(folder: deployment.domain.path("home-\(name)-\(client)")) { nil }
            let login = Login(store)
            var profile = try deployment.profile()
            profile.clientID = client
            try login.pin(profile)
            _ = try await login.logIn(
                email: name + "@" + deployment.domain["mail_domain"],
                proof: .password(Redacted(deployment.domain.password(of: name))))
            return try #require(try store.current().tokens)
        }

        private func ask(
            _ port: Int, _ path: String, _ tokens: Tokens?, post body: String? = nil
        ) async throws -> (status: Int, text: String) {
            let client = WebClient(trust: nil)
            var headers = [("Content-Type", "application/json")]
            tokens?.cloud.reveal { headers.append(("Authorization", "Bearer " + $0)) }
            tokens?.kms.reveal { headers.append(("HDS-KMS-Token", $0)) }
            let answer = try await client.send(
                WebRequest(
                    method: body == nil ? "GET" : "POST", url: "http://127.0.0.1:\(port)\(path)", headers: headers,
                    body: Array((body ?? "").utf8), timeout: .seconds(60)))
            await client.close()
            return (answer.status, String(decoding: answer.body, as: UTF8.self))
        }

        @Test(
            "Without consent both refuse and name the rule; with it a page is drawn and an integration reads with its person's rights [HDS-TRANSCODE-CONSENT] [HDS-API-CONSENT]",
            .timeLimit(.minutes(5)))
        func story() async throws {
            let deployment = try await prepare()
            var children: [ChildProcess] = []
            do {
                try await deployment.startAll()
                try await play(deployment, &children)
                for child in children { try await child.cut() }
                try await deployment.end()
            } catch {
                for child in children { try? await child.cut() }
                try? await deployment.end()
                throw error
            }
        }

        private func play(_ deployment: Deployment, _ children: inout [ChildProcess]) async throws {
            let domain = deployment.domain
            let alice = try await Person.logIn("alice", in: deployment)
            let bob = try await Person.logIn("bob", in: deployment)
            let room = try await alice.spaces.create(name: "Drawings", with: [bob.email])
            let diary = try await alice.spaces.create(name: "Diary", with: [])
            let document = URL(filePath: #filePath).deletingLastPathComponent()
                .appending(path: "../../TextExtractionTests/Documents/page.pdf").standardized.path
            _ = try await alice.spaces.sendFile(document, to: room) { _, _, _ in }
            let number = try #require(try await bob.entries(of: room).last).sequence
            try await alice.spaces.post("what the API shows", in: room)
            try await alice.spaces.post("nobody's business", in: diary)

            let apiPort = try LoopbackPort.take()
            let (drawer, drawerHealth) = try start(
                "transcode", "previews: {drawer: \"\(Repository.program("hds-extract"))\"}", in: domain)
            children.append(drawer)
            let (api, apiHealth) = try start(
                "api",
                "api:\n  address: 127.0.0.1:\(apiPort)\n  profile: ../domain.json\n  scratch: \(domain.path("api/sessions"))",
                in: domain)
            children.append(api)
            for (child, port, alarm) in [
                (drawer, drawerHealth, "HDS-TRANSCODE-CONSENT"), (api, apiHealth, "HDS-API-CONSENT"),
            ] {
                _ = try await eventually("the refusal", within: .seconds(60), seen: { child.tail() }) {
                    await health(port)?.contains(alarm) == true ? true : nil
                }
            }
            let crm = try await tokens("bob", client: "crm", in: deployment)
            // Without consent: the rule of the KMS, by its name.
            do {
                _ = try await bob.spaces.preview(of: number, in: room)
                Issue.record("a preview without consent")
            } catch let error as DiagnosedError {
                #expect("\(error)".contains("no-consent"), "\(error)")
            }
            let refused = try await ask(apiPort, "/v1/spaces", crm)
            #expect(refused.status == 403 && refused.text.contains("no-consent"), "\(refused)")

            let transcoding = "name: drawer, type: transcoding, subject: hds-transcode"
            let server = "name: api, type: api-access, subject: hds-api"
            try await sign(1, [transcoding, server], in: domain)
            let image = try await eventually("the page", within: .seconds(90), seen: { drawer.tail() }) {
                try? await bob.spaces.preview(of: number, size: 200, in: room)
            }
            #expect(image.starts(with: [0x89, 0x50, 0x4E, 0x47]))
            let saved = try await ChildProcess.run(
                Repository.program("hds"), ["preview", room.id, "#\(number)", "-o", domain.path("page.png")],
                folder: domain.folder, environment: ["HDS_HOME": domain.path("home-bob-first")])
            #expect(saved.contains("octets"), "\(saved)")
            await #expect(throws: (any Error).self, "no such page") {
                _ = try await bob.spaces.preview(of: number, page: 9, in: room)
            }

            // The server has a consent now, and the integration has none: its person's tokens open nothing.
            _ = try await eventually("the server", within: .seconds(90), seen: { api.tail() }) {
                let answer = try? await ask(apiPort, "/v1/spaces", crm)
                return answer?.status == 200 ? true : nil
            }
            let closed = try await ask(apiPort, "/v1/spaces/\(room.id)/messages", crm)
            #expect(closed.status == 403 && closed.text.contains("integration-without-consent"), "\(closed)")

            // With a consent that names its client it reads what bob may read, and posts as bob.
            let client = "name: crm, type: api-access, subject: svc-crm, client: crm, operations: [create, update]"
            try await sign(2, [transcoding, server, client], in: domain)
            let read = try await eventually("messages", within: .seconds(90), seen: { api.tail() }) {
                let answer = try? await ask(apiPort, "/v1/spaces/\(room.id)/messages", crm)
                return answer?.status == 200 ? answer?.text : nil
            }
            #expect(read.contains("what the API shows") && read.contains("page.pdf"), "\(read)")
            #expect(try await ask(apiPort, "/v1/spaces/\(diary.id)/messages", crm).status == 404)
            let posted = try await ask(
                apiPort, "/v1/spaces/\(room.id)/messages", crm, post: #"{"text":"by an integration"}"#)
            #expect(posted.status == 201, "\(posted)")
            #expect(try await alice.texts(of: room).last == "by an integration")
            let spy = try await tokens("bob", client: "spy", in: deployment)
            let other = try await ask(apiPort, "/v1/spaces/\(room.id)/messages", spy)
            #expect(other.status == 403 && other.text.contains("integration-without-consent"), "\(other)")

            // Who has left reads nothing more, also with tokens that are in use.
            try await alice.spaces.remove(bob.email, from: room)
            let after = try await ask(apiPort, "/v1/spaces/\(room.id)/messages", crm)
            #expect([403, 404].contains(after.status), "\(after)")
            #expect(try await ask(apiPort, "/v1/spaces", nil).status == 401)
            let described = try await ask(apiPort, "/openapi.json", nil)
            #expect(try JSONDocument(text: described.text).root["openapi"]?.string == "3.1.0")

            let listed = try await ChildProcess.run(
                Repository.program("hdsctl"), ["clients", "--socket", domain.path("kms/control.sock")],
                folder: domain.folder)
            for part in ["crm", "spy", "service-consent:crm", "integration-without-consent"] {
                #expect(listed.contains(part), "\(listed)")
            }
        }
    }
}
