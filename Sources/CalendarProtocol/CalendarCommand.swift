package import WireText

/// What a user asks of the connector through the core. It is only ever sealed: under the user's calendar key, or the key of
/// the meeting's series; so the core can neither read nor make one (security model, rule 33).
package struct CalendarCommand: Sendable, Hashable {
    /// How to join; hosts are held against the connector's list.
    package struct Join: Sendable, Hashable {
        package var url: String
        package var sip: String?
        package var phone: String?
        package var pin: String?
        package var spaceTitle: String?
        package var spaceID: String?

        package init(
            url: String, sip: String? = nil, phone: String? = nil, pin: String? = nil, spaceTitle: String? = nil,
            spaceID: String? = nil
        ) {
            self.url = url
            self.sip = sip
            self.phone = phone
            self.pin = pin
            self.spaceTitle = spaceTitle
            self.spaceID = spaceID
        }

        /// Digits and what stands among them: no text, and no address.
        package static func isPhone(_ text: String) -> Bool {
            text.utf8.count <= 64 && text.utf8.allSatisfy { "0123456789+()-. ,#*".utf8.contains($0) }
        }

        package static func isPIN(_ text: String) -> Bool {
            text.utf8.count <= 32 && text.utf8.allSatisfy { "0123456789#*".utf8.contains($0) }
        }
    }

    package struct Attendee: Sendable, Hashable {
        package let email: String
        package let name: String?

        package init(email: String, name: String? = nil) {
            self.email = email
            self.name = name
        }
    }

    /// In an update only what changes is there.
    package struct Event: Sendable, Hashable {
        package var subject: String?
        package var location: String?
        package var notes: String?
        package var start: Timestamp?
        package var end: Timestamp?
        /// IANA name in which the times are written.
        package var timeZone: String?
        package var attendees: [Attendee]?

        package init(
            subject: String? = nil, location: String? = nil, notes: String? = nil, start: Timestamp? = nil,
            end: Timestamp? = nil, timeZone: String? = nil, attendees: [Attendee]? = nil
        ) {
            self.subject = subject
            self.location = location
            self.notes = notes
            self.start = start
            self.end = end
            self.timeZone = timeZone
            self.attendees = attendees
        }
    }

    package enum Action: Sendable, Hashable {
        /// Writes join details into the calendar.
        case putJoinDetails(meetingID: String, revision: Int64, Join)
        case createEvent(Event)
        case updateEvent(meetingID: String, revision: Int64, Event)
        case deleteEvent(meetingID: String, revision: Int64)
        case freeBusy(from: Timestamp, to: Timestamp, emails: [String])
        case list(from: Timestamp, to: Timestamp)

        package var name: String {
            switch self {
            case .putJoinDetails: "joinDetails.put"
            case .createEvent: "event.create"
            case .updateEvent: "event.update"
            case .deleteEvent: "event.delete"
            case .freeBusy: "freebusy"
            case .list: "list"
            }
        }
    }

    /// A UUID: each command is taken once.
    package let id: String
    package let issued: Timestamp
    package let userID: String
    package let action: Action

    /// So far from the connector's clock a command may be, in seconds.
    package static let patience: Int64 = 300
    package static let mostAttendees = 500
    package static let mostEmails = 50

    package init(id: String, issued: Timestamp, userID: String, _ action: Action) {
        self.id = id
        self.issued = issued
        self.userID = userID
        self.action = action
    }
}
