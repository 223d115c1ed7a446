package import Diagnostics
package import WireText

/// What nobody may destroy for as long as it stands: messages by custodians, spaces and time. In doubt it holds.
package struct LegalHold: Sendable, Equatable {
    package let id: String
    package let matter: String?
    package let name: String
    package let officer: String
    package let created: Timestamp
    /// Ids, ascending. Empty: everybody.
    package var custodians: [String]
    /// Ids of spaces, ascending. Empty: all.
    package var spaces: [String]
    /// Half open: start <= published < end.
    package var start: Timestamp?
    package var end: Timestamp?
    package var released: Release?

    package struct Release: Sendable, Equatable {
        package let at: Timestamp
        package let officer: String
        package let second: String
        package let reason: String
        package init(at: Timestamp, officer: String, second: String, reason: String) {
            (self.at, self.officer, self.second, self.reason) = (at, officer, second, reason)
        }
    }

    package init(
        id: String, matter: String?, name: String, officer: String, created: Timestamp, custodians: [String],
        spaces: [String], start: Timestamp? = nil, end: Timestamp? = nil
    ) {
        self.id = id
        self.matter = matter
        self.name = name
        self.officer = officer
        self.created = created
        self.custodians = custodians.sorted()
        self.spaces = spaces.sorted()
        self.start = start
        self.end = end
    }

    /// Who was in the space when a message was written or came later could read it: both are custodians of it.
    package func covers(_ message: SpaceLog.Message, in log: SpaceLog) -> Bool {
        guard released == nil, spaces.isEmpty || spaces.contains(log.id),
            start.map({ $0 <= message.published }) ?? true,
            end.map({ message.published < $0 }) ?? true
        else { return false }
        return custodians.isEmpty || custodians.contains(message.author)
            || custodians.contains { person in
                log.intervals[person]?.contains { $0.left.map { message.published < $0 } ?? true } ?? false
            }
    }

    // MARK: - Text

    package func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("id", id)
        json.member("matter", ifPresent: matter)
        json.member("name", name)
        json.member("officer", officer)
        json.member("created", created.iso8601)
        json.member("custodians", custodians)
        json.member("spaces", spaces)
        json.member("start", ifPresent: start?.iso8601)
        json.member("end", ifPresent: end?.iso8601)
        if let released {
            json.name("released")
            json.beginObject()
            json.member("at", released.at.iso8601)
            json.member("officer", released.officer)
            json.member("second", released.second)
            json.member("reason", released.reason)
            json.endObject()
        }
        json.endObject()
    }

    /// As `write` wrote it.
    package init(_ node: JSONNode) throws(DiagnosedError) {
        guard let id = node["id"]?.string, let name = node["name"]?.string, let officer = node["officer"]?.string,
            let created = node["created"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let custodians = node["custodians"]?.strings, let spaces = node["spaces"]?.strings
        else { throw DiagnosedError(.reportState, fault: .store, "a stored hold is not of its form") }
        self.init(
            id: id, matter: node["matter"]?.string, name: name, officer: officer, created: created,
            custodians: custodians, spaces: spaces, start: node["start"]?.string.flatMap { Timestamp(iso8601: $0) },
            end: node["end"]?.string.flatMap { Timestamp(iso8601: $0) })
        if let node = node["released"], let at = node["at"]?.string.flatMap({ Timestamp(iso8601: $0) }) {
            released = Release(
                at: at, officer: node["officer"]?.string ?? "", second: node["second"]?.string ?? "",
                reason: node["reason"]?.string ?? "")
        }
    }
}

/// Which messages are to be destroyed: by author or participant, spaces and time.
package struct Selection: Sendable, Equatable {
    package enum Role: String, Sendable, CaseIterable { case author, participant }

    /// Ids. Empty: everybody.
    package var people: Set<String>
    package var role: Role
    /// Empty: all.
    package var spaces: Set<String>
    package var start: Timestamp?
    package var end: Timestamp?

    package init(
        people: Set<String> = [], role: Role = .author, spaces: Set<String> = [], start: Timestamp? = nil,
        end: Timestamp? = nil
    ) {
        (self.people, self.role, self.spaces, self.start, self.end) = (people, role, spaces, start, end)
    }

    package var isEverything: Bool { people.isEmpty && spaces.isEmpty && start == nil && end == nil }

    /// Messages that are there, by their place.
    package func messages(of log: SpaceLog) -> [SpaceLog.Message] {
        guard spaces.isEmpty || spaces.contains(log.id) else { return [] }
        return log.messages.filter { message in
            guard message.removal == nil, start.map({ $0 <= message.published }) ?? true,
                end.map({ message.published < $0 }) ?? true
            else { return false }
            return people.isEmpty || people.contains(message.author)
                || (role == .participant && !people.isDisjoint(with: log.participants(at: message.published)))
        }
    }

    package func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("people", people.sorted())
        json.member("role", role.rawValue)
        json.member("spaces", spaces.sorted())
        json.member("start", ifPresent: start?.iso8601)
        json.member("end", ifPresent: end?.iso8601)
        json.endObject()
    }

    package init?(_ node: JSONNode) {
        guard let people = node["people"]?.strings, let spaces = node["spaces"]?.strings,
            let role = node["role"]?.string.flatMap({ Role(rawValue: $0) })
        else { return nil }
        self.init(
            people: Set(people), role: role, spaces: Set(spaces),
            start: node["start"]?.string.flatMap { Timestamp(iso8601: $0) },
            end: node["end"]?.string.flatMap { Timestamp(iso8601: $0) })
    }
}
