import ICalendar
import WireText

/// What `MemoryCalendarBackend` reads out of objects: UID and times that need no zone and no recurrence.
enum PlainTimes {
    /// Nil: it is no object with a UID.
    static func uid(of octets: [UInt8]) -> String? {
        guard let document = try? CalendarDocument(parsing: octets) else { return nil }
        return scheduled(document).lazy.compactMap { document.property("UID", of: $0)?.value }.first
    }

    /// Whether an instance may be in that time; true where only zones and rules could say no.
    static func mayTouch(_ time: CalendarInterval, _ octets: [UInt8]) -> Bool {
        guard let document = try? CalendarDocument(parsing: octets) else { return false }
        return scheduled(document).contains { component in
            guard let (span, isExact) = span(of: component, document) else { return false }
            let isSeries = ["RRULE", "RDATE"].contains { document.property($0, of: component) != nil }
            let margin: Int64 = isExact ? 0 : 14 * 3600
            let start = span.start.adding(seconds: -margin)
            return start < time.end && (isSeries || time.start < span.end.adding(seconds: margin))
        }
    }

    static func busy(_ octets: [UInt8]) -> [BusyPeriod] {
        guard let document = try? CalendarDocument(parsing: octets) else { return [] }
        return scheduled(document).compactMap { component in
            let says = { (name: String) in document.property(name, of: component)?.value.uppercased() }
            guard component.name == "VEVENT", says("TRANSP") != "TRANSPARENT", says("STATUS") != "CANCELLED",
                let (span, _) = span(of: component, document)
            else { return nil }
            return BusyPeriod(span, says("STATUS") == "TENTATIVE" ? .tentative : .busy)
        }
    }

    private static func scheduled(_ document: CalendarDocument) -> [CalendarDocument.Component] {
        document.components.filter { $0.parent == 0 && $0.name != "VTIMEZONE" }
    }

    private static func span(
        of component: CalendarDocument.Component, _ document: CalendarDocument
    ) -> (CalendarInterval, isExact: Bool)? {
        guard let start = document.property("DTSTART", of: component).flatMap({ moment($0.value) }) else { return nil }
        let end = document.property("DTEND", of: component).flatMap { moment($0.value) }
        // Without an end: the day, or a moment that still has to be found.
        let last = end?.0 ?? start.0.adding(seconds: start.isDate ? 86_400 : 1)
        return CalendarInterval(from: start.0, until: max(last, start.0.adding(seconds: 1)))
            .map { ($0, start.isExact) }
    }

    private static func moment(_ value: String) -> (Timestamp, isExact: Bool, isDate: Bool)? {
        if let utc = Timestamp(calendarUTC: value) { return (utc, true, false) }
        if let local = Timestamp(calendarUTC: value + "Z") { return (local, false, false) }
        return Timestamp(calendarUTC: value + "T000000Z").map { ($0, false, true) }
    }
}
