import Cryptography
import Foundation
import HDSClient
import KMSClient
import Glibc
import HTTPClient
import TLSChannel
import Testing
import WireText

extension StoryTests {
    /// SIGHUP with people at work.
    @Suite("Reload") struct ReloadStoryTests {
        @Test(
            "certificates, pins and the static key are replaced, what is bad is refused as a whole, and no request is lost"
        )
        func nothingLost() async throws {
            try await Deployment.with { deployment in
                let domain = deployment.domain
                let alice = try await Person.logIn("alice", in: deployment)
                let bob = try await Person.logIn("bob", in: deployment)
                let load = KeyLoad([alice, bob])
                _ = try await eventually("work") { await load.acknowledged > 5 ? true : nil }
                let pids = deployment.pids()

                // The core and the authorization service show new certificates to new connections.
                for (service, name) in [(Service.core, "core/core"), (.auth, "customer/auth")] {
                    let before = try Self.fingerprint(domain, name)
                    try await Self.renew(name, in: domain)
                    let after = try Self.fingerprint(domain, name)
                    #expect(before != after)
                    #expect(try await Self.shown(by: service, domain) == before)
                    try await Self.reload(service, deployment)
                    #expect(try await Self.shown(by: service, domain) == after)
                }

                // The link takes other pins and another account secret, and the static key another certificate.
                let links = try Self.count("linked to the core at", domain)
                try domain.replace(
                    "pins: [\(try Self.pin("core", domain)), ", with: "pins: [\(try Self.pin("issuing", domain)), ",
                    in: Service.kms.configuration)
                try await Self.reload(.kms, deployment)
                try await Self.renew("customer/kms", in: domain, host: Domain.kmsHost)
                try await Self.reload(.kms, deployment)

                // What is not usable is refused as a whole, with what to do, and everything goes on.
                let good = try domain.read(Service.kms.configuration)
                for (old, new, reason) in [
                    ("pins: [", "pins: [sha256/nonsense, ", "pin"),
                    ("ca: ../pki/core/root.pem", "ca: ../pki/core/absent.pem", "absent.pem"),
                    (
                        "pins: [\(try Self.pin("issuing", domain)), \(try Self.pin("next", domain))]",
                        "pins: [\(try Self.pin("next", domain))]", "pin"
                    ),
                    ("client-secret: client-secret", "client-secret: wrong-secret", "service-token-refused"),
                    ("certificate: ../pki/customer/kms.pem", "certificate: ../pki/customer/auth.pem", "certificate"),
                ] {
                    try domain.write("wrong\n", to: "kms/wrong-secret")
                    try domain.replace(old, with: new, in: Service.kms.configuration)
                    let refused = try Self.count("HDS-RELOAD-REFUSED:", domain)
                    deployment[.kms]?.send(SIGHUP)
                    _ = try await eventually("the refusal of \(new)", seen: { deployment[.kms]?.tail() ?? "" }) {
                        try Self.count("HDS-RELOAD-REFUSED:", domain) > refused ? true : nil
                    }
                    let alarms = try await Self.health(deployment)["alarms"]?.elements ?? []
                    let alarm = try #require(alarms.first { $0["id"]?.string == "HDS-RELOAD-REFUSED" })
                    #expect(alarm["detail"]?.string?.contains(reason) == true, "\(alarm["detail"]?.string ?? "")")
                    try domain.write(good, to: Service.kms.configuration)
                }
                // A bad certificate at a server, too.
                let chain = try domain.read("pki/core/core.pem")
                try domain.write(try domain.read("pki/customer/auth.pem"), to: "pki/core/core.pem")
                deployment[.core]?.send(SIGHUP)
                _ = try await eventually("the core's refusal", seen: { deployment[.core]?.tail() ?? "" }) {
                    try domain.read("log/hds-core.log").contains("HDS-RELOAD-REFUSED:") ? true : nil
                }
                try domain.write(chain, to: "pki/core/core.pem")

                // What needs a restart is named; a good configuration clears the alarm.
                try domain.write(good + "workers: 3\n", to: Service.kms.configuration)
                try await Self.reload(.kms, deployment, saying: "needs a restart for workers")
                let alarms = try await Self.health(deployment)["alarms"]?.elements ?? []
                #expect(!alarms.contains { $0["id"]?.string == "HDS-RELOAD-REFUSED" })

                let count = await load.acknowledged
                _ = try await eventually("work after all of it") { await load.acknowledged > count + 5 ? true : nil }
                await load.stop()
                #expect(await load.failures == [])
                #expect(try await load.missing() == 0)
                #expect(try Self.count("linked to the core at", domain) == links, "a renewal is no loss")
                #expect(deployment.pids() == pids && Service.allCases.allSatisfy { deployment[$0]?.isRunning == true })

                // A new device finds the new static key.
                let carol = try await Person.logIn("alice", in: deployment, device: "second")
                _ = try await carol.client.kms.perform(.createKeys(count: 1))
                for person in [alice, bob, carol] { await person.close() }
            }
        }

        // MARK: - Steps

        /// A reload that is taken over.
        private static func reload(
            _ service: Service, _ deployment: Deployment, saying text: String = "took over the configuration"
        ) async throws {
            let log = "log/\(service.rawValue).log"
            let before = try deployment.domain.read(log).count(of: text)
            deployment[service]?.send(SIGHUP)
            _ = try await eventually("the reload of \(service.rawValue)", seen: { deployment[service]?.tail() ?? "" }) {
                try deployment.domain.read(log).count(of: text) > before ? true : nil
            }
        }

        /// Another certificate for the same key, issued by the same authority.
        private static func renew(_ name: String, in domain: Domain, host: String = "localhost") async throws {
            let alternatives = host == "localhost" ? "DNS:localhost,IP:127.0.0.1" : "DNS:\(host)"
            let script = """
                set -euo pipefail
                cd "$1"
                openssl req -x509 -new -key "$2.key" -sha256 -days 90 -set_serial $RANDOM$RANDOM -subj "/CN=$3" \\
                    -CA "${2%/*}/issuing.pem" -CAkey "${2%/*}/issuing.key" -addext "subjectAltName=$4" \\
                    -addext "basicConstraints=critical,CA:FALSE" -out "$2.new" 2>/dev/null
                cat "${2%/*}/issuing.pem" >>"$2.new"
                mv "$2.new" "$2.pem"
                """
            try await ChildProcess.run(
                "bash", ["-c", script, "renew", domain.path("pki"), name, host, alternatives], folder: domain.folder)
        }

        private static func fingerprint(_ domain: Domain, _ name: String) throws -> [UInt8] {
            try #require(try Certificate.all(inPEM: domain.read("pki/\(name).pem")).first).fingerprintSHA256
        }

        private static func pin(_ name: String, _ domain: Domain) throws -> String {
            try domain.read("pki/core/\(name).pin").trimmingCharacters(in: .whitespacesAndNewlines)
        }

        /// What a connection that is made now is shown.
        private static func shown(by service: Service, _ domain: Domain) async throws -> [UInt8] {
            let port = domain["\(service.part)_port"]
            let text = try await ChildProcess.run(
                "bash",
                [
                    "-c", "openssl s_client -connect 127.0.0.1:$1 -servername localhost </dev/null 2>/dev/null", "s",
                    port,
                ],
                folder: domain.folder)
            let pem = try #require(text.range(of: "-----BEGIN CERTIFICATE-----")).lowerBound
            return try #require(try Certificate.all(inPEM: String(text[pem...])).first).fingerprintSHA256
        }

        private static func health(_ deployment: Deployment) async throws -> JSONNode {
            try JSONDocument(try await deployment.answer(of: .kms, "/healthz").body).root
        }

        private static func count(_ text: String, _ domain: Domain) throws -> Int {
            try domain.read("log/hds-kms.log").count(of: text)
        }
    }
}

extension String {
    func count(of text: String) -> Int { components(separatedBy: text).count - 1 }
}
