package import Diagnostics
package import ICalendar

/// A value of DTSTART, DTEND, RECURRENCE-ID, RDATE or EXDATE as it is written (RFC 5545, sections 3.3.4 and 3.3.5).
package enum CalendarMoment: Sendable, Hashable {
    /// With `Z`.
    case utc(LocalTime)
    /// With a TZID.
    case zoned(LocalTime, zone: String)
    /// With neither: the user's zone decides.
    case floating(LocalTime)
    /// An all-day value: from midnight in the user's zone.
    case date(CivilDate)

    /// The one value of a property.
    /// - Throws: `calendar-time-malformed`.
    package init(_ line: ContentLine) throws(DiagnosedError) {
        self = try Self.parse(line.value[...], zone: line.values(of: "TZID").first)
    }

    /// The values of a property that may have several, each PERIOD by its start.
    static func values(of line: ContentLine) throws(DiagnosedError) -> [CalendarMoment] {
        var values: [CalendarMoment] = []
        for part in line.value.split(separator: ",", omittingEmptySubsequences: false) {
            guard values.count < 5000 else { throw .malformedTime("list of dates", expected: "at most 5000 dates") }
            let start = part.prefix { $0 != "/" }
            values.append(try parse(start, zone: line.values(of: "TZID").first))
        }
        return values
    }

    /// - Throws: `calendar-time-malformed`.
    package init(parsing text: String) throws(DiagnosedError) { self = try Self.parse(text[...], zone: nil) }

    static func parse(_ text: Substring, zone: String?) throws(DiagnosedError) -> CalendarMoment {
        let octets = Array(text.utf8)
        func number(_ from: Int, _ count: Int) -> Int? {
            var value = 0
            for octet in octets[from..<from + count] {
                guard octet >= 48, octet <= 57 else { return nil }
                value = value * 10 + Int(octet - 48)
            }
            return value
        }
        let isUTC = octets.count == 16 && octets[15] == UInt8(ascii: "Z")
        guard octets.count == 8 || octets.count == 15 || isUTC,
            let year = number(0, 4), let month = number(4, 2), let day = number(6, 2),
            let date = CivilDate(year: year, month: month, day: day)
        else { throw .malformedTime("date", expected: "a date of RFC 5545, such as 20260102 or 20260102T090000Z") }
        if octets.count == 8 { return .date(date) }
        guard octets[8] == UInt8(ascii: "T"), let hour = number(9, 2), let minute = number(11, 2),
            let second = number(13, 2), hour < 24, minute < 60, second <= 60
        else { throw .malformedTime("time", expected: "a time of RFC 5545, such as 20260102T090000") }
        // A leap second is read as the second before, as clocks without leap seconds do.
        let local = LocalTime(date, secondOfDay: hour * 3600 + minute * 60 + min(second, 59))
        if isUTC { return .utc(local) }
        return if let zone { .zoned(local, zone: zone) } else { .floating(local) }
    }

    package var isDate: Bool { if case .date = self { true } else { false } }

    /// The clock's time, at midnight for a date.
    package var local: LocalTime {
        switch self {
        case .utc(let local), .zoned(let local, _), .floating(let local): local
        case .date(let date): LocalTime(date)
        }
    }

    /// The same kind of value, in the same zone, at another time of the clock.
    package func at(_ local: LocalTime) -> CalendarMoment {
        switch self {
        case .utc: .utc(local)
        case .zoned(_, let zone): .zoned(local, zone: zone)
        case .floating: .floating(local)
        case .date: .date(local.date)
        }
    }

    /// As a property writes it: the parameters that it needs, and the value.
    package var written: (parameters: [ContentLine.Parameter], value: String) {
        switch self {
        case .utc(let local): ([], local.text + "Z")
        case .zoned(let local, let zone): ([.init("TZID", [zone])], local.text)
        case .floating(let local): ([], local.text)
        case .date(let date): ([.init("VALUE", ["DATE"])], LocalTime(date).dateText)
        }
    }
}
