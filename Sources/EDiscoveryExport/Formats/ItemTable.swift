import EDiscoveryModel
import WireText

/// `items.csv`: a row for each item, for spreadsheets. A text longer than a cell is cut and says so; the whole one stands in
/// `items.jsonl`.
final class ItemTable: ExportWriter {
    private let file: PackageFile
    private let settings: ExportSettings

    /// Characters of the longest cell that spreadsheets take.
    private static let cellLimit = 32_000

    private static let columns = [
        "number", "last number", "item", "kind", "space", "space title", "sequence", "published (UTC)", "published",
        "timezone", "author", "author name", "author e-mail", "text", "edits", "deleted (UTC)", "deleted by", "subject",
        "answers", "participants", "custodians", "context", "files", "file places", "problems",
    ]

    init(_ folder: PackageFolder, _ settings: ExportSettings) throws {
        self.settings = settings
        file = try folder.file("items.csv")
        try file.write(CSV.byteOrderMark)
        try file.write(CSV.row(Self.columns))
    }

    func add(_ entry: ExportEntry) throws {
        let item = entry.item
        let exported = entry.exported
        try file.write(
            CSV.row([
                exported.number, exported.lastNumber, item.id, item.kind.rawValue, item.space, entry.space.title,
                String(item.sequence), item.published.iso8601, ShownTime(item.published, in: settings.zone).iso8601,
                settings.zone.name, item.author.id, item.author.name ?? "", item.author.email ?? "",
                Self.cut(item.text ?? ""), String(item.history.count), item.deletion?.at.iso8601 ?? "",
                item.deletion?.by.described ?? "", item.subject?.described ?? "", item.parent ?? "",
                Self.cut(entry.participantList),
                Self.cut(entry.custodianList), item.isContext ? "yes" : "no",
                Self.cut(item.files.map { ExportName.visible($0.name ?? "(name not opened)") }.joined(separator: "; ")),
                Self.cut(exported.files.map { $0.path ?? "(\($0.number) not exported)" }.joined(separator: "; ")),
                Self.cut(item.problems.map { "\($0.problemClass.rawValue): \($0.text)" }.joined(separator: "; ")),
            ]))
    }

    private static func cut(_ text: String) -> String {
        guard text.utf8.count > cellLimit else { return text }
        return String(text.unicodeScalars.prefix(cellLimit / 4)) + "… [cut: all of it in items.jsonl]"
    }

    func finish() throws { try file.close() }
}
