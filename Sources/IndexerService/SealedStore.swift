import Cryptography
import Diagnostics
import FoundationEssentials
import GRDB
import LinkedService
import SearchIndexing
import SecretMemory
import WireText

/// What the indexer remembers of rooms, in a SQLite file: which resource a room has, the words of its messages, for
/// searches for a part of a word, and the texts of files. All of it is sealed under the key that the KMS gives (security model, rule 30).
///
/// Any thread; its functions block for as long as SQLite takes. What was added is on the disk when it returns.
final class SealedStore: Sendable {
    let queue: DatabaseQueue

    init(path: String) throws {
        do {
            var configuration = GRDB.Configuration()
            configuration.busyMode = .timeout(5)
            queue = try DatabaseQueue(path: path, configuration: configuration)
            try queue.writeWithoutTransaction { db in
                try db.execute(sql: "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
                try db.execute(
                    sql: """
                        CREATE TABLE IF NOT EXISTS room (
                            id TEXT NOT NULL PRIMARY KEY, resource BLOB NOT NULL) STRICT, WITHOUT ROWID;
                        CREATE TABLE IF NOT EXISTS words (
                            room TEXT NOT NULL, part INTEGER NOT NULL, sealed BLOB NOT NULL,
                            PRIMARY KEY (room, part)) STRICT, WITHOUT ROWID;
                        CREATE TABLE IF NOT EXISTS file (
                            message TEXT NOT NULL, place INTEGER NOT NULL, sealed BLOB NOT NULL,
                            PRIMARY KEY (message, place)) STRICT, WITHOUT ROWID;
                        CREATE TABLE IF NOT EXISTS setting (
                            name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
                        \(Self.walkTables)
                        """)
            }
        } catch {
            throw DiagnosedError(
                "index-database", fault: .store, "the indexer's database can not be opened", found: "\(path): \(error)",
                hint: "check that the folder of index.database exists, belongs to the service and has space")
        }
    }

    func close() throws { try queue.close() }

    /// Reads and a transaction on the disk, for health.
    func check() throws {
        try queue.write { db in
            try db.execute(
                sql: "INSERT INTO setting VALUES ('check', '1') ON CONFLICT (name) DO UPDATE SET value = '1'")
        }
    }

    /// The value that a name has had since it was first noted.
    func first(_ name: String, _ value: String) throws -> String {
        try queue.write { db in
            try db.execute(sql: "INSERT OR IGNORE INTO setting VALUES (?, ?)", arguments: [name, value])
            return try String.fetchOne(db, sql: "SELECT value FROM setting WHERE name = ?", arguments: [name]) ?? value
        }
    }

    // MARK: - Rooms

    /// The resource that the room has had since it was first seen; the given one if it is new.
    func resource(of room: String, firstSeen resource: String?, under key: SymmetricKey) throws -> String? {
        try queue.write { db in
            if let sealed = try Data.fetchOne(db, sql: "SELECT resource FROM room WHERE id = ?", arguments: [room]) {
                return String(decoding: try Self.open([UInt8](sealed), "room \(room)", key), as: UTF8.self)
            }
            guard let resource else { return nil }
            let sealed = try Self.seal(Array(resource.utf8), "room \(room)", key)
            try db.execute(sql: "INSERT INTO room VALUES (?, ?)", arguments: [room, Data(sealed)])
            return resource
        }
    }

    // MARK: - Words

    /// So many additions of a room are put together into one.
    private static let mostParts = 64

    /// Adds words that the room does not have yet; the caller knows which these are.
    func add(_ words: [String: [[UInt8]]], under key: SymmetricKey) throws {
        let words = words.filter { !$0.value.isEmpty }
        guard !words.isEmpty else { return }
        try queue.write { db in
            for (room, fresh) in words {
                var fresh = fresh
                var part =
                    try Int.fetchOne(db, sql: "SELECT max(part) + 1 FROM words WHERE room = ?", arguments: [room]) ?? 0
                if part >= Self.mostParts {
                    fresh += try Self.words(of: room, key, db)
                    try db.execute(sql: "DELETE FROM words WHERE room = ?", arguments: [room])
                    part = 0
                }
                let sealed = try Self.seal(Self.octets(of: fresh), "words \(room) \(part)", key)
                try db.execute(sql: "INSERT INTO words VALUES (?, ?, ?)", arguments: [room, part, Data(sealed)])
            }
        }
    }

    func words(of room: String, under key: SymmetricKey) throws -> Set<[UInt8]> {
        try queue.read { try Self.words(of: room, key, $0) }
    }

    private static func words(of room: String, _ key: SymmetricKey, _ db: Database) throws -> Set<[UInt8]> {
        var words: Set<[UInt8]> = []
        let rows = try Row.fetchAll(
            db, sql: "SELECT part, sealed FROM words WHERE room = ? ORDER BY part", arguments: [room])
        for row in rows {
            let part: Int = row["part"]
            let octets = try open([UInt8](row["sealed"] as Data), "words \(room) \(part)", key)
            var rest = octets[...]
            while let length = rest.first {
                words.insert(Array(rest.dropFirst().prefix(Int(length))))
                rest = rest.dropFirst(1 + Int(length))
            }
        }
        return words
    }

    /// Each behind its length in one octet; longer ones are left out, for nobody looks for a part of them.
    private static func octets(of words: [[UInt8]]) -> [UInt8] {
        words.filter { (1...255).contains($0.count) }.reduce(into: []) { octets, word in
            octets.append(UInt8(word.count))
            octets += word
        }
    }

    // MARK: - Texts of files

    /// The text of a message's file, by its place; empty for one without text that can be read, nil when it was never looked
    /// at.
    func fileText(of message: String, _ place: Int, under key: SymmetricKey) throws -> String? {
        try queue.read { db in
            let sealed = try Data.fetchOne(
                db, sql: "SELECT sealed FROM file WHERE message = ? AND place = ?", arguments: [message, place])
            return try sealed.map {
                String(decoding: try Self.open([UInt8]($0), "file \(message) \(place)", key), as: UTF8.self)
            }
        }
    }

    func keep(_ text: String, of message: String, _ place: Int, under key: SymmetricKey) throws {
        let sealed = try Self.seal(Array(text.utf8), "file \(message) \(place)", key)
        try queue.write { db in
            try db.execute(
                sql: """
                    INSERT INTO file VALUES (?, ?, ?)
                    ON CONFLICT (message, place) DO UPDATE SET sealed = excluded.sealed
                    """, arguments: [message, place, Data(sealed)])
        }
    }

    func forgetFiles(of message: String) throws {
        try queue.write { try $0.execute(sql: "DELETE FROM file WHERE message = ?", arguments: [message]) }
    }

    // MARK: - Seals

    private static let values = StoreSeal(
        "index",
        unreadable: DiagnosedError(
            "index-database-sealed", fault: .store, "what the indexer has stored does not open",
            expected: "values sealed under the key of this service's account",
            hint: "the database belongs to another account or was changed; move it away, and words are noted anew"))

    private static func seal(_ plain: [UInt8], _ what: String, _ key: SymmetricKey) throws -> [UInt8] {
        try values.seal(plain, Array(what.utf8), key)
    }

    private static func open(_ sealed: [UInt8], _ what: String, _ key: SymmetricKey) throws -> [UInt8] {
        try values.open(sealed, Array(what.utf8), key)
    }
}

/// The words of rooms as a query needs them, read when a pattern asks for them. For one query.
struct StoredVocabulary: SearchVocabulary {
    let store: SealedStore
    let key: SymmetricKey

    func words(of room: String, matching pattern: WordPattern, limit: Int) throws -> WordMatches {
        let found = try store.words(of: room, under: key).filter { pattern.matches($0) }
            .sorted { $0.lexicographicallyPrecedes($1) }
        return WordMatches(words: Array(found.prefix(limit)), isComplete: found.count <= limit)
    }
}
