import GRDB
import WireText

/// Activities: what happens in a conversation, in one order.
extension CloudStore {
    /// Judges a draft before anything is asked of the KMS; answers the first activity of the same `clientTempId`.
    func prepare(_ draft: ActivityDraft) async throws -> StoredActivity? {
        try await pool.read { db in
            let conversation = try Self.requireParticipant(draft.actor, in: draft.conversation, db)
            if let first = try Self.first(of: draft, db) { return first }
            try Self.judge(draft, conversation, db)
            return nil
        }
    }

    /// Stores the activity with all that it changes. `committed` is called in the order of the activities of all
    /// conversations, when they are on the disk, with those who are to see it.
    func append(
        _ draft: ActivityDraft, id: String, url: String, kmsAnswer: String?, now: Timestamp,
        committed: @escaping @Sendable (_ json: String, _ readers: [UserKey]) -> Void
    ) async throws -> AppendOutcome {
        try await pool.write { db in
            var conversation = try Self.requireParticipant(draft.actor, in: draft.conversation, db)
            if let first = try Self.first(of: draft, db) { return .duplicate(first) }
            try Self.judge(draft, conversation, db)
            let sequence = conversation.lastSequence + 1
            try Self.apply(draft, sequence: sequence, to: &conversation, db)
            let deleted =
                try draft.verb == .delete
                ? Self.deleteMessage(of: draft, organisation: conversation.organisation, db) : nil
            if draft.verb == .edit { try Self.editMessage(of: draft, now: now, db) }
            let json = Self.json(of: draft, id: id, conversationURL: url, sequence: sequence, now: now)
            try db.execute(
                sql: """
                    INSERT INTO activity (conversation, sequence, actor, published, clientTempID, json, kmsAnswer)
                    VALUES (?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    draft.conversation, sequence, draft.actor.user, now.milliseconds, draft.clientTempID, json,
                    kmsAnswer,
                ])
            try db.execute(
                sql: "UPDATE conversation SET lastSequence = ? WHERE id = ?",
                arguments: [sequence, draft.conversation])
            try Self.log(conversation, sequence: sequence, now: now, db)
            try Self.notify(draft, id: id, conversation: conversation, sequence: sequence, now: now, db)
            let readers = conversation.members
            db.afterNextTransaction { [logged, organisation = conversation.organisation] _ in
                committed(json, readers)
                logged(organisation)
            }
            let stored = StoredActivity(json: json, kmsAnswer: kmsAnswer)
            return deleted.map { .deleted(stored, $0) } ?? .stored(stored)
        }
    }

    /// A page ends early when it has this many octets; the next one goes on behind it.
    static let maximumPageBytes = 4 << 20

    /// The activities after a sequence number, in order: at most `limit`, and at least one if there is one.
    func activities(
        in conversation: String, for reader: UserKey, since: Int64, limit: Int
    ) async throws -> (items: [String], next: Int64) {
        try await pool.read { db in
            _ = try Self.requireParticipant(reader, in: conversation, db)
            let rows = try Row.fetchCursor(
                db,
                sql: """
                    SELECT sequence, json FROM activity WHERE conversation = ? AND sequence > ?
                    ORDER BY sequence LIMIT ?
                    """,
                arguments: [conversation, since, limit])
            var page: (items: [String], next: Int64) = ([], since)
            var octets = 0
            while octets < Self.maximumPageBytes, let row = try rows.next() {
                let json: String = row["json"]
                octets += json.utf8.count
                page.items.append(json)
                page.next = row["sequence"]
            }
            return page
        }
    }

    /// Wrapped answers are kept only as long as a client may ask again for the answer to its request.
    func forgetAnswers(before time: Timestamp) async throws {
        try await pool.write { db in
            for table in ["activity", "conversation"] {
                try db.execute(
                    sql: "UPDATE \(table) SET kmsAnswer = NULL WHERE kmsAnswer IS NOT NULL AND published < ?",
                    arguments: [time.milliseconds])
            }
        }
    }

    private static func first(of draft: ActivityDraft, _ db: Database) throws -> StoredActivity? {
        guard let tempID = draft.clientTempID else { return nil }
        return try Row.fetchOne(
            db, sql: "SELECT json, kmsAnswer FROM activity WHERE conversation = ? AND actor = ? AND clientTempID = ?",
            arguments: [draft.conversation, draft.actor.user, tempID]
        ).map { StoredActivity(json: $0["json"], kmsAnswer: $0["kmsAnswer"]) }
    }

    private static func judge(
        _ draft: ActivityDraft, _ conversation: ConversationRecord, _ db: Database
    ) throws {
        let isAtHome = draft.actor.organisation == conversation.organisation
        switch draft.verb {
        case .post, .edit, .delete: return
        case .updateKey:
            guard isAtHome else { throw guest }
        case .share:
            for file in draft.files {
                guard let record = try Self.file(file, db), record.size != nil,
                    try Self.mayRead(draft.actor, record, db)
                else { throw Refusal(.notFound, "a shared file is not uploaded, or it is not yours") }
            }
        case .add:
            guard isAtHome else { throw guest }
            let person = try requireUser(draft.person ?? "", of: [draft.actor.organisation] + draft.partners, db)
            let isThere = conversation.participants.contains(person.user)
            guard isThere == conversation.members.contains(person) else {
                throw Refusal(.conflict, "a user of another organisation with that id takes part")
            }
            guard conversation.members.count < maximumParticipants || isThere else {
                throw Refusal(.badRequest, "a conversation has at most \(maximumParticipants) participants")
            }
        case .leave:
            guard isAtHome || draft.person == draft.actor.user else { throw guest }
            // One who left already may be removed again: the step at the KMS may have failed the first time.
            let wasThere = try Bool.fetchOne(
                db, sql: "SELECT 1 FROM participant WHERE conversation = ? AND user = ?",
                arguments: [draft.conversation, draft.person])
            guard wasThere != nil else { throw Refusal(.notFound, "that user never took part in this conversation") }
        }
    }

    /// Keys and access are the business of the KMS that has the conversation's keys: others only read and write.
    private static let guest = Refusal(
        .forbidden, "only users of the organisation that made this conversation change who takes part and its key")

    /// Changes the tables, and `members` to those who are to see the activity.
    private static func apply(
        _ draft: ActivityDraft, sequence: Int64, to conversation: inout ConversationRecord, _ db: Database
    ) throws {
        switch draft.verb {
        case .post, .edit, .delete: return
        case .updateKey:
            try db.execute(
                sql: "UPDATE conversation SET defaultKeyURL = ? WHERE id = ?",
                arguments: [draft.encryptionKeyURL, conversation.id])
        case .share:
            for file in draft.files {
                try db.execute(
                    sql: """
                        INSERT INTO fileShare (file, conversation) VALUES (?, ?)
                        ON CONFLICT (file, conversation) DO UPDATE SET shares = shares + 1
                        """,
                    arguments: [file, conversation.id])
            }
        case .add:
            let person = try requireUser(draft.person ?? "", of: [draft.actor.organisation] + draft.partners, db)
            guard !conversation.members.contains(person) else { return }
            try db.execute(
                sql: """
                    INSERT INTO participant (conversation, user, organisation, position, joinedAt)
                    VALUES (?1, ?2, ?4, (SELECT 1 + max(position) FROM participant WHERE conversation = ?1), ?3)
                    ON CONFLICT (conversation, user) DO UPDATE SET leftAt = NULL, joinedAt = excluded.joinedAt,
                        position = excluded.position, organisation = excluded.organisation
                    """,
                arguments: [conversation.id, person.user, sequence, person.organisation])
            conversation.members.append(person)
        case .leave:
            guard let person = draft.person else { return }
            try db.execute(
                sql: "UPDATE participant SET leftAt = ? WHERE conversation = ? AND user = ? AND leftAt IS NULL",
                arguments: [sequence, conversation.id, person])
        }
    }

    private static func json(
        of draft: ActivityDraft, id: String, conversationURL: String, sequence: Int64, now: Timestamp
    ) -> String {
        var json = JSONWriter(reserving: 512 + draft.objectJSON.utf8.count)
        json.beginObject()
        json.member("id", id)
        json.member("sequence", sequence)
        json.member("published", now.iso8601)
        json.member("actor", draft.actor.user)
        json.member("verb", draft.verb.rawValue)
        json.name("object")
        json.raw(draft.objectJSON)
        json.name("target")
        json.beginObject()
        json.member("objectType", "conversation")
        json.member("id", draft.conversation)
        json.member("url", conversationURL)
        json.endObject()
        json.member("encryptionKeyUrl", ifPresent: draft.encryptionKeyURL)
        json.member("clientTempId", ifPresent: draft.clientTempID)
        json.endObject()
        return json.text()
    }
}
