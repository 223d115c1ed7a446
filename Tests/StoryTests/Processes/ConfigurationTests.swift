import Foundation
import HTTPClient
import Testing

extension StoryTests {
    @Suite("A configuration that can not be used") struct ConfigurationTests {
        /// Starts one service alone on a prepared domain and waits for its end.
        private func refusal(
            of service: Service, in domain: Domain, expecting code: Int32 = 78
        ) async throws -> String {
            let output = domain.path("refusal-\(UUID().uuidString).log")
            let child = try ChildProcess(
                Repository.program(service.rawValue), ["--config", domain.path(service.configuration)], output: output)
            #expect(try await child.end() == .exit(code), "\(child.tail())")
            return child.log()
        }

        @Test("An unknown key is refused with its path and line, by every service", arguments: Service.allCases)
        func unknownKey(_ service: Service) async throws {
            let domain = try await Domain.make()
            defer { domain.remove() }
            try domain.replace(
                "runtime:\n  health:\n", with: "runtime:\n  healht: 1\n  health:\n", in: service.configuration)
            let text = try await refusal(of: service, in: domain)
            let lines = try domain.read(service.configuration).split(separator: "\n", omittingEmptySubsequences: false)
            let line = try #require(lines.firstIndex { $0.contains("healht") }) + 1
            #expect(text.contains("runtime.healht"))
            #expect(text.contains("\(service.rawValue).yaml:\(line)") || text.contains("line \(line)"), "\(text)")
            #expect(text.contains("health"), "the nearest key is offered")
        }

        @Test(
            "A host of meetings that is none is refused by its key",
            arguments: ["https://meet.example.net", "Meet.example.net", "meet.example.net:port", "a b", "a/b"])
        func meetingHost(_ host: String) async throws {
            let domain = try await Domain.make()
            defer { domain.remove() }
            try domain.replace(
                "runtime:\n", with: "meetings:\n  host: \"\(host)\"\nruntime:\n", in: Service.core.configuration)
            let text = try await refusal(of: .core, in: domain)
            #expect(text.contains("meetings.host"), "\(text)")
        }

        @Test("A master key that is missing or cut short is refused and named")
        func masterKeyFile() async throws {
            let domain = try await Domain.make()
            defer { domain.remove() }
            let whole = try domain.read("kms/master-key")
            try domain.write(String(whole.prefix(whole.count / 2)), to: "kms/master-key")
            #expect(try await refusal(of: .kms, in: domain).contains("master-key"))
            try FileManager.default.removeItem(atPath: domain.path("kms/master-key"))
            #expect(try await refusal(of: .kms, in: domain).contains("master-key"))
            try domain.write(whole, to: "kms/master-key", mode: 0o644)
            let text = try await refusal(of: .kms, in: domain)
            #expect(text.contains("master-key"))
            #expect(!text.contains(try #require(whole.split(separator: " ").last).prefix(20)))
        }

        @Test("A foreign master key is refused: the store's and its own fingerprint are named, and nothing is changed")
        func foreignMasterKey() async throws {
            try await Deployment.with { deployment in
                let domain = deployment.domain
                try await deployment[.kms]?.cut()
                let own = try domain.read("kms/master-key")
                try FileManager.default.removeItem(atPath: domain.path("kms/master-key"))
                try await ChildProcess.run(
                    Repository.program("hdsctl"), ["master-key", "create", domain.path("kms/master-key")],
                    folder: domain.folder)
                let foreign = try domain.read("kms/master-key")
                let text = try await refusal(of: .kms, in: domain)
                for key in [own, foreign] {
                    let parts = key.split(separator: " ")
                    #expect(parts.count == 3)
                    #expect(text.contains(parts[1]), "fingerprint \(parts[1]) is not named in: \(text)")
                    #expect(!text.contains(parts[2].prefix(12)))
                }
                try domain.write(own, to: "kms/master-key")
                try deployment.start(.kms)
                try await deployment.waitUntilReady(.kms)
            }
        }

        @Test(
            "The master key may stay in a hardware token; with a wrong PIN the KMS does not start and says so",
            .enabled(
                if: FileManager.default.isExecutableFile(atPath: "/usr/bin/softhsm2-util"),
                "softhsm2 is not installed"))
        func hardwareToken() async throws {
            let deployment = Deployment(try await Domain.make())
            let domain = deployment.domain
            defer { domain.remove() }
            let folder = domain.path("tokens")
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try domain.write("directories.tokendir = \(folder)\nlog.level = ERROR\n", to: "softhsm.conf")
            let environment = ["SOFTHSM2_CONF": domain.path("softhsm.conf")]
            func run(_ program: String, _ arguments: [String]) async throws {
                let child = try ChildProcess(
                    program, arguments, output: domain.path("log/token.log"), environment: environment)
                #expect(try await child.end() == .exit(0), "\(child.tail())")
            }
            try await run(
                "/usr/bin/softhsm2-util",
                ["--init-token", "--free", "--label", "hds", "--so-pin", "so-pin-1234", "--pin", "pin-5678"])
            try domain.write("pin-5678\n", to: "kms/pin")
            let module = "/usr/lib/softhsm/libsofthsm2.so"
            try await run(
                Repository.program("hdsctl"),
                [
                    "master-key", "create-in-token", "--module", module, "--token", "hds", "--passphrase-file",
                    domain.path("kms/pin"),
                ])
            try domain.replace(
                "master-key: master-key",
                with: """
                    master-key-token:
                      module: \(module)
                      token: hds
                      key: kms-master-key
                      pin: pin
                    """, in: "kms/hds-kms.yaml")
            // Twice: the second start opens what the first one sealed.
            for _ in 0..<2 {
                let child = try deployment.start(.kms, environment: environment)
                _ =
                    try await eventually("root keys unwrapped", within: .seconds(30), seen: { child.tail() }) {
                        await deployment.status(of: .kms, "/livez") == 200 ? true : nil
                    } as Bool
                try await child.cut()
            }
            try domain.write("pin-0000\n", to: "kms/pin")
            let refused = try deployment.start(.kms, environment: environment)
            #expect(try await refused.end() == .exit(78))
            #expect(refused.log().contains("CKR_PIN_INCORRECT") && !refused.log().contains("pin-0000"))
        }

        @Test("A second KMS on the same store is refused, and the first goes on")
        func secondOnTheSameStore() async throws {
            let deployment = try await Deployment.shared()
            let domain = deployment.domain
            let second = "kms/second.yaml"
            let port = String(domain.healthPort(of: .kms))
            try domain.write(
                try domain.read("kms/hds-kms.yaml").replacingOccurrences(of: ":\(port)", with: ":0"), to: second)
            let child = try ChildProcess(
                Repository.program("hds-kms"), ["--config", domain.path(second)], output: domain.path("log/second.log"))
            let ending = try await child.end()
            #expect(ending != .exit(0), "\(child.tail())")
            guard case .exit = ending else {
                Issue.record("it ended by \(ending)")
                return
            }
            #expect(child.log().contains("kms.sqlite"), "\(child.tail())")
            #expect(await deployment.status(of: .kms, "/readyz") == 200)
        }

        @Test("A certificate of another host is refused")
        func foreignCertificate() async throws {
            let domain = try await Domain.make()
            defer { domain.remove() }
            try domain.replace("host: kms.example.com", with: "host: keys.example.com", in: "kms/hds-kms.yaml")
            let text = try await refusal(of: .kms, in: domain)
            #expect(text.contains("keys.example.com"), "\(text)")
            #expect(text.contains("kms.example.com"), "\(text)")
        }

        @Test("With a wrong pin for the core the KMS is not ready, says so, and has no way around")
        func wrongPin() async throws {
            let domain = try await Domain.make()
            let deployment = Deployment(domain)
            do {
                let pin = try domain.read("pki/core/core.pin").trimmingCharacters(in: .whitespacesAndNewlines)
                // A right one of something else: the customer's world.
                try domain.replace(
                    pin, with: "sha256/" + Data(repeating: 7, count: 32).base64EncodedString(), in: "kms/hds-kms.yaml")
                try deployment.start(.auth)
                try deployment.start(.core)
                try await deployment.waitUntilReady(.auth)
                try await deployment.waitUntilReady(.core)
                let kms = try deployment.start(.kms)
                _ = try await eventually("the alarm", seen: { kms.tail() }) {
                    kms.log().contains("HDS-CLOUD-PIN-MISMATCH") ? true : nil
                }
                #expect(await deployment.status(of: .kms, "/readyz") == 503)
                #expect(await deployment.status(of: .kms, "/livez") == 200)
                #expect(kms.isRunning)
                // The core has seen nobody.
                let health = try await deployment.answer(of: .core, "/healthz")
                #expect(String(decoding: health.body, as: UTF8.self).contains("no link of example"))
                try await deployment.end()
            } catch {
                try? await deployment.end()
                throw error
            }
        }
    }
}
