import Glibc
import Testing

@testable import ServiceRuntime

@Suite("Example configuration files")
struct ExampleFileTests {
    /// The file from the line `runtime:` on, where every example ends with it.
    private func runtimePart(of service: String) throws -> String {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let text = try FileLocation("/\(root)/config/\(service).yaml").text()
        let start = try #require(text.firstRange(of: "\nruntime:\n"), "\(service): no section runtime")
        return String(text[start.lowerBound...])
    }

    private struct RuntimeOnly: RuntimeConfiguration {
        let runtime: RuntimeSection
        enum CodingKeys: String, CodingKey, CaseIterable { case runtime }
    }

    @Test(
        "each shows every key of the section runtime, with its default",
        arguments: ["hds-kms", "hds-auth", "hds-core", "hds-ediscovery"])
    func runtimeSection(service: String) throws {
        let part = try runtimePart(of: service)
        let shown = try ConfigurationFile.decode(Array(part.utf8), file: service, as: RuntimeOnly.self).runtime
        #expect(shown.health.address.isLoopback && !shown.health.allowOtherMachines)
        let least = "runtime: {health: {address: \"127.0.0.1:1\"}}"
        let standard = try ConfigurationFile.decode(Array(least.utf8), file: "least", as: RuntimeOnly.self).runtime
        #expect(shown.drainDeadline == standard.drainDeadline)
        #expect(shown.selfTestInterval == standard.selfTestInterval)
        #expect(shown.allowRoot == standard.allowRoot)
        #expect(shown.log.level == standard.log.level && shown.log.format == standard.log.format)
        let keys =
            RuntimeSection.CodingKeys.allCases.map(\.rawValue) + HealthSection.CodingKeys.allCases.map(\.rawValue)
            + LogSection.CodingKeys.allCases.map(\.rawValue)
        for key in keys { #expect(part.contains(" \(key):"), "\(service): \(key)") }
    }
}
