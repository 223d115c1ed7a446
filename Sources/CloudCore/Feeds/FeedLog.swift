import Diagnostics
import GRDB
import LinkProtocol
import WireText

/// The log of what happens in an organisation's conversations, for services that follow all of it.
///
/// Every item is written in the transaction of what it tells, with the next cursor of its organisation: 1, 2, 3, without
/// gaps. Activities are logged by reference, for they are kept anyway; one that is changed later is kept as it was
/// (`feedBefore`) for as long as its item is, so a reader that comes late learns the same as one that was there.
extension CloudStore {
    /// Who reads: the cursor that a service has acknowledged is one for all its nodes.
    struct FeedReaderKey: Hashable, Sendable {
        var organisation: String
        var service: String
        var feed: String
    }

    struct FeedItem: Equatable, Sendable {
        var cursor: UInt64
        var octets: [UInt8]
    }

    enum FeedOpening: Equatable, Sendable {
        case opened(LinkFeedSpan)
        case refused(LinkFeedEnd, LinkFeedSpan)
    }

    static let feedTables = """
        CREATE TABLE feedLog (
            organisation TEXT NOT NULL, cursor INTEGER NOT NULL, logged INTEGER NOT NULL, conversation TEXT NOT NULL,
            sequence INTEGER, json TEXT, PRIMARY KEY (organisation, cursor)) STRICT, WITHOUT ROWID;
        CREATE INDEX feedLogByTime ON feedLog (organisation, logged);
        CREATE TABLE feedEnd (
            organisation TEXT NOT NULL PRIMARY KEY, oldest INTEGER NOT NULL, last INTEGER NOT NULL)
            STRICT, WITHOUT ROWID;
        CREATE TABLE feedReader (
            organisation TEXT NOT NULL, service TEXT NOT NULL, feed TEXT NOT NULL, acknowledged INTEGER NOT NULL,
            updated INTEGER NOT NULL, PRIMARY KEY (organisation, service, feed)) STRICT, WITHOUT ROWID;
        INSERT INTO feedLog (organisation, cursor, logged, conversation, sequence, json)
            SELECT organisation,
                row_number() OVER (PARTITION BY organisation ORDER BY created, conversation, sequence),
                published, conversation, nullif(sequence, 0), json
            FROM (
                SELECT organisation, published AS created, published, id AS conversation, 0 AS sequence,
                    json_object('type', 'conversation', 'conversation', json_object(
                        'id', id, 'creator', creator, 'displayName', displayName,
                        'encryptionKeyUrl', encryptionKeyURL, 'kmsResourceObjectUrl', resourceURL,
                        'participants', (
                            SELECT json_group_array(json_object('id', user, 'organisation', organisation)) FROM (
                                SELECT user, organisation FROM participant
                                WHERE participant.conversation = conversation.id AND joinedAt = 0
                                ORDER BY position, user)),
                        'published', strftime('%Y-%m-%dT%H:%M:%fZ', published / 1000.0, 'unixepoch'))) AS json
                FROM conversation
                UNION ALL
                SELECT conversation.organisation, conversation.published, activity.published, activity.conversation,
                    activity.sequence, NULL
                FROM activity JOIN conversation ON conversation.id = activity.conversation);
        INSERT INTO feedEnd (organisation, oldest, last)
            SELECT organisation, 1, max(cursor) FROM feedLog GROUP BY organisation;
        """

    /// Activities as they were logged, of those that were edited or deleted since.
    static let feedBefore = """
        CREATE TABLE feedBefore (
            conversation TEXT NOT NULL, sequence INTEGER NOT NULL, published INTEGER NOT NULL, json TEXT NOT NULL,
            PRIMARY KEY (conversation, sequence)) STRICT, WITHOUT ROWID;
        CREATE INDEX feedBeforeByTime ON feedBefore (published);
        """

    func forgetChanged(before time: Timestamp) async throws {
        try await pool.write { db in
            try db.execute(sql: "DELETE FROM feedBefore WHERE published < ?", arguments: [time.milliseconds])
        }
    }

    // MARK: writing, inside the transaction of what is told

    /// The activity is about to be changed: the feed goes on to tell it as it was.
    static func keepForFeed(_ conversation: String, sequence: Int64, _ db: Database) throws {
        try db.execute(
            sql: """
                INSERT OR IGNORE INTO feedBefore (conversation, sequence, published, json)
                SELECT conversation, sequence, published, json FROM activity WHERE conversation = ? AND sequence = ?
                """, arguments: [conversation, sequence])
    }

    /// An activity that stands in its table.
    static func log(
        _ conversation: ConversationRecord, sequence: Int64, now: Timestamp, _ db: Database
    ) throws {
        try log(conversation.organisation, conversation.id, sequence: sequence, json: nil, now: now, db)
    }

    /// A conversation begins.
    static func log(_ conversation: ConversationRecord, now: Timestamp, _ db: Database) throws {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "conversation")
        json.name("conversation")
        json.beginObject()
        json.member("id", conversation.id)
        json.member("creator", conversation.creator)
        json.member("displayName", conversation.displayName)
        json.member("encryptionKeyUrl", conversation.encryptionKeyURL)
        json.name("participants")
        json.beginArray()
        for member in conversation.members {
            json.beginObject()
            json.member("id", member.user)
            json.member("organisation", member.organisation)
            json.endObject()
        }
        json.endArray()
        json.member("published", conversation.published.iso8601)
        json.endObject()
        json.endObject()
        try log(conversation.organisation, conversation.id, sequence: nil, json: json.text(), now: now, db)
    }

    /// The KRO of a conversation is known.
    static func log(_ conversation: ConversationRecord, resource url: String, now: Timestamp, _ db: Database) throws {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "resource")
        json.member("conversation", conversation.id)
        json.member("kmsResourceObjectUrl", url)
        json.endObject()
        try log(conversation.organisation, conversation.id, sequence: nil, json: json.text(), now: now, db)
    }

    /// A message was deleted because its time was over.
    static func log(expired: DeletedMessage, now: Timestamp, _ db: Database) throws {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "expired")
        json.member("conversation", expired.conversation)
        json.member("message", expired.message)
        json.member("sequence", expired.sequence)
        json.endObject()
        try log(expired.organisation, expired.conversation, sequence: nil, json: json.text(), now: now, db)
    }

    private static func log(
        _ organisation: String, _ conversation: String, sequence: Int64?, json: String?, now: Timestamp, _ db: Database
    ) throws {
        try db.execute(
            sql: """
                INSERT INTO feedEnd (organisation, oldest, last) VALUES (?, 1, 1)
                ON CONFLICT (organisation) DO UPDATE SET last = last + 1
                """, arguments: [organisation])
        try db.execute(
            sql: """
                INSERT INTO feedLog (organisation, cursor, logged, conversation, sequence, json)
                VALUES (?1, (SELECT last FROM feedEnd WHERE organisation = ?1), ?2, ?3, ?4, ?5)
                """, arguments: [organisation, now.milliseconds, conversation, sequence, json])
    }

    // MARK: reading

    /// Where a reader starts. A start that it names counts as acknowledged from then on.
    func openFeed(_ key: FeedReaderKey, from start: LinkFeedStart, now: Timestamp) async throws -> FeedOpening {
        try await pool.write { db in
            let end = try Row.fetchOne(
                db, sql: "SELECT oldest, last FROM feedEnd WHERE organisation = ?", arguments: [key.organisation])
            let stored = try Int64.fetchOne(
                db,
                sql: "SELECT acknowledged FROM feedReader WHERE organisation = ? AND service = ? AND feed = ?",
                arguments: [key.organisation, key.service, key.feed])
            var span = LinkFeedSpan(
                acknowledged: UInt64(stored ?? 0), oldest: UInt64(end?["oldest"] as Int64? ?? 1),
                last: UInt64(end?["last"] as Int64? ?? 0))
            let after: UInt64 =
                switch start {
                case .acknowledged: span.acknowledged
                case .after(let cursor): cursor
                }
            guard after <= span.last else { return .refused(.cursorBeyond, span) }
            guard after + 1 >= span.oldest else { return .refused(.cursorGone, span) }
            if after != span.acknowledged { try Self.store(after, for: key, now: now, db) }
            span.acknowledged = after
            return .opened(span)
        }
    }

    /// The items after a cursor: at most `limit`, and at least one if there is one, however long.
    func feedItems(
        of organisation: String, after cursor: UInt64, limit: Int, octets maximum: Int
    ) async throws -> [FeedItem] {
        try await pool.read { db in
            let rows = try Row.fetchCursor(
                db,
                sql: """
                    SELECT cursor, feedLog.conversation, feedLog.sequence, feedLog.json,
                        coalesce(feedBefore.json, activity.json) AS activity
                    FROM feedLog LEFT JOIN activity
                        ON activity.conversation = feedLog.conversation AND activity.sequence = feedLog.sequence
                    LEFT JOIN feedBefore
                        ON feedBefore.conversation = feedLog.conversation AND feedBefore.sequence = feedLog.sequence
                    WHERE organisation = ? AND cursor > ? ORDER BY cursor LIMIT ?
                    """, arguments: [organisation, Int64(clamping: cursor), limit])
            var items: [FeedItem] = []
            var octets = 0
            while octets < maximum || items.isEmpty, let row = try rows.next() {
                let item = Self.item(row)
                if !items.isEmpty, octets + item.octets.count > maximum { break }
                octets += item.octets.count
                items.append(item)
            }
            return items
        }
    }

    private static func item(_ row: Row) -> FeedItem {
        var text: String
        if let json = row["json"] as String? {
            text = json
        } else {
            text = "{\"type\":\"activity\",\"activity\":" + (row["activity"] as String? ?? "null") + "}"
        }
        if text.utf8.count > LinkFeedFrame.maximumItemBytes {
            var json = JSONWriter()
            json.beginObject()
            json.member("type", "too-long")
            json.member("conversation", row["conversation"] as String)
            json.member("sequence", row["sequence"] as Int64? ?? 0)
            json.endObject()
            text = json.text()
        }
        return FeedItem(cursor: UInt64(row["cursor"] as Int64), octets: Array(text.utf8))
    }

    func acknowledge(_ cursor: UInt64, by key: FeedReaderKey, now: Timestamp) async throws {
        try await pool.write { db in try Self.store(cursor, for: key, now: now, db) }
    }

    private static func store(_ cursor: UInt64, for key: FeedReaderKey, now: Timestamp, _ db: Database) throws {
        try db.execute(
            sql: """
                INSERT INTO feedReader (organisation, service, feed, acknowledged, updated) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT (organisation, service, feed)
                    DO UPDATE SET acknowledged = excluded.acknowledged, updated = excluded.updated
                """,
            arguments: [key.organisation, key.service, key.feed, Int64(clamping: cursor), now.milliseconds])
    }

    /// Forgets what was logged before a time, oldest first; the conversations themselves stay.
    func forgetFeedItems(before time: Timestamp) async throws {
        try await pool.write { db in
            try db.execute(sql: "DELETE FROM feedBefore WHERE published < ?", arguments: [time.milliseconds])
            let ends = try Row.fetchAll(db, sql: "SELECT organisation, oldest, last FROM feedEnd")
            for end in ends {
                let organisation: String = end["organisation"]
                let kept = try Int64.fetchOne(
                    db, sql: "SELECT min(cursor) FROM feedLog WHERE organisation = ? AND logged >= ?",
                    arguments: [organisation, time.milliseconds])
                let oldest = kept ?? (end["last"] as Int64) + 1
                guard oldest > end["oldest"] as Int64 else { continue }
                try db.execute(
                    sql: "DELETE FROM feedLog WHERE organisation = ? AND cursor < ?",
                    arguments: [organisation, oldest])
                try db.execute(
                    sql: "UPDATE feedEnd SET oldest = ? WHERE organisation = ?", arguments: [oldest, organisation])
            }
        }
    }
}
