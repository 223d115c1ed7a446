package import CalendarBackend
package import CalendarTime
import Diagnostics

/// A series as Microsoft's calendars know it: one of six patterns and a range (Graph `patternedRecurrence`, EWS
/// `Recurrence`), to and from a RRULE.
///
/// Fewer than RRULE can say; what does not fit is refused, and not rounded. A day of the month that a month does not have
/// is its last day there and no day in a RRULE, so day 31 reads as `BYMONTHDAY=28,29,30,31;BYSETPOS=-1`.
package struct RulePattern: Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
        case daily
        case weekly(Set<Int>, weekStart: Int)
        case absoluteMonthly(day: Int)
        /// Index 1 to 4, or -1 for the last.
        case relativeMonthly(Set<Int>, index: Int)
        case absoluteYearly(month: Int, day: Int)
        case relativeYearly(Set<Int>, index: Int, month: Int)
    }

    package enum End: Sendable, Hashable {
        case never
        case count(Int)
        /// The last day, in the zone of the series.
        case until(CivilDate)
    }

    package var kind: Kind
    package var interval: Int
    package var end: End

    package init(_ kind: Kind, interval: Int, end: End) {
        self.kind = kind
        self.interval = interval
        self.end = end
    }

    private static let names = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]

    // MARK: - To a rule

    package func rule(start: CalendarMoment, zones: ZoneCatalogue = .system) throws(CalendarError) -> String {
        var parts: [String] = []
        func days(_ days: Set<Int>) -> String { days.sorted().map { Self.names[$0] }.joined(separator: ",") }
        func day(_ day: Int) -> [String] {
            day <= 28
                ? ["BYMONTHDAY=\(day)"]
                : ["BYMONTHDAY=" + (28...day).map(String.init).joined(separator: ","), "BYSETPOS=-1"]
        }
        func relative(_ set: Set<Int>, _ index: Int) -> [String] {
            set.count == 1 ? ["BYDAY=\(index)\(days(set))"] : ["BYDAY=\(days(set))", "BYSETPOS=\(index)"]
        }
        switch kind {
        case .daily: parts = ["FREQ=DAILY"]
        case .weekly(let set, let weekStart):
            parts = ["FREQ=WEEKLY", "BYDAY=\(days(set))", "WKST=\(Self.names[weekStart])"]
        case .absoluteMonthly(let number): parts = ["FREQ=MONTHLY"] + day(number)
        case .relativeMonthly(let set, let index): parts = ["FREQ=MONTHLY"] + relative(set, index)
        case .absoluteYearly(let month, let number): parts = ["FREQ=YEARLY", "BYMONTH=\(month)"] + day(number)
        case .relativeYearly(let set, let index, let month):
            parts = ["FREQ=YEARLY", "BYMONTH=\(month)"] + relative(set, index)
        }
        if interval != 1 { parts.insert("INTERVAL=\(interval)", at: 1) }
        switch end {
        case .never: break
        case .count(let count): parts.append("COUNT=\(count)")
        case .until(let date):
            let local = LocalTime(date, secondOfDay: start.local.secondOfDay)
            switch start {
            case .date: parts.append("UNTIL=" + CalendarMoment.date(date).written.value)
            case .floating: parts.append("UNTIL=" + local.text)
            case .utc: parts.append("UNTIL=" + local.text + "Z")
            case .zoned(_, let zone):
                guard let rules = zones.rules(named: zone) else {
                    throw .objectRefused("a time zone that is not known")
                }
                parts.append("UNTIL=" + LocalTime(seconds: rules.instant(of: local).seconds).text + "Z")
            }
        }
        return parts.joined(separator: ";")
    }

    // MARK: - From a rule

    /// - Throws: `objectRefused` for a rule that these calendars do not know.
    package init(
        rule: String, start: CalendarMoment, zones: ZoneCatalogue = .system
    ) throws(CalendarError) {
        // Reads it first for what it may be at all.
        do throws(DiagnosedError) { _ = try RecurrenceRule(rule) } catch { throw Self.refused(error.expected) }
        var parts: [String: String] = [:]
        for part in rule.uppercased().split(separator: ";") {
            let pair = part.split(separator: "=", maxSplits: 1).map(String.init)
            if pair.count == 2 { parts[pair[0]] = pair[1] }
        }
        let interval = parts["INTERVAL"].flatMap { Int($0) } ?? 1
        guard (1...999).contains(interval) else { throw Self.refused("an INTERVAL of at most 999") }
        let allowed: Set<String> = [
            "FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYDAY", "BYMONTHDAY", "BYMONTH", "BYSETPOS",
        ]
        guard parts.keys.allSatisfy({ allowed.contains($0) || $0.hasPrefix("X-") }) else {
            throw Self.refused("no part but " + allowed.sorted().joined(separator: ", "))
        }
        self.interval = interval
        kind = try Self.kind(parts, start)
        end = try Self.end(parts, start, zones)
    }

    private static func kind(_ parts: [String: String], _ start: CalendarMoment) throws(CalendarError) -> Kind {
        let first = start.local.date
        let byDay = try parts["BYDAY"].map { text throws(CalendarError) in try days(text) }
        let position = parts["BYSETPOS"]
        let unused = { (names: String...) in names.allSatisfy { parts[$0] == nil } }
        let weekStart = parts["WKST"].flatMap { names.firstIndex(of: $0) } ?? 0
        switch parts["FREQ"] {
        case "DAILY" where unused("BYMONTHDAY", "BYMONTH", "BYSETPOS"):
            guard let byDay else { return .daily }
            guard parts["INTERVAL"] ?? "1" == "1" else { break }
            return .weekly(Set(byDay.map(\.day)), weekStart: weekStart)
        case "WEEKLY" where unused("BYMONTHDAY", "BYMONTH", "BYSETPOS"):
            return .weekly(byDay.map { Set($0.map(\.day)) } ?? [first.weekday], weekStart: weekStart)
        case "MONTHLY" where unused("BYMONTH"):
            if let byDay, unused("BYMONTHDAY") {
                let (set, index) = try relative(byDay, position)
                return .relativeMonthly(set, index: index)
            }
            if byDay == nil { return .absoluteMonthly(day: try day(parts["BYMONTHDAY"], position, first)) }
        case "YEARLY":
            guard let month = parts["BYMONTH"].map({ Int($0) }) ?? first.month else { break }
            if let byDay, unused("BYMONTHDAY"), parts["BYMONTH"] != nil {
                let (set, index) = try relative(byDay, position)
                return .relativeYearly(set, index: index, month: month)
            }
            if byDay == nil {
                return .absoluteYearly(month: month, day: try day(parts["BYMONTHDAY"], position, first))
            }
        default: break
        }
        throw refused("a rule of days, of weeks, of one day in a month or in a year")
    }

    private static func days(_ text: String) throws(CalendarError) -> [(ordinal: Int?, day: Int)] {
        var result: [(Int?, Int)] = []
        for item in text.split(separator: ",") {
            guard let day = names.firstIndex(of: String(item.suffix(2))) else { throw refused("known days") }
            let number = item.dropLast(2)
            result.append((number.isEmpty ? nil : Int(number), day))
        }
        return result
    }

    private static func relative(
        _ days: [(ordinal: Int?, day: Int)], _ position: String?
    ) throws(CalendarError) -> (Set<Int>, Int) {
        let set = Set(days.map(\.day))
        let index: Int?
        if let position {
            index = days.allSatisfy { $0.ordinal == nil } ? Int(position) : nil
        } else {
            index = days.count == 1 ? days[0].ordinal : nil
        }
        guard let index, [1, 2, 3, 4, -1].contains(index) else {
            throw refused("the first to the fourth or the last of days in a month")
        }
        return (set, index)
    }

    private static func day(
        _ text: String?, _ position: String?, _ first: CivilDate
    ) throws(CalendarError) -> Int {
        let numbers = text.map { $0.split(separator: ",").compactMap { Int($0) } } ?? [first.day]
        if numbers.count == 1, position == nil, (1...28).contains(numbers[0]) { return numbers[0] }
        if position == "-1", let last = numbers.max(), (29...31).contains(last), Set(numbers) == Set(28...last) {
            return last
        }
        if numbers == [-1], position == nil { return 31 }
        throw refused("one day of the month from 1 to 28, or the last one")
    }

    private static func end(
        _ parts: [String: String], _ start: CalendarMoment, _ zones: ZoneCatalogue
    ) throws(CalendarError) -> End {
        if let count = parts["COUNT"] {
            guard let count = Int(count), (1...999).contains(count) else { throw refused("a COUNT of at most 999") }
            return .count(count)
        }
        guard let text = parts["UNTIL"] else { return .never }
        let moment: CalendarMoment
        do throws(DiagnosedError) { moment = try CalendarMoment(parsing: text) } catch {
            throw refused(error.expected)
        }
        if moment.isDate { return .until(moment.local.date) }
        let local = try EventSeries.moment(moment, inZoneOf: start, zones: zones).local
        // The last day on which the series' time of day is not behind the end.
        let isBefore = local.secondOfDay < start.local.secondOfDay
        return .until(CivilDate(number: local.date.number - (isBefore ? 1 : 0)))
    }

    private static func refused(_ expected: String?) -> CalendarError {
        .objectRefused("a rule that this calendar does not know; expected \(expected ?? "another")")
    }
}
