import Foundation
import HDSClient
import Testing

extension StoryTests {
    /// What an operator does to the root key, with `hdsctl` against a KMS that people work with.
    @Suite("The rotation of the root key while people work") struct RotationStoryTests {
        @Test("Sessions, spaces and keys live on; a signed certificate says what was done; a restart finds everything")
        func whole() async throws {
            try await Deployment.with { deployment in
                let socket = deployment.domain.path("kms/control.sock")
                func hdsctl(_ arguments: String...) async throws -> String {
                    try await ChildProcess.run(
                        Repository.program("hdsctl"), ["master-key"] + arguments, folder: deployment.domain.folder)
                }
                func ask(_ command: String) async throws -> String { try await hdsctl(command, "--socket", socket) }
                let play = try await Play(deployment)
                let steps = Play.Step.allCases
                for step in steps.prefix(4) { try await play.perform(step) }
                #expect(try await ask("generate").contains("version 2 made"))
                #expect(try await ask("stage").contains("version 2 is proved by trial"))
                #expect(try await ask("promote").contains("version 2 is active"))
                for step in steps.dropFirst(4).prefix(4) { try await play.perform(step) }
                _ = try await eventually("the old version to retire") {
                    try await ask("status").contains("retired") ? true : nil
                }
                let certificate = try await eventually("a certificate") { try? await ask("certificate") }
                let file = deployment.domain.path("rotation.json")
                try Data(certificate.utf8).write(to: URL(fileURLWithPath: file))
                let fingerprint = try await ChildProcess.run(
                    Repository.program("hdsctl"),
                    ["attestation-key", "fingerprint", deployment.domain.path("kms/attestation.key")],
                    folder: deployment.domain.folder
                ).trimmingCharacters(in: .whitespacesAndNewlines)
                let shown = try await hdsctl("verify-certificate", file, "--key", fingerprint)
                #expect(shown.contains("version 1 (") && shown.contains("replaced by 2 ("), "\(shown)")
                #expect(shown.contains("values under the old version: 0"), "\(shown)")
                try await deployment.restartAfterKill(.kms)
                for step in steps.dropFirst(8) { try await play.perform(step) }
                try play.expectSameSessions()
                await play.close()
            }
        }
    }
}
