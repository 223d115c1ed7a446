import GRDB
import WireText

/// Which files there are and who may read them; the octets are in `FileStore`.
extension CloudStore {
    func createFile(_ id: String, owner: UserKey, now: Timestamp) async throws {
        try await pool.write { db in
            try Self.requireKnown(owner, db)
            try db.execute(
                sql: "INSERT INTO file (id, organisation, owner, created) VALUES (?, ?, ?, ?)",
                arguments: [id, owner.organisation, owner.user, now.milliseconds])
        }
    }

    /// The file whose octets its owner may still send.
    func fileForUpload(_ id: String, by user: UserKey) async throws -> FileRecord {
        try await pool.read { db in
            guard let record = try Self.file(id, db), try Self.mayRead(user, record, db) else { throw Self.noFile }
            guard record.owner == user else { throw Refusal(.forbidden, "only the owner of a file uploads it") }
            guard record.size == nil else { throw Refusal(.conflict, "this file is uploaded already") }
            return record
        }
    }

    /// The octets are on the disk: from now on the file can be read. Only one upload wins.
    func completeFile(_ id: String, size: Int64) async throws {
        try await pool.write { db in
            try db.execute(sql: "UPDATE file SET size = ? WHERE id = ? AND size IS NULL", arguments: [size, id])
            guard db.changesCount == 1 else { throw Refusal(.conflict, "this file is uploaded already") }
        }
    }

    /// The file, for its owner and for those who take part in a conversation it was shared to.
    func fileForDownload(_ id: String, by user: UserKey) async throws -> FileRecord {
        try await pool.read { db in
            guard let record = try Self.file(id, db), try Self.mayRead(user, record, db) else { throw Self.noFile }
            guard record.size != nil else { throw Refusal(.notFound, "this file is not uploaded yet") }
            return record
        }
    }

    func isFileComplete(_ id: String) async throws -> Bool {
        try await pool.read { db in try Self.file(id, db)?.size != nil }
    }

    private static let noFile = Refusal(.notFound, "there is no such file, or it is not shared with you")

    static func file(_ id: String, _ db: Database) throws -> FileRecord? {
        try Row.fetchOne(db, sql: "SELECT * FROM file WHERE id = ?", arguments: [id]).map {
            FileRecord(
                id: $0["id"], owner: UserKey(organisation: $0["organisation"], user: $0["owner"]), size: $0["size"])
        }
    }

    static func mayRead(_ user: UserKey, _ file: FileRecord, _ db: Database) throws -> Bool {
        if file.owner == user { return true }
        return try Bool.fetchOne(
            db,
            sql: """
                SELECT 1 FROM fileShare JOIN participant ON participant.conversation = fileShare.conversation
                WHERE fileShare.file = ? AND participant.user = ? AND participant.organisation = ?
                    AND participant.leftAt IS NULL LIMIT 1
                """,
            arguments: [file.id, user.user, user.organisation]) != nil
    }
}
