import Cryptography
import Foundation
import TLSChannel
import TestServers
import Testing
import WireText

extension StoryTests {
    /// `hdsctl doctor` as a process, against real faults.
    @Suite("The doctor finds what is wrong, and says what to do") struct DoctorStoryTests {
        /// The line of a check with its fix, or nothing.
        private func finding(_ said: Site.Said, _ check: String) -> String {
            let lines = said.text.split(separator: "\n").map(String.init)
            guard let index = lines.firstIndex(where: { $0.contains("  \(check): ") }) else { return "" }
            return lines[index...].prefix(2).joined(separator: "\n")
        }

        @Test("secrets with a wrong mode, empty or missing, and a configuration that others could write")
        func files() async throws {
            try await Site.with { site in
                #expect(try await site.setup().ending == .exit(0))
                let well = try await site.doctor()
                #expect(well.ending == .exit(0) && well.has(" 0 fail"), "\(well.text)")
                for check in [
                    "configuration", "credential master-key", "certificate", "certificate-clients", "disk", "dns",
                    "core", "pins",
                    "tls-inspection", "authorization", "clock",
                ] {
                    #expect(finding(well, check).hasPrefix("pass"), "\(check): \(well.text)")
                }
                let key = site.path("etc/hds/credentials/kms-master-key")
                chmod(key, 0o640)
                let open = try await site.doctor("--quiet")
                #expect(open.ending == .exit(69) && !open.has("pass  dns"))
                #expect(finding(open, "credential master-key").contains("mode 0640"), "\(open.text)")
                #expect(finding(open, "credential master-key").contains("to do: chmod 600 \(key)"))
                chmod(key, 0o600)
                truncate(key, 0)
                #expect(finding(try await site.doctor(), "credential master-key").hasPrefix("fail"))
                rename(site.path("etc/hds/credentials/kms-client-secret"), site.path("moved"))
                let gone = try await site.doctor("--json")
                let checks = try JSONDocument(text: gone.text).root["checks"]?.elements ?? []
                let failed = checks.filter { $0["result"]?.string == "fail" }.compactMap { $0["id"]?.string }
                #expect(
                    Set(failed).isSuperset(of: ["credential master-key", "credential client-secret"]), "\(gone.text)")
                #expect(checks.allSatisfy { ($0["result"]?.string == "pass") == ($0["fix"] == nil) }, "\(gone.text)")

                chmod(site.configuration, 0o666)
                #expect(finding(try await site.doctor(), "configuration").hasPrefix("fail"))
                chmod(site.configuration, 0o644)
                try site.replace("workers: 0", with: "wokers: 0", in: "etc/hds/hds-kms.yaml")
                let refused = try await site.doctor()
                #expect(refused.ending == .exit(78), "\(refused.text)")
                #expect(finding(refused, "configuration").contains("did you mean workers"), "\(refused.text)")
                #expect(refused.has("journal: "), "what needs no configuration is looked at")
            }
        }

        @Test("a certificate that is over, for another host, or that clients' roots do not reach")
        func certificate() async throws {
            try await Site.with { site in
                #expect(try await site.setup().ending == .exit(0))
                let (domain, pki) = (site.domain, site.domain.path("pki/customer"))
                try domain.write("subjectAltName = DNS:\(Domain.kmsHost)\n", to: "names.cnf")
                try await ChildProcess.run(
                    "/bin/bash",
                    [
                        "-euc",
                        """
                        openssl req -new -key "$0/kms.key" -subj /CN=\(Domain.kmsHost) -out "$1/again.csr"
                        openssl x509 -req -in "$1/again.csr" -CA "$0/issuing.pem" -CAkey "$0/issuing.key" -set_serial 5 \
                            -days -1 -extfile "$1/names.cnf" -out "$1/over.pem"
                        openssl x509 -req -in "$1/again.csr" -CA "$0/issuing.pem" -CAkey "$0/issuing.key" -set_serial 6 \
                            -days 9 -extfile "$1/names.cnf" -out "$1/short.pem"
                        openssl x509 -req -in "$1/again.csr" -CA "$2/issuing.pem" -CAkey "$2/issuing.key" -set_serial 7 \
                            -days 90 -extfile "$1/names.cnf" -out "$1/foreign.pem"
                        """, pki, domain.folder, domain.path("pki/core"),
                    ], folder: domain.folder)
                func use(_ leaf: String, _ issuing: String) throws {
                    try domain.write(
                        try domain.read(leaf) + domain.read("pki/\(issuing)/issuing.pem"),
                        to: "site/etc/hds/kms-static-key.pem", mode: 0o644)
                }
                try use("over.pem", "customer")
                let over = try await site.doctor()
                #expect(over.ending == .exit(69))
                #expect(finding(over, "certificate").contains("is not valid now"), "\(over.text)")
                #expect(finding(over, "certificate-expiry").contains("expired at"), "\(over.text)")
                try use("short.pem", "customer")
                let short = try await site.doctor()
                #expect(short.ending == .exit(0), "\(short.text)")
                #expect(finding(short, "certificate-expiry").hasPrefix("warn"), "\(short.text)")
                try use("foreign.pem", "core")
                let foreign = try await site.doctor()
                #expect(finding(foreign, "certificate").hasPrefix("pass"), "by itself it is one: \(foreign.text)")
                #expect(finding(foreign, "certificate-clients").hasPrefix("fail"), "\(foreign.text)")
                #expect(finding(foreign, "certificate-clients").contains("kms-roots"), "\(foreign.text)")
                try domain.write(
                    try domain.read("pki/customer/auth.pem"), to: "site/etc/hds/kms-static-key.pem", mode: 0o644)
                #expect(finding(try await site.doctor(), "certificate").hasPrefix("fail"))
            }
        }

        @Test("a pin that is not the core's, a name that nobody knows, a core that is away, a clock that is off")
        func network() async throws {
            try await Site.with { site in
                #expect(try await site.setup().ending == .exit(0))
                let domain = site.domain
                let pins = try ["core", "next"].map {
                    String(try domain.read("pki/core/\($0).pin").split(separator: "\n")[0])
                }
                let file = "etc/hds/hds-kms.yaml"
                let written = "[\"\(pins[0])\", \"\(pins[1])\"]"
                try site.replace(written, with: "[\"\(pins[1])\"]", in: file)
                let pin = try await site.doctor()
                #expect(pin.ending == .exit(69))
                #expect(finding(pin, "pins").contains(pins[0]), "what was seen is told: \(pin.text)")
                #expect(finding(pin, "pins").contains("someone stands between"), "\(pin.text)")
                try site.replace("[\"\(pins[1])\"]", with: "[]", in: file)
                let none = try await site.doctor()
                #expect(none.ending == .exit(0) && finding(none, "pins").hasPrefix("warn"), "\(none.text)")
                try site.replace("pins: []", with: "pins: \(written)", in: file)

                let link = "wss://localhost:\(domain["core_port"])/link/v1"
                try site.replace(link, with: "wss://core.invalid:8443/link/v1", in: file)
                let name = try await site.doctor()
                #expect(finding(name, "dns").contains("core.invalid"), "\(name.text)")
                #expect(finding(name, "core").hasPrefix("fail"))
                try site.replace("wss://core.invalid:8443/link/v1", with: link, in: file)

                // Another place of the same server: TLS is right, and no WebSocket comes about.
                try site.replace(link, with: "wss://localhost:\(domain["core_port"])/other", in: file)
                #expect(finding(try await site.doctor(), "core").contains("does not become a WebSocket"))
                try site.replace("/other", with: "/link/v1", in: file)
                try await clock(site)
                try await site.deployment[.core]?.cut()
                let away = try await site.doctor()
                #expect(away.ending == .exit(69) && finding(away, "core").hasPrefix("fail"), "\(away.text)")
                #expect(finding(away, "authorization").hasPrefix("pass"))
            }
        }

        /// A server of keys whose clock goes wrong by an hour.
        private func clock(_ site: Site) async throws {
            let (domain, port) = (site.domain, try LoopbackPort.take())
            let past = Date(timeIntervalSinceNow: -3600)
            let format = DateFormatter()
            format.locale = Locale(identifier: "en_US_POSIX")
            format.timeZone = TimeZone(identifier: "GMT")
            format.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
            let body = #"{"keys":[]}"#
            let answer = [
                "HTTP/1.1 200 OK", "Date: \(format.string(from: past))", "Content-Type: application/json",
                "Content-Length: \(body.utf8.count)", "Connection: close", "", body,
            ].joined(separator: "\r\n")
            try FileManager.default.createDirectory(atPath: domain.path("clock"), withIntermediateDirectories: true)
            try domain.write(answer, to: "clock/jwks.json")
            let server = try ChildProcess(
                "/bin/bash",
                [
                    "-c",
                    "cd \"$0\" && exec openssl s_server -quiet -accept 127.0.0.1:\(port) -cert \"$1/auth.pem\" "
                        + "-cert_chain \"$1/auth.pem\" -key \"$1/auth.key\" -HTTP", domain.path("clock"),
                    domain.path("pki/customer"),
                ], output: domain.path("log/clock.log"))
            let (own, other) = ("\(domain.authURL)/jwks.json", "https://localhost:\(port)/jwks.json")
            try site.replace(own, with: other, in: "etc/hds/hds-kms.yaml")
            let said = try await eventually("the other server") {
                let said = try await site.doctor()
                return finding(said, "issuer \(domain.authURL)").hasPrefix("pass") ? said : nil
            }
            #expect(finding(said, "clock").hasPrefix("fail"), "\(said.text)")
            #expect(finding(said, "clock").contains("localhost's clock is 36"), "\(said.text)")
            try site.replace(other, with: own, in: "etc/hds/hds-kms.yaml")
            try await server.cut()
        }

        @Test("a device that opens the TLS of the link is detected, and named with what to do")
        func inspected() async throws {
            try await Site.with { site in
                #expect(try await site.setup().ending == .exit(0))
                let domain = site.domain
                let pki = try TestPKI.shared.get()
                let core = try Certificate.all(inPEM: try domain.read("pki/core/root.pem"))
                let device = try await FaultRelay(
                    to: try #require(Int(domain["core_port"])),
                    tls: (
                        try .server(identity: pki.auth, applicationProtocols: ["http/1.1"]),
                        try .client(trust: TLSTrust(roots: core), applicationProtocols: ["http/1.1"])
                    ))
                try site.replace(
                    "localhost:\(domain["core_port"])/link", with: "localhost:\(device.port)/link",
                    in: "etc/hds/hds-kms.yaml")
                let said = try await site.doctor()
                await device.close()
                #expect(said.ending == .exit(69))
                let found = finding(said, "tls-inspection")
                #expect(found.hasPrefix("fail") && found.contains("/O=Throw-away customer/CN="), "\(said.text)")
                #expect(found.contains("let this connection pass it without inspection"), "\(said.text)")
            }
        }

        @Test("[HDS-DOCTOR-FAILED] a report that fails becomes an alarm of the running service, and goes with the next")
        func report() async throws {
            try await Site.with { site in
                #expect(try await site.setup().ending == .exit(0))
                let kms = try await site.start()
                let running = try await site.doctor()
                #expect(running.ending == .exit(0) && finding(running, "service").hasPrefix("pass"), "\(running.text)")
                #expect(finding(running, "versions").hasPrefix("pass") && finding(running, "escrow").hasPrefix("warn"))
                chmod(site.path("etc/hds/credentials/kms-client-secret"), 0o644)
                #expect(try await site.doctor("--report").ending == .exit(69))
                func alarms() async throws -> String {
                    try await site.hdsctl(["status", "--socket", site.socket, "--folder", site.root]).text
                }
                _ =
                    try await eventually("the alarm") {
                        let text = try await alarms()
                        return text.contains("alarm     HDS-DOCTOR-FAILED: credential client-secret")
                            && text.contains("doctor    fail") ? true : nil
                    } as Bool
                chmod(site.path("etc/hds/credentials/kms-client-secret"), 0o600)
                #expect(try await site.doctor("--report").ending == .exit(0), "the alarm itself is nothing that fails")
                _ =
                    try await eventually("no alarm") {
                        try await alarms().contains("HDS-DOCTOR-FAILED") ? nil : true
                    } as Bool
                try await kms.cut()
            }
        }
    }
}
