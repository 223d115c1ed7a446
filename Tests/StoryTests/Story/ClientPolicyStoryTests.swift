import Foundation
import Testing

extension StoryTests {
    /// `hds` in a domain that demands something of devices.
    @Suite("Policy for clients") struct ClientPolicyStoryTests {
        @Test("hds logs in only with a passphrase, saves no file, says why, and logs out all the same")
        func story() async throws {
            let section = "clients:\n  passphrase: true\n  idle: 8h\n  downloads: false\n"
            try await Deployment.with { domain in
                try domain.write(domain.read(Service.auth.configuration) + section, to: Service.auth.configuration)
            } _: { deployment in
                let domain = deployment.domain
                try domain.write("a long passphrase\n", to: "passphrase")
                try domain.write("figures\n", to: "report.txt")
                func hds(_ words: [String], as ending: ChildProcess.Ending = .exit(0)) async throws -> String {
                    let output = domain.path("hds-\(UUID().uuidString).log")
                    let child = try ChildProcess(
                        Repository.program("hds"), words + ["--home", domain.path("alice")], output: output)
                    #expect(try await child.end(within: .seconds(60)) == ending, "\(words): \(child.tail())")
                    return child.log()
                }
                let login = [
                    "login", "alice@example.com", "--profile", domain.path("domain.json"), "--password-file",
                    domain.path("alice.password"),
                ]
                let unlock = ["--passphrase-file", domain.path("passphrase")]
                let refused = try await hds(login, as: .exit(77))
                #expect(refused.contains("hds passphrase set"), "\(refused)")
                #expect(try await hds(["status"]).contains("nobody"))
                _ = try await hds(["passphrase", "set", "--new-passphrase-file", domain.path("passphrase")])
                _ = try await hds(login + unlock)
                let status = try await hds(["status"] + unlock)
                #expect(status.contains("logged out after 480 min without use; no file is saved"), "\(status)")
                let kept = try await hds(["passphrase", "remove"] + unlock, as: .exit(77))
                #expect(kept.contains("demands a passphrase"), "\(kept)")

                _ = try await hds(["space", "create", "Figures"] + unlock)
                _ = try await hds(["send-file", "Figures", domain.path("report.txt")] + unlock)
                let saved = domain.path("saved.txt")
                let file = try await hds(
                    ["get-file", "Figures", "report.txt", "--output", saved] + unlock, as: .exit(77))
                #expect(file.contains("save files") && !FileManager.default.fileExists(atPath: saved), "\(file)")
                #expect(try await hds(["read", "Figures"] + unlock).contains("report.txt"))
                #expect(try await hds(["logout"] + unlock).contains("Logged out"))
            }
        }
    }
}
