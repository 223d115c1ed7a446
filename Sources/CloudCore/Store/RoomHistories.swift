import GRDB
import SearchProtocol

// What an indexer walks through to index anew, or to learn the words of rooms that another one has indexed.
extension CloudStore {
    private static let told = "('post', 'share', 'edit')"

    /// Conversations of an organisation in the order of their ids, with what `history` has to tell of each.
    func searchedRooms(of organisation: String, after: String?, limit: Int) async throws -> [SearchCall.Room] {
        try await pool.read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT id, (
                        SELECT sequence FROM activity
                        WHERE activity.conversation = conversation.id AND json_extract(activity.json, '$.verb') IN \(Self.told)
                        ORDER BY sequence DESC LIMIT 1) AS last
                    FROM conversation WHERE organisation = ? AND id > ? ORDER BY id LIMIT ?
                    """, arguments: [organisation, after ?? "", limit]
            ).map { row in
                SearchCall.Room(id: row["id"], last: UInt64(clamping: row["last"] as Int64? ?? 0))
            }
        }
    }

    /// Messages, files and edits of a conversation after a place, as they are stored, as many as fit; and where to go on. One
    /// that fits into no answer is passed over.
    func history(
        of conversation: String, in organisation: String, after: Int64, limit: Int, octets: Int
    ) async throws -> (activities: [[UInt8]], next: UInt64?) {
        try await pool.read { db in
            let rows = try Row.fetchCursor(
                db,
                sql: """
                    SELECT activity.sequence, activity.json
                    FROM activity JOIN conversation ON conversation.id = activity.conversation
                    WHERE activity.conversation = ? AND conversation.organisation = ? AND activity.sequence > ?
                        AND json_extract(activity.json, '$.verb') IN \(Self.told)
                    ORDER BY activity.sequence LIMIT ?
                    """, arguments: [conversation, organisation, after, limit])
            var found: [[UInt8]] = []
            var (size, count, last) = (0, 0, after)
            while let row = try rows.next() {
                let json = Array((row["json"] as String).utf8)
                if json.count + 4 <= octets {
                    guard size + json.count + 4 <= octets else { return (found, UInt64(clamping: last)) }
                    size += json.count + 4
                    found.append(json)
                }
                count += 1
                last = row["sequence"]
            }
            return (found, count == limit ? UInt64(clamping: last) : nil)
        }
    }
}
