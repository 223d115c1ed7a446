import Glibc
import KeyManagement
import SignedPolicy
import Testing

@testable import KMSService
@testable import LinkedService
@testable import ServiceRuntime

/// The part of the configuration that says whose signatures count, which policy is taken and where the tool asks.
@Suite("Configuration of policy, officers and control socket")
struct ConfigurationTests {
    private static let example: String = {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        return (try? FileLocation("\(root)/config/hds-kms.yaml").text()) ?? ""
    }()

    private func decode(_ text: String) throws -> KMSServiceConfiguration {
        try ConfigurationFile.decode(Array(text.utf8), file: "hds-kms.yaml", folder: "/etc/hds")
    }

    @Test("the example shows every key, with its default, and says nothing that is not taken")
    func example() throws {
        let shown = try decode(Self.example)
        let names =
            PolicySection.CodingKeys.allCases.map(\.rawValue) + ControlSection.CodingKeys.allCases.map(\.rawValue)
            + OfficersSection.CodingKeys.allCases.map(\.rawValue)
        for name in names { #expect(Self.example.contains(" \(name):"), "\(name)") }
        #expect(shown.control.socket.path == ControlSection().socket.path && shown.control.group == nil)
        #expect(shown.officers.file == nil && shown.policy.file == nil)
        let standard = KMSPolicy()
        #expect(shown.policy.policy.intervalLife == standard.intervalLife)
        #expect(shown.policy.policy.requestsPerServiceAndMinute == standard.requestsPerServiceAndMinute)
        #expect(shown.policy.signaturesNeeded == PolicySection().signaturesNeeded)
    }

    @Test("files are found beside the configuration, and a policy can need two signatures")
    func files() throws {
        let text = Self.example
            .replacing("  signatures-needed: 1", with: "  signatures-needed: 2\n  file: policy.signed")
            .replacing("  # file: /etc/hds/officers.json", with: "  file: officers.json")
            .replacing("  # group: hds-operators", with: "  group: hds-operators")
            .replacing("  socket: /run/hds-kms/control.sock", with: "  socket: control.sock")
        let read = try decode(text)
        #expect(read.policy.file?.path == "/etc/hds/policy.signed" && read.policy.signaturesNeeded == 2)
        #expect(read.officers.file?.path == "/etc/hds/officers.json")
        #expect(read.control.socket.path == "/etc/hds/control.sock" && read.control.group == "hds-operators")
    }

    @Test("compliance officers of the configuration are refused: they stand in the signed policy")
    func agents() throws {
        let text = Self.example.replacing("organisation-agents: []", with: "organisation-agents: [carla]")
        let error = #expect(throws: ConfigurationError.self) { try decode(text) }
        #expect("\(String(describing: error))".contains("compliance officers stand in the signed policy"))
        #expect(throws: ConfigurationError.self) {
            try decode(Self.example.replacing("signatures-needed: 1", with: "signatures-needed: 3"))
        }
    }
}
