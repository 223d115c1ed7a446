import AuditTrail
import Diagnostics
import Foundation
import HDSClient
import HTTPClient
import KMSClient
import KMSProtocol
import Testing
import WireText

extension StoryTests {
    @Suite("A service and the signed policy") struct PolicyStoryTests {
        /// A service account that speaks to the KMS, over the cloud connection of a device.
        private struct Indexer {
            let device: HostileClient
            let session: KMSClientSession
            let credential: KMSCredential

            static let id = "svc-indexer"

            static func connect(through device: HostileClient, in deployment: Deployment) async throws -> Indexer {
                let secret = try deployment.domain.read("svc.secret").trimmingCharacters(in: .whitespacesAndNewlines)
                let web = try deployment.authClient()
                let account = Data("\(id):\(secret)".utf8).base64EncodedString()
                let response = try await web.send(
                    WebRequest(
                        method: "POST", url: deployment.domain.authURL + "/token",
                        headers: [
                            ("Authorization", "Basic " + account),
                            ("Content-Type", "application/x-www-form-urlencoded"),
                        ], body: Array("grant_type=client_credentials&audience=kms".utf8)))
                await web.close()
                let token = try #require(try JSONDocument(response.body).root["access_token"]?.string)
                let credential = KMSCredential(clientID: "https://indexer", userID: id, bearer: .init(token))
                let opening = try SessionOpening(to: device.key, as: credential, at: .now())
                guard case .answer(let answer) = try SignedMessage(await device.ask(opening.text), signedBy: device.key)
                else { throw NotInTime(what: "a session", limit: .zero, seen: "a reset") }
                return Indexer(
                    device: device, session: try opening.finish(answer, at: .now()), credential: credential)
            }

            /// What it gets for a key: `200`, or the reason of the refusal.
            func retrieve(_ key: String) async throws -> String {
                let request = try session.wrap(.retrieveKey(key), as: credential, at: .now())
                let answer = try session.open(try await device.ask(request.text))
                return answer.status == 200 ? "200" : answer.reason ?? "\(answer.status)"
            }
        }

        /// The KMS with an officer Ada, and a policy file that is not there yet.
        private func prepare() async throws -> Deployment {
            let domain = try await Domain.make()
            try await ChildProcess.run(
                Repository.program("hds-auth"),
                [
                    "add-service", "--accounts", domain.path("auth/accounts.yaml"), "--id", Indexer.id,
                    "--organisation", "example", "--grant", "kms=index", "--secret-file", domain.path("svc.secret"),
                ], folder: domain.folder)
            try await domain.enterPolicyOfficer()
            return Deployment(domain)
        }

        private func status(_ domain: Domain) async throws -> String {
            try await ChildProcess.run(
                Repository.program("hdsctl"), ["status", "--socket", domain.path("kms/control.sock")],
                folder: domain.folder)
        }

        @Test("An indexer reads nothing, reads by a signed policy, and is shut out by the next one: without a restart")
        func story() async throws {
            let deployment = try await prepare()
            do {
                try await deployment.startAll()
                try await play(deployment)
                try await deployment.end()
            } catch {
                try? await deployment.end()
                throw error
            }
        }

        private func play(_ deployment: Deployment) async throws {
            let domain = deployment.domain
            let kms = try #require(deployment[.kms])
            let alice = try await Person.logIn("alice", in: deployment)
            let space = try await alice.spaces.create(name: "Indexed", with: [])
            try await alice.spaces.post("what the indexer wants", in: space)
            let key = try #require(try alice.keyURIs(of: space).first)
            let device = try await HostileClient("bob", in: deployment)
            let indexer = try await Indexer.connect(through: device, in: deployment)

            #expect(try await indexer.retrieve(key).contains("(no-consent)"))
            #expect(try await status(domain).contains("policy    none"))
            #expect(try await status(domain).contains("ada (ada: policy)"))

            let consent =
                "services:\n  - {name: indexer, type: search-indexing, subject: \(Indexer.id), spaces: all, "
                + "notAfter: 2099-12-31}\n"
            let first = try await domain.sign(policy: 1, consent)
            _ = try await eventually("the indexer reads", seen: { kms.tail() }) {
                try await indexer.retrieve(key) == "200" ? true : nil
            }
            #expect(try await status(domain).contains("policy    version 1"))
            let health = String(decoding: try await deployment.answer(of: .kms, "/healthz").body, as: UTF8.self)
            #expect(health.contains("version 1 is in force, with 1 services"), "\(health)")

            let sentences = try await ChildProcess.run(
                Repository.program("hdsctl"), ["policy", "show", "--socket", domain.path("kms/control.sock")],
                folder: domain.folder)
            #expect(sentences.contains("The service indexer has a consent: search-indexing"), "\(sentences)")

            let second = try await domain.sign(policy: 2, "")
            _ = try await eventually("the indexer is shut out", seen: { kms.tail() }) {
                try await indexer.retrieve(key).contains("(no-consent)") ? true : nil
            }
            // The earlier policy, genuine as it is, brings nothing back, and the operator is told.
            try domain.write(try domain.read(first), to: "kms/policy.signed")
            _ = try await eventually("the alarm", seen: { kms.tail() }) {
                try await status(domain).contains("HDS-POLICY-REFUSED") ? true : nil
            }
            #expect(try await indexer.retrieve(key).contains("(no-consent)"))
            #expect(try await status(domain).contains("policy    version 2"))
            #expect(deployment[.kms]?.pid == kms.pid && kms.isRunning)

            // Nor does a restart.
            try await deployment.restartAfterKill(.kms)
            try await deployment.waitUntilReady(.kms)
            #expect(try await status(domain).contains("HDS-POLICY-REFUSED"))
            #expect(try await indexer.retrieve(key).contains("(no-consent)"))
            try domain.write(try domain.read(second), to: "kms/policy.signed")
            let reloaded = "hds-kms took over the configuration"
            deployment[.kms]?.send(SIGHUP)
            _ = try await eventually("version 2 again") {
                try await status(domain).contains("policy    version 2") ? true : nil
            }
            _ = try await eventually("the reload", seen: { deployment[.kms]?.tail() ?? "" }) {
                try domain.read("log/hds-kms.log").contains(reloaded) ? true : nil
            }

            let acts = try TrailReader(folder: domain.path("kms/audit")).records(AuditQuery()).map(\.record)
                .filter { $0.kind == .policy }
            #expect(acts.map(\.rule) == ["policy-widened", "policy-changed", "policy-resumed"])
            #expect(acts.allSatisfy { $0.user == "officer:ada" })
            let journal = try domain.read("log/hds-kms.log")
            #expect(journal.contains("HDS-POLICY-TAKEN") || journal.contains("a signed policy is in force: version 1"))
            await device.close()
            await alice.close()
        }
    }
}
