import EDiscoveryCollection
import FoundationEssentials

// Files of messages: which octets are kept beside the database, still encrypted by their senders.
extension Mirror {
    enum FileState: Int64 {
        case wanted, kept
        /// The core does not have it.
        case missing
        /// Over the limit of the configuration.
        case tooLarge
    }

    struct WantedFile: Equatable, Sendable {
        let place: FilePlace
        let id: String
    }

    func wantedFiles(limit: Int) throws -> [WantedFile] {
        try queue.read { db in
            try Row.fetchAll(
                db, sql: "SELECT space, sequence, number, id FROM file WHERE state = 0 LIMIT ?", arguments: [limit]
            ).map { WantedFile(place: Self.place($0), id: $0["id"]) }
        }
    }

    func file(_ place: FilePlace) throws -> (id: String, state: FileState)? {
        try queue.read { db in
            try Row.fetchOne(
                db, sql: "SELECT id, state FROM file WHERE space = ? AND sequence = ? AND number = ?",
                arguments: Self.arguments(place)
            ).flatMap { row in FileState(rawValue: row["state"]).map { (row["id"], $0) } }
        }
    }

    func note(_ state: FileState, of id: String) throws {
        try queue.write { db in
            try db.execute(sql: "UPDATE file SET state = ? WHERE id = ?", arguments: [state.rawValue, id])
        }
    }

    /// The record of a file's own key, encrypted under the worker's key: what an export reads it with.
    func keep(record: String, of place: FilePlace) throws {
        try queue.write { db in
            try db.execute(
                sql: "UPDATE file SET record = ? WHERE space = ? AND sequence = ? AND number = ?",
                arguments: [Data(record.utf8)] + Self.arguments(place))
        }
    }

    func record(of place: FilePlace) throws -> (id: String, record: String)? {
        try queue.read { db in
            try Row.fetchOne(
                db,
                sql: """
                    SELECT id, record FROM file
                    WHERE space = ? AND sequence = ? AND number = ? AND state = 1 AND record IS NOT NULL
                    """, arguments: Self.arguments(place)
            ).map { ($0["id"], String(decoding: $0["record"] as Data, as: UTF8.self)) }
        }
    }

    /// Those of the names that no message has.
    func unknownFiles(_ names: [String]) throws -> [String] {
        try queue.read { db in
            try names.filter { name in
                try Bool.fetchOne(db, sql: "SELECT 1 FROM file WHERE id = ? LIMIT 1", arguments: [name]) == nil
            }
        }
    }

    /// The message is gone: ids of its files that no other message has.
    static func forgetFiles(of space: String, _ sequence: Int64, _ db: any Database) throws -> [String] {
        let ids = try String.fetchAll(
            db, sql: "SELECT id FROM file WHERE space = ? AND sequence = ?", arguments: [space, sequence])
        try db.execute(sql: "DELETE FROM file WHERE space = ? AND sequence = ?", arguments: [space, sequence])
        return try ids.filter { id in
            try Bool.fetchOne(db, sql: "SELECT 1 FROM file WHERE id = ? LIMIT 1", arguments: [id]) == nil
        }
    }

    private static func place(_ row: Row) -> FilePlace {
        FilePlace(
            FeedPlace(space: row["space"], sequence: UInt64(row["sequence"] as Int64)), Int(row["number"] as Int64))
    }

    private static func arguments(_ place: FilePlace) -> StatementArguments {
        [place.message.space, Int64(clamping: place.message.sequence), place.number]
    }
}
