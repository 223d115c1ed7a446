import WireText

/// Who a user is: ids are the authorization service's, so they count only together with the organisation it serves.
struct UserKey: Hashable, Sendable {
    var organisation: String
    var user: String
}

struct UserRecord: Equatable, Sendable {
    var id: String
    var email: String
    var name: String
}

struct DeviceRecord: Equatable, Sendable {
    var id: String
    var owner: UserKey
    var name: String
    var type: String
    var created: Timestamp
}

/// A conversation; `displayName` is encrypted by the clients and opaque here.
struct ConversationRecord: Equatable, Sendable {
    var id: String
    var organisation: String
    var creator: String
    var displayName: String
    /// The key of `displayName`.
    var encryptionKeyURL: String
    /// The key of new activities.
    var defaultKeyURL: String
    /// The KRO, once the creator has told it.
    var resourceURL: String?
    var published: Timestamp
    var lastSequence: Int64
    /// Those who take part now, in the order in which they came.
    var members: [UserKey]
    var participants: [String] { members.map(\.user) }
}

/// One upload: `size` is nil until the octets are there.
struct FileRecord: Equatable, Sendable {
    var id: String
    var owner: UserKey
    var size: Int64?
}

enum Verb: String, Sendable, CaseIterable {
    case post, share, edit, delete, add, leave, updateKey

    /// Whether the step is also one at the KMS.
    var needsKMS: Bool {
        switch self {
        case .post, .share, .edit, .delete: false
        case .add, .leave, .updateKey: true
        }
    }
}

/// An activity that a user wants to be stored.
struct ActivityDraft: Equatable, Sendable {
    var conversation: String
    var actor: UserKey
    var verb: Verb
    /// The participant that an `add` or `leave` is about.
    var person: String?
    var encryptionKeyURL: String?
    /// Organisations besides the actor's whose users may be added.
    var partners: [String] = []
    /// The message that an `edit` or `delete` is about.
    var message: String?
    /// Ids of the files that a `share` names.
    var files: [String] = []
    /// The `object` member, rebuilt from the members that are known.
    var objectJSON: String
    var clientTempID: String?
}

/// A stored activity as it is shown to participants, with the wrapped answer of the KMS for its author alone.
struct StoredActivity: Equatable, Sendable {
    var json: String
    var kmsAnswer: String?
}

/// What became of a draft.
enum AppendOutcome: Equatable, Sendable {
    case stored(StoredActivity)
    case deleted(StoredActivity, CloudStore.DeletedMessage)
    /// The same `clientTempId` of the same user was there.
    case duplicate(StoredActivity)
}
