import GRDB
import WireText

/// What becomes of messages that their authors edit or delete.
///
/// An edit is an activity of its own, and the message has its text from then on, in its old place. Of a deleted message only
/// who and when stay; what its edits said goes with it. Who reads the feed learns what was there before, for as long as the
/// feed goes back; of what was deleted for its age nothing is left there either (docs/decisions/102).
extension CloudStore {
    /// The verb of what was deleted.
    static let tombstone = "tombstone"

    /// Gives a message the text of the draft. Only its author does, and only texts are edited.
    static func editMessage(of draft: ActivityDraft, now: Timestamp, _ db: Database) throws {
        let (sequence, root) = try ownMessage(of: draft, to: "edits", db)
        guard root["verb"]?.string == Verb.post.rawValue else {
            throw root["verb"]?.string == Self.tombstone
                ? Refusal(.conflict, "this message was deleted")
                : Refusal(.badRequest, "only texts can be edited")
        }
        guard let object = try? JSONDocument(Array(draft.objectJSON.utf8)).root,
            let text = object["displayName"]?.string, let key = draft.encryptionKeyURL
        else { throw Refusal(.badRequest, "an edit needs object.displayName and encryptionKeyUrl") }
        try keepForFeed(draft.conversation, sequence: sequence, db)
        try db.execute(
            sql: """
                UPDATE activity SET json = json_set(json, '$.object.displayName', ?, '$.encryptionKeyUrl', ?, '$.edited', ?)
                WHERE conversation = ? AND sequence = ?
                """,
            arguments: [text, key, now.iso8601, draft.conversation, sequence])
    }

    /// A message that is gone, with what has to go elsewhere.
    struct DeletedMessage: Equatable, Sendable {
        var organisation: String
        var conversation: String
        var message: String
        /// Its number in the conversation.
        var sequence: Int64
        /// Files that nobody shares any more: their octets have no use.
        var files: [String] = []
        /// Its row among what is left to be taken away.
        var leftover: Int64 = 0
    }

    /// Deletes the message that the draft is about; only its author does. Nil when it is deleted already.
    static func deleteMessage(
        of draft: ActivityDraft, organisation: String, _ db: Database
    ) throws -> DeletedMessage? {
        let (sequence, root) = try ownMessage(of: draft, to: "deletes", db)
        guard root["verb"]?.string != Self.tombstone else { return nil }
        var deleted = DeletedMessage(
            organisation: organisation, conversation: draft.conversation, message: root["id"]?.string ?? "",
            sequence: sequence)
        try keepForFeed(deleted.conversation, sequence: sequence, db)
        for edit in try edits(of: deleted, db) { try keepForFeed(deleted.conversation, sequence: edit, db) }
        try bury(&deleted, root, db)
        return deleted
    }

    /// The places of a message's edits.
    private static func edits(of message: DeletedMessage, _ db: Database) throws -> [Int64] {
        try Int64.fetchAll(
            db,
            sql: """
                SELECT sequence FROM activity WHERE conversation = ? AND sequence > ?
                    AND json_extract(json, '$.verb') = 'edit' AND json_extract(json, '$.object.id') = ?
                """,
            arguments: [message.conversation, message.sequence, message.message])
    }

    /// Deletes messages that were published before that time, the oldest first, at most `limit`; whoever reads the feed
    /// learns of each.
    func expire(before time: Timestamp, now: Timestamp, limit: Int = 500) async throws -> [DeletedMessage] {
        try await pool.write { [logged] db in
            // Also of what its author deleted himself: nothing of that age is left.
            try db.execute(sql: "DELETE FROM feedBefore WHERE published < ?", arguments: [time.milliseconds])
            let rows = try Row.fetchAll(
                db,
                sql: """
                    SELECT conversation.organisation, activity.conversation, activity.sequence, activity.json
                    FROM activity JOIN conversation ON conversation.id = activity.conversation
                    WHERE activity.published < ? AND json_extract(activity.json, '$.verb') IN ('post', 'share')
                    ORDER BY activity.published LIMIT ?
                    """, arguments: [time.milliseconds, limit])
            let all = try rows.map { row in
                try Self.retire(
                    row["json"], organisation: row["organisation"], conversation: row["conversation"],
                    sequence: row["sequence"], now: now, db)
            }
            db.afterNextTransaction { _ in for organisation in Set(all.map(\.organisation)) { logged(organisation) } }
            return all
        }
    }

    /// Deletes one message in the same way, on the word of the organisation's own service; nil when it is not there, or gone.
    func remove(
        _ message: String, in conversation: String, of organisation: String, now: Timestamp
    ) async throws -> DeletedMessage? {
        try await pool.write { [logged] db in
            let row = try Row.fetchOne(
                db,
                sql: """
                    SELECT activity.sequence, activity.json
                    FROM activity JOIN conversation ON conversation.id = activity.conversation
                    WHERE activity.conversation = ? AND conversation.organisation = ?
                        AND json_extract(activity.json, '$.id') = ?
                        AND json_extract(activity.json, '$.verb') IN ('post', 'share', 'tombstone')
                    """, arguments: [conversation, organisation, message])
            guard let row else { return nil }
            db.afterNextTransaction { _ in logged(organisation) }
            return try Self.retire(
                row["json"], organisation: organisation, conversation: conversation, sequence: row["sequence"],
                now: now, db)
        }
    }

    /// Takes a message away wholly, also what the feed still tells of it, and tells that.
    private static func retire(
        _ json: String, organisation: String, conversation: String, sequence: Int64, now: Timestamp, _ db: Database
    ) throws -> DeletedMessage {
        let root = try JSONDocument(Array(json.utf8)).root
        var deleted = DeletedMessage(
            organisation: organisation, conversation: conversation, message: root["id"]?.string ?? "",
            sequence: sequence)
        for sequence in try [sequence] + edits(of: deleted, db) {
            try db.execute(
                sql: "DELETE FROM feedBefore WHERE conversation = ? AND sequence = ?",
                arguments: [conversation, sequence])
        }
        if root["verb"]?.string != tombstone { try bury(&deleted, root, db) }
        try log(expired: deleted, now: now, db)
        return deleted
    }

    /// So that the oldest message is found without a look at all.
    static let messagesByTime = """
        CREATE INDEX messagesByTime ON activity (published)
            WHERE json_extract(json, '$.verb') IN ('post', 'share');
        """

    /// Puts a tombstone in the place of a message, and takes the texts out of its edits and the files out of the
    /// conversation.
    private static func bury(_ deleted: inout DeletedMessage, _ root: JSONNode, _ db: Database) throws {
        var json = JSONWriter()
        json.beginObject()
        json.member("id", deleted.message)
        json.member("sequence", deleted.sequence)
        json.member("published", root["published"]?.string ?? "")
        json.member("actor", root["actor"]?.string ?? "")
        json.member("verb", Self.tombstone)
        json.name("object")
        json.beginObject()
        json.member("objectType", "activity")
        json.endObject()
        json.name("target")
        json.beginObject()
        json.member("objectType", "conversation")
        json.member("id", deleted.conversation)
        json.member("url", root["target"]?["url"]?.string ?? "")
        json.endObject()
        json.endObject()
        try db.execute(
            sql: "UPDATE activity SET json = ? WHERE conversation = ? AND sequence = ?",
            arguments: [json.text(), deleted.conversation, deleted.sequence])
        for edit in try edits(of: deleted, db) {
            try db.execute(
                sql: """
                    UPDATE activity SET json = json_remove(json, '$.object.displayName')
                    WHERE conversation = ? AND sequence = ?
                    """, arguments: [deleted.conversation, edit])
        }
        for file in root["object"]?["files"]?.elements ?? [] {
            guard let id = file["url"]?.string?.split(separator: "/").last.map(String.init) else { continue }
            if try release(id, from: deleted.conversation, db) { deleted.files.append(id) }
        }
        try db.execute(
            sql: """
                INSERT INTO leftover (organisation, conversation, message, sequence, files) VALUES (?, ?, ?, ?, ?)
                """,
            arguments: [
                deleted.organisation, deleted.conversation, deleted.message, deleted.sequence,
                deleted.files.joined(separator: " "),
            ])
        deleted.leftover = db.lastInsertedRowID
    }

    /// What deleted messages leave elsewhere: written with the deletion, so that a core that ends before it is taken away takes it
    /// away later. And how often a file was shared to a conversation, which says when its octets have no use.
    static let leftovers = """
        CREATE TABLE leftover (
            id INTEGER PRIMARY KEY, organisation TEXT NOT NULL, conversation TEXT NOT NULL, message TEXT NOT NULL,
            sequence INTEGER NOT NULL, files TEXT NOT NULL) STRICT;
        ALTER TABLE fileShare ADD COLUMN shares INTEGER NOT NULL DEFAULT 1;
        UPDATE fileShare SET shares = (
            SELECT count(*) FROM activity, json_each(activity.json, '$.object.files') AS shared
            WHERE activity.conversation = fileShare.conversation
                AND json_extract(activity.json, '$.verb') = 'share'
                AND json_extract(shared.value, '$.url') LIKE '%/' || fileShare.file);
        """

    func leftovers(after id: Int64 = 0, limit: Int = 200) async throws -> [DeletedMessage] {
        try await pool.read { db in
            try Row.fetchAll(
                db, sql: "SELECT * FROM leftover WHERE id > ? ORDER BY id LIMIT ?", arguments: [id, limit]
            ).map { row in
                DeletedMessage(
                    organisation: row["organisation"], conversation: row["conversation"], message: row["message"],
                    sequence: row["sequence"],
                    files: (row["files"] as String).split(separator: " ").map(String.init), leftover: row["id"])
            }
        }
    }

    /// It is taken away everywhere.
    func settle(_ message: DeletedMessage) async throws {
        try await pool.write { db in
            try db.execute(sql: "DELETE FROM leftover WHERE id = ?", arguments: [message.leftover])
        }
    }

    /// Whether nobody shares the file any more; it is forgotten then.
    private static func release(_ file: String, from conversation: String, _ db: Database) throws -> Bool {
        try db.execute(
            sql: "UPDATE fileShare SET shares = shares - 1 WHERE file = ? AND conversation = ?",
            arguments: [file, conversation])
        try db.execute(
            sql: "DELETE FROM fileShare WHERE file = ? AND conversation = ? AND shares <= 0",
            arguments: [file, conversation])
        guard try Bool.fetchOne(db, sql: "SELECT 1 FROM fileShare WHERE file = ?", arguments: [file]) == nil else {
            return false
        }
        try db.execute(sql: "DELETE FROM file WHERE id = ?", arguments: [file])
        return true
    }

    /// The message that the draft is about, which has to be its actor's.
    private static func ownMessage(
        of draft: ActivityDraft, to verb: String, _ db: Database
    ) throws -> (sequence: Int64, root: JSONNode) {
        let row = try Row.fetchOne(
            db,
            sql: "SELECT sequence, actor, json FROM activity WHERE conversation = ? AND json_extract(json, '$.id') = ?",
            arguments: [draft.conversation, draft.message])
        guard let row, let root = try? JSONDocument(Array((row["json"] as String).utf8)).root else {
            throw Refusal(.notFound, "there is no such message in this conversation")
        }
        guard [Verb.post.rawValue, Verb.share.rawValue, Self.tombstone].contains(root["verb"]?.string) else {
            throw Refusal(.badRequest, "only messages and files can be edited or deleted")
        }
        guard row["actor"] as String == draft.actor.user else {
            throw Refusal(.forbidden, "only who wrote a message \(verb) it")
        }
        return (row["sequence"], root)
    }
}
