import CalendarTime
import Diagnostics
import ICalendar

/// Fields as a VEVENT; what `EventReader` reads out of it are the same fields.
enum EventWriter {
    static let systemParameter = "X-CALENDAR-SYSTEM"

    static func octets(
        of fields: EventFields, uid: String, at place: CalendarMoment?
    ) throws(DiagnosedError) -> [UInt8] {
        var lines: [UInt8] = []
        func add(_ name: String, _ parameters: [ContentLine.Parameter] = [], _ value: String) throws(DiagnosedError) {
            lines += try ContentLine(name, parameters.map(clean), value: clean(value)).octets
        }
        func text(_ name: String, _ value: String) throws(DiagnosedError) {
            if !value.isEmpty { try add(name, CalendarText.escape(value)) }
        }
        func moment(_ name: String, _ moment: CalendarMoment) throws(DiagnosedError) {
            let (parameters, value) = moment.written
            try add(name, parameters, value)
        }
        func add(_ name: String, _ value: String) throws(DiagnosedError) { try add(name, [], value) }
        try add("BEGIN", "VEVENT")
        try add("UID", CalendarText.escape(uid))
        if let place { try moment("RECURRENCE-ID", place) }
        for stamp in fields.stamps { lines += ContentLine.folded(Array(stamp.utf8)) }
        try moment("DTSTART", fields.start)
        try moment("DTEND", fields.end)
        try text("SUMMARY", fields.summary)
        try text("DESCRIPTION", fields.description)
        try text("LOCATION", fields.location)
        for rule in fields.rules { try add("RRULE", rule) }
        for date in fields.addedDates { try moment("RDATE", date) }
        for date in fields.removedDates { try moment("EXDATE", date) }
        if fields.isCancelled {
            try add("STATUS", "CANCELLED")
        } else if fields.isTentative {
            try add("STATUS", "TENTATIVE")
        }
        try add("TRANSP", fields.busy == .free ? "TRANSPARENT" : "OPAQUE")
        try add("X-MICROSOFT-CDO-BUSYSTATUS", fields.busy.rawValue)
        if fields.sensitivity != .public { try add("CLASS", fields.sensitivity.rawValue) }
        switch fields.importance {
        case .high: try add("PRIORITY", "1")
        case .low: try add("PRIORITY", "9")
        case .normal: break
        }
        if !fields.categories.isEmpty {
            try add("CATEGORIES", fields.categories.map(CalendarText.escape).joined(separator: ","))
        }
        if let organizer = fields.organizer {
            try add("ORGANIZER", name(organizer), "mailto:" + organizer.address)
        }
        for attendee in fields.attendees {
            try add(
                "ATTENDEE",
                name(attendee.person) + [
                    .init("CUTYPE", [attendee.kind.rawValue]), .init("ROLE", [attendee.role.rawValue]),
                    .init("PARTSTAT", [attendee.answer.rawValue]), .init("RSVP", ["TRUE"]),
                ], "mailto:" + attendee.person.address)
        }
        for conference in fields.conferences {
            try add("CONFERENCE", [.init("VALUE", ["URI"]), .init(systemParameter, ["TRUE"])], conference)
        }
        for line in fields.rest { lines += ContentLine.folded(Array(line.utf8)) }
        if let reminder = fields.reminder {
            try add("BEGIN", "VALARM")
            try add("ACTION", "DISPLAY")
            try add("DESCRIPTION", "Reminder")
            try add("TRIGGER", "-PT\(reminder)M")
            try add("END", "VALARM")
        }
        try add("END", "VEVENT")
        return lines
    }

    private static func name(_ person: EventFields.Person) -> [ContentLine.Parameter] {
        person.name.flatMap { $0.isEmpty ? nil : [.init("CN", [$0])] } ?? []
    }

    /// What a service has in its texts and a content line can not hold.
    private static func clean(_ value: String) -> String {
        String(
            String.UnicodeScalarView(value.unicodeScalars.filter { $0.value >= 32 && $0.value != 127 || $0 == "\t" }))
    }

    private static func clean(_ parameter: ContentLine.Parameter) -> ContentLine.Parameter {
        ContentLine.Parameter(parameter.name, parameter.values.map(clean))
    }
}
