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
        /// Organisations besides the creator's whose users may be named.
        var partners: [String] = []
        var organisations: [String] { [creator.organisation] + partners }
    }

    /// Judges a draft before anything is asked of the KMS.
    func prepare(_ draft: ConversationDraft) async throws {
        try await pool.read { db in
            try Self.requireKnown(draft.creator, db)
            for other in draft.others { _ = try Self.requireUser(other, of: draft.organisations, db) }
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
            let others = try draft.others.map { try Self.requireUser($0, of: draft.organisations, db) }
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
            for (position, member) in ([creator] + others).enumerated() {
                try db.execute(
                    sql: """
                        INSERT INTO participant (conversation, user, organisation, position, joinedAt)
                        VALUES (?, ?, ?, ?, 0)
                        """,
                    arguments: [draft.id, member.user, member.organisation, position])
            }
            guard let record = try Self.conversation(draft.id, db) else {
                throw Refusal(.internalError, "the conversation was not stored")
            }
            try Self.log(record, now: now, db)
            db.afterNextTransaction { [logged] _ in logged(record.organisation) }
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
                    WHERE participant.user = ? AND participant.leftAt IS NULL AND participant.organisation = ?
                    ORDER BY conversation.published DESC, conversation.id
                    """,
                arguments: [user.user, user.organisation]
            ).map { try Self.record($0, db) }
        }
    }

    /// Stores the KRO's URI, once: the creator alone has seen it, in the answer of the KMS.
    func setResource(
        _ url: String, of id: String, by user: UserKey, now: Timestamp
    ) async throws -> ConversationRecord {
        try await pool.write { db in
            let record = try Self.requireParticipant(user, in: id, db)
            if record.resourceURL == url { return record }
            guard UserKey(organisation: record.organisation, user: record.creator) == user else {
                throw Refusal(.forbidden, "only the creator of a conversation names its resource object")
            }
            guard record.resourceURL == nil else {
                throw Refusal(.conflict, "this conversation has another resource object")
            }
            try db.execute(sql: "UPDATE conversation SET resourceURL = ? WHERE id = ?", arguments: [url, id])
            try Self.log(record, resource: url, now: now, db)
            db.afterNextTransaction { [logged] _ in logged(record.organisation) }
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
        guard let record = try conversation(id, db) else { throw unknown }
        if record.members.contains(user) { return record }
        let wasThere = try Bool.fetchOne(
            db, sql: "SELECT 1 FROM participant WHERE conversation = ? AND user = ? AND organisation = ?",
            arguments: [id, user.user, user.organisation])
        throw wasThere == nil ? unknown : Refusal(.forbidden, "you have left this conversation")
    }

    /// The caller has registered a device, and is known by it.
    static func requireKnown(_ user: UserKey, _ db: Database) throws {
        let isKnown = try Bool.fetchOne(
            db, sql: "SELECT 1 FROM user WHERE organisation = ? AND id = ?", arguments: [user.organisation, user.user])
        guard isKnown != nil else { throw Refusal(.forbidden, "register a device first") }
    }

    /// The user of that id: of the first organisation if it has one, else of the only other one that has.
    static func requireUser(_ id: String, of organisations: [String], _ db: Database) throws -> UserKey {
        let homes = try organisations.filter { organisation in
            try Bool.fetchOne(
                db, sql: "SELECT 1 FROM user WHERE organisation = ? AND id = ?", arguments: [organisation, id]) != nil
        }
        guard let home = homes.first else {
            throw Refusal(.notFound, "a participant is not known here: users become known when they first log in")
        }
        guard home == organisations.first || homes.count == 1 else {
            throw Refusal(.conflict, "more than one organisation has a user of that id")
        }
        return UserKey(organisation: home, user: id)
    }

    private static func conversation(_ id: String, _ db: Database) throws -> ConversationRecord? {
        try Row.fetchOne(db, sql: "SELECT * FROM conversation WHERE id = ?", arguments: [id]).map { try record($0, db) }
    }

    private static func record(_ row: Row, _ db: Database) throws -> ConversationRecord {
        let id: String = row["id"]
        let members = try Row.fetchAll(
            db,
            sql: """
                SELECT organisation, user FROM participant WHERE conversation = ? AND leftAt IS NULL
                ORDER BY position, user
                """,
            arguments: [id]
        ).map { UserKey(organisation: $0["organisation"], user: $0["user"]) }
        return ConversationRecord(
            id: id, organisation: row["organisation"], creator: row["creator"], displayName: row["displayName"],
            encryptionKeyURL: row["encryptionKeyURL"], defaultKeyURL: row["defaultKeyURL"],
            resourceURL: row["resourceURL"], published: Timestamp(milliseconds: row["published"]),
            lastSequence: row["lastSequence"],
            members: members)
    }
}
