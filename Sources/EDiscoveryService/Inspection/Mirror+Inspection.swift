import ContentInspection
import EDiscoveryCollection
import FoundationEssentials
import KMSClient
import SecretMemory
import WireText

// What came into the mirror and was not looked at yet.
extension Mirror {
    struct Arrival: Sendable {
        let position: Int64
        let place: FeedPlace
        /// Nil for what has no text.
        let message: Message?

        struct Message: Sendable {
            /// The message that the text is of: itself, or what an edit is about.
            let id: String
            let author: String
            let published: String
            let keyURI: String
            let texts: [EncryptedText]
        }
    }

    /// Behind the last that was looked at. The first time that is the end: what was there before is not inspected.
    func arrivals(limit: Int, under key: SymmetricKey) throws -> [Arrival] {
        try queue.write { db in
            try db.execute(
                sql: """
                    INSERT INTO setting
                    SELECT 'inspected', CAST(coalesce(max(position), 0) AS TEXT) FROM event WHERE true
                    ON CONFLICT DO NOTHING
                    """)
            let after = try String.fetchOne(db, sql: "SELECT value FROM setting WHERE name = 'inspected'")
            return try Self.arrivals(after: after.flatMap { Int64($0) } ?? 0, limit: limit, key, db)
        }
    }

    static func arrivals(after position: Int64, limit: Int, _ key: SymmetricKey, _ db: any Database) throws -> [Arrival]
    {
        try Row.fetchAll(
            db, sql: "SELECT position, space, sequence, sealed FROM event WHERE position > ? ORDER BY position LIMIT ?",
            arguments: [position, limit]
        ).map { row in
            let place = FeedPlace(space: row["space"], sequence: UInt64(row["sequence"] as Int64))
            let octets = try MirrorSeal.open([UInt8](row["sealed"] as Data), name(place), key)
            return Arrival(position: row["position"], place: place, message: message(octets))
        }
    }

    private static func message(_ octets: [UInt8]) -> Arrival.Message? {
        guard let node = try? JSONDocument(octets).root["activity"], let id = node["id"]?.string,
            let verb = node["verb"]?.string, ["post", "share", "edit"].contains(verb), let object = node["object"]
        else { return nil }
        let texts =
            [object["displayName"]?.string].compactMap { $0 }
            + (object["files"]?.elements ?? []).compactMap { $0["displayName"]?.string }
        guard !texts.isEmpty else { return nil }
        return Arrival.Message(
            id: verb == "edit" ? object["id"]?.string ?? id : id, author: node["actor"]?.string ?? "",
            published: node["published"]?.string ?? "", keyURI: node["encryptionKeyUrl"]?.string ?? "",
            texts: texts.map { EncryptedText(received: $0) })
    }

    /// What was found, what is to be destroyed and the place, in one transaction.
    func inspected(_ arrival: Arrival, hits: [Inspector.Hit], now: Timestamp, under key: SymmetricKey) throws {
        try queue.write { db in
            try db.execute(
                sql: "UPDATE setting SET value = ? WHERE name = 'inspected'", arguments: [String(arrival.position)])
            guard let message = arrival.message else { return }
            for hit in hits {
                let text = OfficerCommands.object { json in
                    json.member("containerId", arrival.place.space)
                    json.member("sequence", Int64(clamping: arrival.place.sequence))
                    json.member("activityId", message.id)
                    json.member("author", message.author)
                    json.member("published", message.published)
                    json.member("rule", hit.rule)
                    json.member("hits", hit.count)
                    json.member("actions", hit.actions.map(\.rawValue).sorted())
                    json.member("found", now.iso8601)
                }
                let id = "\(arrival.place.space)/\(arrival.place.sequence)/\(hit.rule)"
                try Self.put("finding", id, Array(text.utf8), key, db)
                guard hit.actions.contains(.remove) else { continue }
                let log = try SpaceLog(
                    id: arrival.place.space, items: Self.events(of: arrival.place.space, until: .max, key, db))
                guard let found = log.messages.first(where: { $0.id == message.id }) else { continue }
                try Self.want(
                    FeedPlace(space: log.id, sequence: found.sequence), message: found.id, because: "inspection", db)
            }
        }
    }
}
