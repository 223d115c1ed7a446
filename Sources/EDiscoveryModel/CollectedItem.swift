package import WireText

/// One thing that a report found: a message or an event of its space, with everything that became of it, decrypted.
///
/// What collects makes these, what exports writes them; both see them in one order only (`<`): space, sequence. Two runs of
/// one report give equal items, so nothing here depends on the moment of the run.
package struct CollectedItem: Sendable, Hashable, Comparable {
    package enum Kind: String, Sendable, CaseIterable {
        case message, share, reaction, edit, deletion, joined, left, spaceCreated, titleChanged, keyRotated
        case meeting, recording, whiteboard, other
    }

    /// The id of its activity, unique in the organisation.
    package var id: String
    package var kind: Kind
    package var space: String
    /// Its place in the space, from 1.
    package var sequence: UInt64
    package var published: Timestamp
    package var author: Person
    /// The text as it was last; nil where there is none, or where it could not be opened (`problems` says why).
    package var text: String?
    /// Earlier texts, oldest first. Empty for what was never edited.
    package var history: [Version]
    package var deletion: Deletion?
    package var files: [CollectedFile]
    /// Whom an event of membership is about.
    package var subject: Person?
    /// The activity that this answers or reacts to.
    package var parent: String?
    /// Who was in the space at `published` (joined <= t < left), by id ascending.
    package var participants: [Person]
    /// The subjects of the report through whom it was found, ids ascending; empty for context.
    package var custodians: [String]
    /// It is no hit of its own: it stands before or after one.
    package var isContext: Bool
    package var problems: [Problem]

    package init(
        id: String, kind: Kind, space: String, sequence: UInt64, published: Timestamp, author: Person,
        text: String? = nil,
        history: [Version] = [], deletion: Deletion? = nil, files: [CollectedFile] = [], subject: Person? = nil,
        parent: String? = nil, participants: [Person] = [], custodians: [String] = [], isContext: Bool = false,
        problems: [Problem] = []
    ) {
        self.id = id
        self.kind = kind
        self.space = space
        self.sequence = sequence
        self.published = published
        self.author = author
        self.text = text
        self.history = history
        self.deletion = deletion
        self.files = files
        self.subject = subject
        self.parent = parent
        self.participants = participants
        self.custodians = custodians
        self.isContext = isContext
        self.problems = problems
    }

    package static func < (left: CollectedItem, right: CollectedItem) -> Bool {
        (left.space, left.sequence, left.id) < (right.space, right.sequence, right.id)
    }

    /// An earlier text of a message.
    package struct Version: Sendable, Hashable {
        package var text: String?
        package var until: Timestamp
        package var editor: Person
        package init(text: String?, until: Timestamp, editor: Person) {
            self.text = text
            self.until = until
            self.editor = editor
        }
    }

    package struct Deletion: Sendable, Hashable {
        package var at: Timestamp
        package var by: Person
        package init(at: Timestamp, by: Person) {
            self.at = at
            self.by = by
        }
    }
}

/// Somebody, as the customer's directory knows him; what it does not know is nil, never guessed.
package struct Person: Sendable, Hashable, Comparable {
    package var id: String
    package var email: String?
    package var name: String?
    package init(id: String, email: String? = nil, name: String? = nil) {
        self.id = id
        self.email = email
        self.name = name
    }
    package static func < (left: Person, right: Person) -> Bool { left.id < right.id }
}

/// A file of a message. Its octets are read apart, by `reference`.
package struct CollectedFile: Sendable, Hashable {
    /// As its sender named it: hostile until `ExportName` has made a name of it; nil where it could not be opened.
    package var name: String?
    package var mediaType: String?
    /// Octets of the plaintext.
    package var size: UInt64?
    /// SHA-256 of the plaintext, 32 octets; nil where it was not fetched.
    package var digest: [UInt8]?
    /// Under what the collection keeps its octets; nil where it does not have them.
    package var reference: String?
    package init(
        name: String?, mediaType: String? = nil, size: UInt64? = nil, digest: [UInt8]? = nil, reference: String? = nil
    ) {
        self.name = name
        self.mediaType = mediaType
        self.size = size
        self.digest = digest
        self.reference = reference
    }
}

/// What could not be had of an item, by the classes that a report counts.
package struct Problem: Sendable, Hashable {
    package enum Class: String, Sendable, CaseIterable {
        case keyDenied, keyUnknown, decryptFailed, fileMissing, fileHashMismatch, tooLarge, foreignOrg
        /// The name of a file could not be opened: a warning.
        case fileName
        /// Retention, a purge or an erasure has destroyed it: a warning.
        case removed

        package var isWarning: Bool { self == .fileName || self == .removed }
    }
    package var problemClass: Class
    /// A sentence for the officer; without content and keys.
    package var text: String
    package var isWarning: Bool { problemClass.isWarning }
    package init(_ problemClass: Class, _ text: String) {
        self.problemClass = problemClass
        self.text = text
    }
}

/// A space of a report.
package struct CollectedSpace: Sendable, Hashable {
    package var id: String
    /// nil for two people, or where it could not be opened.
    package var title: String?
    package var isOneToOne: Bool
    /// Now and formerly, by id ascending.
    package var participants: [Person]
    package var formerParticipants: [Person]
    package init(
        id: String, title: String?, isOneToOne: Bool = false, participants: [Person] = [],
        formerParticipants: [Person] = []
    ) {
        self.id = id
        self.title = title
        self.isOneToOne = isOneToOne
        self.participants = participants
        self.formerParticipants = formerParticipants
    }

    /// The title; of two people without one, all who are or were in it, joined by " & ".
    package var shownTitle: String {
        if let title { return title }
        let people = (participants + formerParticipants).map { $0.name ?? $0.email ?? $0.id }
        return people.isEmpty ? id : people.joined(separator: " & ")
    }
}
