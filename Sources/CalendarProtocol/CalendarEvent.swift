package import WireText

/// What a connector tells the core, in calls to `calendar://core`.
package enum CalendarEvent: Sendable, Hashable {
    package enum Removal: String, Sendable {
        case cancelled, declined, removed
        case leftWindow = "left-window"
    }

    package enum UserState: String, Sendable {
        /// Meetings are up to date.
        case ok
        /// Not yet read whole.
        case pending
        /// Somebody has to do something; the code says what.
        case error
        /// The connector looks after this user no longer.
        case off
    }

    case created(MeetingRecord)
    case updated(MeetingRecord)
    case deleted(userID: String, meetingID: String, revision: Int64, Removal)
    /// Nil: no absence any more.
    case absence(userID: String, Absence?)
    /// A meeting begins soon. It is for now: who hears of it late forgets it.
    case reminder(userID: String, meetingID: String, start: Timestamp)
    case status(userID: String, UserState, code: String?, since: Timestamp, keyURI: String?)

    package struct Absence: Sendable, Hashable {
        package let from: Timestamp
        package let to: Timestamp

        package init(from: Timestamp, to: Timestamp) {
            self.from = from
            self.to = to
        }
    }

    /// The name of the core's service for calendars, to which connectors call.
    package static let destination = "calendar://core"
    /// The most octets of a call.
    package static let mostOctets = 256 << 10

    /// One object, as it stands in `events` of a call.
    package func encoded() -> String {
        var json = JSONWriter(reserving: 2048)
        write(to: &json)
        return json.text()
    }

    package func write(to json: inout JSONWriter) {
        json.beginObject()
        switch self {
        case .created(let meeting):
            json.member("type", "calendar.meeting.created")
            json.name("meeting")
            meeting.write(to: &json)
        case .updated(let meeting):
            json.member("type", "calendar.meeting.updated")
            json.name("meeting")
            meeting.write(to: &json)
        case .deleted(let user, let meeting, let revision, let reason):
            json.member("type", "calendar.meeting.deleted")
            json.member("userId", user)
            json.member("meetingId", meeting)
            json.member("revision", revision)
            json.member("reason", reason.rawValue)
        case .absence(let user, let absence):
            json.member("type", "presence.outOfOffice")
            json.member("userId", user)
            json.name("from")
            if let absence { json.value(absence.from.iso8601) } else { json.null() }
            json.name("to")
            if let absence { json.value(absence.to.iso8601) } else { json.null() }
        case .reminder(let user, let meeting, let start):
            json.member("type", "calendar.reminder")
            json.member("userId", user)
            json.member("meetingId", meeting)
            json.member("start", start.iso8601)
        case .status(let user, let state, let code, let since, let key):
            json.member("type", "connector.user.status")
            json.member("userId", user)
            json.member("state", state.rawValue)
            json.member("code", ifPresent: code)
            json.member("since", since.iso8601)
            json.member("calendarKeyUrl", ifPresent: key)
        }
        json.endObject()
    }

    /// The octets of a call with events that were encoded before.
    package static func call(_ events: [String]) -> [UInt8] {
        var json = JSONWriter(reserving: 64 + events.reduce(0) { $0 + $1.utf8.count + 1 })
        json.beginObject()
        json.name("events")
        json.beginArray()
        for event in events { json.raw(event) }
        json.endArray()
        json.endObject()
        return json.bytes()
    }
}
