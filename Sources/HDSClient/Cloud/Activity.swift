package import KMSClient
package import WireText

/// One thing that happened in a conversation, as the core tells it. Author, order and time are the core's word.
package struct Activity: Sendable {
    package enum Kind: Sendable {
        /// A text.
        case post(EncryptedText)
        /// Files, with a text where the sender added one.
        case share([SharedFile])
        case add(person: String)
        case leave(person: String)
        case updateKey
        /// That message has this text from then on; nil when it was deleted later.
        case edit(message: String, EncryptedText?)
        case delete(message: String)
        /// What was deleted.
        case tombstone
        /// A verb of another release.
        case other(String)
    }

    package struct SharedFile: Sendable {
        package let name: EncryptedText
        package let size: Int64?
        package let record: EncryptedText
    }

    package let id: String
    package let conversation: String?
    package let sequence: Int64
    package let published: Timestamp
    /// User id, lower case.
    package let actor: String
    package let kind: Kind
    package let keyURI: String?
    package let clientTempID: String?
    /// The wrapped answer of the KMS, for the author of the request only.
    package let kmsMessage: String?
    /// When its text was last changed.
    package let edited: Timestamp?

    init?(_ node: JSONNode) {
        guard let id = node["id"]?.string, let sequence = node["sequence"]?.integer, let verb = node["verb"]?.string,
            let published = node["published"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let actor = node["actor"]?.string
        else { return nil }
        let object = node["object"]
        switch verb {
        case "post":
            guard let name = object?["displayName"]?.string else { return nil }
            kind = .post(EncryptedText(received: name))
        case "share":
            let files = (object?["files"]?.elements ?? []).compactMap { Self.file($0) }
            guard !files.isEmpty else { return nil }
            kind = .share(files)
        case "add", "leave":
            guard let person = object?["id"]?.string?.lowercased(), UUIDText.isValid(person) else { return nil }
            kind = verb == "add" ? .add(person: person) : .leave(person: person)
        case "updateKey": kind = .updateKey
        case "edit", "delete":
            guard let message = object?["id"]?.string else { return nil }
            kind =
                verb == "delete"
                ? .delete(message: message)
                : .edit(message: message, object?["displayName"]?.string.map { EncryptedText(received: $0) })
        case "tombstone": kind = .tombstone
        default: kind = .other(verb.loggable)
        }
        self.id = id
        self.sequence = sequence
        self.published = published
        self.actor = actor.lowercased()
        conversation = node["target"]?["id"]?.string
        keyURI =
            node["encryptionKeyUrl"]?.string ?? object?["encryptionKeyUrl"]?.string
            ?? node["target"]?["encryptionKeyUrl"]?.string
        clientTempID = node["clientTempId"]?.string
        edited = node["edited"]?.string.flatMap { Timestamp(iso8601: $0) }
        kmsMessage = node["kmsMessage"]?.string
    }

    private static func file(_ node: JSONNode) -> SharedFile? {
        guard let name = node["displayName"]?.string, let record = node["scr"]?.string else { return nil }
        return SharedFile(
            name: EncryptedText(received: name), size: node["fileSize"]?.integer,
            record: EncryptedText(received: record))
    }
}

/// A conversation as the core tells it.
package struct Conversation: Sendable {
    package let id: String
    package let url: String
    package let displayName: EncryptedText
    /// The key of `displayName`.
    package let nameKeyURI: String
    /// The key that the core says new activities are under.
    package let defaultKeyURI: String
    package let resourceURI: String?
    package let participants: [String]
    package let published: Timestamp
    package let kmsMessage: String?

    init?(_ node: JSONNode) {
        guard let id = node["id"]?.string, UUIDText.isValid(id), let url = node["url"]?.string,
            let name = node["displayName"]?.string, let nameKey = node["encryptionKeyUrl"]?.string
        else { return nil }
        self.id = id
        self.url = url
        displayName = EncryptedText(received: name)
        nameKeyURI = nameKey
        defaultKeyURI = node["defaultActivityEncryptionKeyUrl"]?.string ?? nameKey
        resourceURI = node["kmsResourceObjectUrl"]?.string
        participants = (node["participants"]?.strings ?? []).map { $0.lowercased() }
        published = node["published"]?.string.flatMap { Timestamp(iso8601: $0) } ?? Timestamp(milliseconds: 0)
        kmsMessage = node["kmsMessage"]?.string
    }
}
