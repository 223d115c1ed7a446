import Foundation
import Testing

extension StoryTests {
    @Suite("The control socket of a running KMS") struct ControlStoryTests {
        @Test("hdsctl says how it is, who its officers are and that no policy is in force")
        func status() async throws {
            let deployment = try await Deployment.shared()
            let socket = deployment.domain.path("kms/control.sock")
            func hdsctl(_ arguments: String...) async throws -> String {
                try await ChildProcess.run(
                    Repository.program("hdsctl"), arguments + ["--socket", socket], folder: deployment.domain.folder)
            }
            let text = try await hdsctl("status")
            #expect(text.contains("hds-kms") && text.contains("node trial of kms.example.com"), "\(text)")
            #expect(text.contains("policy    none"), "\(text)")
            #expect(text.contains("officers  none: nobody can sign"), "\(text)")
            #expect(text.contains("freezes   none"), "\(text)")
            #expect(try await hdsctl("control", "ping").contains("answers for kms.example.com"))
            #expect(try await hdsctl("control", "call", "policy").contains("No policy is in force"))
        }

        @Test("A socket that nobody may replace is made with mode 0660, and it is gone when the service has stopped")
        func file() async throws {
            try await Deployment.with { deployment in
                let path = deployment.domain.path("kms/control.sock")
                let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
                #expect(mode == 0o660)
                let kms = try #require(deployment[.kms])
                kms.send(SIGTERM)
                #expect(try await kms.end(within: .seconds(20)) == .exit(0), "\(kms.tail())")
                #expect(!FileManager.default.fileExists(atPath: path))
            }
        }
    }
}
