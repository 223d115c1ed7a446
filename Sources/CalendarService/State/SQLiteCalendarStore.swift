import Diagnostics
import FoundationEssentials
import GRDB
import WireText

/// The store in a SQLite file: for one connector, or several on one machine. Durable when a write returns.
final class SQLiteCalendarStore: CalendarStore {
    private let queue: DatabaseQueue
    private let now: @Sendable () -> Timestamp

    init(path: String, now: @escaping @Sendable () -> Timestamp = { .now() }) throws {
        self.now = now
        do {
            var configuration = GRDB.Configuration()
            configuration.busyMode = .timeout(5)
            queue = try DatabaseQueue(path: path, configuration: configuration)
            try queue.writeWithoutTransaction { db in
                try db.execute(sql: "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON")
            }
            try queue.write { db in try db.execute(sql: Self.schema) }
        } catch {
            throw DiagnosedError(
                .calendarStore, fault: .store, "the connector's database can not be opened", found: "\(path): \(error)",
                hint: "check that the folder of store.file exists, belongs to the service and has space")
        }
    }

    private static let schema = """
        CREATE TABLE IF NOT EXISTS document (
            owner TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, share INTEGER NOT NULL, sealed BLOB NOT NULL,
            PRIMARY KEY (owner, kind, id)) STRICT, WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS documentByShare ON document (kind, share, owner, id);
        CREATE TABLE IF NOT EXISTS share (
            number INTEGER NOT NULL PRIMARY KEY, node TEXT NOT NULL, fence INTEGER NOT NULL, until INTEGER NOT NULL) STRICT;
        CREATE TABLE IF NOT EXISTS node (name TEXT NOT NULL PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS command (id TEXT NOT NULL PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        """

    // MARK: - Documents

    func document(_ place: DocumentPlace) async throws -> [UInt8]? {
        try await queue.read { db in
            try Data.fetchOne(
                db, sql: "SELECT sealed FROM document WHERE owner = ? AND kind = ? AND id = ?",
                arguments: [place.owner, place.kind.rawValue, place.id]
            ).map { [UInt8]($0) }
        }
    }

    func documents(of owner: String, kind: DocumentKind) async throws -> [StoredDocument] {
        try await queue.read { db in
            try Row.fetchAll(
                db, sql: "SELECT owner, id, sealed FROM document WHERE owner = ? AND kind = ? ORDER BY id",
                arguments: [owner, kind.rawValue]
            ).map(Self.stored)
        }
    }

    func documents(ofShare share: Int, kind: DocumentKind, limit: Int) async throws -> [StoredDocument] {
        try await queue.read { db in
            try Row.fetchAll(
                db,
                sql: "SELECT owner, id, sealed FROM document WHERE kind = ? AND share = ? ORDER BY owner, id LIMIT ?",
                arguments: [kind.rawValue, share, limit]
            ).map(Self.stored)
        }
    }

    private static func stored(_ row: Row) -> StoredDocument {
        StoredDocument(owner: row["owner"], id: row["id"], octets: [UInt8](row["sealed"] as Data))
    }

    func write(_ changes: [DocumentChange], under holding: ShareHolding) async throws -> Bool {
        try await queue.write { db in
            let isHeld = try Bool.fetchOne(
                db, sql: "SELECT EXISTS (SELECT 1 FROM share WHERE number = ? AND node = ? AND fence = ?)",
                arguments: [holding.share, holding.node, holding.fence])
            guard isHeld == true else { return false }
            for change in changes {
                let place = change.place
                switch change {
                case .put(_, let octets):
                    try db.execute(
                        sql: "INSERT OR REPLACE INTO document VALUES (?, ?, ?, ?, ?)",
                        arguments: [
                            place.owner, place.kind.rawValue, place.id, Shares.share(of: place.owner), Data(octets),
                        ])
                case .remove:
                    try db.execute(
                        sql: "DELETE FROM document WHERE owner = ? AND kind = ? AND id = ?",
                        arguments: [place.owner, place.kind.rawValue, place.id])
                }
            }
            return true
        }
    }

    // MARK: - Shares

    func beat(node: String, life: Duration, leaving: Set<Int>) async throws -> ShareBeat {
        let present = now().milliseconds
        let until = present + life.components.seconds * 1000
        return try await queue.write { db in
            try db.execute(
                sql: "INSERT INTO node VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET until = excluded.until",
                arguments: [node, until])
            try db.execute(sql: "DELETE FROM node WHERE until < ?", arguments: [present])
            let nodes = try Int.fetchOne(db, sql: "SELECT count(*) FROM node") ?? 1
            for share in leaving {
                try db.execute(
                    sql: "UPDATE share SET until = 0 WHERE number = ? AND node = ?", arguments: [share, node])
            }
            // Held still, also when its time had passed: nobody took it.
            try db.execute(
                sql: "UPDATE share SET until = ? WHERE node = ? AND until > 0", arguments: [until, node])
            let held = try Int.fetchOne(
                db, sql: "SELECT count(*) FROM share WHERE node = ? AND until > 0", arguments: [node])
            var wanted = Shares.most(for: nodes) - (held ?? 0)
            let taken = try Set(
                Int.fetchAll(db, sql: "SELECT number FROM share WHERE until >= ?", arguments: [present]))
            for share in 0..<Shares.count where wanted > 0 && !taken.contains(share) && !leaving.contains(share) {
                try db.execute(
                    sql: """
                        INSERT INTO share VALUES (?, ?, 1, ?) ON CONFLICT (number) DO UPDATE
                            SET node = excluded.node, fence = share.fence + 1, until = excluded.until
                        """, arguments: [share, node, until])
                wanted -= 1
            }
            let holdings = try Row.fetchAll(
                db, sql: "SELECT number, fence FROM share WHERE node = ? AND until > 0 ORDER BY number",
                arguments: [node]
            ).map { ShareHolding(share: $0["number"], node: node, fence: $0["fence"]) }
            return ShareBeat(holdings: holdings, nodes: nodes)
        }
    }

    func leave(node: String) async throws {
        try await queue.write { db in
            try db.execute(sql: "UPDATE share SET until = 0 WHERE node = ?", arguments: [node])
            try db.execute(sql: "DELETE FROM node WHERE name = ?", arguments: [node])
        }
    }

    func holders() async throws -> [Int: String] {
        let present = now().milliseconds
        return try await queue.read { db in
            let rows = try Row.fetchAll(
                db, sql: "SELECT number, node FROM share WHERE until >= ?", arguments: [present])
            return Dictionary(rows.map { ($0["number"], $0["node"]) }, uniquingKeysWith: { first, _ in first })
        }
    }

    // MARK: - Commands

    func isNew(command id: String, until: Timestamp, now: Timestamp) async throws -> Bool {
        try await queue.write { db in
            try db.execute(sql: "DELETE FROM command WHERE until < ?", arguments: [now.milliseconds])
            try db.execute(
                sql: "INSERT OR IGNORE INTO command VALUES (?, ?)", arguments: [id, until.milliseconds])
            return db.changesCount == 1
        }
    }

    func check() async throws {
        let until = now().adding(seconds: 1).milliseconds
        try await queue.write { db in
            try db.execute(sql: "INSERT OR REPLACE INTO command VALUES ('check', ?)", arguments: [until])
        }
    }

    func close() async { try? queue.close() }
}
