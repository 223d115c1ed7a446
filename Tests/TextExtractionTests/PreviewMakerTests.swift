import ChildProcess
import Foundation
import Testing

@testable import TextExtraction

@Suite("A preview of a document", .enabled(if: access(PreviewMaker.pdfConverter, X_OK) == 0))
struct PreviewMakerTests {
    private func maker(imageSize: Int = 1 << 20, seconds: Int = 10) -> PreviewMaker {
        var limits = ExtractionLimits()
        limits.textSize = imageSize
        limits.seconds = seconds
        return PreviewMaker(program: Program.path("hds-extract"), limits: limits)
    }

    private func document(_ name: String) throws -> [UInt8] {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Documents")
        return Array(try Data(contentsOf: folder.appending(path: name)))
    }

    /// Width and height as the header says.
    private func size(_ preview: Preview) -> [Int]? {
        guard case .image(let png) = preview, png.count > 24 else { return nil }
        return [16, 20].map { png[$0..<$0 + 4].reduce(0) { $0 << 8 | Int($1) } }
    }

    /// A PNG of one colour that deflate has stored as it is.
    static func png(_ width: Int, _ height: Int, type: UInt8, pixel: [UInt8], interlaced: Bool = false) -> [UInt8] {
        func four(_ number: Int) -> [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) } }
        func chunk(_ name: String, _ content: [UInt8]) -> [UInt8] {
            four(content.count) + Array(name.utf8) + content + [0, 0, 0, 0]
        }
        let row = [UInt8(0)] + Array(repeatElement(pixel, count: width).joined())
        let data = Array(repeatElement(row, count: height).joined())
        var (low, high) = (1, 0)
        for octet in data {
            low = (low + Int(octet)) % 65_521
            high = (high + low) % 65_521
        }
        var stored: [UInt8] = [0x78, 0x01]
        var place = 0
        while place < data.count {
            let part = data[place..<min(place + 65_535, data.count)]
            place += part.count
            let count = UInt16(part.count)
            stored += [place == data.count ? 1 : 0, UInt8(count & 0xFF), UInt8(count >> 8)]
            stored += [UInt8(~count & 0xFF), UInt8(~count >> 8)] + part
        }
        stored += four(high << 16 | low)
        return [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
            + chunk("IHDR", four(width) + four(height) + [8, type, 0, 0, interlaced ? 1 : 0]) + chunk("IDAT", stored)
            + chunk("IEND", [])
    }

    /// The colour in the middle, as a program of others decodes it.
    private func colour(_ preview: Preview) throws -> [Int]? {
        guard case .image(let png) = preview else { return nil }
        let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Readers/middle.py").path
        guard let child = Child(program: "/usr/bin/python3", arguments: [script]) else { return nil }
        let (output, _) = child.run(input: png, outputLimit: 1_000, deadline: .now.advanced(by: .seconds(60)))
        return String(decoding: output, as: UTF8.self).split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
    }

    @Test("is a PNG of the page that was asked for, no larger than asked")
    func page() throws {
        let pdf = try document("page.pdf")
        let drawn = maker().preview(of: pdf, page: 1, size: 300)
        #expect(size(drawn)?.max() == 300, "\(drawn)")
        #expect(maker().preview(of: pdf, page: 99, size: 300) == .noSuchPage)
    }

    @Test("is drawn smaller where it would have too many octets")
    func smaller() throws {
        let pdf = try document("page.pdf")
        guard case .image(let whole) = maker().preview(of: pdf, page: 1, size: 1_024) else {
            Issue.record("no page")
            return
        }
        let drawn = maker(imageSize: whole.count - 1).preview(of: pdf, page: 1, size: 1_024)
        let side = try #require(size(drawn)?.max())
        #expect(side < 1_024)
    }

    @Test(
        "of a picture has its colours, what is transparent on white, and is not made larger",
        arguments: [
            (2, [200, 100, 0], [200, 100, 0]), (6, [255, 0, 0, 255], [255, 0, 0]),
            (6, [0, 0, 255, 0], [255, 255, 255]), (0, [40], [40, 40, 40]), (4, [0, 0], [255, 255, 255]),
        ] as [(UInt8, [UInt8], [Int])])
    func pictures(type: UInt8, pixel: [UInt8], expected: [Int]) throws {
        let drawn = maker().preview(of: Self.png(64, 32, type: type, pixel: pixel), page: 1, size: 1_024)
        #expect(size(drawn) == [64, 32], "\(drawn)")
        let seen = try #require(try colour(drawn))
        #expect(seen.count == 3 && zip(seen, expected).allSatisfy { abs($0 - $1) <= 2 }, "\(seen)")
    }

    @Test("of a JPEG that another program wrote is drawn too")
    func jpeg() throws {
        guard let child = Child(program: PreviewMaker.pdfConverter, arguments: ["-jpeg", "-scale-to", "400", "-"])
        else {
            return
        }
        let (jpeg, _) = child.run(
            input: try document("page.pdf"), outputLimit: 1 << 20, deadline: .now.advanced(by: .seconds(60)))
        try #require(jpeg.starts(with: [0xFF, 0xD8]))
        #expect(size(maker().preview(of: jpeg, page: 1, size: 200))?.max() == 200)
    }

    @Test("of what is no document, is broken, protected or too large says why there is none")
    func refused() throws {
        #expect(maker().preview(of: try document("locked.pdf"), page: 1, size: 300) == .unavailable(.protected))
        #expect(maker().preview(of: try document("report.docx"), page: 1, size: 300) == .unavailable(.unknownFormat))
        #expect(maker().preview(of: try document("broken.pdf"), page: 1, size: 300) == .unavailable(.damaged))
        #expect(
            maker().preview(of: Self.png(8, 8, type: 2, pixel: [1, 2, 3], interlaced: true), page: 1, size: 300)
                == .unavailable(.unknownFormat))
        // 30,000 x 30,000 by its header.
        var bomb = Self.png(8, 8, type: 2, pixel: [1, 2, 3])
        bomb.replaceSubrange(16..<24, with: [0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30])
        #expect(maker().preview(of: bomb, page: 1, size: 300) == .unavailable(.unknownFormat))
        var limits = ExtractionLimits()
        limits.documentSize = 10
        let small = PreviewMaker(program: Program.path("hds-extract"), limits: limits)
        #expect(small.preview(of: try document("page.pdf"), page: 1, size: 300) == .unavailable(.tooLarge))
    }

    @Test("of hostile headers ends, whatever octet of a picture is changed or cut off")
    func hostile() throws {
        let picture = Self.png(16, 16, type: 6, pixel: [9, 8, 7, 255])
        for place in stride(from: 8, to: 60, by: 4) {
            var changed = picture
            changed[place] = 0xFF
            for input in [changed, Array(picture[..<place])] {
                if case .image(let png) = maker(seconds: 3).preview(of: input, page: 1, size: 64) {
                    #expect(png.starts(with: [0x89, 0x50, 0x4E, 0x47]))
                }
            }
        }
    }
}
