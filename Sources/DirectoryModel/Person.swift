package import WireText

/// Somebody whom a directory of the organisation knows, as this service keeps him.
///
/// `id` is the `sub` of his tokens, given at first sight and kept for ever; `external` is how the directory itself names
/// the entry for good (`entryUUID`, `objectGUID`, the id of a SCIM resource), so that a new name or address is no new person.
package struct Person: Sendable, Equatable {
    /// Why somebody may not come in, as the directory says.
    package enum Standing: String, Sendable {
        case active
        /// The entry is there and says that the account is disabled or locked.
        case disabled
        /// The entry is not there any more.
        case gone
    }

    /// `ldap:NAME` or `scim`.
    package let source: String
    package let external: String
    package let id: String
    package var userName: String
    package var email: String
    package var name: String
    package var standing: Standing
    package var changed: Timestamp

    package init(
        source: String, external: String, id: String, userName: String, email: String, name: String,
        standing: Standing = .active, changed: Timestamp
    ) {
        (self.source, self.external, self.id) = (source, external, id)
        (self.userName, self.email, self.name) = (userName, email, name)
        (self.standing, self.changed) = (standing, changed)
    }

    package var isActive: Bool { standing == .active }

    /// What the directory says now; nothing else.
    package func updated(by entry: DirectoryEntry, at now: Timestamp) -> Person {
        var person = self
        (person.userName, person.email, person.name) = (entry.userName, entry.email, entry.name)
        person.standing = entry.isDisabled ? .disabled : .active
        if person != self { person.changed = now }
        return person
    }
}

/// One person as a directory was just read.
package struct DirectoryEntry: Sendable, Equatable {
    package var external: String
    package var userName: String
    package var email: String
    package var name: String
    package var isDisabled: Bool

    package init(external: String, userName: String, email: String, name: String, isDisabled: Bool = false) {
        (self.external, self.userName, self.email, self.name) = (external, userName, email, name)
        self.isDisabled = isDisabled
    }
}

/// A group as a directory was just read; members by their `external`.
package struct DirectoryGroupEntry: Sendable, Equatable {
    package var external: String
    package var name: String
    package var members: [String]

    package init(external: String, name: String, members: [String]) {
        (self.external, self.name, self.members) = (external, name, members)
    }
}

/// Everything that a directory has, read to its end.
package struct DirectoryReading: Sendable, Equatable {
    package var people: [DirectoryEntry]
    package var groups: [DirectoryGroupEntry]
    /// Entries without what a person needs (an id, an address): counted and left out.
    package var unusable: Int

    package init(people: [DirectoryEntry], groups: [DirectoryGroupEntry] = [], unusable: Int = 0) {
        (self.people, self.groups, self.unusable) = (people, groups, unusable)
    }
}

/// A directory that is looked at again and again. One call after the other; each may take long and throws for whatever is
/// not read to its end: a reading is whole or there is none.
package protocol DirectorySource: Sendable {
    /// `ldap:NAME`
    var name: String { get }
    /// Something that changes with every change of the directory, cheaply had; nil where it has no such thing.
    func marker() async throws -> String?
    func read() async throws -> DirectoryReading
    /// Returns when something has changed since that marker, as far as the directory tells, or when the time is over.
    func waitForChange(since marker: String?, upTo time: Duration) async throws
}

extension DirectorySource {
    package func waitForChange(since marker: String?, upTo time: Duration) async throws {
        try await Task.sleep(for: time)
    }
}

/// What became of a person.
package enum DirectoryChange: Sendable, Equatable {
    case joined(Person)
    case changed(Person)
    /// Disabled or gone, and was neither.
    case left(Person)
    case returned(Person)

    package var person: Person {
        switch self {
        case .joined(let person), .changed(let person), .left(let person), .returned(let person): person
        }
    }
}
