import EDiscoveryExport
import EDiscoveryModel
import Foundation
import Glibc
import TestServers
import Testing
import WireText

/// Exports in the hands of programs that nobody here wrote: Python's mail, mailbox, CSV and XML readers, the BagIt validator of
/// PyPI, a browser.
@Suite("Foreign readers of an export")
struct ForeignReaderTests {
    let fixture: ExportFixture

    init() throws { fixture = try ExportFixture() }

    private static let hasPython = Program.isThere("python3")
    private static let readers =
        #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast()
        .joined(separator: "/") + "/Readers/"
    /// Where `deploy/test` puts packages of Python.
    private static let packages =
        #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
        .joined(separator: "/") + "/.build/python"

    private func read() async throws -> JSONNode {
        let outcome = try await Program.run(["python3", Self.readers + "read_export.py", fixture.path("export")])
        #expect(outcome.status == 0, "\(outcome.errors)")
        return try JSONDocument(
            text: outcome.output, limits: .init(maximumDepth: 32, maximumNodes: 1 << 20, maximumBytes: 64 << 20)
        ).root
    }

    @Test(
        "Python's mail reader sees people, texts, history and files of each message, and no defect",
        .enabled(if: hasPython))
    func mail() async throws {
        try await fixture.export(to: "export", ExportFixture.settings(zone: ZoneRules(named: "Asia/Kolkata")))
        let found = try await read()
        let messages = try #require(found["eml"]?.elements)
        let wanted = ExportFixture.items.filter { [.message, .share].contains($0.kind) }
        #expect(messages.count == wanted.count)
        for (message, item) in zip(messages, wanted) {
            #expect(message["defects"]?.strings == [], "\(item.id): \(message["defects"]?.strings ?? [])")
            let date = try #require(message["date"]?.string)
            #expect(date.hasSuffix("+05:30"))
            #expect(Timestamp(iso8601: date) == item.published, "\(date)")
            let headers = try #require(message["headers"]?.elements).map { $0.strings ?? [] }
            let names = Set(headers.map { $0[0] })
            #expect(!names.contains("Bcc") && !names.contains("X-Evil") && names.contains("X-HDS-Number"))
            #expect(headers.filter { $0[0] == "From" }.count == 1)
            let texts = try #require(message["texts"]?.strings)
            if let text = item.text {
                #expect(texts.first?.trimmed == text.trimmed, "\(item.id)")
            }
        }
        let from = messages.map { $0["from"]?.elements?.first?.strings ?? [] }
        #expect(from[0] == ["Ada Lovelace", "ada@example.org"])
        #expect(from[1] == ["Bob \"the\" Builder", "bob@example.org"])
        #expect(from[2] == ["=cmd()[U+000D][U+000A]X-Evil: 1", "u-eve@user.invalid"])
        #expect(from[3][0] == "Ольга Þórsdóttir®" && from[3][1].hasSuffix("@user.invalid"))
        #expect(messages[0]["to"]?.elements?.map { $0.strings?.last } == ["bob@example.org", "u-eve@user.invalid"])
        let subject = messages[0]["headers"]?.elements?.first { $0.strings?.first == "Subject" }?.strings?.last
        #expect(subject == ExportFixture.spaces[0].title)
        let history = try #require(messages[1]["texts"]?.strings?.last)
        #expect(history.contains("First <i>draft</i>") && history.contains("[could not be opened]"))
    }

    @Test("Files come out of messages with harmless names and their own octets", .enabled(if: hasPython))
    func attachments() async throws {
        try await fixture.export(to: "export")
        let found = try await read()
        let attachments = try #require(found["eml"]?.elements?[2]["attachments"]?.elements)
        #expect(
            attachments.map { $0["name"]?.string ?? "" }.prefix(5) == [
                "passwd.pdf", "invoicefdp.html", "same.txt", "same.txt", "empty.txt",
            ])
        #expect(attachments[5]["name"]?.string?.hasPrefix("長い長い") == true)
        #expect(attachments.count == 6)
        #expect(attachments[0]["octets"]?.string == Hexadecimal.encode(ExportFixture.pdf))
        #expect(attachments[4]["octets"]?.string == "")
        #expect(
            attachments.map { $0["type"]?.string } == [
                "application/pdf", "text/html", "application/octet-stream", "application/octet-stream",
                "application/octet-stream", "application/octet-stream",
            ])
    }

    @Test("A long file comes out of a message whole", .enabled(if: hasPython))
    func longAttachment() async throws {
        var item = ExportFixture.item(1, .share)
        item.files = [CollectedFile(name: "long.bin", reference: "ref-long")]
        try await fixture.export(to: "export", items: [item])
        let found = try await read()
        for mail in [found["eml"]?.elements?.first, found["mbox"]?.members?.first?.value.elements?.first] {
            let octets = try #require(mail?["attachments"]?.elements?.first?["octets"]?.string)
            let isEqual = Hexadecimal.decode(octets) == ExportFixture.files["ref-long"]
            #expect(isEqual)
        }
    }

    @Test("A mailbox for each space holds the same messages as the files", .enabled(if: hasPython))
    func mailboxes() async throws {
        try await fixture.export(to: "export")
        let found = try await read()
        let boxes = try #require(found["mbox"]?.members)
        #expect(
            boxes.map(\.name) == ["000001-budget-script-alert-title-script.mbox", "000002-ada-lovelace-rsd-ttir.mbox"])
        let mails = boxes.flatMap { $0.value.elements ?? [] }
        let files = try #require(found["eml"]?.elements)
        #expect(mails.count == files.count)
        for (mail, file) in zip(mails, files) {
            #expect(mail["defects"]?.strings == [])
            #expect(mail["attachments"]?.rawText == file["attachments"]?.rawText)
            #expect(mail["headers"]?.rawText == file["headers"]?.rawText)
            #expect(mail["texts"]?.strings?.map(\.trimmed) == file["texts"]?.strings?.map(\.trimmed))
        }
    }

    @Test("Tables have a row for each item, and no cell is a formula", .enabled(if: hasPython))
    func tables() async throws {
        try await fixture.export(to: "export", ExportFixture.settings(zone: ZoneRules(named: "Europe/Berlin")))
        let found = try await read()
        let rows = try #require(found["csv"]?.elements)
        #expect(rows.map { $0["item"]?.string } == ExportFixture.items.map(\.id))
        for row in rows + (found["problems"]?.elements ?? []) {
            for (name, value) in row.members ?? [] {
                let first = value.string?.unicodeScalars.first
                #expect(!"=+-@\t\r\n".unicodeScalars.contains { $0 == first }, "\(name)")
            }
        }
        #expect(rows[4]["text"]?.string == "'=cmd|' /C calc'!A0")
        #expect(rows[7]["text"]?.string == "'\tjust context" && rows[7]["context"]?.string == "yes")
        #expect(rows[2]["text"]?.string == ExportFixture.items[2].text)
        #expect(rows[0]["published (UTC)"]?.string == "2026-03-01T11:00:00.000Z")
        #expect(rows[0]["published"]?.string == "2026-03-01T12:00:00.000+01:00")
    }

    @Test("The load file has every field of every document, families and places of files", .enabled(if: hasPython))
    func loadFile() async throws {
        try await fixture.export(to: "export")
        let found = try await read()
        let rows = try #require(found["dat"]?.elements)
        let lines = try #require(found["lines"]?.elements)
        let numbers = lines.flatMap {
            [$0["number"]?.string] + ($0["files"]?.elements ?? []).map { $0["number"]?.string }
        }
        #expect(rows.map { $0["BEGDOC"]?.string } == numbers)
        #expect(
            rows[0].members?.map(\.name) == [
                "BEGDOC", "ENDDOC", "BEGATTACH", "ENDATTACH", "CUSTODIAN", "ALLCUSTODIANS", "DOCTYPE", "FILENAME",
                "FILEEXT", "FILESIZE", "FROM", "TO", "CC", "SUBJECT", "DATESENT", "TIMESENT", "TIMEZONE", "SHA256HASH",
                "NATIVEPATH", "TEXTPATH", "CONVERSATIONID",
            ])
        let file = rows[5]
        #expect(file["BEGATTACH"]?.string == "ACME-000005" && file["ENDATTACH"]?.string == "ACME-000014")
        #expect(file["FILEEXT"]?.string == "pdf" && file["DOCTYPE"]?.string == "File")
        #expect(file["DATESENT"]?.string == "20260301" && file["TIMESENT"]?.string == "15:00:00")
        #expect(file["NATIVEPATH"]?.string == "native/000001/ACME-000006.pdf")
        #expect(file["SHA256HASH"]?.string == lines[4]["files"]?.elements?[0]["digest"]?.string)
        #expect(file["CUSTODIAN"]?.string == "Ada Lovelace <ada@example.org>")
        #expect(
            file["ALLCUSTODIANS"]?.string == "Ada Lovelace <ada@example.org>; Bob \"the\" Builder <bob@example.org>")
        let deleted = try #require(rows.first { $0["FROM"]?.string?.hasPrefix("Ольга Þórsdóttir(R)") == true })
        let text = try fixture.text("export/data/" + (deleted["TEXTPATH"]?.string ?? ""))
        #expect(text == ExportFixture.items[5].text)
    }

    @Test("EDRM XML has the documents, their tags, files and relationships", .enabled(if: hasPython))
    func edrm() async throws {
        try await fixture.export(to: "export")
        let found = try await read()
        #expect(found["root"]?["MajorVersion"]?.string == "1" && found["root"]?["MinorVersion"]?.string == "2")
        #expect(found["root"]?["DataInterchangeType"]?.string == "Update")
        let documents = try #require(found["edrm"]?.elements)
        #expect(documents.count == found["dat"]?.elements?.count)
        let relations = try #require(found["relations"]?.elements).map { $0.strings ?? [] }
        #expect(
            relations == (6...14).map { ["Container", "ACME-000005", "ACME-0000" + ($0 < 10 ? "0\($0)" : "\($0)")] })
        let tags = try #require(documents[4]["tags"]?.elements).map { $0.strings ?? [] }
        #expect(tags.contains(["#From", "=cmd()[U+000D][U+000A]X-Evil: 1 <eve[U+000D][U+000A]Bcc: all@example.org>"]))
        #expect(tags.contains(["#Subject", "Budget <script>alert('title')</script> & plans"]))
    }

    @Test(
        "Whatever strangers write, every reader reads it and the export is sound", .enabled(if: hasPython),
        arguments: SeededGenerator.seeds)
    func anything(seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        var spaces: [String: CollectedSpace] = [:]
        var items: [CollectedItem] = []
        for _ in 0..<4 {
            let (id, title, people) = (random.anyText(), random.anyText(), [random.person(), random.person()])
            spaces[id] = CollectedSpace(id: id, title: random.maybe(title), participants: people)
        }
        let ids = spaces.keys.sorted()
        for sequence in 1...60 {
            var item = random.exportedItem().item
            item.space = ids.randomElement(using: &random) ?? ""
            item.sequence = UInt64(sequence)
            // Years that mail knows.
            item.published = Timestamp(seconds: Int64.random(in: 0...4_000_000_000, using: &random))
            for index in item.files.indices {
                item.files[index].reference =
                    ["ref-pdf", "ref-empty", "nowhere", nil].randomElement(using: &random) ?? nil
                if Bool.random(using: &random) { (item.files[index].digest, item.files[index].size) = (nil, nil) }
            }
            items.append(item)
        }
        let zone = try ZoneRules(named: "America/St_Johns")
        try await fixture.export(
            to: "export", ExportFixture.settings(zone: zone), spaces: Array(spaces.values), items: items)
        let report = try ExportVerifier(folder: fixture.path("export"), key: fixture.jwk).verify()
        #expect(report.isSound, "seed \(seed): \(report.findings)")
        let found = try await read()
        #expect(found["csv"]?.elements?.count == 60, "seed \(seed)")
        #expect(found["lines"]?.elements?.count == 60, "seed \(seed)")
        let rows = found["dat"]?.elements?.count
        #expect(
            rows == 60 + items.reduce(0) { $0 + $1.files.count } && rows == found["edrm"]?.elements?.count,
            "seed \(seed)")
        let known: Set<String> = [
            "From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "MIME-Version", "Content-Type",
            "Content-Transfer-Encoding",
        ]
        let mails = found["eml"]?.elements ?? []
        let boxed = (found["mbox"]?.members ?? []).flatMap { $0.value.elements ?? [] }
        #expect(!mails.isEmpty && boxed.count == mails.count, "seed \(seed)")
        for mail in mails + boxed {
            #expect(mail["defects"]?.strings == [], "seed \(seed): \(mail["defects"]?.strings ?? [])")
            for header in mail["headers"]?.elements ?? [] {
                let name = header.strings?.first ?? ""
                #expect(known.contains(name) || name.hasPrefix("X-HDS-"), "seed \(seed): \(name)")
            }
        }
    }

    @Test("The validator of PyPI finds the bag valid")
    func bag() async throws {
        guard Self.hasPython else { return print("skipped: THE BAG WAS NOT VALIDATED: there is no python3 here") }
        try await fixture.export(to: "export")
        let outcome = try await Program.run(
            ["python3", Self.readers + "check_bag.py", fixture.path("export"), Self.packages])
        if outcome.status == 77 {
            return print("skipped: THE BAG WAS NOT VALIDATED: the package bagit is not here (deploy/test installs it)")
        }
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect(outcome.output.hasPrefix("1.0 report-7 "), "\(outcome.output)")
        // It is no validator that takes anything.
        try fixture.write([1], to: "export/data/items.csv")
        let other = try await Program.run(
            ["python3", Self.readers + "check_bag.py", fixture.path("export"), Self.packages])
        #expect(other.status == 1)
    }
}

extension String {
    /// Line ends of one kind, for a mailbox has others than a file.
    fileprivate var trimmed: String {
        replacingOccurrences(of: "\r\n", with: "\n").trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
