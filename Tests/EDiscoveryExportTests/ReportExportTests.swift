import Diagnostics
import EDiscoveryExport
import EDiscoveryModel
import Foundation
import Glibc
import JOSESignature
import TestServers
import Testing
import WireText

@Suite("Export of a report")
struct ReportExportTests {
    let fixture: ExportFixture

    init() throws { fixture = try ExportFixture() }

    @Test("Two exports of one report have the same octets, but for the signature")
    func identical() async throws {
        let zone = try ZoneRules(named: "America/New_York")
        for name in ["one", "two"] { try await fixture.export(to: name, ExportFixture.settings(zone: zone)) }
        let files = try fixture.files(below: "one")
        #expect(try fixture.files(below: "two") == files)
        #expect(files.count > 40)
        let signed = ["data/proof/root.jws", "manifest-sha256.txt", "tagmanifest-sha256.txt"]
        for file in files {
            let isEqual = try fixture.bytes("one/" + file) == fixture.bytes("two/" + file)
            #expect(isEqual != signed.contains(file), "\(file)")
        }
    }

    @Test("No path of a package is made of what a stranger wrote")
    func paths() async throws {
        try await fixture.export(to: "export")
        for file in try fixture.files(below: "export") {
            let isPlain = file.utf8.allSatisfy { character in
                (48...57).contains(character) || (65...90).contains(character) || (97...122).contains(character)
                    || "-_./".utf8.contains(character)
            }
            #expect(isPlain && !file.contains("..") && file.utf8.count < 100, "\(file)")
        }
        let natives = try fixture.files(below: "export/data/native")
        #expect(
            natives == [
                "000001/ACME-000006.pdf", "000001/ACME-000007.html", "000001/ACME-000008.txt", "000001/ACME-000009.txt",
                "000001/ACME-000010.txt", "000001/ACME-000011.txt",
            ])
        #expect(try fixture.bytes("export/data/native/000001/ACME-000006.pdf") == ExportFixture.pdf)
    }

    @Test("What could not be exported stands in the item, in the counts and in the list of problems")
    func problems() async throws {
        let statement = try await fixture.export(to: "export")
        let counts = try JSONDocument(statement.counts).root
        #expect(counts["byProblem"]?["fileMissing"]?.integer == 1)
        #expect(counts["byProblem"]?["fileHashMismatch"]?.integer == 1)
        #expect(counts["byProblem"]?["keyDenied"]?.integer == 1)
        #expect(counts["errors"]?.integer == 3)
        #expect(counts["warnings"]?.integer == 1)
        #expect(counts["files"]?.integer == 6)
        #expect(counts["filesMissing"]?.integer == 3)
        #expect(counts["spaces"]?.integer == 2)
        let list = try fixture.text("export/data/problems.csv")
        #expect(list.components(separatedBy: "\r\n").count == 1 + 4 + 1)
        #expect(list.contains("\"fileHashMismatch\",\"error\",\"the octets of file ACME-000012 are not those"))
    }

    @Test("A file that nobody explains is a problem of its own")
    func unexplained() async throws {
        var item = ExportFixture.item(1, .message, "see there")
        item.files = [CollectedFile(name: "a.txt")]
        let statement = try await fixture.export(to: "export", items: [item])
        #expect(try JSONDocument(statement.counts).root["byProblem"]?["fileMissing"]?.integer == 1)
    }

    @Test("A report without anything gives a sound package")
    func empty() async throws {
        let statement = try await fixture.export(to: "export", spaces: [], items: [])
        #expect(statement.size == 0)
        let report = try ExportVerifier(folder: fixture.path("export"), key: fixture.jwk).verify()
        #expect(report.isSound, "\(report.findings)")
        #expect(try fixture.bytes("export/data/items.jsonl").isEmpty)
    }

    @Test("Only the forms that are asked for are there; items, files, problems and the proof always")
    func formats() async throws {
        try await fixture.export(to: "export", ExportFixture.settings(formats: [.jsonl]))
        let names = Set(try fixture.files(below: "export/data").map { String($0.prefix { $0 != "/" }) })
        #expect(names == ["items.jsonl", "native", "problems.csv", "proof", "spaces.jsonl"])
    }

    @Test("Items or spaces out of order end the export, and nothing is left behind")
    func order() async throws {
        let items = ExportFixture.items
        let sources = [
            (ExportFixture.spaces, [items[1], items[0]]), (ExportFixture.spaces, [items[0], items[0]]),
            (Array(ExportFixture.spaces.reversed()), items), ([], items),
        ]
        for (spaces, items) in sources {
            var spaces = spaces.makeIterator()
            var items = items.makeIterator()
            let source = ExportSource(
                nextSpace: { spaces.next() }, nextItem: { items.next() }, file: { _ in nil })
            let error = await #expect(throws: DiagnosedError.self) {
                _ = try await ReportExport(ExportFixture.settings()).write(
                    to: fixture.path("export"), from: source, sign: fixture.sign)
            }
            #expect(error?.code == .exportOrder)
            #expect(fixture.place.names(in: "").isEmpty)
        }
    }

    @Test("A source or a signer that fails ends the export; the next run takes away what a killed one left")
    func failure() async throws {
        struct Lost: Error {}
        let source = ExportSource(nextSpace: { nil }, nextItem: { throw Lost() }, file: { _ in nil })
        await #expect(throws: Lost.self) {
            _ = try await ReportExport(ExportFixture.settings()).write(
                to: fixture.path("export"), from: source, sign: fixture.sign)
        }
        for signature in ["", "a.b.c", try fixture.sign(Array("other".utf8))] {
            await #expect(throws: (any Error).self) {
                _ = try await ReportExport(ExportFixture.settings()).write(
                    to: fixture.path("export"), from: ExportSource(spaces: [], items: []), sign: { _ in signature })
            }
        }
        #expect(fixture.place.names(in: "").isEmpty)
        mkdir(fixture.path("export.partial"), 0o700)
        try fixture.write([1], to: "export.partial/rubbish")
        try await fixture.export(to: "export")
        #expect(fixture.place.names(in: "") == ["export"])
        let error = await #expect(throws: DiagnosedError.self) { _ = try await fixture.export(to: "export") }
        #expect(error?.fault == .client)
    }

    @Test("Settings that can not be followed are refused before anything is written")
    func settings() throws {
        for matter in ["", "a\nPayload-Oxum: 1.1", String(repeating: "x", count: 300), "a\u{202E}"] {
            #expect(throws: DiagnosedError.self) {
                _ = try ExportSettings(report: "r", matter: matter, created: ExportFixture.created)
            }
        }
        for (prefix, digits, start) in [("../", 6, 1), ("A", 3, 1), ("A", 6, -1), ("A", 6, 10_000_000), ("Ä", 6, 1)] {
            #expect(throws: DiagnosedError.self) {
                _ = try DocumentNumbering(prefix: prefix, digits: digits, start: Int64(start))
            }
        }
    }

    @Test("Numbers that outgrow their digits end the export")
    func digits() async throws {
        let settings = try ExportSettings(
            report: "r", matter: "m", created: ExportFixture.created, formats: [],
            numbering: DocumentNumbering(prefix: "A", digits: 4, start: 9997))
        let error = await #expect(throws: DiagnosedError.self) { _ = try await fixture.export(to: "export", settings) }
        #expect(error?.code == .exportSetting)
    }
}
