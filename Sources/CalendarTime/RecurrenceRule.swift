package import Diagnostics

/// A RRULE (RFC 5545, section 3.3.10) of days, weeks, months or years; rules of hours and less are refused.
package struct RecurrenceRule: Sendable, Hashable {
    package enum Frequency: String, Sendable {
        case daily = "DAILY", weekly = "WEEKLY", monthly = "MONTHLY", yearly = "YEARLY"
    }

    /// A day of the week, 0 for Monday; with an ordinal the nth of its month or year, from the end below zero.
    struct WeekdayNumber: Sendable, Hashable {
        let ordinal: Int?
        let weekday: Int
    }

    package enum End: Sendable, Hashable {
        case never
        case count(Int)
        case until(CalendarMoment)
    }

    package private(set) var frequency: Frequency = .daily
    package private(set) var interval = 1
    package private(set) var end: End = .never
    private(set) var weekStart = 0
    private(set) var months: Set<Int> = []
    private(set) var weekNumbers: Set<Int> = []
    private(set) var yearDays: Set<Int> = []
    private(set) var monthDays: Set<Int> = []
    private(set) var weekdays: Set<WeekdayNumber> = []
    private(set) var hours: Set<Int> = []
    private(set) var minutes: Set<Int> = []
    private(set) var seconds: Set<Int> = []
    private(set) var positions: Set<Int> = []

    static let weekdayNames = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]

    /// - Throws: `calendar-time-malformed`, `calendar-rule-unsupported`.
    package init(_ text: String) throws(DiagnosedError) {
        guard text.utf8.count <= 4096 else { throw .malformedTime("rule", expected: "a rule of at most 4096 octets") }
        var seen: Set<String> = []
        for part in text.uppercased().split(separator: ";") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2, seen.insert(String(pair[0])).inserted else {
                throw .malformedTime("rule", expected: "parts with '=', each once")
            }
            try read(String(pair[0]), String(pair[1]))
        }
        guard seen.contains("FREQ"), !(seen.contains("COUNT") && seen.contains("UNTIL")) else {
            throw .malformedTime("rule", expected: "a FREQ, and not both COUNT and UNTIL")
        }
        guard weekdays.allSatisfy({ $0.ordinal == nil }) || frequency == .monthly || frequency == .yearly else {
            throw .malformedTime("rule", expected: "ordinals of BYDAY in rules of months and years only")
        }
        guard max(1, hours.count) * max(1, minutes.count) * max(1, seconds.count) <= 96 else {
            throw .unsupportedRule("a rule with at most 96 times a day")
        }
    }

    mutating func set(weekday: Int) { weekdays = [WeekdayNumber(ordinal: nil, weekday: weekday)] }
    mutating func set(monthDay: Int) { monthDays = [monthDay] }
    mutating func set(month: Int) { months = [month] }

    private mutating func read(_ name: String, _ value: String) throws(DiagnosedError) {
        switch name {
        case "FREQ":
            if ["SECONDLY", "MINUTELY", "HOURLY"].contains(value) {
                throw .unsupportedRule("a rule of days, weeks, months or years")
            }
            guard let known = Frequency(rawValue: value) else { throw .malformedTime("rule", expected: "a known FREQ") }
            frequency = known
        case "INTERVAL": interval = try Self.number(value, 1...9999)
        case "COUNT": end = .count(try Self.number(value, 1...999_999))
        case "UNTIL": end = .until(try CalendarMoment.parse(value[...], zone: nil))
        case "WKST": weekStart = try Self.weekday(value[...])
        case "BYMONTH": months = try Self.numbers(value, 1...12, bothEnds: false)
        case "BYWEEKNO": weekNumbers = try Self.numbers(value, 1...53)
        case "BYYEARDAY": yearDays = try Self.numbers(value, 1...366)
        case "BYMONTHDAY": monthDays = try Self.numbers(value, 1...31)
        case "BYSETPOS": positions = try Self.numbers(value, 1...366)
        case "BYHOUR": hours = try Self.numbers(value, 0...23, bothEnds: false)
        case "BYMINUTE": minutes = try Self.numbers(value, 0...59, bothEnds: false)
        // A leap second is read as the second before.
        case "BYSECOND": seconds = Set(try Self.numbers(value, 0...60, bothEnds: false).map { min($0, 59) })
        case "BYDAY":
            for item in value.split(separator: ",", omittingEmptySubsequences: false) {
                let number = item.dropLast(2)
                weekdays.insert(
                    WeekdayNumber(
                        ordinal: number.isEmpty ? nil : try Self.signed(String(number), 1...53),
                        weekday: try Self.weekday(item.suffix(2))))
            }
        case "RSCALE", "SKIP": throw .unsupportedRule("a rule in the Gregorian calendar")
        default:
            // X- parts say nothing of the dates.
            guard name.hasPrefix("X-") else { throw .malformedTime("rule", expected: "parts of RFC 5545") }
        }
    }

    private static func number(_ text: String, _ range: ClosedRange<Int>) throws(DiagnosedError) -> Int {
        guard !text.isEmpty, text.utf8.count <= 6, text.utf8.allSatisfy({ 48...57 ~= $0 }), let value = Int(text),
            range.contains(value)
        else { throw .malformedTime("rule", expected: "numbers from \(range.lowerBound) to \(range.upperBound)") }
        return value
    }

    private static func signed(_ text: String, _ range: ClosedRange<Int>) throws(DiagnosedError) -> Int {
        switch text.first {
        case "-": -(try number(String(text.dropFirst()), range))
        case "+": try number(String(text.dropFirst()), range)
        default: try number(text, range)
        }
    }

    private static func numbers(
        _ text: String, _ range: ClosedRange<Int>, bothEnds: Bool = true
    ) throws(DiagnosedError) -> Set<Int> {
        var numbers: Set<Int> = []
        for item in text.split(separator: ",", omittingEmptySubsequences: false) {
            numbers.insert(bothEnds ? try signed(String(item), range) : try number(String(item), range))
        }
        return numbers
    }

    private static func weekday(_ text: Substring) throws(DiagnosedError) -> Int {
        guard let weekday = weekdayNames.firstIndex(of: String(text)) else {
            throw .malformedTime("rule", expected: "days of the week from MO to SU")
        }
        return weekday
    }
}
