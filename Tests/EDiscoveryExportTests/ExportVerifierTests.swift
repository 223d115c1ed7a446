import Cryptography
import Diagnostics
import EDiscoveryExport
import EDiscoveryModel
import Foundation
import Glibc
import JOSESignature
import Testing
import WireText

@Suite("Verifier of an export")
struct ExportVerifierTests {
    let fixture: ExportFixture

    init() throws { fixture = try ExportFixture() }

    private func verify(key: JWK? = nil) throws -> ExportVerifier.Report {
        try ExportVerifier(folder: fixture.path("export"), key: key ?? fixture.jwk).verify()
    }

    private func change(_ name: String, _ change: (inout String) -> Void) throws {
        var text = try fixture.text("export/" + name)
        change(&text)
        try fixture.write(Array(text.utf8), to: "export/" + name)
    }

    /// Makes all digests of the package fit again: what is left is what only the signature tells.
    private func mend(info: Bool = true) throws {
        if info { try mendInfo() }
        var lines = ""
        for file in try fixture.files(below: "export/data") {
            let digest = Hexadecimal.encode(SHA256.hash(try fixture.bytes("export/data/" + file)))
            lines += "\(digest)  data/\(file)\n"
        }
        try fixture.write(Array(lines.utf8), to: "export/manifest-sha256.txt")
        var tags = ""
        for file in ["bag-info.txt", "bagit.txt", "manifest-sha256.txt"] {
            tags += "\(Hexadecimal.encode(SHA256.hash(try fixture.bytes("export/" + file))))  \(file)\n"
        }
        try fixture.write(Array(tags.utf8), to: "export/tagmanifest-sha256.txt")
    }

    /// The package's word of itself, after what the statement says and what is there.
    private func mendInfo() throws {
        let matter = try? JSONDocument(try fixture.bytes("export/data/proof/root.json")).root["matter"]?.string
        let files = try fixture.files(below: "export/data")
        let octets = try files.reduce(0) { try $0 + fixture.bytes("export/data/" + $1).count }
        try change("bag-info.txt") {
            $0.replace(/Payload-Oxum: .*/, with: "Payload-Oxum: \(octets).\(files.count)")
            if let matter { $0.replace(/Bag-Group-Identifier: .*/, with: "Bag-Group-Identifier: \(matter)") }
        }
    }

    @Test("An export is sound, and with another key it is not")
    func sound() async throws {
        try await fixture.export(to: "export")
        let report = try verify()
        #expect(report.isSound, "\(report.findings)")
        #expect(report.files == (try fixture.files(below: "export/data").count))
        #expect(report.statement?.matter == "M-2026/12")
        let stranger = JWK(publicKey: try PrivateKey.generateP256().publicKey, kid: nil)
        let other = try verify(key: stranger)
        #expect(other.findings.map(\.fault) == [.signature])
        #expect(other.findings.first?.file == "data/proof/root.jws")
    }

    @Test("A change of any file is found, by name")
    func anyChange() async throws {
        try await fixture.export(to: "export")
        for file in try fixture.files(below: "export") {
            let octets = try fixture.bytes("export/" + file)
            var changed = octets
            if changed.isEmpty { changed = [0] } else { changed[changed.count / 2] ^= 1 }
            try fixture.write(changed, to: "export/" + file)
            let report = try verify()
            #expect(!report.isSound, "\(file)")
            let isNamed = report.findings.contains { $0.file == file }
            #expect(isNamed || file == "tagmanifest-sha256.txt", "\(file): \(report.findings)")
            unlink(fixture.path("export/" + file))
            let without = try verify()
            #expect(
                without.findings.contains { $0.file == file && $0.fault == .missing }, "\(file): \(without.findings)")
            try fixture.write(octets, to: "export/" + file)
        }
        #expect(try verify().isSound)
    }

    @Test("A file, a link or a folder too many is found")
    func extra() async throws {
        try await fixture.export(to: "export")
        try fixture.write([1], to: "export/data/native/000001/ACME-000006.exe")
        try fixture.write([1], to: "export/readme.txt")
        mkdir(fixture.path("export/data/empty"), 0o700)
        symlink("/etc/passwd", fixture.path("export/data/eml/link"))
        mkfifo(fixture.path("export/data/pipe"), 0o600)
        let report = try verify()
        #expect(Set(report.findings.map(\.fault)) == [.extra])
        #expect(
            Set(report.findings.map(\.file)) == [
                "data/native/000001/ACME-000006.exe", "readme.txt", "data/empty/", "data/eml/link", "data/pipe",
            ])
    }

    @Test("A file put out of the way by a link is no file of the package")
    func linked() async throws {
        try await fixture.export(to: "export")
        let path = fixture.path("export/data/items.csv")
        rename(path, fixture.path("elsewhere"))
        symlink(fixture.path("elsewhere"), path)
        #expect(!(try verify().isSound))
    }

    @Test("Who changes an item and all digests is found by the tree and the signature")
    func mendedItem() async throws {
        try await fixture.export(to: "export")
        try change("data/items.jsonl") { $0 = $0.replacing("Good morning", with: "Good evening") }
        try mend()
        let faults = Set(try verify().findings.map(\.fault))
        #expect(faults == [.tree, .signature])
    }

    @Test("Who leaves an item out, puts two out of order or adds one is found")
    func mendedLines() async throws {
        try await fixture.export(to: "export")
        let original = try fixture.text("export/data/items.jsonl")
        let lines = original.split(separator: "\n").map(String.init)
        for (changed, fault) in [
            (Array(lines.dropLast()), ExportVerifier.Finding.Fault.counts),
            ([lines[1], lines[0]] + lines.dropFirst(2), .order), (lines + [lines[0]], .order),
            (lines + ["{}"], .malformed),
        ] {
            try fixture.write(Array((changed.joined(separator: "\n") + "\n").utf8), to: "export/data/items.jsonl")
            try mend()
            let report = try verify()
            #expect(
                report.findings.contains { $0.file == "data/items.jsonl" && $0.fault == fault }, "\(report.findings)")
            #expect(report.findings.contains { $0.fault == .tree })
        }
    }

    @Test("Who exchanges a file with all digests is found by its item and by the signature")
    func mendedFile() async throws {
        try await fixture.export(to: "export")
        try fixture.write(Array("forged".utf8), to: "export/data/native/000001/ACME-000006.pdf")
        try mend()
        let report = try verify()
        #expect(report.findings.contains { $0.file.hasSuffix("ACME-000006.pdf") && $0.fault == .changed })
        #expect(report.findings.contains { $0.file == "manifest-sha256.txt" && $0.fault == .signature })
    }

    @Test("Who changes a table only is found by the signature over all files")
    func mendedTable() async throws {
        try await fixture.export(to: "export")
        try change("data/items.csv") { $0 = $0.replacing("Good morning", with: "Good evening") }
        try mend()
        #expect(try verify().findings.map(\.fault) == [.signature])
    }

    @Test("Who changes what the package says of itself is found, although no manifest of it is signed")
    func mendedInfo() async throws {
        try await fixture.export(to: "export")
        try change("bag-info.txt") { $0 = $0.replacing("M-2026/12", with: "M-2026/13") }
        try mend(info: false)
        let findings = try verify().findings
        #expect(findings.map(\.file) == ["bag-info.txt"] && findings.map(\.fault) == [.changed], "\(findings)")
    }

    @Test("Who signs a new statement with his own key is found")
    func otherSigner() async throws {
        try await fixture.export(to: "export")
        let forger = try PrivateKey.generateP256()
        let statement = try fixture.text("export/data/proof/root.json").replacing("M-2026/12", with: "M-2026/13")
        try fixture.write(Array(statement.utf8), to: "export/data/proof/root.json")
        let signature = try ExportFixture.sign(SHA256.hash(Array(statement.utf8)), with: forger)
        try fixture.write(Array(signature.utf8), to: "export/data/proof/root.jws")
        try mend()
        #expect(try verify().findings.map(\.fault) == [.signature])
    }

    @Test("A signature of the same key over something of another type is none")
    func otherType() async throws {
        try await fixture.export(to: "export")
        let statement = try fixture.bytes("export/data/proof/root.json")
        let signature = try ExportFixture.sign(SHA256.hash(statement), with: fixture.key, kid: nil, typ: "JWT")
        try fixture.write(Array(signature.utf8), to: "export/data/proof/root.jws")
        try mend()
        #expect(try verify().findings.map(\.fault) == [.signature])
    }

    @Test("A hostile manifest reads nothing outside and ends in findings")
    func hostileManifest() async throws {
        try await fixture.export(to: "export")
        let digest = Hexadecimal.encode(SHA256.hash([UInt8]()))
        try change("manifest-sha256.txt") {
            $0 = "\(digest)  ../../etc/passwd\n\(digest)  data/../../x\nzz\n" + $0 + "\(digest) \n" + $0
        }
        let report = try verify()
        #expect(!report.isSound)
        #expect(report.findings.contains { $0.fault == .malformed } && report.findings.contains { $0.fault == .order })
    }
}

@Suite("Proof of an item")
struct ItemProofTests {
    let fixture: ExportFixture

    init() throws { fixture = try ExportFixture() }

    @Test("Each item of an export can be proven alone, by its id and by its number")
    func eachItem() async throws {
        try await fixture.export(to: "export")
        for item in ExportFixture.items {
            let proof = try ItemProof(of: item.id, in: fixture.path("export"))
            let read = try ItemProof(json: Array(proof.json().utf8))
            let proven = try read.verify(key: fixture.jwk)
            #expect(proven.item.id == item.id && proven.item.text == item.text)
            #expect(try ItemProof(of: proven.number, in: fixture.path("export")).index == proof.index)
        }
        #expect(throws: DiagnosedError.self) { _ = try ItemProof(of: "nobody", in: fixture.path("export")) }
    }

    @Test("A proof holds for its line, its place and its key alone")
    func forged() async throws {
        try await fixture.export(to: "export")
        let json = try ItemProof(of: "space-1-item-3", in: fixture.path("export")).json()
        let stranger = JWK(publicKey: try PrivateKey.generateP256().publicKey, kid: nil)
        #expect(throws: (any Error).self) { _ = try ItemProof(json: Array(json.utf8)).verify(key: stranger) }
        for (text, other) in [
            ("Good morning", "Good evening"), ("\"index\":2", "\"index\":3"), ("\"path\":[\"", "\"path\":[\"00"),
            ("M-2026/12", "M-2026/13"),
        ] {
            let changed = json.replacing(text, with: other)
            #expect(changed != json)
            #expect(throws: (any Error).self, "\(text)") {
                _ = try ItemProof(json: Array(changed.utf8)).verify(key: fixture.jwk)
            }
        }
    }
}
