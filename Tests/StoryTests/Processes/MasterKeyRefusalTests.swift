import Foundation
import Glibc
import Testing

extension StoryTests {
    /// Every way in which a master key can be wrong: the service ends with 78 and says which key is wanted.
    @Suite("A master key that does not open the key store") struct MasterKeyRefusalTests {
        private static let hasToken = FileManager.default.isExecutableFile(atPath: "/usr/bin/softhsm2-util")

        /// A key store that was opened once, and its service stopped.
        private struct Stage {
            let deployment: Deployment
            let print: String
            var domain: Domain { deployment.domain }
            var file: String { domain.path("kms/master-key") }

            static func with(_ body: (Stage) async throws -> Void) async throws {
                try await Deployment.with { deployment in
                    try await deployment[.kms]?.cut()
                    let text = try deployment.domain.read("kms/master-key")
                    let print = try #require(text.split(separator: " ").dropFirst().first)
                    let stage = Stage(deployment: deployment, print: String(print))
                    try await body(stage)
                    // A refused start has changed nothing: the right key opens it as before.
                    try deployment.start(.kms)
                    try await deployment.waitUntilReady(.kms)
                }
            }

            /// Starts the service; what it says, in the form of the log that was asked for.
            func refusal(
                _ what: String, environment: [String: String] = [:], expecting parts: String...
            ) async throws {
                let output = domain.path("refused-\(UUID()).log")
                let child = try ChildProcess(
                    Repository.program("hds-kms"), ["--config", domain.path(Service.kms.configuration)],
                    output: output, environment: environment)
                #expect(try await child.end() == .exit(78), "\(what): \(child.tail())")
                let text = child.log()
                for part in parts + ["hds-kms can not start"] {
                    #expect(text.contains(part), "\(what): '\(part)' is not in \(text)")
                }
                #expect(!text.contains(try domain.masterKeyText()), "\(what)")
            }

            var wanted: String {
                "the key with the fingerprint \(print), which wraps version 1 of the root key in the key store"
            }
        }

        @Test("A file that is missing, cut off, damaged, foreign, no key file or open to others")
        func file() async throws {
            try await Stage.with { stage in
                let (domain, own) = (stage.domain, try stage.domain.read("kms/master-key"))
                try FileManager.default.moveItem(atPath: stage.file, toPath: stage.file + ".away")
                try domain.write("x", to: "kms/other")
                // `masterKeyText` is for control: what must not be shown.
                try FileManager.default.copyItem(atPath: stage.file + ".away", toPath: stage.file)
                try domain.replace("master-key: master-key", with: "master-key: nowhere", in: "kms/hds-kms.yaml")
                try await stage.refusal(
                    "missing", expecting: stage.wanted, "nowhere", "found:    no file", "[master-key-missing")
                try domain.replace("master-key: nowhere", with: "master-key: other", in: "kms/hds-kms.yaml")
                func put(_ text: String, mode: Int = 0o600) throws {
                    try? FileManager.default.removeItem(atPath: domain.path("kms/other"))
                    try domain.write(text, to: "kms/other", mode: mode)
                }
                for count in [0, 5, 20, 40, own.utf8.count - 2] {
                    try put(String(own.prefix(count)))
                    try await stage.refusal(
                        "cut off at \(count)", expecting: stage.wanted, "found:    \(count)\n",
                        "[master-key-truncated")
                }
                try put(own.replacingOccurrences(of: stage.print, with: "0123456789abcdef"))
                try await stage.refusal(
                    "damaged", expecting: stage.wanted, "found:    0123456789abcdef", "[master-key-damaged")
                try put("-----BEGIN PRIVATE KEY-----\n")
                try await stage.refusal("no key", expecting: stage.wanted, "[master-key-malformed")
                try put(own, mode: 0o644)
                try await stage.refusal(
                    "open", expecting: stage.wanted, "found:    mode 0644", "[master-key-permissions")
                try? FileManager.default.removeItem(atPath: domain.path("kms/other"))
                try await ChildProcess.run(
                    Repository.program("hdsctl"), ["master-key", "create", domain.path("kms/other")],
                    folder: domain.folder)
                let foreign = try #require(try domain.read("kms/other").split(separator: " ").dropFirst().first)
                try await stage.refusal(
                    "foreign", expecting: "root key version 1", "expected: fingerprint \(stage.print)",
                    "found:    \(foreign)", "[master-key-mismatch")
                try domain.replace("master-key: other", with: "master-key: master-key", in: "kms/hds-kms.yaml")
            }
        }

        @Test(
            "A credential that systemd did not hand over, or handed over cut off or foreign; `systemctl status` shows it"
        )
        func credential() async throws {
            try await Stage.with { stage in
                let (domain, own) = (stage.domain, try stage.domain.read("kms/master-key"))
                try domain.replace("master-key: master-key", with: "master-key: credential:kek", in: "kms/hds-kms.yaml")
                try await stage.refusal(
                    "no folder", expecting: stage.wanted, "LoadCredential=kek", "[credential-missing")
                let folder = domain.path("credentials")
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
                let environment = ["CREDENTIALS_DIRECTORY": folder]
                try await stage.refusal(
                    "not handed over", environment: environment, expecting: stage.wanted, "\(folder)/kek",
                    "[master-key-missing")
                // Systemd's modes are its own affair.
                try domain.write(String(own.prefix(30)), to: "credentials/kek", mode: 0o444)
                try await stage.refusal(
                    "cut off", environment: environment, expecting: stage.wanted, "[master-key-truncated")
                try FileManager.default.removeItem(atPath: folder + "/kek")
                try await ChildProcess.run(
                    Repository.program("hdsctl"), ["master-key", "create", folder + "/kek"], folder: domain.folder)
                let foreign = try #require(try domain.read("credentials/kek").split(separator: " ").dropFirst().first)
                let socket = try NotifySocket(path: domain.path("notify"))
                try await stage.refusal(
                    "foreign", environment: environment.merging(["NOTIFY_SOCKET": socket.path]) { $1 },
                    expecting: "expected: fingerprint \(stage.print)", "found:    \(foreign)")
                let lines = socket.lines()
                #expect(
                    lines.contains {
                        $0.hasPrefix("STATUS=Can not start: ") && $0.contains(stage.print) && $0.contains(foreign)
                    }, "\(lines)")
                #expect(!lines.contains("READY=1"))
                try domain.replace("master-key: credential:kek", with: "master-key: master-key", in: "kms/hds-kms.yaml")
            }
        }

        @Test(
            "A token that is not there, has no such key, refuses the PIN, or has another key",
            .enabled(if: hasToken, "softhsm2 is not installed"))
        func token() async throws {
            try await Stage.with { stage in
                let domain = stage.domain
                try FileManager.default.createDirectory(
                    atPath: domain.path("tokens"), withIntermediateDirectories: true)
                try domain.write(
                    "directories.tokendir = \(domain.path("tokens"))\nlog.level = ERROR\n", to: "softhsm.conf")
                let environment = ["SOFTHSM2_CONF": domain.path("softhsm.conf")]
                func run(_ program: String, _ arguments: [String]) async throws {
                    let child = try ChildProcess(
                        program, arguments, output: domain.path("log/token.log"), environment: environment)
                    #expect(try await child.end() == .exit(0), "\(child.tail())")
                }
                let whole = try domain.read("kms/hds-kms.yaml")
                func use(_ module: String = "/usr/lib/softhsm/libsofthsm2.so", pin: String = "pin-5678") throws {
                    try domain.write("\(pin)\n", to: "kms/pin")
                    try domain.write(
                        whole.replacingOccurrences(
                            of: "master-key: master-key\n",
                            with: """
                                master-key-token:
                                  module: \(module)
                                  token: hds
                                  key: kms-master-key
                                  pin: pin

                                """), to: "kms/hds-kms.yaml")
                }
                try use("/usr/lib/no-such-module.so")
                try await stage.refusal("no module", environment: environment, expecting: stage.wanted, "[token-module")
                try use()
                try await stage.refusal("no token", environment: environment, expecting: stage.wanted, "[token-missing")
                try await run(
                    "/usr/bin/softhsm2-util",
                    ["--init-token", "--free", "--label", "hds", "--so-pin", "so-pin-1234", "--pin", "pin-5678"])
                try await stage.refusal("no key", environment: environment, expecting: stage.wanted, "[token-key")
                try use(pin: "pin-0000")
                try await stage.refusal("wrong PIN", environment: environment, expecting: stage.wanted, "[token-login")
                try use()
                try await run(
                    Repository.program("hdsctl"),
                    [
                        "master-key", "create-in-token", "--module", "/usr/lib/softhsm/libsofthsm2.so", "--token",
                        "hds",
                        "--passphrase-file", domain.path("kms/pin"),
                    ])
                try await stage.refusal(
                    "another key", environment: environment, expecting: "expected: fingerprint \(stage.print)",
                    "root key version 1", "found:    ", "[master-key-mismatch")
                try domain.write(whole, to: "kms/hds-kms.yaml")
            }
        }
    }
}
