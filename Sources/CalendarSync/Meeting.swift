package import CalendarTime
import Cryptography
import WireText

/// One meeting of one user: a single event, or one occurrence of a series.
///
/// A private one has times and nothing else. All texts are plain: whoever sends them seals them first.
package struct Meeting: Sendable, Hashable {
    package enum Status: String, Sendable { case confirmed, tentative, cancelled }
    package enum Sensitivity: String, Sendable { case normal, personal = "private", confidential }
    package enum Busy: String, Sendable { case free, tentative, busy, outOfOffice, elsewhere }

    package struct Participant: Sendable, Hashable {
        package enum Answer: String, Sendable { case needsAction, accepted, declined, tentative, delegated }
        package let address: CalendarAddress
        package let name: String?
        package let answer: Answer
        package let isRequired: Bool
        /// A room or another resource.
        package let isResource: Bool
    }

    /// What the server had when the meeting was read.
    package struct Revision: Sendable, Hashable {
        package let etag: String
        package let sequence: Int
        package let stamp: String?
    }

    package let id: String
    package let seriesID: String
    package let icalUID: String
    /// Of an occurrence: its place in the series, in UTC, or as a date or clock time for all-day and floating series.
    package let recurrenceID: String?
    package var revision: Revision
    package let userID: String
    package let start: Instant
    package let end: Instant
    package let startTimeZone: String?
    package let isAllDay: Bool
    package let isRecurring: Bool
    package let status: Status
    package let sensitivity: Sensitivity
    package let busy: Busy
    package let subject: String?
    package let location: String?
    /// Without the join details.
    package let notes: String?
    package let organizer: CalendarAddress?
    package let isOrganizer: Bool
    package let participants: [Participant]
    package let trigger: Trigger?
    /// What the space of the meeting belongs to: the series, or this occurrence when only it has the keyword.
    package let spaceKey: String
    /// Of the join details that stand in the calendar.
    package var writtenRevision: String?
    package var spaceID: String?

    package var durationMinutes: Int { (end.seconds - start.seconds + 59) / 60 }

    /// The same for the same user, UID and RECURRENCE-ID, and for nothing else.
    package static func id(user: String, uid: String, recurrenceID: String?) -> String {
        var octets: [UInt8] = []
        for text in [user, uid, recurrenceID ?? ""] { octets += Array("\(text.utf8.count):\(text)".utf8) }
        return Base64URL.encode(SHA256.hash(octets))
    }
}

/// Whose calendar it is.
package struct CalendarUser: Sendable {
    package let id: String
    package let addresses: Set<CalendarAddress>
    /// For floating and all-day times.
    package let zone: ZoneRules

    package init(id: String, addresses: [String], zone: ZoneRules) {
        self.id = id
        self.addresses = Set(addresses.map(CalendarAddress.init))
        self.zone = zone
    }
}

/// From a day before to a week after a point in time, unless configured otherwise.
package struct MeetingWindow: Sendable, Hashable {
    package let pastDays: Int
    package let futureDays: Int

    /// - Parameters: each at most 400 days.
    package init(pastDays: Int = 1, futureDays: Int = 7) {
        self.pastDays = min(max(0, pastDays), 400)
        self.futureDays = min(max(0, futureDays), 400)
    }

    package func range(at now: Instant) -> Range<Instant> {
        now.advanced(by: -pastDays * 86_400)..<now.advanced(by: futureDays * 86_400)
    }
}
