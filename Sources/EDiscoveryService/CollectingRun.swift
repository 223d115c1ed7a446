import EDiscoveryCollection
import EDiscoveryExport
package import KMSClient
package import KMSProtocol
package import LinkedService
import SecretMemory
import Synchronization
package import WireText

/// A mirror and the work at its reports without a link and a console: what the benchmark measures.
///
/// The same parts as in the service, put together over any answerer in the place of the KMS. One caller at a time.
package final class CollectingRun: Sendable {
    package typealias Answerer = @Sendable (KMSOperation, KMSCaller.Behalf?) async throws -> KMSAnswer

    private struct Asking: KMSAsking {
        let answer: Answerer
        func perform(_ operation: KMSOperation, on behalf: KMSCaller.Behalf?) async throws -> KMSAnswer {
            try await answer(operation, behalf)
        }
    }

    private struct Nowhere: CoreAsking {
        func part(of file: String, in space: String, from offset: UInt64) async throws -> (
            octets: [UInt8]?, size: UInt64
        ) {
            (nil, 0)
        }
        func remove(_ message: String, in space: String) async throws {}
    }

    private let mirror: Mirror
    private let consent: Consent
    private let commands: OfficerCommands
    private let collector: Collector
    private let exporter: Exporter
    private let cursor = Mutex<UInt64>(0)

    /// - Parameters:
    ///   - folder: for the database, files and exports.
    ///   - scratch: for what is plain meanwhile.
    ///   - recipients: a file with a JWK set.
    package init(folder: String, scratch: String, recipients: String, kms answer: @escaping Answerer) throws {
        let kms = Asking(answer: answer)
        mirror = try Mirror(path: folder + "/mirror.sqlite")
        let vault = try FileVault(folder: folder + "/files", largest: 1 << 30)
        consent = Consent(kms) { _ in }
        let files = CollectedFiles(
            mirror: mirror, vault: vault, fetching: FileFetching(mirror: mirror, vault: vault, core: Nowhere()))
        commands = OfficerCommands(mirror: mirror, directory: Directory(), exportFolder: folder + "/exports")
        collector = Collector(
            consent: consent, mirror: mirror, kms: kms, directory: Directory(), files: files, report: { _ in },
            counted: { _ in })
        exporter = try Exporter(
            ExportsSection(folder: folder + "/exports", scratch: scratch, recipients: recipients),
            consent: consent, kms: kms, mirror: mirror, directory: Directory(), files: files)
    }

    /// Items of the feed, as many as a batch has.
    package func add(_ items: [[UInt8]]) async throws {
        let key = try await consent.sealingKey()
        let entries = items.compactMap { octets in FeedEntry(octets).map { (entry: $0, octets: octets) } }
        let end = cursor.withLock { cursor in
            cursor += UInt64(items.count)
            return cursor
        }
        try mirror.add(entries, cursor: end, under: key)
    }

    /// Does a command as an officer; the answer's JSON.
    package func ask(_ command: String, _ body: String) async throws -> JSONNode {
        let key = try await consent.sealingKey()
        let text = try commands.perform(
            command, JSONDocument(text: body).root, .init(officer: "officer", matter: nil, key: key))
        return try JSONDocument(text: text, limits: .init(maximumNodes: 1_000_000, maximumBytes: 16 << 20)).root
    }

    /// Works at all reports to their end.
    package func collect() async { await collector.work() }

    /// Makes all exports that were ordered.
    package func export() async throws { try await exporter.work() }
}
