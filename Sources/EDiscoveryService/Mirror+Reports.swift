import Diagnostics
import FoundationEssentials
import SecretMemory

// Reports and what they found.
extension Mirror {
    func reports(under key: SymmetricKey) throws -> [Report] {
        try queue.read { db in
            try Row.fetchAll(db, sql: "SELECT id, sealed FROM report ORDER BY id").map { try Self.report($0, key) }
        }
    }

    func report(_ id: String, under key: SymmetricKey) throws -> Report? {
        try queue.read { try Self.report(id, key, $0) }
    }

    func insert(_ report: Report, under key: SymmetricKey) throws {
        try queue.write { db in
            try db.execute(
                sql: "INSERT INTO report VALUES (?, ?)", arguments: [report.id, Data(try Self.sealed(report, key))])
        }
    }

    /// Changes a report, and adds items to it, in one transaction; nil when it is gone.
    @discardableResult
    func update(
        _ id: String, under key: SymmetricKey, _ change: (inout Report) throws -> [[UInt8]]
    ) throws -> Report? {
        try queue.write { db in
            guard var report = try Self.report(id, key, db) else { return nil }
            let items = try change(&report)
            var place =
                try Int64.fetchOne(db, sql: "SELECT max(place) FROM item WHERE report = ?", arguments: [id]) ?? 0
            for item in items {
                place += 1
                try db.execute(
                    sql: "INSERT INTO item VALUES (?, ?, ?)",
                    arguments: [id, place, Data(try MirrorSeal.seal(item, "item \(id) \(place)", key))])
            }
            try db.execute(
                sql: "UPDATE report SET sealed = ? WHERE id = ?", arguments: [Data(try Self.sealed(report, key)), id])
            return report
        }
    }

    func delete(_ id: String) throws {
        try queue.write { db in
            try db.execute(sql: "DELETE FROM item WHERE report = ?", arguments: [id])
            try db.execute(sql: "DELETE FROM report WHERE id = ?", arguments: [id])
        }
    }

    /// Items behind a place, by their place.
    func items(
        of id: String, after place: Int64, count: Int, under key: SymmetricKey
    ) throws -> [(place: Int64, octets: [UInt8])] {
        try queue.read { db in
            try Row.fetchAll(
                db, sql: "SELECT place, sealed FROM item WHERE report = ? AND place > ? ORDER BY place LIMIT ?",
                arguments: [id, place, count]
            ).map { row in
                let place: Int64 = row["place"]
                return (place, try MirrorSeal.open([UInt8](row["sealed"] as Data), "item \(id) \(place)", key))
            }
        }
    }

    private static func sealed(_ report: Report, _ key: SymmetricKey) throws -> [UInt8] {
        try MirrorSeal.seal(report.encoded(), "report \(report.id)", key)
    }

    private static func report(_ id: String, _ key: SymmetricKey, _ db: any Database) throws -> Report? {
        try Row.fetchOne(db, sql: "SELECT id, sealed FROM report WHERE id = ?", arguments: [id])
            .map { try report($0, key) }
    }

    private static func report(_ row: Row, _ key: SymmetricKey) throws -> Report {
        let id: String = row["id"]
        return try Report(MirrorSeal.open([UInt8](row["sealed"] as Data), "report \(id)", key))
    }
}
