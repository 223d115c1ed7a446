/// The rule behind a zone's last transition, in the form of POSIX: `CET-1CEST,M3.5.0,M10.5.0/3` (RFC 8536, section 3.3).
struct ZoneRule: Sendable {
    /// Seconds east of UTC.
    private let standard: Int
    private let summer: Int
    private let begin: Change?
    private let end: Change?

    /// A day of the year and the seconds of the local clock on it.
    private enum Change {
        /// The week'th such day of the week in the month; week 5 is the last.
        case weekday(month: Int, week: Int, day: Int, time: Int)
        /// Day 1 to 365, 29 February never counted; or day 0 to 365.
        case julian(day: Int, time: Int)
        case ordinal(day: Int, time: Int)
    }

    init?(_ text: String) {
        var scanner = Scanner(text: Array(text.utf8))
        guard scanner.name(), let offset = scanner.time() else { return nil }
        standard = -offset
        if scanner.isAtEnd {
            (summer, begin, end) = (standard, nil, nil)
            return
        }
        guard scanner.name() else { return nil }
        summer = scanner.peek == UInt8(ascii: ",") ? standard + 3600 : -(scanner.time() ?? 0)
        guard let begin = scanner.change(), let end = scanner.change(), scanner.isAtEnd else { return nil }
        self.begin = begin
        self.end = end
    }

    func offset(at seconds: Int64) -> Int {
        guard let begin, let end else { return standard }
        let year = Self.year(of: seconds + Int64(standard))
        let from = Self.moment(begin, year) - Int64(standard)
        let to = Self.moment(end, year) - Int64(summer)
        let isSummer = from < to ? seconds >= from && seconds < to : seconds >= from || seconds < to
        return (isSummer ? summer : standard) / 60 * 60
    }

    /// Seconds of the local clock since 1970.
    private static func moment(_ change: Change, _ year: Int) -> Int64 {
        let start = days(year)
        switch change {
        case .weekday(let month, let week, let day, let time):
            let lengths = [31, isLeap(year) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
            let first = start + Int64(lengths[..<(month - 1)].reduce(0, +))
            // 1970-01-01 was a Thursday.
            let weekday = Int((first % 7 + 11) % 7)
            var date = (day - weekday + 7) % 7 + (week - 1) * 7
            while date >= lengths[month - 1] { date -= 7 }
            return (first + Int64(date)) * 86_400 + Int64(time)
        case .julian(let day, let time):
            return (start + Int64(day - 1 + (isLeap(year) && day > 59 ? 1 : 0))) * 86_400 + Int64(time)
        case .ordinal(let day, let time): return (start + Int64(day)) * 86_400 + Int64(time)
        }
    }

    private static func isLeap(_ year: Int) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

    /// Days from 1970 to the start of the year, which is not before 1970: rules stand behind the last transition.
    private static func days(_ year: Int) -> Int64 {
        let before = year - 1
        return Int64(before) * 365 + Int64(before / 4 - before / 100 + before / 400) - 719_162
    }

    private static func year(of seconds: Int64) -> Int {
        var year = 1970 + Int(max(0, min(seconds, 253_402_300_799)) / 31_556_952)
        while days(year + 1) * 86_400 <= seconds { year += 1 }
        while year > 1, days(year) * 86_400 > seconds { year -= 1 }
        return year
    }

    private struct Scanner {
        let text: [UInt8]
        var position = 0
        var peek: UInt8? { position < text.count ? text[position] : nil }
        var isAtEnd: Bool { position == text.count }

        mutating func take(_ character: UInt8) -> Bool {
            guard peek == character else { return false }
            position += 1
            return true
        }

        mutating func name() -> Bool {
            let start = position
            if take(UInt8(ascii: "<")) {
                while let next = peek, next != UInt8(ascii: ">") { position += 1 }
                return take(UInt8(ascii: ">"))
            }
            while let next = peek, (65...90).contains(next) || (97...122).contains(next) { position += 1 }
            return position - start >= 3
        }

        mutating func number() -> Int? {
            var value: Int?
            while let next = peek, (48...57).contains(next), (value ?? 0) < 1000 {
                value = (value ?? 0) * 10 + Int(next - 48)
                position += 1
            }
            return value
        }

        /// `[+-]hh[:mm[:ss]]`
        mutating func time() -> Int? {
            let sign = take(UInt8(ascii: "-")) ? -1 : 1
            if sign == 1 { _ = take(UInt8(ascii: "+")) }
            guard let hours = number() else { return nil }
            var seconds = hours * 3600
            for unit in [60, 1] where take(UInt8(ascii: ":")) {
                guard let part = number() else { return nil }
                seconds += part * unit
            }
            return sign * seconds
        }

        mutating func change() -> Change? {
            guard take(UInt8(ascii: ",")) else { return nil }
            func clock(_ scanner: inout Scanner) -> Int? {
                scanner.take(UInt8(ascii: "/")) ? scanner.time() : 7200
            }
            if take(UInt8(ascii: "M")) {
                guard let month = number(), (1...12).contains(month), take(UInt8(ascii: ".")), let week = number(),
                    (1...5).contains(week), take(UInt8(ascii: ".")), let day = number(), (0...6).contains(day),
                    let time = clock(&self)
                else { return nil }
                return .weekday(month: month, week: week, day: day, time: time)
            }
            if take(UInt8(ascii: "J")) {
                guard let day = number(), (1...365).contains(day), let time = clock(&self) else { return nil }
                return .julian(day: day, time: time)
            }
            guard let day = number(), (0...365).contains(day), let time = clock(&self) else { return nil }
            return .ordinal(day: day, time: time)
        }
    }
}
