import GRDB

// How far the indexer has walked through what was said (IndexWalk), how full epochs are, and what compaction has left. Names of
// rooms and numbers, as the core has them; nothing to be sealed.
extension SealedStore {
    static let walkTables = """
        CREATE TABLE IF NOT EXISTS walk (
            kind TEXT NOT NULL PRIMARY KEY, note TEXT NOT NULL, room TEXT NOT NULL, inside TEXT NOT NULL,
            place INTEGER NOT NULL, isPrepared INTEGER NOT NULL, done INTEGER NOT NULL, total INTEGER NOT NULL)
            STRICT, WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS seen (room TEXT NOT NULL PRIMARY KEY, place INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS fill (
            room TEXT NOT NULL PRIMARY KEY, epoch INTEGER NOT NULL, count INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS floor (room TEXT NOT NULL PRIMARY KEY, epoch INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        """

    /// Where a walk is.
    struct Walk: Equatable, Sendable {
        /// What it makes; a walk with another note begins again.
        var note: String
        /// All rooms up to this one are done.
        var room = ""
        /// The room that is being walked through, up to this place.
        var inside = ""
        var place: UInt64 = 0
        /// What has to happen once before a room is walked through has happened.
        var isPrepared = false
        var done: UInt64 = 0
        var total: UInt64
    }

    func walk(_ kind: String) throws -> Walk? {
        try queue.read { db in
            try Row.fetchOne(db, sql: "SELECT * FROM walk WHERE kind = ?", arguments: [kind]).map { row in
                Walk(
                    note: row["note"], room: row["room"], inside: row["inside"],
                    place: UInt64(clamping: row["place"] as Int64), isPrepared: row["isPrepared"],
                    done: UInt64(clamping: row["done"] as Int64), total: UInt64(clamping: row["total"] as Int64))
            }
        }
    }

    func keep(_ walk: Walk, _ kind: String) throws {
        try queue.write { db in
            try db.execute(
                sql: """
                    INSERT INTO walk VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind) DO UPDATE SET
                        note = excluded.note, room = excluded.room, inside = excluded.inside, place = excluded.place,
                        isPrepared = excluded.isPrepared, done = excluded.done, total = excluded.total
                    """,
                arguments: [
                    kind, walk.note, walk.room, walk.inside, Int64(clamping: walk.place), walk.isPrepared,
                    Int64(clamping: walk.done), Int64(clamping: walk.total),
                ])
        }
    }

    /// The walk is at its end; with it, what follows from that.
    func finish(_ kind: String, settings: [String: String] = [:]) throws {
        try queue.write { db in
            try db.execute(sql: "DELETE FROM walk WHERE kind = ?", arguments: [kind])
            for (name, value) in settings {
                try db.execute(
                    sql: "INSERT INTO setting VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    arguments: [name, value])
            }
        }
    }

    func setting(_ name: String) throws -> String? {
        try queue.read { try String.fetchOne($0, sql: "SELECT value FROM setting WHERE name = ?", arguments: [name]) }
    }

    /// The words of a room up to this place are on the disk.
    func seen(_ room: String) throws -> UInt64 {
        let place = try queue.read {
            try Int64.fetchOne($0, sql: "SELECT place FROM seen WHERE room = ?", arguments: [room])
        }
        return UInt64(clamping: place ?? 0)
    }

    func keep(seen room: String, _ place: UInt64) throws {
        try put("seen", "place", room, Int64(clamping: place))
    }

    /// Messages of the room in that epoch.
    func fill(of room: String, _ epoch: UInt32) throws -> Int {
        try queue.read { db in
            try Int.fetchOne(
                db, sql: "SELECT count FROM fill WHERE room = ? AND epoch = ?", arguments: [room, Int64(epoch)]) ?? 0
        }
    }

    func keep(fill: [(room: String, epoch: UInt32, count: Int)]) throws {
        guard !fill.isEmpty else { return }
        try queue.write { db in
            for one in fill {
                try db.execute(
                    sql: """
                        INSERT INTO fill VALUES (?, ?, ?)
                        ON CONFLICT (room) DO UPDATE SET epoch = excluded.epoch, count = excluded.count
                        """, arguments: [one.room, Int64(one.epoch), one.count])
            }
        }
    }

    func floors() throws -> [(room: String, epoch: UInt32)] {
        try queue.read { db in
            try Row.fetchAll(db, sql: "SELECT room, epoch FROM floor").map {
                ($0["room"], UInt32(clamping: $0["epoch"] as Int64))
            }
        }
    }

    func keep(floor room: String, _ epoch: UInt32) throws { try put("floor", "epoch", room, Int64(epoch)) }

    private func put(_ table: String, _ column: String, _ room: String, _ value: Int64) throws {
        try queue.write { db in
            try db.execute(
                sql: """
                    INSERT INTO \(table) VALUES (?, ?) ON CONFLICT (room) DO UPDATE SET \(column) = excluded.\(column)
                    """, arguments: [room, value])
        }
    }
}
