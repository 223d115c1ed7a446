import EDiscoveryModel
import WireText

/// `load.dat`: the load file of Concordance, a row for each item and for each file of one.
///
/// UTF-8 with byte order mark, CR LF; U+0014 between fields, U+00FE around them, U+00AE for a line end within. The form has no
/// escapes, so those three characters within a value become a space, `th` and `(R)`.
final class ConcordanceFile: ExportWriter {
    private let file: PackageFile
    private let settings: ExportSettings

    private static let fields = [
        "BEGDOC", "ENDDOC", "BEGATTACH", "ENDATTACH", "CUSTODIAN", "ALLCUSTODIANS", "DOCTYPE", "FILENAME", "FILEEXT",
        "FILESIZE", "FROM", "TO", "CC", "SUBJECT", "DATESENT", "TIMESENT", "TIMEZONE", "SHA256HASH", "NATIVEPATH",
        "TEXTPATH", "CONVERSATIONID",
    ]

    init(_ folder: PackageFolder, _ settings: ExportSettings) throws {
        self.settings = settings
        file = try folder.file("load.dat")
        try file.write(CSV.byteOrderMark)
        try file.write(Self.row(Self.fields))
    }

    func add(_ entry: ExportEntry) throws {
        let item = entry.item
        let exported = entry.exported
        let time = ShownTime(item.published, in: settings.zone)
        let hasFamily = !exported.files.isEmpty
        let family = [hasFamily ? exported.number : "", hasFamily ? exported.lastNumber : ""]
        let custodians = [entry.custodians.first ?? "", entry.custodianList]
        let people = [item.author.described, entry.recipientList, ""]
        let sent = [entry.space.title, time.compactDate, time.clock(seconds: true), settings.zone.name]
        let own =
            [exported.number, exported.number] + family + custodians
            + [exported.isMessage ? "Message" : "Event", "", "", ""]
        try file.write(
            Self.row(own + people + sent + ["", entry.mailPath ?? "", entry.textPath ?? "", item.space]))
        for (attachment, place) in zip(item.files, exported.files) {
            let name = [
                "File", attachment.name.map { ExportName.visible($0) } ?? "", ExportName.ending(attachment.name) ?? "",
                attachment.size.map { String($0) } ?? "",
            ]
            let octets = [attachment.digest.map { Hexadecimal.encode($0) } ?? "", place.path ?? "", "", item.space]
            try file.write(
                Self.row([place.number, place.number] + family + custodians + name + people + sent + octets))
        }
    }

    func finish() throws { try file.close() }

    private static func row(_ values: [String]) -> [UInt8] {
        var row: [UInt8] = []
        for (index, value) in values.enumerated() {
            if index > 0 { row.append(0x14) }
            row += [0xC3, 0xBE]
            guard !value.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
                row += value.utf8
                row += [0xC3, 0xBE]
                continue
            }
            var last: Unicode.Scalar?
            for scalar in value.unicodeScalars {
                switch scalar {
                case "\n" where last == "\r": break
                case "\n", "\r": row += [0xC2, 0xAE]
                case "\u{FE}": row += Array("th".utf8)
                case "\u{AE}": row += Array("(R)".utf8)
                case "\u{0}"..<" ", "\u{7F}": row.append(0x20)
                default: row += Array(String(scalar).utf8)
                }
                last = scalar
            }
            row += [0xC3, 0xBE]
        }
        row += [0x0D, 0x0A]
        return row
    }
}
