package import Diagnostics
import WireText

extension CalendarCommand {
    private static let limits = JSONDocument.Limits(maximumDepth: 8, maximumNodes: 20_000, maximumBytes: 96 << 10)

    /// The text that is sealed.
    package func encoded() -> String {
        var json = JSONWriter(reserving: 1024)
        json.beginObject()
        json.member("action", action.name)
        json.member("id", id)
        json.member("issued", issued.iso8601)
        json.member("userId", userID)
        switch action {
        case .putJoinDetails(let meeting, let revision, let join):
            json.member("meetingId", meeting)
            json.member("revision", revision)
            json.name("join")
            join.write(to: &json)
        case .createEvent(let event):
            json.name("event")
            event.write(to: &json)
        case .updateEvent(let meeting, let revision, let event):
            json.member("meetingId", meeting)
            json.member("revision", revision)
            json.name("event")
            event.write(to: &json)
        case .deleteEvent(let meeting, let revision):
            json.member("meetingId", meeting)
            json.member("revision", revision)
        case .freeBusy(let from, let to, let emails):
            json.member("from", from.iso8601)
            json.member("to", to.iso8601)
            json.member("emails", emails)
        case .list(let from, let to):
            json.member("from", from.iso8601)
            json.member("to", to.iso8601)
        }
        json.endObject()
        return json.text()
    }

    /// - Throws: `calendar-wire`, naming the member that has not its form; of no text of it.
    package init(parsing text: String) throws(DiagnosedError) {
        guard let root = try? JSONDocument(text: text, limits: Self.limits).root else {
            throw .command("a JSON object")
        }
        guard let id = root["id"]?.string, UUIDText.isValid(id) else { throw .command("id: a UUID") }
        guard let issued = root["issued"]?.string.flatMap({ Timestamp(iso8601: $0) }) else {
            throw .command("issued: a time")
        }
        guard let user = root["userId"]?.string, !user.isEmpty else { throw .command("userId") }
        self.init(id: id, issued: issued, userID: user, try Self.action(of: root))
    }

    private static func action(of root: JSONNode) throws(DiagnosedError) -> Action {
        switch root["action"]?.string {
        case "joinDetails.put":
            guard let join = root["join"] else { throw .command("join") }
            return .putJoinDetails(meetingID: try meeting(root), revision: try revision(root), try Join(from: join))
        case "event.create": return .createEvent(try event(root))
        case "event.update":
            return .updateEvent(meetingID: try meeting(root), revision: try revision(root), try event(root))
        case "event.delete": return .deleteEvent(meetingID: try meeting(root), revision: try revision(root))
        case "freebusy":
            guard let emails = root["emails"]?.strings, (1...mostEmails).contains(emails.count) else {
                throw .command("emails: 1 to \(mostEmails)")
            }
            let (from, to) = try window(root)
            return .freeBusy(from: from, to: to, emails: emails)
        case "list":
            let (from, to) = try window(root)
            return .list(from: from, to: to)
        default:
            throw .command("action: joinDetails.put, event.create, event.update, event.delete, freebusy or list")
        }
    }

    private static func meeting(_ root: JSONNode) throws(DiagnosedError) -> String {
        guard let id = root["meetingId"]?.string, (1...128).contains(id.utf8.count) else { throw .command("meetingId") }
        return id
    }

    private static func revision(_ root: JSONNode) throws(DiagnosedError) -> Int64 {
        guard let revision = root["revision"]?.integer, revision >= 0 else { throw .command("revision") }
        return revision
    }

    private static func window(_ root: JSONNode) throws(DiagnosedError) -> (Timestamp, Timestamp) {
        guard let from = root["from"]?.string.flatMap({ Timestamp(iso8601: $0) }),
            let to = root["to"]?.string.flatMap({ Timestamp(iso8601: $0) }), from < to,
            to.milliseconds - from.milliseconds <= 62 * 86_400_000
        else { throw .command("from and to: times, at most 62 days apart") }
        return (from, to)
    }

    private static func event(_ root: JSONNode) throws(DiagnosedError) -> Event {
        guard let node = root["event"], node.kind == .object else { throw .command("event") }
        var event = Event(
            subject: node["subject"]?.string, location: node["location"]?.string, notes: node["notes"]?.string,
            timeZone: node["timeZone"]?.string)
        for (name, path) in [("start", \Event.start), ("end", \Event.end)] {
            guard let value = node[name] else { continue }
            guard let time = value.string.flatMap({ Timestamp(iso8601: $0) }) else { throw .command("\(name): a time") }
            event[keyPath: path] = time
        }
        if let list = node["attendees"] {
            guard let people = list.elements, people.count <= mostAttendees else {
                throw .command("attendees: at most \(mostAttendees)")
            }
            var attendees: [Attendee] = []
            for person in people {
                guard let email = person["email"]?.string else { throw .command("attendees: each with an email") }
                attendees.append(Attendee(email: email, name: person["name"]?.string))
            }
            event.attendees = attendees
        }
        return event
    }
}

extension CalendarCommand.Join {
    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("url", url)
        json.member("sip", ifPresent: sip)
        json.member("phone", ifPresent: phone)
        json.member("pin", ifPresent: pin)
        json.member("spaceTitle", ifPresent: spaceTitle)
        json.member("spaceId", ifPresent: spaceID)
        json.endObject()
    }

    init(from node: JSONNode) throws(DiagnosedError) {
        guard let url = node["url"]?.string, !url.isEmpty else { throw .command("join.url") }
        self.init(
            url: url, sip: node["sip"]?.string, phone: node["phone"]?.string, pin: node["pin"]?.string,
            spaceTitle: node["spaceTitle"]?.string, spaceID: node["spaceId"]?.string)
    }
}

extension CalendarCommand.Event {
    func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("subject", ifPresent: subject)
        json.member("location", ifPresent: location)
        json.member("notes", ifPresent: notes)
        json.member("start", ifPresent: start?.iso8601)
        json.member("end", ifPresent: end?.iso8601)
        json.member("timeZone", ifPresent: timeZone)
        if let attendees {
            json.name("attendees")
            json.beginArray()
            for attendee in attendees {
                json.beginObject()
                json.member("email", attendee.email)
                json.member("name", ifPresent: attendee.name)
                json.endObject()
            }
            json.endArray()
        }
        json.endObject()
    }
}

extension DiagnosedError {
    static func command(_ expected: String) -> DiagnosedError {
        DiagnosedError(
            .calendarWire, fault: .client, "the calendar command has not its form", expected: expected)
    }
}
