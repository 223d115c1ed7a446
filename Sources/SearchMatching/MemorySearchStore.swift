package import Diagnostics
package import SearchProtocol

/// A search store in memory that does what `docs/search.md` says a store does: the reference for the real ones, and for
/// tests.
///
/// Holds no key and opens nothing. Not for use by several threads at once.
package struct MemorySearchStore: ~Copyable {
    private struct Row {
        var entry: SearchEntry
        let published: Int64
    }

    private struct MessageKey: Hashable {
        let room: String
        let message: String
    }

    private struct EpochKey: Hashable {
        let room: String
        let epoch: UInt32
        let profile: SearchProfile
    }

    private var rows: [MessageKey: Row] = [:]
    private var epochs: [EpochKey: Set<String>] = [:]
    /// Tells when a message was published; nil for one that the core does not have.
    private let published: (_ room: String, _ message: String) -> Int64?
    private var matcher = SaltedMatcher()

    package init(published: @escaping (_ room: String, _ message: String) -> Int64?) {
        self.published = published
    }

    package var entries: [SearchEntry] { rows.values.map(\.entry) }

    package mutating func apply(_ upload: SearchUpload) {
        for item in upload.items {
            switch item {
            case .entry(let entry): store(entry)
            case .withdrawal(let room, let message, let epoch):
                let key = MessageKey(room: room, message: message)
                guard let stored = rows[key]?.entry, stored.epoch == epoch, stored.body != .tombstone else { continue }
                forget(stored)
                rows[key] = nil
            case .burial(let room, let message, let sequence):
                let key = MessageKey(room: room, message: message)
                if let stored = rows[key]?.entry { forget(stored) }
                guard rows[key]?.entry.body != .tombstone else { continue }
                // Without a key: nobody's MAC.
                guard
                    let grave = try? SearchEntry(
                        profile: .list, analyser: AnalyserID(rawValue: 0), room: room, epoch: 0, message: message,
                        sequence: sequence, body: .tombstone,
                        mac: [UInt8](repeating: 0, count: SearchEntry.macByteCount))
                else { continue }
                rows[key] = Row(entry: grave, published: 0)
            }
        }
    }

    private mutating func store(_ entry: SearchEntry) {
        let key = MessageKey(room: entry.room, message: entry.message)
        if let stored = rows[key]?.entry {
            guard entry.supersedes(stored) else { return }
            forget(stored)
        }
        rows[key] = Row(entry: entry, published: published(entry.room, entry.message) ?? 0)
        guard entry.body != .tombstone else { return }
        epochs[Self.epoch(of: entry), default: []].insert(entry.message)
    }

    private mutating func forget(_ entry: SearchEntry) {
        epochs[Self.epoch(of: entry)]?.remove(entry.message)
    }

    private static func epoch(of entry: SearchEntry) -> EpochKey {
        EpochKey(room: entry.room, epoch: entry.epoch, profile: entry.profile)
    }

    /// The newest first; of the same time, in the order of the message ids.
    package mutating func hits(for lookup: SearchLookup) throws(DiagnosedError) -> SearchHits {
        var hits: [SearchHits.Hit] = []
        for (index, cell) in lookup.cells.enumerated() {
            let key = EpochKey(room: cell.room, epoch: cell.epoch, profile: cell.profile)
            let found = (epochs[key] ?? []).compactMap { rows[MessageKey(room: cell.room, message: $0)] }
                .filter { lookup.published.contains($0.published) }
            for row in matching(found, cell) {
                hits.append(
                    .init(
                        cell: index, message: row.entry.message, sequence: row.entry.sequence,
                        published: row.published))
            }
        }
        hits.sort { ($1.published, $0.message) < ($0.published, $1.message) }
        var start = 0
        if !lookup.cursor.isEmpty { start = Int(String(decoding: lookup.cursor, as: UTF8.self)) ?? hits.count }
        let page = Array(hits.dropFirst(start).prefix(lookup.limit))
        let end = start + page.count
        return try SearchHits(id: lookup.id, hits: page, next: end < hits.count ? Array(String(end).utf8) : [])
    }

    private mutating func matching(_ rows: [Row], _ cell: SearchLookup.Cell) -> [Row] {
        if cell.profile == .salted {
            let entries = rows.map { row -> (salt: [UInt8], codewords: [UInt32]) in
                guard case .codewords(let salt, let codewords) = row.entry.body else { return ([], []) }
                return (salt, codewords)
            }
            return matcher.matches(of: cell.groups, among: entries).map { rows[$0] }
        }
        let groups = cell.groups.map { Set($0.map(\.high)) }
        return rows.filter { row in
            guard case .tokens(let tokens) = row.entry.body else { return false }
            return groups.allSatisfy { group in tokens.contains(where: group.contains) }
        }
    }
}
