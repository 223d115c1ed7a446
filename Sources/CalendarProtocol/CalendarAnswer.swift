package import Diagnostics
package import WireText

/// What the connector answers to a command, sealed under the command's own key.
package struct CalendarAnswer: Sendable, Hashable {
    package enum Outcome: String, Sendable {
        /// It stands in the calendar now.
        case written
        /// It stood there already.
        case unchanged
        /// The meeting is another by now: read it again.
        case conflict
        /// It is not done, and the same command again will not be either.
        case refused
        case ok
    }

    package struct BusySpan: Sendable, Hashable {
        package let from: Timestamp
        package let to: Timestamp
        /// `busy`, `tentative` or `unavailable`.
        package let kind: String

        package init(from: Timestamp, to: Timestamp, kind: String) {
            self.from = from
            self.to = to
            self.kind = kind
        }
    }

    /// Nil spans: nothing is known of this address.
    package struct Person: Sendable, Hashable {
        package let email: String
        package let spans: [BusySpan]?

        package init(email: String, spans: [BusySpan]?) {
            self.email = email
            self.spans = spans
        }
    }

    package struct Entry: Sendable, Hashable {
        package let id: String
        package let revision: Int64
        package let start: Timestamp
        package let durationMinutes: Int
        package let subject: String?
        package let location: String?
        package let joinURL: String?
        /// The conversation that join details named last: the connector's word, which the core can not change.
        package var spaceID: String?

        package init(
            id: String, revision: Int64, start: Timestamp, durationMinutes: Int, subject: String?, location: String?,
            joinURL: String?, spaceID: String? = nil
        ) {
            self.spaceID = spaceID
            self.id = id
            self.revision = revision
            self.start = start
            self.durationMinutes = durationMinutes
            self.subject = subject
            self.location = location
            self.joinURL = joinURL
        }
    }

    /// Of the command.
    package let id: String
    package let outcome: Outcome
    /// For people.
    package var reason: String?
    /// The revision that counts now.
    package var latest: Int64?
    package var meetingID: String?
    package var busy: [Person]?
    package var meetings: [Entry]?

    package init(
        to id: String, _ outcome: Outcome, reason: String? = nil, latest: Int64? = nil, meetingID: String? = nil,
        busy: [Person]? = nil, meetings: [Entry]? = nil
    ) {
        self.id = id
        self.outcome = outcome
        self.reason = reason
        self.latest = latest
        self.meetingID = meetingID
        self.busy = busy
        self.meetings = meetings
    }

    package func encoded() -> String {
        var json = JSONWriter(reserving: 1024)
        json.beginObject()
        json.member("id", id)
        json.member("outcome", outcome.rawValue)
        json.member("reason", ifPresent: reason)
        if let latest {
            json.name("latest")
            json.beginObject()
            json.member("revision", latest)
            json.endObject()
        }
        json.member("meetingId", ifPresent: meetingID)
        if let busy {
            json.name("busy")
            json.beginArray()
            for person in busy { Self.write(person, to: &json) }
            json.endArray()
        }
        if let meetings {
            json.name("meetings")
            json.beginArray()
            for entry in meetings { Self.write(entry, to: &json) }
            json.endArray()
        }
        json.endObject()
        return json.text()
    }

    private static func write(_ person: Person, to json: inout JSONWriter) {
        json.beginObject()
        json.member("email", person.email)
        if let spans = person.spans {
            json.name("spans")
            json.beginArray()
            for span in spans {
                json.beginObject()
                json.member("from", span.from.iso8601)
                json.member("to", span.to.iso8601)
                json.member("kind", span.kind)
                json.endObject()
            }
            json.endArray()
        }
        json.endObject()
    }

    private static func write(_ entry: Entry, to json: inout JSONWriter) {
        json.beginObject()
        json.member("id", entry.id)
        json.member("revision", entry.revision)
        json.member("start", entry.start.iso8601)
        json.member("durationMinutes", entry.durationMinutes)
        json.member("subject", ifPresent: entry.subject)
        json.member("location", ifPresent: entry.location)
        json.member("joinUrl", ifPresent: entry.joinURL)
        json.member("spaceId", ifPresent: entry.spaceID)
        json.endObject()
    }

    /// - Throws: `calendar-wire`, also when it answers another command.
    package init(parsing text: String, to command: String) throws(DiagnosedError) {
        func malformed(_ member: String) -> DiagnosedError {
            DiagnosedError(
                .calendarWire, fault: .peer, "the connector's answer has not its form", expected: "a member '\(member)'"
            )
        }
        let limits = JSONDocument.Limits(maximumNodes: 60_000)
        guard let root = try? JSONDocument(text: text, limits: limits).root, root["id"]?.string == command else {
            throw malformed("id")
        }
        guard let outcome = root["outcome"]?.string.flatMap(Outcome.init) else { throw malformed("outcome") }
        self.init(to: command, outcome, reason: root["reason"]?.string, meetingID: root["meetingId"]?.string)
        latest = root["latest"]?["revision"]?.integer
        if let list = root["busy"]?.elements {
            var people: [Person] = []
            for node in list {
                guard let person = Self.person(node) else { throw malformed("busy") }
                people.append(person)
            }
            busy = people
        }
        if let list = root["meetings"]?.elements {
            var entries: [Entry] = []
            for node in list {
                guard let entry = Self.entry(node) else { throw malformed("meetings") }
                entries.append(entry)
            }
            meetings = entries
        }
    }

    private static func person(_ node: JSONNode) -> Person? {
        guard let email = node["email"]?.string else { return nil }
        guard let list = node["spans"]?.elements else { return Person(email: email, spans: nil) }
        let spans = list.compactMap { span -> BusySpan? in
            guard let from = span["from"]?.string.flatMap({ Timestamp(iso8601: $0) }),
                let to = span["to"]?.string.flatMap({ Timestamp(iso8601: $0) }), let kind = span["kind"]?.string
            else { return nil }
            return BusySpan(from: from, to: to, kind: kind)
        }
        return spans.count == list.count ? Person(email: email, spans: spans) : nil
    }

    private static func entry(_ node: JSONNode) -> Entry? {
        guard let id = node["id"]?.string, let revision = node["revision"]?.integer,
            let start = node["start"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let minutes = node["durationMinutes"]?.integer
        else { return nil }
        return Entry(
            id: id, revision: revision, start: start, durationMinutes: Int(clamping: minutes),
            subject: node["subject"]?.string, location: node["location"]?.string, joinURL: node["joinUrl"]?.string,
            spaceID: node["spaceId"]?.string)
    }
}
