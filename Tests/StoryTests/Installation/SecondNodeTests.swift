import Foundation
import TestServers
import Testing
import WireText

extension StoryTests {
    /// A cluster from its first node on, by `hdsctl setup` alone and an officer's word.
    @Suite("A second node by one command", .enabled(if: TestPostgreSQL.isInstalled)) struct SecondNodeTests {
        @Test("joins by a one-time code, waits for the officer, and serves; with another static key it is refused")
        func join() async throws {
            let server = try await TestPostgreSQL.start()
            defer { server.end() }
            let store = """
                officers: officers.json
                store:
                  postgresql:
                    hosts: ["localhost:\(server.port)"]
                    user: hds
                    password: \(server.folder)/password
                    ca: \(server.folder)/root.pem

                """
            let change = { (domain: Domain) async throws in
                try domain.replace(
                    "    kms-cluster:", with: "    node-list:\n      officers: ../officers.json\n    kms-cluster:",
                    in: "core/hds-core.yaml")
                _ = try await StoryTests.EnrolmentStoryTests.Desk.enrolOfficer(domain)
            }
            try await Site.with(change: change) { site in
                let desk = StoryTests.EnrolmentStoryTests.Desk(domain: site.domain)
                let first = try Site(site.deployment, "kms-1", more: store)
                let made = try await first.setup()
                #expect(made.ending == .exit(0) && made.has("ok  node: kms-1 is the first one"), "\(made.text)")
                let one = try first.begin()
                try await approve("kms-1", waiting("kms-1", at: first), at: first, desk)
                try await first.waitUntilReady(one)

                let second = try Site(site.deployment, "kms-2", port: LoopbackPort.take(), more: store)
                let stranger = try await second.setup()
                #expect(stranger.ending == .exit(75) && stranger.has("is no node of it"), "\(stranger.text)")
                let code = try await invite("kms-2", at: first)
                let joined = try await second.setup("--join", "--code-file", code)
                #expect(joined.ending == .exit(75) && joined.has("waits for an officer's word"), "\(joined.text)")
                let fingerprint = try await waiting("kms-2", at: first)
                #expect(joined.has("hdsctl node approve kms-2 \(fingerprint)"), "\(joined.text)")
                let patient = try await second.setup("--join")
                #expect(patient.ending == .exit(75) && patient.has("waits for an officer's word"), "\(patient.text)")
                try await approve("kms-2", fingerprint, at: first, desk)
                let done = try await second.setup("--join")
                #expect(done.ending == .exit(0) && done.has("opens the keys of the cluster"), "\(done.text)")
                let running = try await second.start()
                #expect(
                    try site.domain.read("kms-1/etc/hds/credentials/kms-master-key")
                        != site.domain.read("kms-2/etc/hds/credentials/kms-master-key"), "each has its own")
                let status = try await first.hdsctl(["status", "--socket", first.socket, "--folder", first.root])
                #expect(status.has("node      kms-1") && status.has("node      kms-2"), "\(status.text)")

                try await otherKey(site, store, at: first)
                try await running.cut()
                try await one.cut()
            }
        }

        /// A machine that was given some other static key.
        private func otherKey(_ site: Site, _ store: String, at first: Site) async throws {
            let domain = site.domain
            try await ChildProcess.run(
                "openssl",
                [
                    "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/CN=\(Domain.kmsHost)",
                    "-addext",
                    "subjectAltName=DNS:\(Domain.kmsHost)", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout",
                    domain.path("other.key"), "-out", domain.path("other.pem"),
                ], folder: domain.folder)
            let third = try Site(
                site.deployment, "kms-3", key: false, port: LoopbackPort.take(),
                more: "certificate:\n  private-key: other.key\n  chain: other.pem\n" + store)
            let code = try await invite("kms-3", at: first)
            let said = try await third.setup("--join", "--code-file", code)
            #expect(said.ending == .exit(75) && said.has("another static key than this machine"), "\(said.text)")
        }

        private func waiting(_ name: String, at site: Site) async throws -> String {
            try await eventually("the key of \(name)") {
                let said = try await site.hdsctl(["node", "list", "--json", "--socket", site.socket])
                guard said.ending == .exit(0) else { return nil }
                return try JSONDocument(text: said.text).root["nodes"]?.elements?.first {
                    $0["node"]?.string == name
                }?["waiting"]?.string
            }
        }

        private func invite(_ name: String, at site: Site) async throws -> String {
            let said = try await site.hdsctl(["node", "invite", name, "--json", "--socket", site.socket])
            let code = try #require(try JSONDocument(text: said.text).root["code"]?.string)
            try site.domain.write(code + "\n", to: "code-\(name)")
            return site.domain.path("code-\(name)")
        }

        private func approve(
            _ name: String, _ fingerprint: String, at site: Site, _ desk: StoryTests.EnrolmentStoryTests.Desk
        ) async throws {
            let said = try await site.hdsctl([
                "node", "approve", name, fingerprint, "--socket", site.socket, "--officer-key", desk.key,
                "--passphrase-file", desk.passphrase,
            ])
            #expect(said.ending == .exit(0), "\(said.text)")
        }
    }
}
