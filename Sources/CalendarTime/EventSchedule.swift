package import Diagnostics
package import ICalendar

/// When an event takes place: its start and end in its zone, and its recurrence set (RFC 5545, section 3.8.5).
///
/// DTSTART is always the first of the set. An event with DTEND keeps its exact length, one with a DURATION of days keeps
/// its days on the clock. The length of a PERIOD in a RDATE is not followed: the event's own is taken.
package struct EventSchedule: Sendable {
    package struct Occurrence: Sendable, Hashable {
        /// On the clock of the event's zone.
        package let local: LocalTime
        package let start: Instant
        package let end: Instant
    }

    /// What lies in a window, in its order.
    package struct Occurrences: Sendable, Hashable {
        package var list: [Occurrence] = []
        /// There are more than the limit.
        package var isCut = false
    }

    /// Beyond it an event is refused; one more line of at most 5000 may still be read.
    private static let mostDates = 10_000

    private enum Length: Sendable { case exact(Int), clock(CalendarDuration) }

    package let start: CalendarMoment
    /// The event's zone: that of its TZID, UTC, or the user's for floating and all-day times.
    package let zone: ZoneRules
    private let length: Length
    private var rules: [RecurrenceRule] = []
    private var added: [Instant] = []
    private var removed: Set<Instant> = []
    private var removedDays: Set<CivilDate> = []
    private var removedLocals: Set<LocalTime> = []

    /// - Parameters:
    ///   - properties: of the event.
    ///   - document: in which its VTIMEZONE stands.
    ///   - userZone: for floating and all-day times.
    /// - Throws: `calendar-time-malformed`, `calendar-zone-unknown`, `calendar-rule-unsupported`.
    package init(
        _ properties: [ContentLine], in document: CalendarDocument, zones: ZoneCatalogue, userZone: ZoneRules
    ) throws(DiagnosedError) {
        var resolver = MomentResolver(document: document, zones: zones, userZone: userZone)
        try self.init(properties, &resolver)
    }

    /// - Parameter resolver: of the event's document; it looks each zone up once for all its events.
    package init(_ properties: [ContentLine], _ resolver: inout MomentResolver) throws(DiagnosedError) {
        func first(_ name: String) -> ContentLine? { properties.first { $0.name == name } }
        guard let line = first("DTSTART") else { throw .malformedTime("event", expected: "a DTSTART") }
        start = try CalendarMoment(line)
        zone = try resolver.rules(for: start)
        if let line = first("DTEND") {
            let end = try CalendarMoment(line)
            guard end.isDate == start.isDate else {
                throw .malformedTime("event", expected: "DTSTART and DTEND of the same type")
            }
            if case .date(let last) = end {
                length = .clock(CalendarDuration(days: last.number - start.local.date.number, seconds: 0))
            } else {
                length = .exact(try resolver.instant(of: end).seconds - zone.instant(of: start.local).seconds)
            }
        } else if let line = first("DURATION") {
            length = .clock(try CalendarDuration(line.value))
        } else {
            length = .clock(CalendarDuration(days: start.isDate ? 1 : 0, seconds: 0))
        }
        guard occurrence(at: start.local).end >= occurrence(at: start.local).start else {
            throw .malformedTime("event", expected: "an end that is not before the start")
        }
        for line in properties {
            guard added.count + removed.count + removedDays.count + removedLocals.count <= Self.mostDates else {
                throw .malformedTime("event", expected: "at most \(Self.mostDates) dates in RDATE and EXDATE")
            }
            switch line.name {
            case "RRULE":
                guard rules.count < 4 else { throw .unsupportedRule("at most 4 rules for an event") }
                rules.append(try RecurrenceRule(line.value))
            case "RDATE":
                for moment in try CalendarMoment.values(of: line) { added.append(try resolver.instant(of: moment)) }
            case "EXDATE":
                for moment in try CalendarMoment.values(of: line) {
                    switch moment {
                    case .date(let date): removedDays.insert(date)
                    case .floating(let local): removedLocals.insert(local)
                    default: removed.insert(try resolver.instant(of: moment))
                    }
                }
            case "EXRULE": throw .unsupportedRule("a series without EXRULE, which RFC 5545 took out")
            default: break
            }
        }
    }

    package var isAllDay: Bool { start.isDate }
    package var isRecurring: Bool { !rules.isEmpty || !added.isEmpty }

    /// The occurrence that starts at a time of the zone's clock.
    package func occurrence(at local: LocalTime) -> Occurrence {
        let begin = zone.instant(of: local)
        let end: Instant
        switch length {
        case .exact(let seconds): end = begin.advanced(by: seconds)
        case .clock(let duration):
            let day = zone.instant(of: LocalTime(seconds: local.seconds + duration.days * 86_400))
            end = day.advanced(by: duration.seconds)
        }
        return Occurrence(local: local, start: begin, end: end)
    }

    /// Those that touch the window, at most `limit`.
    /// - Throws: `calendar-rule-unsupported`.
    package func occurrences(in window: Range<Instant>, limit: Int) throws(DiagnosedError) -> Occurrences {
        let first = occurrence(at: start.local)
        // A day more on both sides: clocks of zones differ from UTC, and days are not all as long.
        let reach = first.end.seconds - first.start.seconds + 2 * 86_400
        let low = LocalTime(seconds: window.lowerBound.seconds - reach)
        let high = LocalTime(seconds: max(window.upperBound.seconds, window.lowerBound.seconds) + 2 * 86_400)
        var locals: Set<LocalTime> = [start.local]
        var isCut = false
        for rule in rules {
            let times = try rule.times(from: start.local, until: until(of: rule), in: low...high, limit: limit + 200)
            isCut = isCut || times.count == limit + 200
            locals.formUnion(times)
        }
        locals.formUnion(added.map(zone.local))
        var found = locals.sorted().map(occurrence).filter { occurrence in
            let touches = occurrence.end > window.lowerBound || occurrence.start >= window.lowerBound
            return touches && occurrence.start < window.upperBound && !isRemoved(occurrence)
        }
        if found.count > limit {
            found.removeLast(found.count - limit)
            isCut = true
        }
        return Occurrences(list: found, isCut: isCut)
    }

    /// Whether the series has an occurrence that starts then.
    package func contains(_ local: LocalTime) throws(DiagnosedError) -> Bool {
        let start = zone.instant(of: local)
        return try occurrences(in: start..<start.advanced(by: 1), limit: 10).list.contains { $0.local == local }
    }

    private func isRemoved(_ occurrence: Occurrence) -> Bool {
        removed.contains(occurrence.start) || removedDays.contains(occurrence.local.date)
            || removedLocals.contains(occurrence.local)
    }

    private func until(of rule: RecurrenceRule) -> LocalTime? {
        guard case .until(let moment) = rule.end else { return nil }
        return switch moment {
        case .utc(let utc) where !start.isDate: zone.local(of: Instant(seconds: utc.seconds))
        case .date(let date): LocalTime(date, secondOfDay: 86_399)
        default: moment.local
        }
    }
}
