package import Diagnostics
package import KMSClient
package import WireText

/// What happened in one space, in its order, as the core's feed told it: still encrypted. Author and time are the core's word.
package struct SpaceLog: Sendable {
    package struct Sealed: Sendable {
        package let text: EncryptedText
        package let keyURI: String
    }

    package struct File: Sendable {
        package let name: EncryptedText
        package let mediaType: String?
        package let size: UInt64?
        /// The record of its own key and place, under the message's key.
        package let record: EncryptedText?
        /// The core's id of its octets; nil where it names none.
        package let id: String?
    }

    package struct Message: Sendable {
        package let id: String
        package let sequence: UInt64
        package let published: Timestamp
        package let author: String
        package let isShare: Bool
        package let parent: String?
        package let keyURI: String
        package let text: EncryptedText?
        package let files: [File]
        /// Later texts, in their order.
        package var edits: [(text: Sealed, at: Timestamp, by: String)] = []
        package var deletion: (at: Timestamp, by: String)?
        /// The core had taken its content away before it came into the mirror.
        package var isGone = false
        /// Why the worker itself has destroyed its content: retention, a purge or an erasure.
        package var removal: String?
    }

    package struct Membership: Sendable {
        package let id: String
        package let sequence: UInt64
        package let at: Timestamp
        package let actor: String
        package let person: String
        package let joined: Bool
    }

    package struct Interval: Sendable, Equatable {
        package let joined: Timestamp
        package var left: Timestamp?
    }

    package let id: String
    /// Sequences before the newest one that are not there: what the core did not tell.
    package private(set) var missing: [ClosedRange<UInt64>] = []
    private var newest: UInt64 = 0
    package private(set) var created: (at: Timestamp, by: String, title: Sealed?)?
    package private(set) var messages: [Message] = []
    package private(set) var memberships: [Membership] = []
    /// By person, ascending.
    package private(set) var intervals: [String: [Interval]] = [:]
    private var places: [String: Int] = [:]

    /// - Parameter items: of the feed, of this space alone: what tells of the space, then activities in the order of their sequence.
    package init(id: String, items: [[UInt8]]) throws(DiagnosedError) {
        self.id = id
        for octets in items {
            let root = try JSONDocument(octets, limits: FeedPlace.limits).root
            if let conversation = root["conversation"], conversation.kind == .object {
                begin(conversation)
            } else if let activity = root["activity"] {
                take(activity)
            }
        }
    }

    /// Messages of the same space with what became of them, beside who is in it: this log is of the space's other events.
    ///
    /// - Parameters:
    ///   - items: messages.
    ///   - span: of the sequences that `items` cover; what this log has of them is part of the page.
    ///   - later: edits and deletions of the messages with these ids, in the order of their sequence.
    package func page(
        _ items: [[UInt8]], of span: ClosedRange<UInt64>, later: (_ ids: [String]) throws -> [[UInt8]]
    ) throws -> [Message] {
        var log = with(messages.filter { span.contains($0.sequence) })
        for octets in items { try log.take(octets) }
        for octets in try later(log.messages.map(\.id)) { try log.take(octets) }
        return log.messages.sorted { $0.sequence < $1.sequence }
    }

    private mutating func take(_ octets: [UInt8]) throws {
        guard let activity = try JSONDocument(octets, limits: FeedPlace.limits).root["activity"] else { return }
        take(activity)
    }

    /// The same space with these messages alone.
    package func with(_ messages: [Message]) -> SpaceLog {
        var log = self
        log.messages = messages
        log.places = Dictionary(messages.enumerated().map { ($1.id, $0) }, uniquingKeysWith: { $1 })
        return log
    }

    private mutating func begin(_ node: JSONNode) {
        guard let at = node["published"]?.string.flatMap({ Timestamp(iso8601: $0) }) else { return }
        let creator = node["creator"]?.string?.lowercased() ?? ""
        let key = node["encryptionKeyUrl"]?.string ?? ""
        created = (
            at, creator, node["displayName"]?.string.map { Sealed(text: EncryptedText(received: $0), keyURI: key) }
        )
        let members = (node["participants"]?.elements ?? []).compactMap { $0["id"]?.string?.lowercased() }
        for member in Set(members + [creator]) where !member.isEmpty { join(member, at) }
    }

    private mutating func join(_ person: String, _ at: Timestamp) {
        if let last = intervals[person]?.last, last.left == nil { return }
        intervals[person, default: []].append(Interval(joined: at))
    }

    private mutating func take(_ node: JSONNode) {
        guard let id = node["id"]?.string, let sequence = node["sequence"]?.integer, sequence > 0,
            let at = node["published"]?.string.flatMap({ Timestamp(iso8601: $0) })
        else { return }
        if UInt64(sequence) > newest + 1 { missing.append((newest + 1)...(UInt64(sequence) - 1)) }
        newest = max(newest, UInt64(sequence))
        let actor = node["actor"]?.string?.lowercased() ?? ""
        let object = node["object"]
        let key = node["encryptionKeyUrl"]?.string ?? ""
        switch node["verb"]?.string {
        case "post", "share":
            let files = (object?["files"]?.elements ?? []).compactMap { file -> File? in
                guard let name = file["displayName"]?.string else { return nil }
                return File(
                    name: EncryptedText(received: name), mediaType: file["mimeType"]?.string,
                    size: file["fileSize"]?.integer.flatMap { UInt64(exactly: $0) },
                    record: file["scr"]?.string.map { EncryptedText(received: $0) }, id: FeedEntry.fileID(file))
            }
            places[id] = messages.count
            messages.append(
                Message(
                    id: id, sequence: UInt64(sequence), published: at, author: actor,
                    isShare: node["verb"]?.string == "share", parent: node["parent"]?["id"]?.string, keyURI: key,
                    text: object?["displayName"]?.string.map { EncryptedText(received: $0) }, files: files))
        case "tombstone":
            places[id] = messages.count
            messages.append(
                Message(
                    id: id, sequence: UInt64(sequence), published: at, author: actor, isShare: false, parent: nil,
                    keyURI: key, text: nil, files: [], isGone: true))
        case Self.removed:
            places[id] = messages.count
            messages.append(
                Message(
                    id: id, sequence: UInt64(sequence), published: at, author: actor, isShare: false, parent: nil,
                    keyURI: key, text: nil, files: [], removal: object?["cause"]?.string ?? "removed"))
        case "edit":
            guard let place = object?["id"]?.string.flatMap({ places[$0] }), let text = object?["displayName"]?.string,
                messages[place].sequence < sequence
            else { return }
            messages[place].edits.append((Sealed(text: EncryptedText(received: text), keyURI: key), at, actor))
        case "delete":
            guard let place = object?["id"]?.string.flatMap({ places[$0] }), messages[place].deletion == nil else {
                return
            }
            messages[place].deletion = (at, actor)
        case "add", "leave":
            let joined = node["verb"]?.string == "add"
            let person = object?["id"]?.string?.lowercased() ?? actor
            if joined {
                join(person, at)
            } else if let last = intervals[person]?.indices.last, intervals[person]?[last].left == nil {
                intervals[person]?[last].left = at
            }
            memberships.append(
                Membership(id: id, sequence: UInt64(sequence), at: at, actor: actor, person: person, joined: joined))
        default: break
        }
    }

    /// Who was in the space then (joined <= t < left), by id.
    package func participants(at time: Timestamp) -> [String] {
        var presence = Presence(self)
        presence.move(to: time)
        return presence.ids
    }

    /// For whom a key of that time is asked for: who is still in the space first, then who left last.
    package func readers(at time: Timestamp) -> [String] {
        var presence = Presence(self)
        presence.move(to: time)
        return presence.readers
    }
}

/// Where an item of the feed belongs.
package struct FeedPlace: Sendable, Hashable {
    package let space: String
    /// 0: it tells of the space itself.
    package let sequence: UInt64

    static let limits = JSONDocument.Limits(maximumDepth: 12, maximumNodes: 20_000, maximumBytes: 1 << 20)

    package init(space: String, sequence: UInt64) { (self.space, self.sequence) = (space, sequence) }
}

/// An item of the feed, as far as it is kept.
package enum FeedEntry: Sendable, Equatable {
    case event(FeedPlace, Facts)
    /// The core deleted a message because its time was over.
    case expired(FeedPlace)

    /// What stands beside a kept event in clear: times, ids and numbers, never a text.
    package struct Facts: Sendable, Equatable {
        package var published: Timestamp
        package var isMessage: Bool
        /// The message that an edit or a deletion is about.
        package var about: String?
        /// The core's ids of a message's files, nil where there is none, with the octets that they shall have.
        package var files: [File]

        package struct File: Sendable, Equatable {
            package let id: String?
            package let size: UInt64?
        }
    }

    /// Nil for what is not kept, such as an activity that was too long for the feed.
    package init?(_ octets: [UInt8]) {
        guard let root = try? JSONDocument(octets, limits: FeedPlace.limits).root else { return nil }
        func time(_ node: JSONNode?) -> Timestamp {
            node?["published"]?.string.flatMap { Timestamp(iso8601: $0) } ?? Timestamp(milliseconds: 0)
        }
        switch root["type"]?.string {
        case "conversation":
            guard let node = root["conversation"], let id = node["id"]?.string else { return nil }
            self = .event(
                FeedPlace(space: id, sequence: 0), Facts(published: time(node), isMessage: false, about: nil, files: [])
            )
        case "activity":
            guard let node = root["activity"], let id = node["target"]?["id"]?.string,
                let number = node["sequence"]?.integer, number > 0
            else { return nil }
            let verb = node["verb"]?.string ?? ""
            let object = node["object"]
            let files = (object?["files"]?.elements ?? []).map { file in
                Facts.File(id: Self.fileID(file), size: file["fileSize"]?.integer.flatMap { UInt64(exactly: $0) })
            }
            self = .event(
                FeedPlace(space: id, sequence: UInt64(number)),
                Facts(
                    published: time(node), isMessage: ["post", "share"].contains(verb),
                    about: ["edit", "delete"].contains(verb) ? object?["id"]?.string : nil,
                    files: verb == "share" ? files : []))
        case "expired":
            guard let id = root["conversation"]?.string, let number = root["sequence"]?.integer, number > 0 else {
                return nil
            }
            self = .expired(FeedPlace(space: id, sequence: UInt64(number)))
        default: return nil
        }
    }

    static func fileID(_ node: JSONNode) -> String? {
        node["url"]?.string?.split(separator: "/").last.map(String.init).flatMap { UUIDText.isValid($0) ? $0 : nil }
    }
}

extension SpaceLog {
    /// The verb of what the worker itself has destroyed.
    static let removed = "removed"

    /// What stands in the place of a message from then on: who, when and where, and why it is gone.
    package static func removed(_ message: Message, of space: String, because cause: String) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "activity")
        json.name("activity")
        json.beginObject()
        json.member("id", message.id)
        json.member("sequence", Int64(clamping: message.sequence))
        json.member("published", message.published.iso8601)
        json.member("actor", message.author)
        json.member("verb", removed)
        json.name("object")
        json.beginObject()
        json.member("cause", cause)
        json.endObject()
        json.name("target")
        json.beginObject()
        json.member("id", space)
        json.endObject()
        json.endObject()
        json.endObject()
        return json.bytes()
    }

    /// An edit or a deletion of such a message: who and when.
    package static func stripped(_ octets: [UInt8]) throws(DiagnosedError) -> [UInt8] {
        let node = try JSONDocument(octets, limits: FeedPlace.limits).root["activity"]
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "activity")
        json.name("activity")
        json.beginObject()
        for name in ["id", "published", "actor", "verb"] { json.member(name, ifPresent: node?[name]?.string) }
        json.member("sequence", node?["sequence"]?.integer ?? 0)
        json.name("object")
        json.beginObject()
        json.member("id", ifPresent: node?["object"]?["id"]?.string)
        json.endObject()
        json.name("target")
        json.beginObject()
        json.member("id", ifPresent: node?["target"]?["id"]?.string)
        json.endObject()
        json.endObject()
        json.endObject()
        return json.bytes()
    }
}
