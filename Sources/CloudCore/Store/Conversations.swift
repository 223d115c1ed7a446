import GRDB
import WireText

/// Conversations and who takes part.
extension CloudStore {
    static let maximumParticipants = 1_000

    /// A new conversation as its creator asks for it.
    struct ConversationDraft: Sendable {
        var id: String
        var creator: UserKey
        var displayName: String
        var encryptionKeyURL: String
        /// Without the creator and without duplicates.
        var others: [String]
        var clientTempID: String?
    }

    /// Judges a draft before anything is asked of the KMS.
    func prepare(_ draft: ConversationDraft) async throws {
        try await pool.read { db in
            try Self.requireKnown(draft.creator, db)
            try Self.requireUsers(draft.others, draft.creator.organisation, db)
        }
    }

    /// The conversation that the same user created with the same `clientTempId`, with the wrapped answer.
    func createdConversation(
        by creator: UserKey, clientTempID: String
    ) async throws -> (ConversationRecord, kmsAnswer: String?)? {
        try await pool.read { db in
            guard
                let row = try Row.fetchOne(
                    db,
                    sql: "SELECT * FROM conversation WHERE organisation = ? AND creator = ? AND clientTempID = ?",
                    arguments: [creator.organisation, creator.user, clientTempID])
            else { return nil }
            return (try Self.record(row, db), row["kmsAnswer"])
        }
    }

    /// Stores the conversation; one with the same `clientTempId` of the same user stays the only one.
    func create(
        _ draft: ConversationDraft, kmsAnswer: String, now: Timestamp
    ) async throws -> (ConversationRecord, isNew: Bool) {
        try await pool.write { db in
            let creator = draft.creator
            try Self.requireKnown(creator, db)
            try Self.requireUsers(draft.others, creator.organisation, db)
            if let tempID = draft.clientTempID,
                let row = try Row.fetchOne(
                    db,
                    sql: "SELECT * FROM conversation WHERE organisation = ? AND creator = ? AND clientTempID = ?",
                    arguments: [creator.organisation, creator.user, tempID])
            {
                return (try Self.record(row, db), false)
            }
            try db.execute(
                sql: """
                    INSERT INTO conversation
                        (id, organisation, creator, displayName, encryptionKeyURL, defaultKeyURL, published, clientTempID,
                        kmsAnswer)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8)
                    """,
                arguments: [
                    draft.id, creator.organisation, creator.user, draft.displayName, draft.encryptionKeyURL,
                    now.milliseconds, draft.clientTempID, kmsAnswer,
                ])
            for (position, user) in ([creator.user] + draft.others).enumerated() {
                try db.execute(
                    sql: "INSERT INTO participant (conversation, user, position, joinedAt) VALUES (?, ?, ?, 0)",
                    arguments: [draft.id, user, position])
            }
            guard let record = try Self.conversation(draft.id, db) else {
                throw Refusal(.internalError, "the conversation was not stored")
            }
            return (record, true)
        }
    }

    /// The conversation, for someone who takes part.
    func conversation(_ id: String, for reader: UserKey) async throws -> ConversationRecord {
        try await pool.read { db in try Self.requireParticipant(reader, in: id, db) }
    }

    /// All conversations in which the user takes part, the latest first.
    func conversations(of user: UserKey) async throws -> [ConversationRecord] {
        try await pool.read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT conversation.* FROM participant JOIN conversation ON conversation.id = participant.conversation
                    WHERE participant.user = ? AND participant.leftAt IS NULL AND conversation.organisation = ?
                    ORDER BY conversation.published DESC, conversation.id
                    """,
                arguments: [user.user, user.organisation]
            ).map { try Self.record($0, db) }
        }
    }

    /// Stores the KRO's URI, once: the creator alone has seen it, in the answer of the KMS.
    func setResource(_ url: String, of id: String, by user: UserKey) async throws -> ConversationRecord {
        try await pool.write { db in
            let record = try Self.requireParticipant(user, in: id, db)
            if record.resourceURL == url { return record }
            guard record.creator == user.user else {
                throw Refusal(.forbidden, "only the creator of a conversation names its resource object")
            }
            guard record.resourceURL == nil else {
                throw Refusal(.conflict, "this conversation has another resource object")
            }
            try db.execute(sql: "UPDATE conversation SET resourceURL = ? WHERE id = ?", arguments: [url, id])
            var changed = record
            changed.resourceURL = url
            return changed
        }
    }

    /// Who takes part now; 404 for those who never did, 403 for those who left.
    static func requireParticipant(
        _ user: UserKey, in id: String, _ db: Database
    ) throws -> ConversationRecord {
        let unknown = Refusal(.notFound, "there is no such conversation, or it is not yours")
        guard let record = try conversation(id, db), record.organisation == user.organisation else { throw unknown }
        if record.participants.contains(user.user) { return record }
        let wasThere = try Bool.fetchOne(
            db, sql: "SELECT 1 FROM participant WHERE conversation = ? AND user = ?", arguments: [id, user.user])
        throw wasThere == nil ? unknown : Refusal(.forbidden, "you have left this conversation")
    }

    /// The caller has registered a device, and is known by it.
    static func requireKnown(_ user: UserKey, _ db: Database) throws {
        let isKnown = try Bool.fetchOne(
            db, sql: "SELECT 1 FROM user WHERE organisation = ? AND id = ?", arguments: [user.organisation, user.user])
        guard isKnown != nil else { throw Refusal(.forbidden, "register a device first") }
    }

    static func requireUsers(_ ids: [String], _ organisation: String, _ db: Database) throws {
        for id in ids {
            let isKnown = try Bool.fetchOne(
                db, sql: "SELECT 1 FROM user WHERE organisation = ? AND id = ?", arguments: [organisation, id])
            guard isKnown != nil else {
                throw Refusal(.notFound, "a participant is not known here: users become known when they first log in")
            }
        }
    }

    private static func conversation(_ id: String, _ db: Database) throws -> ConversationRecord? {
        try Row.fetchOne(db, sql: "SELECT * FROM conversation WHERE id = ?", arguments: [id]).map { try record($0, db) }
    }

    private static func record(_ row: Row, _ db: Database) throws -> ConversationRecord {
        let id: String = row["id"]
        let participants = try String.fetchAll(
            db, sql: "SELECT user FROM participant WHERE conversation = ? AND leftAt IS NULL ORDER BY position, user",
            arguments: [id])
        return ConversationRecord(
            id: id, organisation: row["organisation"], creator: row["creator"], displayName: row["displayName"],
            encryptionKeyURL: row["encryptionKeyURL"], defaultKeyURL: row["defaultKeyURL"],
            resourceURL: row["resourceURL"], published: Timestamp(milliseconds: row["published"]),
            lastSequence: row["lastSequence"],
            participants: participants)
    }
}
