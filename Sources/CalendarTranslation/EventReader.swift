import CalendarTime
import Diagnostics
import ICalendar

/// A VEVENT as fields.
enum EventReader {
    /// Properties that are fields; all others are `rest`.
    static let known: Set<String> = [
        "UID", "RECURRENCE-ID", "DTSTAMP", "CREATED", "LAST-MODIFIED", "SEQUENCE", "DTSTART", "DTEND", "DURATION",
        "SUMMARY", "DESCRIPTION", "LOCATION", "RRULE", "RDATE", "EXDATE", "STATUS", "TRANSP",
        "X-MICROSOFT-CDO-BUSYSTATUS", "CLASS", "PRIORITY", "CATEGORIES", "ORGANIZER", "ATTENDEE",
    ]

    static func fields(
        of event: CalendarDocument.Component, in document: CalendarDocument
    ) throws(DiagnosedError) -> EventFields {
        let properties = document.properties(of: event)
        guard let line = properties.first(where: { $0.name == "DTSTART" }) else {
            throw .malformedEvent("a DTSTART")
        }
        let start = try CalendarMoment(line)
        var fields = EventFields(start: start, end: try end(properties, start))
        var transparency: String?
        var busy: String?
        for line in properties {
            let upper = line.value.uppercased()
            switch line.name {
            case "SUMMARY": fields.summary = CalendarText.unescape(line.value)
            case "DESCRIPTION": fields.description = CalendarText.unescape(line.value)
            case "LOCATION": fields.location = CalendarText.unescape(line.value)
            case "RRULE": fields.rules.append(line.value)
            case "RDATE": fields.addedDates += try dates(line)
            case "EXDATE": fields.removedDates += try dates(line)
            case "STATUS":
                fields.isCancelled = upper == "CANCELLED"
                fields.isTentative = upper == "TENTATIVE"
            case "TRANSP": transparency = upper
            case "X-MICROSOFT-CDO-BUSYSTATUS": busy = upper
            case "CLASS":
                // What nobody knows is private (RFC 5545, section 3.8.1.3).
                fields.sensitivity = EventFields.Sensitivity(rawValue: upper) ?? .private
            case "PRIORITY":
                let number = Int(line.value) ?? 0
                fields.importance = (1...4).contains(number) ? .high : (6...9).contains(number) ? .low : .normal
            case "CATEGORIES": fields.categories += texts(line.value)
            case "ORGANIZER": fields.organizer = person(line)
            case "ATTENDEE":
                guard fields.attendees.count < 5000 else { throw .malformedEvent("at most 5000 attendees") }
                if let attendee = attendee(line) { fields.attendees.append(attendee) }
            case "DTSTAMP", "CREATED", "LAST-MODIFIED", "SEQUENCE": fields.stamps.append(unfolded(line))
            case "CONFERENCE" where line.values(of: EventWriter.systemParameter).first?.uppercased() == "TRUE":
                fields.conferences.append(line.value)
            case let name where !known.contains(name): fields.rest.append(unfolded(line))
            default: break
            }
        }
        switch (busy.flatMap(EventFields.Busy.init), transparency) {
        case (.free?, "OPAQUE"): fields.busy = .busy
        case (let told?, "TRANSPARENT"): fields.busy = told == .elsewhere ? told : .free
        case (let told?, _): fields.busy = told
        case (nil, "TRANSPARENT"): fields.busy = .free
        case (nil, _): break
        }
        try readComponents(of: event, in: document, into: &fields)
        return fields
    }

    // MARK: - Parts

    private static func end(_ properties: [ContentLine], _ start: CalendarMoment) throws(DiagnosedError)
        -> CalendarMoment
    {
        if let line = properties.first(where: { $0.name == "DTEND" }) {
            let end = try CalendarMoment(line)
            guard end.isDate == start.isDate else { throw .malformedEvent("DTSTART and DTEND of the same type") }
            return end
        }
        guard let line = properties.first(where: { $0.name == "DURATION" }) else {
            return start.isDate ? start.at(LocalTime(seconds: start.local.seconds + 86_400)) : start
        }
        let length = try CalendarDuration(line.value)
        return start.at(LocalTime(seconds: start.local.seconds + length.days * 86_400 + length.seconds))
    }

    private static func dates(_ line: ContentLine) throws(DiagnosedError) -> [CalendarMoment] {
        var dates: [CalendarMoment] = []
        for part in line.value.split(separator: ",") {
            guard dates.count < 5000 else { throw .malformedEvent("at most 5000 dates in a line") }
            let parameters = line.parameters.filter { $0.name == "TZID" || $0.name == "VALUE" }
            let text = String(part.prefix { $0 != "/" })
            dates.append(try CalendarMoment(ContentLine(line.name, parameters, value: text)))
        }
        return dates
    }

    /// A list of TEXT values: a comma that is not escaped divides.
    private static func texts(_ value: String) -> [String] {
        var texts: [String] = []
        var current = ""
        var isEscaped = false
        for character in value {
            if character == ",", !isEscaped {
                texts.append(CalendarText.unescape(current))
                current = ""
            } else {
                current.append(character)
            }
            isEscaped = character == "\\" && !isEscaped
        }
        return (texts + [CalendarText.unescape(current)]).filter { !$0.isEmpty }
    }

    private static func person(_ line: ContentLine) -> EventFields.Person? {
        let value = line.value
        let address =
            value.lowercased().hasPrefix("mailto:")
            ? String(value.dropFirst(7)) : line.values(of: "EMAIL").first ?? value
        guard !address.isEmpty, address.utf8.count <= 1024 else { return nil }
        return EventFields.Person(address, name: line.values(of: "CN").first)
    }

    private static func attendee(_ line: ContentLine) -> EventFields.Attendee? {
        guard let person = person(line) else { return nil }
        let value = { (name: String) in line.values(of: name).first?.uppercased() ?? "" }
        return EventFields.Attendee(
            person, role: EventFields.Role(rawValue: value("ROLE")) ?? .required,
            kind: EventFields.Kind(rawValue: value("CUTYPE")) ?? .individual,
            answer: EventFields.Answer(rawValue: value("PARTSTAT")) ?? .none)
    }

    /// Alarms and whatever else stands in the event: one plain reminder is a field, the others are kept as lines.
    private static func readComponents(
        of event: CalendarDocument.Component, in document: CalendarDocument, into fields: inout EventFields
    ) throws(DiagnosedError) {
        for inner in document.components where inner.parent == event.ordinal {
            let properties = document.properties(of: inner)
            guard !document.components.contains(where: { $0.parent == inner.ordinal }) else {
                throw .malformedEvent("components at most 3 deep")
            }
            if inner.name == "VALARM", fields.reminder == nil, let minutes = minutes(properties) {
                fields.reminder = minutes
                continue
            }
            fields.rest.append("BEGIN:\(inner.name)")
            fields.rest += properties.map(unfolded)
            fields.rest.append("END:\(inner.name)")
        }
    }

    /// Of an alarm that says nothing but how long before the start it shows.
    private static func minutes(_ properties: [ContentLine]) -> Int? {
        guard properties.allSatisfy({ ["ACTION", "DESCRIPTION", "TRIGGER"].contains($0.name) }),
            properties.first(where: { $0.name == "ACTION" })?.value.uppercased() == "DISPLAY",
            let trigger = properties.first(where: { $0.name == "TRIGGER" }),
            trigger.values(of: "RELATED").first?.uppercased() != "END",
            let time = try? CalendarDuration(trigger.value)
        else { return nil }
        let seconds = -(time.days * 86_400 + time.seconds)
        return seconds >= 0 && seconds % 60 == 0 ? seconds / 60 : nil
    }

    private static func unfolded(_ line: ContentLine) -> String {
        String(decoding: ContentLine.unfolded(line.octets), as: UTF8.self)
    }
}
