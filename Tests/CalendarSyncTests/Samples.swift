import CalendarSync
import CalendarTime
import ICalendar
import Testing

/// Objects, users and readers of the tests.
enum Samples {
    static let berlin = ZoneCatalogue.system.rules(named: "Europe/Berlin") ?? .utc
    static let alice = CalendarUser(id: "alice", addresses: ["alice@example.org"], zone: berlin)
    static let keywords = Keywords(videoHosts: ["meet.example.com"])
    static let reader = MeetingReader(user: alice, keywords: keywords, zones: .system)
    static let merge = JoinMerge(user: alice, keywords: keywords, zones: .system)

    static func text(_ events: [String]..., end: String = "\r\n") -> String {
        let lines = events.flatMap { ["BEGIN:VEVENT"] + $0 + ["END:VEVENT"] }
        return (["BEGIN:VCALENDAR", "VERSION:2.0"] + lines + ["END:VCALENDAR"]).map { $0 + end }.joined()
    }

    static func document(_ text: String) throws -> CalendarDocument { try CalendarDocument(parsing: Array(text.utf8)) }

    static func instant(_ text: String) throws -> Instant {
        Instant(seconds: try CalendarMoment(parsing: text).local.seconds)
    }

    static func window(_ low: String = "20260101", _ high: String = "20260201") throws -> Range<Instant> {
        try instant(low)..<instant(high)
    }

    static func meetings(_ text: String, _ window: Range<Instant>? = nil) throws -> MeetingReader.Reading {
        try reader.meetings(in: document(text), etag: "\"1\"", window: window ?? self.window())
    }

    static let single = [
        "UID:one@example.org", "DTSTAMP:20260101T000000Z", "SUMMARY:Plan", "LOCATION:Room 4; @meet:space",
        "DTSTART;TZID=Europe/Berlin:20260105T090000", "DTEND;TZID=Europe/Berlin:20260105T100000",
        "ORGANIZER:mailto:alice@example.org", "ATTENDEE;PARTSTAT=ACCEPTED:mailto:alice@example.org",
        "ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:bob@example.org",
    ]

    static let series =
        single.map { $0.hasPrefix("LOCATION") ? "LOCATION:Room 4" : $0 } + [
            "RRULE:FREQ=WEEKLY", "X-KEEP:me", "BEGIN:VALARM", "TRIGGER:-PT5M", "DESCRIPTION:alarm", "END:VALARM",
        ]

    static func edit(
        _ url: String = "https://join.example/1", recurrenceID: String? = nil, revision: String = "r1",
        isThere: Bool = true, uid: String = "one@example.org"
    ) -> JoinEdit {
        JoinEdit(
            uid: uid, recurrenceID: recurrenceID,
            meetingID: Meeting.id(user: "alice", uid: uid, recurrenceID: recurrenceID),
            details: isThere ? JoinDetails(url: url, pin: "1234") : nil, template: JoinTemplate(languages: ["en"]),
            revision: revision)
    }
}
