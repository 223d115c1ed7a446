import GRDB
import WireText

/// What becomes of messages that their authors edit or delete.
///
/// An edit is an activity of its own, and the message has its text from then on, in its old place. Of a deleted message only
/// who and when stay; what its edits said goes with it.
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
        try db.execute(
            sql: """
                UPDATE activity SET json = json_set(json, '$.object.displayName', ?, '$.encryptionKeyUrl', ?, '$.edited', ?)
                WHERE conversation = ? AND sequence = ?
                """,
            arguments: [text, key, now.iso8601, draft.conversation, sequence])
    }

    /// Puts a tombstone in the place of a message, and takes the texts out of its edits. Only its author deletes it. Answers
    /// its number; nil when it is deleted already.
    static func deleteMessage(of draft: ActivityDraft, _ db: Database) throws -> Int64? {
        let (sequence, root) = try ownMessage(of: draft, to: "deletes", db)
        guard root["verb"]?.string != Self.tombstone else { return nil }
        var json = JSONWriter()
        json.beginObject()
        json.member("id", root["id"]?.string ?? "")
        json.member("sequence", sequence)
        json.member("published", root["published"]?.string ?? "")
        json.member("actor", draft.actor.user)
        json.member("verb", Self.tombstone)
        json.name("object")
        json.beginObject()
        json.member("objectType", "activity")
        json.endObject()
        json.name("target")
        json.beginObject()
        json.member("objectType", "conversation")
        json.member("id", draft.conversation)
        json.member("url", root["target"]?["url"]?.string ?? "")
        json.endObject()
        json.endObject()
        try db.execute(
            sql: "UPDATE activity SET json = ? WHERE conversation = ? AND sequence = ?",
            arguments: [json.text(), draft.conversation, sequence])
        try db.execute(
            sql: """
                UPDATE activity SET json = json_remove(json, '$.object.displayName')
                WHERE conversation = ? AND sequence > ? AND json_extract(json, '$.verb') = 'edit'
                    AND json_extract(json, '$.object.id') = ?
                """,
            arguments: [draft.conversation, sequence, draft.message])
        return sequence
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
