import CalendarBackend
import CalendarTime
import CalendarTranslation
import CalendarXML

/// `Recurrence` of Exchange Web Services.
enum ExchangeRecurrence {
    private static let days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
    private static let months = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ]
    private static let indices: [String: Int] = ["First": 1, "Second": 2, "Third": 3, "Fourth": 4, "Last": -1]
    /// Several days that have one word.
    private static let groups: [String: Set<Int>] = [
        "Day": Set(0...6), "Weekday": Set(0...4), "WeekendDay": [5, 6],
    ]

    static func pattern(_ element: XMLElement) throws(CalendarError) -> RulePattern {
        let violation = CalendarError.violation(
            "the recurrence of an event can not be read", expected: "a Recurrence of EWS")
        var kind: RulePattern.Kind?
        var end: RulePattern.End?
        var interval = 1
        for part in element.children {
            let day = part.child("DayOfMonth").flatMap { Int($0.text) } ?? 0
            let month = part.child("Month").flatMap { months.firstIndex(of: $0.text) }.map { $0 + 1 } ?? 0
            let set = daySet(part.child("DaysOfWeek")?.text ?? "")
            let index = indices[part.child("DayOfWeekIndex")?.text ?? ""] ?? 0
            if let told = part.child("Interval").flatMap({ Int($0.text) }) { interval = told }
            switch part.name.name {
            case "DailyRecurrence": kind = .daily
            case "WeeklyRecurrence" where !set.isEmpty:
                kind = .weekly(
                    set, weekStart: part.child("FirstDayOfWeek").flatMap { days.firstIndex(of: $0.text) } ?? 6)
            case "AbsoluteMonthlyRecurrence" where (1...31).contains(day): kind = .absoluteMonthly(day: day)
            case "RelativeMonthlyRecurrence" where !set.isEmpty && index != 0:
                kind = .relativeMonthly(set, index: index)
            case "AbsoluteYearlyRecurrence" where (1...31).contains(day) && month > 0:
                kind = .absoluteYearly(month: month, day: day)
            case "RelativeYearlyRecurrence" where !set.isEmpty && index != 0 && month > 0:
                kind = .relativeYearly(set, index: index, month: month)
            case "NoEndRecurrence": end = .never
            case "NumberedRecurrence":
                end = part.child("NumberOfOccurrences").flatMap { Int($0.text) }.map { .count($0) }
            case "EndDateRecurrence": end = part.child("EndDate").flatMap { date($0.text) }.map { .until($0) }
            default: throw violation
            }
        }
        guard let kind, let end, interval > 0 else { throw violation }
        return RulePattern(kind, interval: interval, end: end)
    }

    static func xml(_ pattern: RulePattern, start: CalendarMoment) throws(CalendarError) -> String {
        let interval = "<t:Interval>\(pattern.interval)</t:Interval>"
        let part: String
        switch pattern.kind {
        case .daily: part = element("DailyRecurrence", interval)
        case .weekly(let set, let weekStart):
            let names = set.sorted().map { days[$0] }.joined(separator: " ")
            part = element(
                "WeeklyRecurrence",
                interval
                    + "<t:DaysOfWeek>\(names)</t:DaysOfWeek><t:FirstDayOfWeek>\(days[weekStart])</t:FirstDayOfWeek>")
        case .absoluteMonthly(let day):
            part = element("AbsoluteMonthlyRecurrence", interval + "<t:DayOfMonth>\(day)</t:DayOfMonth>")
        case .relativeMonthly(let set, let index):
            part = element("RelativeMonthlyRecurrence", interval + (try relative(set, index)))
        case .absoluteYearly(let month, let day):
            try checkYearly(pattern)
            part = element(
                "AbsoluteYearlyRecurrence", "<t:DayOfMonth>\(day)</t:DayOfMonth><t:Month>\(months[month - 1])</t:Month>"
            )
        case .relativeYearly(let set, let index, let month):
            try checkYearly(pattern)
            part = element(
                "RelativeYearlyRecurrence", try relative(set, index) + "<t:Month>\(months[month - 1])</t:Month>")
        }
        let first = "<t:StartDate>\(text(start.local.date))</t:StartDate>"
        let range: String
        switch pattern.end {
        case .never: range = element("NoEndRecurrence", first)
        case .until(let date): range = element("EndDateRecurrence", first + "<t:EndDate>\(text(date))</t:EndDate>")
        case .count(let count):
            range = element("NumberedRecurrence", first + "<t:NumberOfOccurrences>\(count)</t:NumberOfOccurrences>")
        }
        return element("Recurrence", part + range)
    }

    private static func element(_ name: String, _ content: String) -> String { "<t:\(name)>\(content)</t:\(name)>" }

    private static func checkYearly(_ pattern: RulePattern) throws(CalendarError) {
        guard pattern.interval == 1 else { throw .objectRefused("a rule of several years, which Exchange has not") }
    }

    private static func relative(_ set: Set<Int>, _ index: Int) throws(CalendarError) -> String {
        let word = set.count == 1 ? set.first.map { days[$0] } : groups.first { $0.value == set }?.key
        guard let word, let place = indices.first(where: { $0.value == index })?.key else {
            throw .objectRefused("days of a month that Exchange has no word for")
        }
        return "<t:DaysOfWeek>\(word)</t:DaysOfWeek><t:DayOfWeekIndex>\(place)</t:DayOfWeekIndex>"
    }

    private static func daySet(_ text: String) -> Set<Int> {
        text.split(separator: " ").reduce(into: []) { set, word in
            if let group = groups[String(word)] { set.formUnion(group) }
            if let day = days.firstIndex(of: String(word)) { set.insert(day) }
        }
    }

    static func text(_ date: CivilDate) -> String {
        String(Instant(seconds: LocalTime(date).seconds).description.prefix(10))
    }

    /// `2027-01-05`, perhaps with a zone behind.
    private static func date(_ text: String) -> CivilDate? {
        let parts = text.prefix(10).split(separator: "-").compactMap { Int($0) }
        return parts.count == 3 ? CivilDate(year: parts[0], month: parts[1], day: parts[2]) : nil
    }
}
