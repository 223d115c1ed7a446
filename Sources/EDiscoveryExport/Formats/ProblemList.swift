import EDiscoveryModel
import WireText

/// `problems.csv`: what could not be exported, and why; there also when there is nothing to say.
final class ProblemList: ExportWriter {
    private let file: PackageFile

    init(_ folder: PackageFolder) throws {
        file = try folder.file("problems.csv")
        try file.write(CSV.byteOrderMark)
        try file.write(
            CSV.row(["number", "item", "space", "space title", "sequence", "published", "class", "severity", "problem"])
        )
    }

    func add(_ entry: ExportEntry) throws {
        for problem in entry.item.problems {
            try file.write(
                CSV.row([
                    entry.exported.number, entry.item.id, entry.item.space, entry.space.title,
                    String(entry.item.sequence), entry.item.published.iso8601, problem.problemClass.rawValue,
                    problem.isWarning ? "warning" : "error", problem.text,
                ]))
        }
    }

    func finish() throws { try file.close() }
}
