import Diagnostics
import ICalendar

extension ZoneRules {
    /// The years for which a VTIMEZONE is followed.
    private static let years = 1601...2200

    /// Reads the VTIMEZONE of this name (RFC 5545, section 3.6.5); nil when the object has none.
    ///
    /// Rules of years only, which all programs write; changes after the year 2200 are not followed.
    /// - Throws: `calendar-time-malformed`, `calendar-rule-unsupported`.
    init?(tzid: String, in document: CalendarDocument) throws(DiagnosedError) {
        let properties = document.allProperties()
        func first(_ name: String, _ ordinal: Int) -> ContentLine? { properties[ordinal].first { $0.name == name } }
        guard
            let zone = document.components.first(where: {
                $0.name == "VTIMEZONE" && first("TZID", $0.ordinal)?.value == tzid
            })
        else { return nil }
        var changes: [(instant: Int, before: Int, offset: Int)] = []
        let observances = document.components.filter {
            $0.parent == zone.ordinal && ($0.name == "STANDARD" || $0.name == "DAYLIGHT")
        }
        guard 1...200 ~= observances.count else {
            throw .malformedTime("VTIMEZONE", expected: "1 to 200 observances")
        }
        var rules = 0
        for observance in observances {
            guard let start = first("DTSTART", observance.ordinal),
                let before = Self.offset(first("TZOFFSETFROM", observance.ordinal)?.value),
                let offset = Self.offset(first("TZOFFSETTO", observance.ordinal)?.value)
            else { throw .malformedTime("VTIMEZONE", expected: "DTSTART, TZOFFSETFROM and TZOFFSETTO") }
            let begin = try CalendarMoment(start).local
            var onsets: Set<LocalTime> = [begin]
            for line in properties[observance.ordinal] {
                switch line.name {
                case "RDATE": for moment in try CalendarMoment.values(of: line) { onsets.insert(moment.local) }
                case "RRULE":
                    rules += 1
                    guard rules <= 40 else { throw .malformedTime("VTIMEZONE", expected: "at most 40 rules") }
                    onsets.formUnion(try Self.onsets(line.value, begin, before))
                default: break
                }
            }
            changes += onsets.map { ($0.seconds - before, before, offset) }
            guard changes.count <= 20_000 else { throw .malformedTime("VTIMEZONE", expected: "at most 20000 changes") }
        }
        changes.sort { ($0.instant, $0.offset) < ($1.instant, $1.offset) }
        self.init(
            first: changes.first?.before ?? 0,
            changes: changes.map { Change(instant: $0.instant, offset: $0.offset) })
    }

    private static func onsets(_ rule: String, _ begin: LocalTime, _ before: Int) throws(DiagnosedError) -> [LocalTime]
    {
        let rule = try RecurrenceRule(rule)
        guard rule.frequency == .yearly else { throw .unsupportedRule("a VTIMEZONE with rules of years") }
        var until: LocalTime?
        if case .until(let moment) = rule.end {
            until = if case .utc(let utc) = moment { LocalTime(seconds: utc.seconds + before) } else { moment.local }
        }
        let first = LocalTime(CivilDate(number: CivilDate.number(years.lowerBound, 1, 1)))
        let last = LocalTime(CivilDate(number: CivilDate.number(years.upperBound, 1, 1)))
        return try rule.times(from: begin, until: until, in: first...last, limit: 2000)
    }

    /// `+0100`, `-033030`.
    private static func offset(_ text: String?) -> Int? {
        guard let text, let sign = text.first, sign == "+" || sign == "-" else { return nil }
        let digits = text.utf8.dropFirst().map { Int($0) - 48 }
        guard digits.count == 4 || digits.count == 6, digits.allSatisfy({ 0...9 ~= $0 }) else { return nil }
        let hours = digits[0] * 10 + digits[1]
        let minutes = digits[2] * 10 + digits[3]
        let seconds = digits.count == 6 ? digits[4] * 10 + digits[5] : 0
        guard hours < 24, minutes < 60, seconds < 60 else { return nil }
        return (sign == "-" ? -1 : 1) * (hours * 3600 + minutes * 60 + seconds)
    }
}
