import Foundation
import Testing

@testable import TextExtraction

@Suite("The text of a document")
struct TextExtractorTests {
    private func extractor(_ limits: ExtractionLimits = ExtractionLimits()) -> TextExtractor {
        TextExtractor(program: Program.path("hds-extract"), limits: limits)
    }

    private func document(_ name: String) throws -> [UInt8] {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Documents")
        return Array(try Data(contentsOf: folder.appending(path: name)))
    }

    /// Programs that stand in the reader's place and behave badly.
    private func reader(_ name: String) -> String {
        URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Readers/" + name).path
    }

    private func whole(_ lines: String...) -> Extraction {
        .text(lines.map { $0 + "\n" }.joined(), isWhole: true)
    }

    @Test("of a word processor's has its paragraphs, tables and headers")
    func docx() throws {
        #expect(
            extractor().text(of: try document("report.docx"))
                == whole(
                    "Quarterly report", "The patient Müller recovered fully.", "left cell", "right cell",
                    "Confidential header"))
    }

    @Test("of a spreadsheet has its words, one cell a line")
    func xlsx() throws {
        #expect(extractor().text(of: try document("table.xlsx")) == whole("Invoice", "Überweisung"))
    }

    @Test("of slides has titles, lines and speaker's notes")
    func pptx() throws {
        #expect(
            extractor().text(of: try document("slides.pptx")) == whole("Merger plan", "second line", "speaker notes"))
    }

    @Test("of an OpenDocument text has its headings and paragraphs")
    func odt() throws {
        #expect(extractor().text(of: try document("letter.odt")) == whole("Protokoll", "Grüße aus Köln"))
    }

    @Test("of a PDF has every page", .enabled(if: access("/usr/bin/pdftotext", X_OK) == 0))
    func pdf() throws {
        guard case .text(let text, true) = extractor().text(of: try document("page.pdf")) else {
            Issue.record("not read")
            return
        }
        #expect(text.split(separator: "\n").filter { !$0.isEmpty } == ["Blood pressure protocol", "Second page"])
    }

    @Test("of a page is what a browser shows, without scripts and styles")
    func html() throws {
        #expect(
            extractor().text(of: try document("page.html"))
                == .text("Titel\nHead\nHello world\nZweite ä Zeile & mehr\n", isWhole: true))
    }

    @Test(
        "of a text file is understood in UTF-8, UTF-16 and Windows-1252",
        arguments: [
            Array("Grüße €".utf8), [0xEF, 0xBB, 0xBF] + Array("Grüße €".utf8),
            [0xFF, 0xFE] + "Grüße €".utf16.flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] },
            [0xFE, 0xFF] + "Grüße €".utf16.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] },
            [0x47, 0x72, 0xFC, 0xDF, 0x65, 0x20, 0x80],
        ] as [[UInt8]])
    func plain(_ octets: [UInt8]) {
        #expect(extractor().text(of: octets) == .text("Grüße €", isWhole: true))
    }

    @Test(
        "is not to be had, and why is told",
        arguments: [
            ("locked.pdf", .protected), ("broken.pdf", .damaged), ("bomb.docx", .damaged), ("entities.docx", .damaged),
        ] as [(String, Extraction.Reason)])
    func unreadable(_ name: String, _ reason: Extraction.Reason) throws {
        #expect(extractor().text(of: try document(name)) == .unreadable(reason))
    }

    @Test("of a document that breaks off is what stands before, and is not called whole")
    func cut() throws {
        #expect(
            extractor().text(of: try document("cut.docx"))
                == .text(
                    "Quarterly report\nThe patient Müller recovered fully.\nleft cell\nright cell\n", isWhole: false))
    }

    @Test(
        "is not looked for in what is no document",
        arguments: [[0x7F, 0x45, 0x4C, 0x46, 0, 0], Array("{\\rtf1 x}".utf8)])
    func unknown(_ octets: [UInt8]) {
        #expect(extractor().text(of: octets) == .unreadable(.unknownFormat))
    }

    @Test("over the limit is cut between characters")
    func long() {
        var limits = ExtractionLimits()
        limits.textSize = 10
        #expect(extractor(limits).text(of: Array("äöüßä".utf8)) == .text("äöüßä", isWhole: true))
        #expect(extractor(limits).text(of: Array("xäöüßäöüß".utf8)) == .text("xäöüß", isWhole: false))
    }

    @Test("of a document over the limit is not read")
    func large() {
        var limits = ExtractionLimits()
        limits.documentSize = 4
        #expect(extractor(limits).text(of: Array("12345".utf8)) == .unreadable(.tooLarge))
    }

    @Test("that needs more memory than allowed ends the reader, not the service")
    func hungry() {
        var limits = ExtractionLimits()
        limits.memory = 100 << 20
        let page = Array(("<html>" + String(repeating: "<p>a<b>b</b>", count: 1_000_000)).utf8)
        // By the parser's word, or because the reader broke.
        switch extractor(limits).text(of: page) {
        case .text(_, let isWhole): #expect(!isWhole)
        case .unreadable(let reason): #expect(reason == .broke || reason == .damaged)
        }
    }

    @Test("of a reader that does not end is given up")
    func slow() {
        var limits = ExtractionLimits()
        limits.seconds = 1
        #expect(TextExtractor(program: reader("sleeping"), limits: limits).text(of: [1]) == .unreadable(.tooSlow))
    }

    @Test("of a reader that gives without end is cut, and the reader is ended")
    func endless() {
        var limits = ExtractionLimits()
        limits.textSize = 100
        #expect(
            TextExtractor(program: reader("endless"), limits: limits).text(of: [1])
                == .text(String(repeating: "y\n", count: 50), isWhole: false))
    }

    @Test("of a reader that is not there or reads nothing is not to be had")
    func missing() {
        #expect(TextExtractor(program: "/nonexistent").text(of: [1]) == .unreadable(.broke))
        let large = [UInt8](repeating: 1, count: 1 << 20)
        #expect(TextExtractor(program: reader("deaf")).text(of: large) == .unreadable(.damaged))
    }
}
