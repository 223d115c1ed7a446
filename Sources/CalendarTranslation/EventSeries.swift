package import CalendarBackend
package import CalendarTime
import Diagnostics
import ICalendar

/// One calendar object: an event or a series, with the occurrences that differ from it.
package struct EventSeries: Sendable, Hashable {
    package var uid: String
    package var main: EventFields
    /// Where in its series the event stands, when it is one occurrence without its series: who is invited to one only
    /// has no more than that.
    package var place: CalendarMoment?
    /// By the time at which each would have started.
    package var exceptions: [CalendarMoment: EventFields] = [:]

    package init(uid: String, main: EventFields) {
        self.uid = uid
        self.main = main
    }

    package static let mostExceptions = 500

    // MARK: - Lines

    /// The object's text. What is given can be read again: a service's event that no text can hold, such as one in the
    /// year 0, is an error.
    package var octets: [UInt8] {
        get throws(CalendarError) {
            let refused: CalendarError
            do throws(DiagnosedError) {
                let text = try written()
                do throws(CalendarError) {
                    _ = try EventSeries(parsing: text)
                    return text
                } catch {
                    refused = .violation(
                        "an event of the calendar service can not be written as iCalendar",
                        found: error.diagnosis.found)
                }
            } catch {
                refused = .violation(
                    "an event of the calendar service can not be written as iCalendar", expected: error.expected,
                    found: error.found)
            }
            throw refused
        }
    }

    private func written() throws(DiagnosedError) -> [UInt8] {
        var lines: [UInt8] = []
        func add(_ name: String, _ value: String) throws(DiagnosedError) {
            lines += try ContentLine(name, value: value).octets
        }
        try add("BEGIN", "VCALENDAR")
        try add("VERSION", "2.0")
        try add("PRODID", "-//hybrid-data-security//calendar//EN")
        lines += try EventWriter.octets(of: main, uid: uid, at: place)
        for (moment, fields) in exceptions.sorted(by: { $0.key.local < $1.key.local }) {
            lines += try EventWriter.octets(of: fields, uid: uid, at: moment)
        }
        try add("END", "VCALENDAR")
        return lines
    }

    /// - Throws: `objectRefused`.
    package init(parsing octets: [UInt8]) throws(CalendarError) {
        do throws(DiagnosedError) {
            let document = try CalendarDocument(parsing: octets)
            let events = document.components.filter { $0.parent == 0 && $0.name == "VEVENT" }
            guard !events.isEmpty else { throw .malformedEvent("a VEVENT") }
            guard events.count <= Self.mostExceptions + 1 else {
                throw .malformedEvent("at most \(Self.mostExceptions) exceptions of a series")
            }
            var main: EventFields?
            var uid: String?
            var exceptions: [CalendarMoment: EventFields] = [:]
            for event in events {
                let properties = document.properties(of: event)
                guard let own = properties.first(where: { $0.name == "UID" })?.value, !own.isEmpty, uid ?? own == own
                else { throw .malformedEvent("one UID in all events of an object") }
                uid = own
                let fields = try EventReader.fields(of: event, in: document)
                if let line = properties.first(where: { $0.name == "RECURRENCE-ID" }) {
                    exceptions[try CalendarMoment(line)] = fields
                } else {
                    guard main == nil else { throw .malformedEvent("one event without RECURRENCE-ID") }
                    main = fields
                }
            }
            var place: CalendarMoment?
            if main == nil, exceptions.count == 1, let (moment, fields) = exceptions.first {
                (place, main, exceptions) = (moment, fields, [:])
            }
            guard let main, let uid else { throw .malformedEvent("an event without RECURRENCE-ID") }
            self.init(uid: CalendarText.unescape(uid), main: main)
            self.exceptions = exceptions
            self.place = place
        } catch {
            throw .objectRefused("\(error.code): \(error.expected ?? error.summary)")
        }
    }

    /// The same moment in one form, so that a RECURRENCE-ID in UTC is that of the series' zone.
    /// - Throws: `objectRefused` for a zone that nobody knows.
    package static func place(_ moment: CalendarMoment, zones: ZoneCatalogue = .system) throws(CalendarError) -> Int {
        guard case .zoned(let local, let zone) = moment else { return moment.local.seconds }
        guard let rules = zones.rules(named: zone) else { throw .objectRefused("a time zone that is not known") }
        return rules.instant(of: local).seconds
    }

    /// An occurrence as it is before anybody has changed it.
    package func occurrence(at moment: CalendarMoment, zones: ZoneCatalogue = .system) throws(CalendarError)
        -> EventFields
    {
        var fields = main
        (fields.rules, fields.addedDates, fields.removedDates) = ([], [], [])
        let shift = main.end.local.seconds - main.start.local.seconds
        fields.start = try Self.moment(moment, inZoneOf: main.start, zones: zones)
        fields.end = fields.start.at(LocalTime(seconds: fields.start.local.seconds + shift))
        return fields
    }

    /// A moment as the zone of another has it.
    package static func moment(
        _ moment: CalendarMoment, inZoneOf other: CalendarMoment, zones: ZoneCatalogue = .system
    ) throws(CalendarError) -> CalendarMoment {
        guard case .zoned(_, let zone) = other, case .utc(let local) = moment else { return moment }
        guard let rules = zones.rules(named: zone) else { throw .objectRefused("a time zone that is not known") }
        return .zoned(rules.local(of: Instant(seconds: local.seconds)), zone: zone)
    }
}

extension DiagnosedError {
    static func malformedEvent(_ expected: String) -> DiagnosedError {
        DiagnosedError(.calendarObjectRefused, fault: .client, "not an event", expected: expected)
    }
}
