import CoreLink
import Cryptography
import Diagnostics
import KMSClient
import SearchProtocol
import WireText

/// One item of the feed, as far as the index is concerned (docs/link-protocol.md, Feeds).
enum FeedEvent: Sendable {
    case message(FeedMessage)
    case deletion(room: String, message: String, sequence: UInt64)
    /// Somebody left the room.
    case removal(room: String)
    /// The core has named the resource of a room.
    case resource(room: String, String)
    case other
    /// The core has something that does not fit into a frame.
    case tooLong(room: String)

    private static let limits = JSONDocument.Limits(maximumDepth: 12, maximumNodes: 20_000, maximumBytes: 1 << 20)

    init(_ octets: [UInt8]) throws(DiagnosedError) {
        let root = try JSONDocument(octets, limits: Self.limits).root
        switch root["type"]?.string {
        case "activity":
            guard let activity = root["activity"] else { throw Self.malformed("an activity without its object") }
            self = Self.event(activity)
        case "resource":
            guard let room = root["conversation"]?.string, let resource = root["kmsResourceObjectUrl"]?.string else {
                throw Self.malformed("a resource without its members")
            }
            self = .resource(room: room, resource)
        case "expired":
            guard let room = root["conversation"]?.string, let message = root["message"]?.string,
                let sequence = root["sequence"]?.integer, sequence > 0
            else { throw Self.malformed("an expired message without its members") }
            self = .deletion(room: room, message: message, sequence: UInt64(sequence))
        case "too-long": self = .tooLong(room: root["conversation"]?.string ?? "")
        default: self = .other
        }
    }

    private static func event(_ activity: JSONNode) -> FeedEvent {
        guard let room = activity["target"]?["id"]?.string, let sequence = activity["sequence"]?.integer, sequence > 0
        else { return .other }
        switch activity["verb"]?.string {
        case "post", "share", "edit": return FeedMessage(activity).map { .message($0) } ?? .other
        case "delete":
            guard let message = activity["object"]?["id"]?.string else { return .other }
            return .deletion(room: room, message: message, sequence: UInt64(sequence))
        case "leave": return .removal(room: room)
        default: return .other
        }
    }

    private static func malformed(_ found: String) -> DiagnosedError {
        DiagnosedError(.feedItemFailed, fault: .peer, "an item of the feed is not of its form", found: found)
    }
}

/// A message as the core has it: encrypted, with the key that it names.
struct FeedMessage: Sendable {
    let id: String
    let room: String
    let sequence: UInt64
    let published: Timestamp
    let actor: String
    /// `comment` or `content`, as clients name what they search for.
    let type: String
    let keyURI: String
    let text: EncryptedText?
    let files: [File]

    struct File: Sendable {
        let name: EncryptedText
        /// Its key, and where it is.
        let record: EncryptedText?
    }

    /// A message, or the edit that gives one its text: then under the message's id, and later than all before.
    init?(_ activity: JSONNode) {
        guard let own = activity["id"]?.string, let room = activity["target"]?["id"]?.string,
            let sequence = activity["sequence"]?.integer, sequence > 0, let verb = activity["verb"]?.string,
            ["post", "share", "edit"].contains(verb), let key = activity["encryptionKeyUrl"]?.string,
            let published = activity["published"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let object = activity["object"]
        else { return nil }
        guard let id = verb == "edit" ? object["id"]?.string : own else { return nil }
        self.id = id
        self.room = room
        self.sequence = UInt64(sequence)
        self.published = published
        actor = activity["actor"]?.string?.lowercased() ?? ""
        type = verb == "share" ? "content" : "comment"
        keyURI = key
        text = object["displayName"]?.string.map { EncryptedText(received: $0) }
        files = (object["files"]?.elements ?? []).compactMap { file in
            file["displayName"]?.string.map { name in
                File(
                    name: EncryptedText(received: name),
                    record: file["scr"]?.string.map { EncryptedText(received: $0) })
            }
        }
    }

    /// SHA-256 of all that is encrypted of it.
    var digest: [UInt8] {
        let texts = [text].compactMap { $0 } + files.map(\.name)
        return SHA256.hash(Array(texts.map(\.jwe).joined(separator: "\n").utf8))
    }
}
