import Cryptography
import Diagnostics
import EDiscoveryCollection
import FoundationEssentials
import SecretMemory
import WireText

/// What the worker keeps, in one SQLite file: the feed as it came, reports with their items, commands that were seen, and the audit. All of
/// it is sealed under the key that the KMS gives; in clear are ids of spaces, places and numbers.
///
/// Any thread; its functions block for as long as SQLite takes. What was written is on the disk when they return.
final class Mirror: Sendable {
    let queue: any MirrorStore

    init(_ store: any MirrorStore) { queue = store }

    /// In a SQLite file of this worker alone.
    convenience init(path: String) throws { self.init(try SQLiteMirror(path: path)) }

    /// Whether other workers use the same rows.
    var isShared: Bool { queue.isShared }

    /// Whether this worker's turn is to write.
    var isOurs: Bool { queue.isOurs }
    func turn(_ isOurs: Bool) { queue.turn(isOurs) }

    func close() throws { try queue.close() }

    func check() throws {
        guard isOurs else { return try queue.read { _ = try Int64.fetchOne($0, sql: "SELECT 1 AS one") } }
        try queue.write { db in
            try db.execute(
                sql: "INSERT INTO setting VALUES ('check', '1') ON CONFLICT (name) DO UPDATE SET value = '1'")
        }
    }

    /// What an event is, as far as it matters to what is destroyed.
    enum EventKind: Int64 {
        /// Kept before this was noted.
        case unknown = -1
        case other, message, removed
    }

    // MARK: - Feed

    /// The last position; 0 of an empty mirror.
    func last() throws -> Int64 {
        try queue.read { try Int64.fetchOne($0, sql: "SELECT max(position) FROM event") ?? 0 }
    }

    /// What came before at the same place stays: the core can not rewrite what was read.
    ///
    /// - Parameters:
    ///   - cursor: of the feed, behind these items.
    ///   - followsCore: whether what the core says to have deleted for its age is destroyed here as well. Without that the core, which
    ///     nobody has to believe, destroys nothing here.
    func add(
        _ items: [(entry: FeedEntry, octets: [UInt8])], cursor: UInt64 = 0, followsCore: Bool = false,
        under key: SymmetricKey
    ) throws {
        try queue.write { db in
            try db.execute(
                sql: "INSERT INTO setting VALUES ('cursor', ?1) ON CONFLICT (name) DO UPDATE SET value = ?1",
                arguments: [String(cursor)])
            for (entry, octets) in items {
                switch entry {
                case .event(let place, let facts):
                    let sealed = try MirrorSeal.seal(octets, Self.name(place), key)
                    try db.execute(
                        sql: """
                            INSERT INTO event (space, sequence, sealed, kind, published, about)
                            VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
                            """,
                        arguments: [
                            place.space, Int64(clamping: place.sequence), Data(sealed),
                            (facts.isMessage ? EventKind.message : .other).rawValue, facts.published.milliseconds,
                            facts.about,
                        ])
                    guard db.changesCount == 1 else { continue }
                    for (number, file) in facts.files.enumerated() {
                        guard let id = file.id else { continue }
                        try db.execute(
                            sql: "INSERT INTO file (space, sequence, number, id, size) VALUES (?, ?, ?, ?, ?)",
                            arguments: [
                                place.space, Int64(clamping: place.sequence), number, id,
                                Int64(clamping: file.size ?? 0),
                            ])
                    }
                case .expired(let place):
                    guard followsCore else { continue }
                    // Destroyed here as well, when no hold is in the way: `destroy`.
                    try Self.want(place, message: nil, because: "expired", db)
                }
            }
        }
    }

    /// Where this mirror ends in the feed; 0 of a new one, nil of one that an earlier release made.
    func cursor() throws -> UInt64? {
        try queue.read { db in
            if let text = try String.fetchOne(db, sql: "SELECT value FROM setting WHERE name = 'cursor'") {
                return UInt64(text)
            }
            return try Bool.fetchOne(db, sql: "SELECT 1 FROM event LIMIT 1") == nil ? 0 : nil
        }
    }

    static func name(_ place: FeedPlace) -> String { "event \(place.space) \(place.sequence)" }

    static func events(of space: String, until position: Int64, _ key: SymmetricKey, _ db: any Database) throws
        -> [[UInt8]]
    {
        try Row.fetchAll(
            db, sql: "SELECT sequence, sealed FROM event WHERE space = ? AND position <= ? ORDER BY sequence",
            arguments: [space, position]
        ).map { row in
            let place = FeedPlace(space: space, sequence: UInt64(row["sequence"] as Int64))
            return try MirrorSeal.open([UInt8](row["sealed"] as Data), name(place), key)
        }
    }
}

extension DiagnosedError.Code {
    static let mirror: Self = "ediscovery-database"
}
