package import Diagnostics
import WireText

/// A person's search as the core hands it to an indexer: sealed words, and the rooms that the core says the person is in
/// (docs/link-protocol.md, Search).
///
/// The core's word on rooms and person counts for nothing by itself: the key of the query tells whose it is, and the KMS
/// which of the rooms that person reads.
package struct SearchQuestion: Equatable, Sendable {
    package static let maximumRooms = 1000
    private static let limits = JSONDocument.Limits(maximumDepth: 4, maximumNodes: 10_000, maximumBytes: 256 << 10)

    package struct Room: Hashable, Sendable {
        /// The conversation.
        package let id: String
        /// Its KRO.
        package let resource: String

        package init(id: String, resource: String) {
            self.id = id
            self.resource = resource
        }
    }

    package let user: String
    /// Compact JWE under the person's own search key.
    package let query: String
    package let keyURI: String
    package let limit: Int
    /// `comment`, `content`; empty for all.
    package let types: [String]
    package let rooms: [Room]

    package init(user: String, query: String, keyURI: String, limit: Int, types: [String], rooms: [Room]) {
        self.user = user
        self.query = query
        self.keyURI = keyURI
        self.limit = limit
        self.types = types
        self.rooms = rooms
    }

    package func encode() -> [UInt8] {
        var json = JSONWriter(reserving: 1024 + rooms.count * 140)
        json.beginObject()
        json.member("userId", user)
        json.member("query", query)
        json.member("searchEncryptionKeyUrl", keyURI)
        json.member("limit", limit)
        json.member("type", types)
        json.name("rooms")
        json.beginArray()
        for room in rooms {
            json.beginObject()
            json.member("id", room.id)
            json.member("kmsResourceObjectUrl", room.resource)
            json.endObject()
        }
        json.endArray()
        json.endObject()
        return Array(json.text().utf8)
    }

    package init(decoding octets: [UInt8]) throws(DiagnosedError) {
        let root = try JSONDocument(octets, limits: Self.limits).root
        guard let user = root["userId"]?.string, let query = root["query"]?.string,
            let key = root["searchEncryptionKeyUrl"]?.string, let limit = root["limit"]?.integer,
            (1...Int64(SearchLookup.maximumHits)).contains(limit), let types = root["type"]?.strings,
            let nodes = root["rooms"]?.elements, nodes.count <= Self.maximumRooms
        else { throw .searchMalformed("a question lacks a member", expected: "userId, query, key, limit, type, rooms") }
        let rooms = nodes.compactMap { node -> Room? in
            guard let id = node["id"]?.string, (1...255).contains(id.utf8.count),
                let resource = node["kmsResourceObjectUrl"]?.string
            else { return nil }
            return Room(id: id, resource: resource)
        }
        guard rooms.count == nodes.count else { throw .searchMalformed("a room of a question has no id or resource") }
        self.init(
            user: user, query: query, keyURI: key, limit: Int(limit), types: types,
            rooms: rooms)
    }
}

/// What an indexer answers to a question: which messages, and what it could not look at.
package struct SearchAnswer: Equatable, Sendable {
    private static let limits = JSONDocument.Limits(maximumDepth: 4, maximumNodes: 20_000, maximumBytes: 256 << 10)

    package struct Item: Hashable, Sendable {
        package let room: String
        package let message: String

        package init(room: String, message: String) {
            self.room = room
            self.message = message
        }
    }

    /// A room that was not searched, or not wholly.
    package struct LeftOut: Hashable, Sendable {
        package enum Reason: String, Sendable, CaseIterable {
            /// The KMS does not let this person read it, or does not give its search keys.
            case refused
            /// The indexer has not read all of it yet.
            case behind
            /// The KMS or the search service did not answer.
            case unavailable
            /// It has more words that fit a pattern, or more epochs, than one search looks at.
            case capped
        }

        package let room: String
        package let reason: Reason

        package init(room: String, reason: Reason) {
            self.room = room
            self.reason = reason
        }
    }

    /// 200, or why nothing was searched: 400 a query that can not be read, 403 not this person's, 409 the very query was
    /// asked before, 503 no keys or no search service.
    package let status: Int
    package let reason: String?
    /// The best first.
    package let items: [Item]
    package let leftOut: [LeftOut]

    package init(status: Int = 200, reason: String? = nil, items: [Item] = [], leftOut: [LeftOut] = []) {
        self.status = status
        self.reason = reason
        self.items = items
        self.leftOut = leftOut
    }

    package func encode() -> [UInt8] {
        var json = JSONWriter(reserving: 1024)
        json.beginObject()
        json.member("status", status)
        json.member("reason", ifPresent: reason)
        json.name("items")
        json.beginArray()
        for item in items {
            json.beginObject()
            json.member("room", item.room)
            json.member("message", item.message)
            json.endObject()
        }
        json.endArray()
        json.name("leftOut")
        json.beginArray()
        for room in leftOut {
            json.beginObject()
            json.member("room", room.room)
            json.member("reason", room.reason.rawValue)
            json.endObject()
        }
        json.endArray()
        json.endObject()
        return Array(json.text().utf8)
    }

    package init(decoding octets: [UInt8]) throws(DiagnosedError) {
        let root = try JSONDocument(octets, limits: Self.limits).root
        guard let status = root["status"]?.integer, (200...599).contains(status),
            let items = root["items"]?.elements, let leftOut = root["leftOut"]?.elements
        else { throw .searchMalformed("an answer of an indexer lacks a member", expected: "status, items, leftOut") }
        self.init(
            status: Int(status), reason: root["reason"]?.string,
            items: items.compactMap { node in
                guard let room = node["room"]?.string, let message = node["message"]?.string else { return nil }
                return Item(room: room, message: message)
            },
            leftOut: leftOut.compactMap { node in
                guard let room = node["room"]?.string,
                    let reason = node["reason"]?.string.flatMap({ LeftOut.Reason(rawValue: $0) })
                else { return nil }
                return LeftOut(room: room, reason: reason)
            })
    }
}
