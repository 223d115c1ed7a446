/// The rule at the end of TZif data (RFC 8536, section 3.3), such as `CET-1CEST,M3.5.0,M10.5.0/3`.
struct PosixZone: Sendable, Equatable {
    private struct Day: Sendable, Equatable {
        enum Kind: Equatable { case month(Int, week: Int, weekday: Int), withoutLeapDay(Int), withLeapDay(Int) }
        let kind: Kind
        let second: Int

        /// Seconds since 1970 on the clock of the offset that ends.
        func local(in year: Int) -> Int {
            let newYear = CivilDate.number(year, 1, 1)
            let day =
                switch kind {
                case .withoutLeapDay(let day): newYear + day - 1 + (CivilDate.isLeap(year) && day >= 60 ? 1 : 0)
                case .withLeapDay(let day): newYear + day
                case .month(let month, let week, let weekday): Self.number(year, month, week, weekday)
                }
            return day * 86_400 + second
        }

        private static func number(_ year: Int, _ month: Int, _ week: Int, _ weekday: Int) -> Int {
            let first = CivilDate.number(year, month, 1)
            // POSIX counts from Sunday.
            let shift = (weekday + 6 - CivilDate(number: first).weekday) % 7
            let day = (shift + 7) % 7 + (week - 1) * 7
            return first + (day < CivilDate.days(in: month, of: year) ? day : day - 7)
        }
    }

    private let standard: Int
    private let summer: (offset: Int, from: Day, to: Day)?

    static func == (left: PosixZone, right: PosixZone) -> Bool {
        left.standard == right.standard && left.summer?.offset == right.summer?.offset
            && left.summer?.from == right.summer?.from && left.summer?.to == right.summer?.to
    }

    func offset(at instant: Int) -> Int {
        guard let summer else { return standard }
        let year = CivilDate(number: CivilDate.floor(instant + standard, 86_400)).year
        let from = summer.from.local(in: year) - standard
        let to = summer.to.local(in: year) - summer.offset
        let isSummer = from < to ? from <= instant && instant < to : !(to <= instant && instant < from)
        return isSummer ? summer.offset : standard
    }

    init?(_ text: String) {
        var rest = Array(text.utf8)[...]
        guard Self.skipName(&rest), let west = Self.time(&rest) else { return nil }
        standard = -west
        if rest.isEmpty {
            summer = nil
            return
        }
        guard Self.skipName(&rest) else { return nil }
        var offset = standard + 3600
        if rest.first != UInt8(ascii: ",") {
            guard let west = Self.time(&rest) else { return nil }
            offset = -west
        }
        guard let from = Self.day(&rest), let to = Self.day(&rest), rest.isEmpty else { return nil }
        summer = (offset, from, to)
    }

    private static func skipName(_ rest: inout ArraySlice<UInt8>) -> Bool {
        let before = rest.count
        if rest.first == UInt8(ascii: "<") {
            rest = rest.drop { $0 != UInt8(ascii: ">") }.dropFirst()
        } else {
            rest = rest.drop { $0 | 32 >= UInt8(ascii: "a") && $0 | 32 <= UInt8(ascii: "z") }
        }
        return rest.count < before
    }

    private static func number(_ rest: inout ArraySlice<UInt8>) -> Int? {
        let digits = rest.prefix { 48...57 ~= $0 }
        rest = rest.dropFirst(digits.count)
        return digits.count <= 3 ? Int(String(decoding: digits, as: UTF8.self)) : nil
    }

    private static func time(_ rest: inout ArraySlice<UInt8>) -> Int? {
        let sign = rest.first == UInt8(ascii: "-") ? -1 : 1
        if let first = rest.first, first == UInt8(ascii: "-") || first == UInt8(ascii: "+") { rest.removeFirst() }
        guard var seconds = number(&rest).map({ $0 * 3600 }) else { return nil }
        for unit in [60, 1] where rest.first == UInt8(ascii: ":") {
            rest.removeFirst()
            guard let value = number(&rest) else { return nil }
            seconds += value * unit
        }
        return sign * seconds
    }

    private static func day(_ rest: inout ArraySlice<UInt8>) -> Day? {
        guard rest.popFirst() == UInt8(ascii: ",") else { return nil }
        let kind: Day.Kind
        switch rest.first {
        case UInt8(ascii: "M"):
            rest.removeFirst()
            guard let month = number(&rest), rest.popFirst() == UInt8(ascii: "."), let week = number(&rest),
                rest.popFirst() == UInt8(ascii: "."), let weekday = number(&rest),
                1...12 ~= month, 1...5 ~= week, 0...6 ~= weekday
            else { return nil }
            kind = .month(month, week: week, weekday: weekday)
        case UInt8(ascii: "J"):
            rest.removeFirst()
            guard let day = number(&rest), 1...365 ~= day else { return nil }
            kind = .withoutLeapDay(day)
        default:
            guard let day = number(&rest), day <= 365 else { return nil }
            kind = .withLeapDay(day)
        }
        guard rest.first == UInt8(ascii: "/") else { return Day(kind: kind, second: 7200) }
        rest.removeFirst()
        return time(&rest).map { Day(kind: kind, second: $0) }
    }
}
