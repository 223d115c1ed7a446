package import Diagnostics
package import WireText

/// What an export is to be: all that its octets depend on besides the items.
///
/// Checked when it is made, so that an export never fails for a setting halfway.
package struct ExportSettings: Sendable {
    /// The report's id and the matter, as the officer gave them.
    package let report: String
    package let matter: String
    /// The time that stands in the export: the report's creation, never the moment of the run.
    package let created: Timestamp
    package let formats: Set<ExportFormat>
    package let zone: ZoneRules
    package let numbering: DocumentNumbering
    /// Whether the report was to have files: then one that the collection does not have is a problem of its item.
    package let wantsFiles: Bool
    /// Items on one page of a transcript.
    package let pageLength: Int

    package init(
        report: String, matter: String, created: Timestamp, formats: Set<ExportFormat> = Set(ExportFormat.allCases),
        zone: ZoneRules = .utc, numbering: DocumentNumbering = .standard, wantsFiles: Bool = true,
        pageLength: Int = 2000
    ) throws(DiagnosedError) {
        for (name, text) in [("report", report), ("matter", matter)] {
            guard !text.isEmpty, text.utf8.count <= 256, text.unicodeScalars.allSatisfy({ !$0.isHidden }) else {
                throw .exportSetting(
                    "the \(name) can not stand in an export", expected: "1 to 256 octets of visible text",
                    found: text.quotedForError)
            }
        }
        guard pageLength >= 1 else {
            throw .exportSetting("a page holds nothing", expected: "1 item or more", found: "\(pageLength)")
        }
        self.report = report
        self.matter = matter
        self.created = created
        self.formats = formats
        self.zone = zone
        self.numbering = numbering
        self.wantsFiles = wantsFiles
        self.pageLength = pageLength
    }
}

/// The forms in which items are written. `items.jsonl`, the files' octets, the problems and the proof are always there.
package enum ExportFormat: String, Sendable, CaseIterable {
    case jsonl, eml, mbox, csv, dat, edrm, html
}

/// Bates numbers: a prefix and a number of fixed width, one for each item and each file, in their order.
///
/// They are also the names of files in the package, so the prefix is narrow, and a number that outgrows its width is an
/// error: sorted by name, files must stand in the order of their numbers.
package struct DocumentNumbering: Sendable, Hashable {
    package let prefix: String
    package let digits: Int
    package let start: Int64

    package static let standard = DocumentNumbering(uncheckedPrefix: "HDS", digits: 9, start: 1)

    package init(prefix: String, digits: Int, start: Int64) throws(DiagnosedError) {
        let isPlain = prefix.utf8.allSatisfy { character in
            switch character {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
        guard isPlain, prefix.utf8.count <= 20, prefix.first != "-" else {
            throw .exportSetting(
                "the prefix of the numbers can not be used",
                expected: "at most 20 of A-Z a-z 0-9 - _, no hyphen first", found: prefix.quotedForError)
        }
        guard (4...15).contains(digits), start >= 0, String(start).utf8.count <= digits else {
            throw .exportSetting(
                "the numbers can not be written", expected: "4 to 15 digits and a start that fits",
                found: "\(digits) digits from \(start)")
        }
        self.init(uncheckedPrefix: prefix, digits: digits, start: start)
    }

    private init(uncheckedPrefix prefix: String, digits: Int, start: Int64) {
        self.prefix = prefix
        self.digits = digits
        self.start = start
    }

    /// Folders have six digits, so that they sort.
    private static let limit: Int64 = 999_999_000

    /// - Parameter index: from 0.
    func number(_ index: Int64) throws(DiagnosedError) -> String {
        guard index < Self.limit else {
            throw .exportSetting(
                "the report is too large for one export", expected: "at most \(Self.limit) items and files")
        }
        let digits = String(start + index)
        guard digits.utf8.count <= self.digits else {
            throw .exportSetting(
                "the numbers have too few digits for this report", expected: "more than \(self.digits) digits")
        }
        return prefix + String(repeating: "0", count: self.digits - digits.utf8.count) + digits
    }

    /// A folder for each thousand, so that no folder is too long for people and file systems.
    func folder(_ index: Int64) -> String {
        let text = String(index / 1000 + 1)
        return String(repeating: "0", count: max(0, 6 - text.utf8.count)) + text
    }
}
