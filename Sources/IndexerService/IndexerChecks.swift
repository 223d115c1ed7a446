import Diagnostics
import Glibc
import LinkedService
import ServiceRuntime
import TextExtraction

/// The indexer's health checks beside those of its link, with the alarms that follow from them.
final class IndexerChecks: Sendable {
    static let consent = HealthCheck("consent", "the organisation's consent to this service", gate: .required)
    private static let store = HealthCheck("store", "the indexer's database", gate: .required)

    private static let files = HealthCheck("files", "reading the text of files")

    private let health: HealthRegistry

    init(_ health: HealthRegistry) {
        self.health = health
        health.declare(Self.consent)
    }

    /// What the KMS said when it was asked for the key that goes with the consent.
    func report(_ state: Consent.State) {
        switch state {
        case .granted:
            health.alarms.clear(.indexConsent, "the KMS gives this service its keys")
            health.report(Self.consent, .ok("the KMS gives this service its keys"))
        case .refused(let error):
            health.alarms.raise(.indexConsent, Loggable(error))
            health.report(Self.consent, .fail(error))
        case .unknown(let error):
            // The KMS is away: what it said last stands, and its own alarms tell.
            health.report(
                Self.consent,
                .warn(
                    error.map { Loggable($0) } ?? "the KMS did not answer",
                    fix: "see that hds-kms runs and is linked to the same core"))
        }
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
