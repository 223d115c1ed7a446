import GRDB
import WireText

// What the search service and the answers to searches need of activities.
extension CloudStore {
    /// When each message was published, in milliseconds; nil for one that the organisation's conversations do not have, or
    /// that was deleted.
    func published(_ messages: [(room: String, message: String)], of organisation: String) async throws -> [Int64?] {
        try await pool.read { db in
            let find = try db.cachedStatement(
                sql: """
                    SELECT activity.published FROM activity JOIN conversation ON conversation.id = activity.conversation
                    WHERE activity.conversation = ? AND json_extract(activity.json, '$.id') = ?
                        AND conversation.organisation = ?
                    """)
            return try messages.map { try Int64.fetchOne(find, arguments: [$0.room, $0.message, organisation]) }
        }
    }

    /// Messages of an organisation's conversations as they are stored; nil for one that is not there, or was deleted.
    func messages(_ wanted: [(room: String, message: String)], of organisation: String) async throws -> [String?] {
        try await pool.read { db in
            let find = try db.cachedStatement(
                sql: """
                    SELECT activity.json FROM activity JOIN conversation ON conversation.id = activity.conversation
                    WHERE activity.conversation = ? AND json_extract(activity.json, '$.id') = ?
                        AND conversation.organisation = ?
                        AND json_extract(activity.json, '$.verb') IN ('post', 'share')
                    """)
            return try wanted.map { try String.fetchOne(find, arguments: [$0.room, $0.message, organisation]) }
        }
    }

    /// Size of a file that is shared in a conversation of an organisation; nil when it is not.
    func sharedFile(_ id: String, in room: String, of organisation: String) async throws -> Int64? {
        try await pool.read { db in
            try Int64.fetchOne(
                db,
                sql: """
                    SELECT file.size FROM file
                    JOIN fileShare ON fileShare.file = file.id JOIN conversation ON conversation.id = fileShare.conversation
                    WHERE file.id = ? AND fileShare.conversation = ? AND conversation.organisation = ?
                    """,
                arguments: [id, room, organisation])
        }
    }

    /// Activities by conversation and id, in that order, as the reader may see them; what is not there, or not the reader's,
    /// is left out.
    func activities(_ wanted: [(conversation: String, id: String)], for reader: UserKey) async throws -> [String] {
        try await pool.read { db in
            let find = try db.cachedStatement(
                sql: """
                    SELECT activity.json FROM activity
                    JOIN participant ON participant.conversation = activity.conversation
                    WHERE activity.conversation = ? AND json_extract(activity.json, '$.id') = ?
                        AND participant.user = ? AND participant.organisation = ? AND participant.leftAt IS NULL
                        AND json_extract(activity.json, '$.verb') IN ('post', 'share')
                    """)
            return try wanted.compactMap {
                try String.fetchOne(find, arguments: [$0.conversation, $0.id, reader.user, reader.organisation])
            }
        }
    }

    /// The newest messages of a conversation, for a listing without words.
    func newestMessages(
        in conversation: String, for reader: UserKey, verbs: [String], limit: Int
    ) async throws -> [String] {
        try await pool.read { db in
            _ = try Self.requireParticipant(reader, in: conversation, db)
            let marks = verbs.map { _ in "?" }.joined(separator: ", ")
            return try String.fetchAll(
                db,
                sql: """
                    SELECT json FROM activity WHERE conversation = ? AND json_extract(json, '$.verb') IN (\(marks))
                    ORDER BY sequence DESC LIMIT ?
                    """, arguments: StatementArguments([conversation] + verbs) + [limit])
        }
    }
}
