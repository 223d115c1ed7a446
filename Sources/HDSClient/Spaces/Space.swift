package import KMSClient
package import WireText

/// A conversation whose content only those can read whom the KMS gives its keys.
package struct Space: Sendable {
    package let id: String
    /// Decrypted; nil when its key is refused.
    package let name: String?
    /// URI of the KRO that its keys are bound to; nil when it is not known or the creation was not finished.
    package let resource: String?
    /// User ids to whom the cloud delivers.
    package let participants: [String]
    package let published: Timestamp
    /// The key that the cloud says new activities are under.
    let defaultKeyURI: String
    /// Why it can not be used, in words.
    package let problem: String?
}

/// One entry of a space as a reader sees it.
package struct SpaceEntry: Sendable {
    package enum Content: Sendable {
        case text(String)
        case files([SpaceFile])
        case added(person: String)
        case left(person: String)
        case keyChanged
        /// That message has this text from then on.
        case edited(message: String, String)
        case deleted(message: String)
        /// A message that its author deleted.
        case tombstone
        /// Encrypted with a key that is refused, or changed on its way; with the reason.
        case unreadable(String)
    }

    package let id: String
    package let sequence: Int64
    package let published: Timestamp
    /// User id; the cloud's word.
    package let actor: String
    package let content: Content
    /// When the text was last changed; nil for one that stands as it was posted.
    package let edited: Timestamp?
}

/// A file in a space.
package struct SpaceFile: Sendable {
    package let name: String
    package let size: Int64?
    package let record: SecureContentRecord
}

/// Somebody with a part in a space.
package struct Participant: Sendable, Equatable {
    package let id: String
    package let email: String?
    package let name: String?
    /// The KMS gives this person the space's keys.
    package let hasKeys: Bool
    /// The cloud delivers the space's messages to this person.
    package let isRouted: Bool
    /// By the KMS, which lets moderators alone add and remove while there are any.
    package let isModerator: Bool
    /// Of another organisation than the reader, by the address.
    package let isExternal: Bool
}
