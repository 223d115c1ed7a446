import Diagnostics
import EDiscoveryCollection
import EDiscoveryModel
import KMSClient
import SecretMemory
import WireText

/// What a report found, one item after the other, for one export.
final class ReportSource {
    private let report: Report
    private let mirror: Mirror
    private let directory: Directory
    private let files: CollectedFiles
    private let key: SymmetricKey
    private let titles: ContentKeys
    private var page: ArraySlice<(place: Int64, octets: [UInt8])> = []
    private var after: Int64 = 0
    private var space: String?
    private var given: String?

    init(
        _ report: Report, mirror: Mirror, directory: Directory, files: CollectedFiles, key: SymmetricKey,
        titles: ContentKeys
    ) {
        (self.report, self.mirror, self.directory) = (report, mirror, directory)
        (self.files, self.key, self.titles) = (files, key, titles)
    }

    func nextItem() throws -> CollectedItem? {
        if page.isEmpty {
            page = try mirror.items(of: report.id, after: after, count: 200, under: key)[...]
            if let last = page.last { after = last.place }
        }
        guard let next = page.popFirst() else {
            space = nil
            return nil
        }
        let item = try CollectedItem(
            JSONDocument(next.octets, limits: .init(maximumNodes: 1_000_000, maximumBytes: 64 << 20)).root)
        space = item.space
        return item
    }

    /// The space of the item that was given last, once.
    func nextSpace() async throws -> CollectedSpace? {
        guard let space, space != given else { return nil }
        given = space
        let log = try mirror.head(of: space, until: report.until, under: key)
        var title: String?
        if let sealed = log.created?.title, let at = log.created?.at {
            let opened = try await titles.text(sealed.text, keyURI: sealed.keyURI, onBehalfOf: log.readers(at: at))
            title = try? opened.get()
        }
        let present = log.intervals.filter { $0.value.last?.left == nil }.keys.sorted()
        let former = log.intervals.keys.filter { !present.contains($0) }.sorted()
        return CollectedSpace(
            id: space, title: title, isOneToOne: title == nil && present.count + former.count <= 2,
            participants: present.map(directory.person), formerParticipants: former.map(directory.person))
    }

    func chunks(of reference: String) throws -> FileChunks? { try files.chunks(of: reference, under: key) }
}
