import CArchive

/// The text of office documents: Office Open XML (ECMA-376: docx, xlsx, pptx) and OpenDocument (odt, ods, odp). Both are ZIP
/// archives of XML parts; libarchive opens them, and what they unpack to is bounded.
package enum OfficeText {
    /// `partly`: the archive breaks off after parts that were read.
    package enum Outcome: Sendable, Equatable { case read, partly, unknown, damaged, protected }

    /// Octets of one part, and of all parts that are looked at.
    private static let partLimit = 32 << 20
    private static let wholeLimit = 128 << 20
    private static let entryLimit = 10_000

    package static func read(_ octets: [UInt8], into text: inout TextBuffer) -> Outcome {
        unsafe octets.withUnsafeBytes { octets in
            guard let archive = unsafe archive_read_new() else { return .damaged }
            defer { unsafe archive_read_free(archive) }
            unsafe archive_read_support_format_zip(archive)
            guard unsafe archive_read_open_memory(archive, octets.baseAddress, octets.count) == ARCHIVE_OK else {
                return .damaged
            }
            return unsafe parts(of: archive, into: &text)
        }
    }

    private static func parts(of archive: OpaquePointer, into text: inout TextBuffer) -> Outcome {
        var entry: OpaquePointer?
        var outcome = Outcome.unknown
        var whole = 0
        for _ in 0..<entryLimit {
            let status = unsafe archive_read_next_header(archive, &entry)
            if status == ARCHIVE_EOF { return outcome }
            guard status == ARCHIVE_OK || status == ARCHIVE_WARN, let entry = unsafe entry,
                let path = unsafe archive_entry_pathname(entry)
            else { return outcome == .read ? .partly : .damaged }
            let name = unsafe String(cString: path)
            guard let flavour = flavour(of: name) else { continue }
            if unsafe archive_entry_is_data_encrypted(entry) != 0 { return .protected }
            guard let part = unsafe read(archive, at: &whole) else { return outcome == .read ? .partly : .damaged }
            if isEncrypted(name, part) { return .protected }
            if name.hasPrefix("META-INF/") { continue }
            if !XMLText.read(part, flavour, into: &text), outcome == .unknown { return .damaged }
            outcome = .read
            text.line()
            if text.isFull { return outcome }
        }
        return outcome
    }

    /// The parts in which people write, and how; nil: nothing to read.
    private static func flavour(of name: String) -> XMLText.Flavour? {
        if name == "content.xml" || name == "META-INF/manifest.xml" { return .openDocument }
        guard name.hasSuffix(".xml") else { return nil }
        let written = [
            "word/document", "word/header", "word/footer", "word/footnotes", "word/endnotes", "word/comments",
            "xl/sharedStrings", "xl/worksheets/sheet", "xl/comments", "ppt/slides/slide", "ppt/notesSlides/notesSlide",
            "ppt/comments",
        ]
        return written.contains(where: name.hasPrefix) ? .officeOpen : nil
    }

    /// OpenDocument says in its manifest which parts are encrypted.
    private static func isEncrypted(_ name: String, _ part: [UInt8]) -> Bool {
        name == "META-INF/manifest.xml" && String(decoding: part, as: UTF8.self).contains("encryption-data")
    }

    private static func read(_ archive: OpaquePointer, at whole: inout Int) -> [UInt8]? {
        var part: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe chunk.withUnsafeMutableBytes {
                unsafe archive_read_data(archive, $0.baseAddress, $0.count)
            }
            if count == 0 { return part }
            guard count > 0 else { return nil }
            whole += count
            guard part.count + count <= partLimit, whole <= wholeLimit else { return nil }
            part.append(contentsOf: chunk[..<count])
        }
    }
}
