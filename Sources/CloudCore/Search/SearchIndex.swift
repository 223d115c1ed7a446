import Diagnostics
import FoundationEssentials
import GRDB
import SearchMatching
import SearchProtocol

/// What the search service keeps, in a SQLite file of its own: entries as the indexer made them, and the tokens of those that
/// have some, to be found by.
///
/// It stores and compares opaque values; there is no key to any of them here. What an upload brings is on the disk when
/// `apply` returns, all of it or nothing. Tombstones stay. A file that was lost is filled again by indexing anew, so what it
/// holds is precious to nobody.
final class SearchIndex: Sendable {
    /// Longer ids of messages are not stored: a cursor has to hold one.
    static let maximumMessage = SearchLookup.maximumCursorBytes - 8

    private let pool: DatabasePool

    init(path: String) throws {
        var configuration = GRDB.Configuration()
        configuration.foreignKeysEnabled = true
        configuration.busyMode = .timeout(5)
        configuration.maximumReaderCount = 4
        do {
            pool = try DatabasePool(path: path, configuration: configuration)
            try Self.migrator.migrate(pool)
            try pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
        } catch {
            throw DiagnosedError(
                .storeUnusable, fault: .store, "the core's search index can not be opened", found: "\(path): \(error)",
                hint: "check that the folder exists, belongs to the service and has space")
        }
    }

    func close() throws {
        _ = try? pool.writeWithoutTransaction { try $0.checkpoint(.truncate) }
        try pool.close()
    }

    private static let migrator: DatabaseMigrator = {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1") { try $0.execute(sql: schema) }
        return migrator
    }()

    /// A tombstone has its own kind and, when the core made it, no octets.
    private static let schema = """
        CREATE TABLE room (
            id INTEGER PRIMARY KEY, organisation TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (organisation, name)) STRICT;
        CREATE TABLE entry (
            id INTEGER PRIMARY KEY, room INTEGER NOT NULL REFERENCES room (id), message TEXT NOT NULL,
            epoch INTEGER NOT NULL, profile INTEGER NOT NULL, sequence INTEGER NOT NULL, published INTEGER NOT NULL,
            isTombstone INTEGER NOT NULL, octets BLOB NOT NULL, UNIQUE (room, message)) STRICT;
        CREATE INDEX entryByEpoch ON entry (room, epoch, profile, published) WHERE isTombstone = 0;
        CREATE TABLE token (token INTEGER NOT NULL, entry INTEGER NOT NULL, PRIMARY KEY (token, entry))
            STRICT, WITHOUT ROWID;
        """

    // MARK: - Writing

    /// - Parameter published: milliseconds of each message that the core has, in the order of the items; nil for others,
    ///   which are stored all the same: the message may have been deleted meanwhile.
    func apply(_ upload: SearchUpload, of organisation: String, published: [Int64?]) async throws {
        try await pool.write { db in
            var rooms: [String: Int64] = [:]
            for (index, item) in upload.items.enumerated() {
                switch item {
                case .entry(let entry):
                    let room = try Self.room(entry.room, of: organisation, &rooms, db)
                    try Self.store(entry, room, published: published[index] ?? 0, db)
                case .withdrawal(let name, let message, let epoch):
                    let room = try Self.room(name, of: organisation, &rooms, db)
                    guard let stored = try Self.stored(message, in: room, db), stored.epoch == epoch,
                        !stored.isTombstone
                    else { continue }
                    try Self.forgetTokens(stored, db)
                    try db.execute(sql: "DELETE FROM entry WHERE id = ?", arguments: [stored.id])
                case .burial(let name, let message, let sequence):
                    let room = try Self.room(name, of: organisation, &rooms, db)
                    try Self.bury(message, in: room, sequence: Int64(bitPattern: sequence), db)
                }
            }
        }
    }

    /// The message was deleted: its entry goes, and what comes of it later is ignored.
    func bury(_ message: String, in name: String, of organisation: String, sequence: Int64) async throws {
        try await pool.write { db in
            var rooms: [String: Int64] = [:]
            let room = try Self.room(name, of: organisation, &rooms, db)
            try Self.bury(message, in: room, sequence: sequence, db)
        }
    }

    private static func bury(_ message: String, in room: Int64, sequence: Int64, _ db: Database) throws {
        if let stored = try stored(message, in: room, db) {
            guard !stored.isTombstone else { return }
            try forgetTokens(stored, db)
            try db.execute(sql: "UPDATE entry SET isTombstone = 1, octets = x'' WHERE id = ?", arguments: [stored.id])
        } else {
            try db.execute(
                sql: """
                    INSERT INTO entry (room, message, epoch, profile, sequence, published, isTombstone, octets)
                    VALUES (?, ?, 0, 0, ?, 0, 1, x'')
                    """, arguments: [room, message, sequence])
        }
    }

    private struct Stored {
        let id: Int64
        let epoch: UInt32
        let sequence: Int64
        let isTombstone: Bool
        let octets: [UInt8]
    }

    private static func room(
        _ name: String, of organisation: String, _ known: inout [String: Int64], _ db: Database
    ) throws -> Int64 {
        if let id = known[name] { return id }
        let find = try db.cachedStatement(sql: "SELECT id FROM room WHERE organisation = ? AND name = ?")
        var id = try Int64.fetchOne(find, arguments: [organisation, name])
        if id == nil {
            try db.execute(
                sql: "INSERT INTO room (organisation, name) VALUES (?, ?)", arguments: [organisation, name])
            id = db.lastInsertedRowID
        }
        known[name] = id
        return id ?? 0
    }

    private static func stored(_ message: String, in room: Int64, _ db: Database) throws -> Stored? {
        let find = try db.cachedStatement(
            sql: "SELECT id, epoch, sequence, isTombstone, octets FROM entry WHERE room = ? AND message = ?")
        return try Row.fetchOne(find, arguments: [room, message]).map { row in
            Stored(
                id: row["id"], epoch: UInt32(truncatingIfNeeded: row["epoch"] as Int64), sequence: row["sequence"],
                isTombstone: row["isTombstone"], octets: [UInt8](row["octets"] as Data))
        }
    }

    /// The rule is `SearchEntry.supersedes`.
    private static func store(_ entry: SearchEntry, _ room: Int64, published: Int64, _ db: Database) throws {
        let octets = Data(entry.encode())
        let isTombstone = entry.body == .tombstone
        let id: Int64
        if let stored = try stored(entry.message, in: room, db) {
            // What the core itself buried has no octets and stays.
            guard !stored.isTombstone, try entry.supersedes(SearchEntry(decoding: stored.octets)) else { return }
            try forgetTokens(stored, db)
            let update = try db.cachedStatement(
                sql: """
                    UPDATE entry SET epoch = ?, profile = ?, sequence = ?, published = ?, isTombstone = ?, octets = ?
                    WHERE id = ?
                    """)
            try update.execute(
                arguments: [
                    Int64(entry.epoch), Int64(entry.profile.rawValue), Int64(bitPattern: entry.sequence), published,
                    isTombstone, octets, stored.id,
                ])
            id = stored.id
        } else {
            let insert = try db.cachedStatement(
                sql: """
                    INSERT INTO entry (room, message, epoch, profile, sequence, published, isTombstone, octets)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                    """)
            try insert.execute(
                arguments: [
                    room, entry.message, Int64(entry.epoch), Int64(entry.profile.rawValue),
                    Int64(bitPattern: entry.sequence), published, isTombstone, octets,
                ])
            id = db.lastInsertedRowID
        }
        guard case .tokens(let tokens) = entry.body else { return }
        let add = try db.cachedStatement(sql: "INSERT INTO token (token, entry) VALUES (?, ?)")
        for token in tokens { try add.execute(arguments: [Int64(bitPattern: token), id]) }
    }

    private static func forgetTokens(_ stored: Stored, _ db: Database) throws {
        guard case .tokens(let tokens) = try SearchEntry(decoding: stored.octets).body else { return }
        let remove = try db.cachedStatement(sql: "DELETE FROM token WHERE token = ? AND entry = ?")
        for token in tokens { try remove.execute(arguments: [Int64(bitPattern: token), stored.id]) }
    }

    // MARK: - Comparing

    /// The newest first; of the same time, in the order of the message ids.
    func hits(for lookup: SearchLookup, of organisation: String) async throws -> SearchHits {
        let start = try Cursor(lookup.cursor)
        return try await pool.read { db in
            var found: [SearchHits.Hit] = []
            var matcher = SaltedMatcher()
            for (index, cell) in lookup.cells.enumerated() {
                let find = try db.cachedStatement(sql: "SELECT id FROM room WHERE organisation = ? AND name = ?")
                guard let room = try Int64.fetchOne(find, arguments: [organisation, cell.room]) else { continue }
                // A page needs no more than its own size of any one cell.
                let rows =
                    cell.profile == .salted
                    ? try Self.salted(cell, room, lookup, start, &matcher, db)
                    : try Self.equal(cell, room, lookup, start, db)
                found += rows.map {
                    SearchHits.Hit(
                        cell: index, message: $0["message"],
                        sequence: UInt64(bitPattern: $0["sequence"] as Int64), published: $0["published"])
                }
            }
            found.sort { ($1.published, $0.message) < ($0.published, $1.message) }
            var page = Array(found.prefix(lookup.limit))
            // A page ends between messages: what several cells find would else be lost in part, for the cursor names the message.
            if found.count > page.count, let rest = found.dropFirst(page.count).first {
                let whole = page.prefix { ($0.published, $0.message) != (rest.published, rest.message) }
                if !whole.isEmpty { page = Array(whole) }
            }
            let next = found.count > page.count ? page.last.map { Cursor($0).octets } : nil
            return try SearchHits(id: lookup.id, hits: page, next: next ?? [])
        }
    }

    /// Where a page ended: time and message of its last hit.
    private struct Cursor {
        var published = Int64.max
        var message = ""

        init(_ hit: SearchHits.Hit) { (published, message) = (hit.published, hit.message) }

        init(_ octets: [UInt8]) throws {
            guard !octets.isEmpty else { return }
            guard octets.count > 8, let message = String(validating: octets.dropFirst(8), as: UTF8.self) else {
                throw SearchService.Refused(reason: "the cursor of a lookup is malformed")
            }
            published = octets.prefix(8).reduce(Int64(0)) { $0 << 8 | Int64($1) }
            self.message = message
        }

        var octets: [UInt8] { withUnsafeBytes(of: published.bigEndian) { Array($0) } + Array(message.utf8) }
    }

    private static let order = """
        AND e.published BETWEEN :from AND :until AND (e.published < :time OR e.published = :time AND e.message > :message)
        ORDER BY e.published DESC, e.message LIMIT :limit
        """

    private static func arguments(
        _ cell: SearchLookup.Cell, _ room: Int64, _ lookup: SearchLookup, _ start: Cursor, limit: Int
    ) -> StatementArguments {
        [
            "room": room, "epoch": Int64(cell.epoch), "profile": Int64(cell.profile.rawValue),
            "from": lookup.published.lowerBound, "until": lookup.published.upperBound, "time": start.published,
            "message": start.message, "limit": limit,
        ]
    }

    /// By the tokens of the smallest group; each further group is looked up for what it gave.
    private static func equal(
        _ cell: SearchLookup.Cell, _ room: Int64, _ lookup: SearchLookup, _ start: Cursor, _ db: Database
    ) throws -> [Row] {
        let groups = cell.groups.sorted { $0.count < $1.count }
        var sql = """
            SELECT DISTINCT e.id, e.message, e.sequence, e.published
            FROM json_each(:group0) AS g CROSS JOIN token AS t ON t.token = g.value CROSS JOIN entry AS e ON e.id = t.entry
            WHERE e.room = :room AND e.epoch = :epoch AND e.profile = :profile AND e.isTombstone = 0

            """
        var arguments = arguments(cell, room, lookup, start, limit: lookup.limit + 1)
        for (index, group) in groups.enumerated() {
            let list = "[" + group.map { String(Int64(bitPattern: $0.high)) }.joined(separator: ",") + "]"
            arguments += ["group\(index)": list]
            guard index > 0 else { continue }
            sql += """
                AND EXISTS (SELECT 1 FROM json_each(:group\(index)) AS h CROSS JOIN token AS u
                    ON u.token = h.value AND u.entry = e.id)

                """
        }
        return try Row.fetchAll(db.cachedStatement(sql: sql + order), arguments: arguments)
    }

    /// Every entry of the epoch is compared, in portions.
    private static func salted(
        _ cell: SearchLookup.Cell, _ room: Int64, _ lookup: SearchLookup, _ start: Cursor,
        _ matcher: inout SaltedMatcher, _ db: Database
    ) throws -> [Row] {
        let sql = """
            SELECT e.id, e.message, e.sequence, e.published, e.octets FROM entry AS e
            WHERE e.room = :room AND e.epoch = :epoch AND e.profile = :profile AND e.isTombstone = 0

            """
        var found: [Row] = []
        var start = start
        let portion = 4096
        while found.count <= lookup.limit {
            let rows = try Row.fetchAll(
                db.cachedStatement(sql: sql + order),
                arguments: arguments(cell, room, lookup, start, limit: portion))
            let entries = try rows.map { row -> (salt: [UInt8], codewords: [UInt32]) in
                guard
                    case .codewords(let salt, let codewords) = try SearchEntry(decoding: [UInt8](row["octets"] as Data))
                        .body
                else { return ([UInt8](repeating: 0, count: SearchEntry.saltByteCount), []) }
                return (salt, codewords)
            }
            found += matcher.matches(of: cell.groups, among: entries).map { rows[$0] }
            guard rows.count == portion, let last = rows.last else { break }
            start.published = last["published"]
            start.message = last["message"]
        }
        return Array(found.prefix(lookup.limit + 1))
    }

    // MARK: - Counting

    /// Entries as their indexer made them, in the order of the messages; nil where none can be found.
    func entries(of messages: [SearchCall.Message], in organisation: String) async throws -> [[UInt8]?] {
        try await pool.read { db in
            let find = try db.cachedStatement(
                sql: """
                    SELECT entry.octets FROM entry JOIN room ON room.id = entry.room
                    WHERE room.organisation = ? AND room.name = ? AND entry.message = ? AND entry.isTombstone = 0
                    """)
            return try messages.map { message in
                try Data.fetchOne(find, arguments: [organisation, message.room, message.id]).map { [UInt8]($0) }
            }
        }
    }

    /// Entries of a room that can be found, by epoch.
    func census(of name: String, in organisation: String) async throws -> [SearchCall.Count] {
        try await pool.read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT entry.epoch, count(*) AS entries FROM entry JOIN room ON room.id = entry.room
                    WHERE room.organisation = ? AND room.name = ? AND entry.isTombstone = 0
                    GROUP BY entry.epoch ORDER BY entry.epoch
                    """, arguments: [organisation, name]
            ).map { row in
                SearchCall.Count(
                    epoch: UInt32(truncatingIfNeeded: row["epoch"] as Int64),
                    entries: UInt64(clamping: row["entries"] as Int64))
            }
        }
    }

    /// Entries that can be found, and tombstones.
    func counts() async throws -> (entries: Int, tombstones: Int, tokens: Int) {
        try await pool.read { db in
            (
                try Int.fetchOne(db, sql: "SELECT count(*) FROM entry WHERE isTombstone = 0") ?? 0,
                try Int.fetchOne(db, sql: "SELECT count(*) FROM entry WHERE isTombstone = 1") ?? 0,
                try Int.fetchOne(db, sql: "SELECT count(*) FROM token") ?? 0
            )
        }
    }
}
