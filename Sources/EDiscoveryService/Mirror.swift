import Cryptography
import Diagnostics
import EDiscoveryCollection
import Encryption
import FoundationEssentials
import GRDB
import SecretMemory
import WireText

/// What the worker keeps, in one SQLite file: the feed as it came, reports with their items, commands that were seen, and the audit. All of
/// it is sealed under the key that the KMS gives; in clear are ids of spaces, places and numbers.
///
/// Any thread; its functions block for as long as SQLite takes. What was written is on the disk when they return.
final class Mirror: Sendable {
    private let queue: DatabaseQueue

    init(path: String) throws {
        do {
            var configuration = GRDB.Configuration()
            configuration.busyMode = .timeout(5)
            queue = try DatabaseQueue(path: path, configuration: configuration)
            try queue.writeWithoutTransaction { db in
                try db.execute(sql: "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
                try db.execute(
                    sql: """
                        CREATE TABLE IF NOT EXISTS event (
                            position INTEGER PRIMARY KEY AUTOINCREMENT, space TEXT NOT NULL, sequence INTEGER NOT NULL,
                            sealed BLOB NOT NULL, UNIQUE (space, sequence)) STRICT;
                        CREATE TABLE IF NOT EXISTS report (
                            id TEXT NOT NULL PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
                        CREATE TABLE IF NOT EXISTS item (
                            report TEXT NOT NULL, place INTEGER NOT NULL, sealed BLOB NOT NULL,
                            PRIMARY KEY (report, place)) STRICT, WITHOUT ROWID;
                        CREATE TABLE IF NOT EXISTS command (
                            id TEXT NOT NULL PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
                        CREATE TABLE IF NOT EXISTS audit (
                            position INTEGER PRIMARY KEY, sealed BLOB NOT NULL, chain BLOB NOT NULL) STRICT;
                        CREATE TABLE IF NOT EXISTS setting (
                            name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
                        """)
            }
        } catch {
            throw DiagnosedError(
                .mirror, fault: .store, "the worker's database can not be opened", found: "\(path): \(error)",
                hint: "check that the folder of mirror.database exists, belongs to the service and has space")
        }
    }

    func close() throws { try queue.close() }

    func check() throws {
        try queue.write { db in
            try db.execute(
                sql: "INSERT INTO setting VALUES ('check', '1') ON CONFLICT (name) DO UPDATE SET value = '1'")
        }
    }

    // MARK: - Feed

    /// The last position; 0 of an empty mirror.
    func last() throws -> Int64 {
        try queue.read { try Int64.fetchOne($0, sql: "SELECT max(position) FROM event") ?? 0 }
    }

    /// What came before at the same place stays: the core can not rewrite what was read.
    func add(_ items: [(place: FeedPlace, octets: [UInt8])], under key: SymmetricKey) throws {
        try queue.write { db in
            for (place, octets) in items {
                let sealed = try StoreSeal.seal(octets, "event \(place.space) \(place.sequence)", key)
                try db.execute(
                    sql: "INSERT OR IGNORE INTO event (space, sequence, sealed) VALUES (?, ?, ?)",
                    arguments: [place.space, Int64(clamping: place.sequence), Data(sealed)])
            }
        }
    }

    func spaces(until position: Int64) throws -> Int {
        try queue.read {
            try Int.fetchOne(
                $0, sql: "SELECT count(DISTINCT space) FROM event WHERE position <= ?", arguments: [position]) ?? 0
        }
    }

    /// The next space by its id, with what was read of it until that position.
    func space(
        after: String?, until position: Int64, under key: SymmetricKey
    ) throws -> (id: String, items: [[UInt8]])? {
        try queue.read { db in
            let next = try String.fetchOne(
                db, sql: "SELECT min(space) FROM event WHERE space > ? AND position <= ?",
                arguments: [after ?? "", position])
            guard let next else { return nil }
            let rows = try Row.fetchAll(
                db, sql: "SELECT sequence, sealed FROM event WHERE space = ? AND position <= ? ORDER BY sequence",
                arguments: [next, position])
            let items = try rows.map { row in
                let sequence: Int64 = row["sequence"]
                return try StoreSeal.open([UInt8](row["sealed"] as Data), "event \(next) \(sequence)", key)
            }
            return (next, items)
        }
    }

    // MARK: - Commands

    /// False when the command was seen before. Ids are kept until no command of that age is taken any more.
    func isNew(command id: String, until: Timestamp, now: Timestamp) throws -> Bool {
        try queue.write { db in
            try db.execute(sql: "DELETE FROM command WHERE until < ?", arguments: [now.milliseconds])
            try db.execute(
                sql: "INSERT OR IGNORE INTO command VALUES (?, ?)", arguments: [id, until.milliseconds])
            return db.changesCount == 1
        }
    }

    // MARK: - Reports

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
                    arguments: [id, place, Data(try StoreSeal.seal(item, "item \(id) \(place)", key))])
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
                return (place, try StoreSeal.open([UInt8](row["sealed"] as Data), "item \(id) \(place)", key))
            }
        }
    }

    private static func sealed(_ report: Report, _ key: SymmetricKey) throws -> [UInt8] {
        try StoreSeal.seal(report.encoded(), "report \(report.id)", key)
    }

    private static func report(_ id: String, _ key: SymmetricKey, _ db: Database) throws -> Report? {
        try Row.fetchOne(db, sql: "SELECT id, sealed FROM report WHERE id = ?", arguments: [id])
            .map { try report($0, key) }
    }

    private static func report(_ row: Row, _ key: SymmetricKey) throws -> Report {
        let id: String = row["id"]
        return try Report(StoreSeal.open([UInt8](row["sealed"] as Data), "report \(id)", key))
    }

    // MARK: - Audit

    /// Adds an entry: sealed, and chained to all before by SHA-256(chain || sealed).
    func audit(_ text: [UInt8], under key: SymmetricKey) throws {
        try queue.write { db in
            let last = try Row.fetchOne(db, sql: "SELECT position, chain FROM audit ORDER BY position DESC LIMIT 1")
            let position: Int64 = last.map { $0["position"] as Int64 + 1 } ?? 1
            let chain = last.map { [UInt8]($0["chain"] as Data) } ?? [UInt8](repeating: 0, count: 32)
            let sealed = try StoreSeal.seal(text, "audit \(position)", key)
            try db.execute(
                sql: "INSERT INTO audit VALUES (?, ?, ?)",
                arguments: [position, Data(sealed), Data(SHA256.hash(chain + sealed))])
        }
    }

    /// The newest entries, oldest first; throws when the chain does not hold.
    func audited(newest count: Int, under key: SymmetricKey) throws -> [String] {
        try queue.read { db in
            var chain = [UInt8](repeating: 0, count: 32)
            var position: Int64 = 0
            var entries: [String] = []
            let rows = try Row.fetchCursor(db, sql: "SELECT position, sealed, chain FROM audit ORDER BY position")
            while let row = try rows.next() {
                position += 1
                let sealed = [UInt8](row["sealed"] as Data)
                chain = SHA256.hash(chain + sealed)
                guard row["position"] as Int64 == position, chain == [UInt8](row["chain"] as Data) else {
                    throw DiagnosedError(
                        .mirror, fault: .store, "the chain of the audit is broken", found: "at \(position)",
                        hint: "somebody changed the worker's database: keep a copy, and compare with the journal")
                }
                entries.append(
                    String(decoding: try StoreSeal.open(sealed, "audit \(position)", key), as: UTF8.self))
                if entries.count > count { entries.removeFirst() }
            }
            return entries
        }
    }
}

/// Seals values of the worker's database: a salt, ciphertext and tag under a key of their own, bound to what they are.
enum StoreSeal {
    static func seal(_ plain: [UInt8], _ what: String, _ key: SymmetricKey) throws -> [UInt8] {
        let salt = try RandomBytes.bytes(16)
        let (ciphertext, tag) = try AESGCM.seal(
            plain, key: try own(key, salt), nonce: [UInt8](repeating: 0, count: AESGCM.nonceByteCount),
            aad: Array(what.utf8))
        return salt + ciphertext + tag
    }

    static func open(_ sealed: [UInt8], _ what: String, _ key: SymmetricKey) throws -> [UInt8] {
        do {
            guard sealed.count >= 16 + AESGCM.tagByteCount else { throw unreadable }
            let plain = try AESGCM.open(
                Array(sealed[16..<(sealed.count - AESGCM.tagByteCount)]),
                tag: Array(sealed.suffix(AESGCM.tagByteCount)), key: try own(key, Array(sealed.prefix(16))),
                nonce: [UInt8](repeating: 0, count: AESGCM.nonceByteCount), aad: Array(what.utf8))
            return plain.withUnsafeBytes { Array($0) }
        } catch {
            throw unreadable
        }
    }

    private static func own(_ key: SymmetricKey, _ salt: [UInt8]) throws -> SymmetricKey {
        try HKDFSHA256.derive(from: key, salt: salt, info: Array("hds ediscovery store".utf8), count: 32)
    }

    private static let unreadable = DiagnosedError(
        .mirror, fault: .store, "what the worker has stored does not open",
        expected: "values sealed under the key of this service's account",
        hint: "the database belongs to another account or was changed")
}

extension DiagnosedError.Code {
    static let mirror: Self = "ediscovery-database"
}
