import EDiscoveryExport
import EDiscoveryModel
import Foundation
import Glibc
import JOSESignature
import TestServers
import Testing
import WireText

@Suite("hdsctl ediscovery")
struct VerifyCommandTests {
    let fixture: ExportFixture

    init() throws {
        fixture = try ExportFixture()
        var json = JSONWriter()
        fixture.jwk.write(to: &json)
        try fixture.write(json.bytes(), to: "signer.jwk")
    }

    /// The program stands beside the test bundle.
    private static let program: String = {
        let place = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().path
        if FileManager.default.isExecutableFile(atPath: place + "/hdsctl") { return place + "/hdsctl" }
        return "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/") + "/.build/debug/hdsctl"
    }()

    private func run(_ words: String...) async throws -> Program.Outcome {
        try await Program.run([Self.program, "ediscovery"] + words)
    }

    private var key: String { fixture.path("signer.jwk") }
    private var export: String { fixture.path("export") }

    @Test("A sound export ends with 0, in words and as JSON")
    func sound() async throws {
        let statement = try await fixture.export(to: "export")
        let words = try await run("verify", export, "--key", key)
        #expect(words.status == 0 && words.errors.isEmpty, "\(words)")
        #expect(words.output.hasPrefix("sound: report report-7, matter M-2026/12, 11 items, "))
        #expect(words.output.contains(Hexadecimal.encode(statement.root)))
        let json = try await run("verify", export, "--key", key, "--json")
        #expect(try JSONDocument(text: json.output.trimmingCharacters(in: .newlines)).root["sound"]?.boolean == true)
    }

    @Test("One that was changed ends with 65 and names file and fault")
    func unsound() async throws {
        try await fixture.export(to: "export")
        try fixture.write([1], to: "export/data/items.csv")
        try fixture.write([1], to: "export/data/eml/extra\u{1B}[2J.eml")
        unlink(fixture.path("export/data/problems.csv"))
        let outcome = try await run("verify", export, "--key", key)
        #expect(outcome.status == 65)
        for line in [
            "changed data/items.csv: its digest is not that of the manifest",
            "extra data/eml/extra[U+001B][2J.eml: the manifest does not name it",
            "missing data/problems.csv: the manifest names it, and it is not there",
        ] { #expect(outcome.output.contains(line + "\n"), "\(outcome.output)") }
        #expect(outcome.errors.contains("[export-unsound]"))
        let json = try await run("verify", export, "--key", key, "--json")
        let root = try JSONDocument(text: json.output.trimmingCharacters(in: .newlines)).root
        #expect(json.status == 65 && root["sound"]?.boolean == false && root["count"]?.integer == 3)
    }

    @Test("Another key, no key, no folder and wrong usage each end in their own way")
    func failures() async throws {
        try await fixture.export(to: "export")
        var json = JSONWriter()
        try ExportFixture().jwk.write(to: &json)
        try fixture.write(json.bytes(), to: "other.jwk")
        try fixture.write([1, 2, 3], to: "broken.jwk")
        #expect(try await run("verify", export, "--key", fixture.path("other.jwk")).status == 65)
        #expect(try await run("verify", export, "--key", fixture.path("broken.jwk")).status == 65)
        #expect(try await run("verify", export, "--key", fixture.path("none.jwk")).status == 78)
        #expect(try await run("verify", fixture.path("nowhere"), "--key", key).status == 78)
        #expect(try await run("verify", export).status == 64)
    }

    @Test("One item is checked alone, printed, and proven to somebody else")
    func item() async throws {
        try await fixture.export(to: "export")
        let alone = try await run("verify", export, "--key", key, "--item", "space-1-item-3")
        #expect(alone.status == 0, "\(alone)")
        #expect(alone.output.contains("\"number\":\"ACME-000003\"") && alone.errors.contains("item 3 of 11"))
        let proof = try await run("prove", export, "--item", "ACME-000003")
        #expect(proof.status == 0)
        try fixture.write(Array(proof.output.trimmingCharacters(in: .newlines).utf8), to: "proof.json")
        let proven = try await run("verify-proof", fixture.path("proof.json"), "--key", key)
        #expect(proven.status == 0 && proven.output == alone.output, "\(proven)")
        let forged = proof.output.replacing("Good morning", with: "Good evening")
        try fixture.write(Array(forged.trimmingCharacters(in: .newlines).utf8), to: "proof.json")
        #expect(try await run("verify-proof", fixture.path("proof.json"), "--key", key).status == 65)
        #expect(try await run("verify", export, "--key", key, "--item", "nobody").status == 65)
    }

    @Test("An officer makes a key, gets volumes sealed for it and opens them; another key opens nothing")
    func delivery() async throws {
        try await fixture.export(to: "export")
        mkdir(fixture.path("volumes"), 0o700)
        let volumes = try VolumeSet.write(fixture.path("export"), to: fixture.path("volumes"), split: 30_000)
        for name in ["mine", "other"] {
            try fixture.write(Array("the passphrase of \(name)\n".utf8), to: name + ".pass")
            chmod(fixture.path(name + ".pass"), 0o600)
            let made = try await run(
                "key", fixture.path(name + ".pem"), "--passphrase-file", fixture.path(name + ".pass"))
            #expect(made.status == 0, "\(made)")
            try fixture.write(Array(made.output.utf8), to: name + ".jwk")
        }
        let recipient = try JWK(jsonText: try fixture.text("mine.jwk"))
        var words = ["open", "--into", fixture.path("opened")]
        for volume in volumes {
            let sealed = fixture.path(ExportSealer.name(of: volume.name))
            try ExportSealer.seal(fixture.path("volumes/" + volume.name), to: sealed, for: recipient)
            words.append(sealed)
        }
        mkdir(fixture.path("opened"), 0o700)
        func open(_ name: String) async throws -> Program.Outcome {
            try await Program.run(
                [Self.program, "ediscovery"] + words
                    + ["--key", fixture.path(name + ".pem"), "--passphrase-file", fixture.path(name + ".pass")])
        }
        let refused = try await open("other")
        #expect(refused.status == 65 && refused.errors.contains("[export-sealed]"), "\(refused)")
        #expect(fixture.place.names(in: "opened").isEmpty)
        let opened = try await open("mine")
        #expect(opened.status == 0, "\(opened)")
        #expect(fixture.place.names(in: "opened") == volumes.map(\.name).sorted())
        for volume in volumes {
            #expect(try fixture.bytes("opened/" + volume.name) == fixture.bytes("volumes/" + volume.name))
        }
    }
}
