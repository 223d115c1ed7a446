import EDiscoveryCollection
import FoundationEssentials
import SecretMemory

// Spaces, one page of their messages after the other: what a space says may be more than memory.
extension Mirror {
    /// Messages of one page.
    static let page = 500

    func spaces(until position: Int64) throws -> Int {
        try queue.read {
            try Int.fetchOne(
                $0, sql: "SELECT count(DISTINCT space) FROM event WHERE position <= ?", arguments: [position]) ?? 0
        }
    }

    /// The next space by its id of which something was read until that position.
    func space(after: String?, until position: Int64) throws -> String? {
        try queue.read { db in
            try String.fetchOne(
                db, sql: "SELECT space FROM event WHERE space > ? AND position <= ? ORDER BY space LIMIT 1",
                arguments: [after ?? "", position])
        }
    }

    /// Who came and who left, and what else is neither a message nor about one.
    func head(of space: String, until position: Int64 = .max, under key: SymmetricKey) throws -> SpaceLog {
        try queue.read { try Self.head(of: space, until: position, key, $0) }
    }

    static func head(of space: String, until position: Int64, _ key: SymmetricKey, _ db: any Database) throws
        -> SpaceLog
    {
        let rows = try Row.fetchAll(
            db,
            sql: """
                SELECT sequence, sealed FROM event
                WHERE space = ? AND position <= ? AND kind = 0 AND about IS NULL ORDER BY sequence
                """, arguments: [space, position])
        return try SpaceLog(id: space, items: rows.map { try opened($0, of: space, key) })
    }

    /// How many events of a space the core never told of.
    func missing(of space: String, until position: Int64) throws -> Int64 {
        try queue.read { db in
            try Int64.fetchOne(
                db,
                sql: """
                    SELECT coalesce(max(sequence), 0) - count(*) FROM event
                    WHERE space = ? AND position <= ? AND sequence > 0
                    """, arguments: [space, position]) ?? 0
        }
    }

    /// The messages behind a sequence, with their edits and deletions; `next` is where the next page begins, nil at the end.
    func messages(
        of head: SpaceLog, after sequence: UInt64, until position: Int64 = .max, under key: SymmetricKey
    ) throws -> (messages: [SpaceLog.Message], next: UInt64?) {
        try queue.read { db in
            let rows = try Row.fetchAll(
                db,
                sql: """
                    SELECT sequence, sealed FROM event
                    WHERE space = ? AND sequence > ? AND position <= ? AND kind IN (1, 2)
                    ORDER BY sequence LIMIT ?
                    """, arguments: [head.id, Int64(clamping: sequence), position, Self.page])
            let end = rows.count < Self.page ? nil : rows.last.map { UInt64($0["sequence"] as Int64) }
            let found = try head.page(
                rows.map { try Self.opened($0, of: head.id, key) }, of: (sequence + 1)...(end ?? .max)
            ) { ids in
                try Self.later(ids, of: head.id, until: position, key, db)
            }
            return (found, end)
        }
    }

    /// A space's messages, page by page; each log has one page of them.
    func eachPage(
        of space: String, until position: Int64 = .max, under key: SymmetricKey, _ take: (SpaceLog) throws -> Void
    ) throws {
        let head = try head(of: space, until: position, under: key)
        var after: UInt64? = 0
        while let sequence = after {
            let page = try messages(of: head, after: sequence, until: position, under: key)
            try take(head.with(page.messages))
            after = page.next
        }
    }

    /// The messages at some places, with their edits and deletions.
    static func messages(
        of head: SpaceLog, at sequences: [Int64], _ key: SymmetricKey, _ db: any Database
    ) throws -> [SpaceLog.Message] {
        var items: [[UInt8]] = []
        for sequence in sequences {
            let row = try Row.fetchOne(
                db, sql: "SELECT sequence, sealed FROM event WHERE space = ? AND sequence = ? AND kind IN (1, 2)",
                arguments: [head.id, sequence])
            if let row { items.append(try opened(row, of: head.id, key)) }
        }
        let wanted = Set(sequences)
        return try head.page(items, of: 1...UInt64.max) { try later($0, of: head.id, until: .max, key, db) }
            .filter { wanted.contains(Int64(clamping: $0.sequence)) }
    }

    private static func later(
        _ ids: [String], of space: String, until position: Int64, _ key: SymmetricKey, _ db: any Database
    ) throws -> [[UInt8]] {
        var rows: [Row] = []
        // One statement for all pages: what is too few is filled up with what no event is about.
        for start in stride(from: 0, to: ids.count, by: page) {
            let part = ids[start..<min(start + page, ids.count)]
            let values = part + Array(repeating: "", count: page - part.count)
            rows += try Row.fetchAll(
                db, sql: laterSQL, arguments: [space, position] + values.map { $0 as (any MirrorBindable)? })
        }
        return try rows.sorted { ($0["sequence"] as Int64) < ($1["sequence"] as Int64) }.map {
            try opened($0, of: space, key)
        }
    }

    private static let laterSQL =
        "SELECT sequence, sealed FROM event WHERE space = ? AND position <= ? AND about IN ("
        + Array(repeating: "?", count: page).joined(separator: ",") + ")"

    static func opened(_ row: Row, of space: String, _ key: SymmetricKey) throws -> [UInt8] {
        let place = FeedPlace(space: space, sequence: UInt64(row["sequence"] as Int64))
        return try MirrorSeal.open([UInt8](row["sealed"] as Data), name(place), key)
    }
}
