import Diagnostics
import Glibc
import LinkedService
import ServiceRuntime
import TextExtraction

/// The indexer's health checks beside those of its link, with the alarms that follow from them.
final class IndexerChecks: Sendable {
    private static let store = HealthCheck("store", "the indexer's database", gate: .required)

    private static let files = HealthCheck("files", "reading the text of files")

    private let health: HealthRegistry

    init(_ health: HealthRegistry) {
        self.health = health
    }

    /// Whether the program that reads files is there.
    func look(at section: FilesSection) {
        health.declare(Self.files)
        if !section.areRead {
            health.report(Self.files, .ok("files are searched by their names, as configured"))
        } else if access(section.reader, X_OK) == 0, access(TextExtractor.pdfConverter, X_OK) != 0 {
            health.report(
                Self.files,
                .warn(
                    "PDF files are searched by their names only: \(reviewed: TextExtractor.pdfConverter) is missing",
                    fix: "apt-get install poppler-utils"))
        } else if access(section.reader, X_OK) == 0 {
            health.report(Self.files, .ok("text of files is read by a confined process"))
        } else {
            health.report(
                Self.files,
                .warn(
                    "the program that reads files is missing; they are searched by their names",
                    fix: "install the package again, or set index.files.reader to the path of hds-extract"))
        }
    }

    func watch(_ store: SealedStore, file: FileLocation) {
        health.probe(Self.store, every: .seconds(15)) {
            do {
                try store.check()
                return .ok("reading and durable writing work")
            } catch {
                return .fail(error)
            }
        }
        health.watchSpace(of: FileLocation(file.path.folder), every: .seconds(10))
    }
}
