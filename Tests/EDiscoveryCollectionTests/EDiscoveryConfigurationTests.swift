import Diagnostics
import EDiscoveryService
import ServiceRuntime
import Testing

@Suite("Configuration of hds-ediscovery") struct EDiscoveryConfigurationTests {
    private static let example: String = {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        return (try? FileLocation("\(root)/config/hds-ediscovery.yaml").text()) ?? ""
    }()

    private static func decode(_ text: String) throws -> EDiscoveryConfiguration {
        try ConfigurationFile.decode(Array(text.utf8), file: "hds-ediscovery.yaml", folder: "/etc/hds")
    }

    @Test("The example shows every key and is taken") func example() throws {
        let read = try Self.decode(Self.example)
        #expect(read.node == "ediscovery-1" && read.mirror.batch == 256)
        #expect(read.mirror.directory?.path == "/etc/hds/people.json")
        let names =
            EDiscoveryConfiguration.CodingKeys.allCases.map(\.rawValue)
            + MirrorSection.CodingKeys.allCases.map(\.rawValue)
        for name in names { #expect(Self.example.contains("\(name):"), "\(name)") }
    }

    @Test(
        "What can not be meant is refused",
        arguments: [
            ("batch: 256", "batch: 0"), ("host: kms.example.com", "host: KMS"),
            ("node: ediscovery-1", "nodes: ediscovery-1"),
            ("database: ", "databases: "),
        ])
    func refused(_ old: String, _ new: String) throws {
        #expect(Self.example.contains(old))
        #expect(throws: (any Error).self) { try Self.decode(Self.example.replacing(old, with: new)) }
    }
}
