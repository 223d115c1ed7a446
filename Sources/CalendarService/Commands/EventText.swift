import CalendarProtocol
import CalendarTime
import Diagnostics
import ICalendar
import WireText

/// Events that the connector makes and changes on a user's command.
struct EventText {
    private let now: Timestamp
    private let organizer: ConnectedUser

    init(_ now: Timestamp, organizer: ConnectedUser) {
        self.now = now
        self.organizer = organizer
    }

    private static let mostText = 64 << 10

    /// A whole object.
    func new(_ event: CalendarCommand.Event, uid: String) throws(DiagnosedError) -> [UInt8] {
        guard event.subject?.isEmpty == false, event.start != nil, event.end != nil else {
            throw Self.malformed("subject, start and end")
        }
        // Lines go in by the editor, which folds and refuses control characters.
        let frame = [
            "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//hds//calendar connector//EN", "BEGIN:VEVENT", "UID:\(uid)",
            "END:VEVENT", "END:VCALENDAR",
        ]
        var document = try CalendarDocument(parsing: Array(frame.map { $0 + "\r\n" }.joined().utf8))
        _ = try edit(&document, uid: uid, event)
        return document.octets
    }

    /// Changes what the command names, and nothing else. False when nothing differs.
    func edit(
        _ document: inout CalendarDocument, uid: String, _ event: CalendarCommand.Event
    ) throws(DiagnosedError) -> Bool {
        let found = document.components.filter {
            $0.name == "VEVENT" && document.property("UID", of: $0)?.value == uid
        }
        guard let target = found.first, found.count == 1 else { throw Self.malformed("one event of this UID") }
        return try edit(&document, target, event)
    }

    /// The same for one of several events, such as an occurrence of a series.
    func edit(
        _ document: inout CalendarDocument, _ target: CalendarDocument.Component, _ event: CalendarCommand.Event
    ) throws(DiagnosedError) -> Bool {
        // The ordinal stays the same: nothing is added but lines.
        let before = document.octets
        if let text = event.subject { try put(text, into: "SUMMARY", of: target, &document) }
        if let text = event.location { try put(text, into: "LOCATION", of: target, &document) }
        if let text = event.notes { try put(notes: text, of: target, &document) }
        for (name, time) in [("DTSTART", event.start), ("DTEND", event.end)] {
            guard let time else { continue }
            try document.put(name, value: Self.utc(time), in: target)
        }
        if event.end != nil { document.remove("DURATION", from: target) }
        if let attendees = event.attendees { try invite(attendees, to: target, &document) }
        if let start = document.property("DTSTART", of: target)?.value,
            let end = document.property("DTEND", of: target)?.value, start.hasSuffix("Z"), end.hasSuffix("Z"),
            end <= start
        {
            throw Self.malformed("an end behind the start")
        }
        guard document.octets != before else { return false }
        let sequence = document.property("SEQUENCE", of: target).flatMap { Int($0.value) }
        try document.put("SEQUENCE", value: "\(sequence.map { $0 + 1 } ?? 0)", in: target)
        try document.put("DTSTAMP", value: Self.utc(now), in: target)
        return true
    }

    private func put(
        _ text: String, into name: String, of target: CalendarDocument.Component, _ document: inout CalendarDocument
    ) throws(DiagnosedError) {
        guard text.utf8.count <= Self.mostText else { throw Self.malformed("texts of at most \(Self.mostText) octets") }
        // Of the parameters that stand there (a language) none counts for another text.
        try document.put(name, value: CalendarText.escape(text), in: target)
    }

    /// The connector's join details stay behind the user's new text.
    private func put(
        notes: String, of target: CalendarDocument.Component, _ document: inout CalendarDocument
    ) throws(DiagnosedError) {
        guard notes.utf8.count <= Self.mostText else {
            throw Self.malformed("texts of at most \(Self.mostText) octets")
        }
        var value = CalendarText.escape(notes)
        if let own = document.property("DESCRIPTION", of: target)?.value {
            let bare = try JoinNotes.put(nil, into: own)
            if own.hasPrefix(bare) { value += own.dropFirst(bare.count) }
        }
        try document.put("DESCRIPTION", value: value, in: target)
    }

    /// Those who are invited already keep their answers.
    private func invite(
        _ attendees: [CalendarCommand.Attendee], to target: CalendarDocument.Component,
        _ document: inout CalendarDocument
    ) throws(DiagnosedError) {
        guard attendees.count <= CalendarCommand.mostAttendees else {
            throw Self.malformed("at most \(CalendarCommand.mostAttendees) attendees")
        }
        let wanted = Dictionary(
            attendees.map { ("mailto:\($0.email)".lowercased(), $0) }, uniquingKeysWith: { first, _ in first })
        let own = Set(organizer.addresses.map { "mailto:\($0)".lowercased() })
        document.remove("ATTENDEE", from: target) { line in
            wanted[line.value.lowercased()] == nil && !own.contains(line.value.lowercased())
        }
        let there = Set(document.properties(of: target).filter { $0.name == "ATTENDEE" }.map { $0.value.lowercased() })
        if document.property("ORGANIZER", of: target) == nil, !attendees.isEmpty {
            try document.put("ORGANIZER", value: "mailto:\(organizer.address)", in: target)
        }
        for attendee in attendees where !there.contains("mailto:\(attendee.email)".lowercased()) {
            guard attendee.email.contains("@"), attendee.email.utf8.count <= 320,
                !attendee.email.contains(where: \.isWhitespace)
            else { throw Self.malformed("attendees with mail addresses") }
            var parameters: [ContentLine.Parameter] = [
                .init("ROLE", ["REQ-PARTICIPANT"]), .init("PARTSTAT", ["NEEDS-ACTION"]), .init("RSVP", ["TRUE"]),
            ]
            if let name = attendee.name { parameters.insert(.init("CN", [name]), at: 0) }
            try document.put(
                "ATTENDEE", parameters, value: "mailto:\(attendee.email)", in: target, replacing: { _ in false })
        }
    }

    /// Times are written in UTC, which needs no VTIMEZONE.
    private static func utc(_ time: Timestamp) -> String {
        CalendarMoment.utc(ZoneRules.utc.local(of: Instant(seconds: Int(time.seconds)))).written.value
    }

    private static func malformed(_ expected: String) -> DiagnosedError {
        DiagnosedError(.calendarWire, fault: .client, "the event can not be written", expected: expected)
    }
}
