/// A point in time: seconds since 1970-01-01T00:00:00Z.
package struct Instant: Sendable, Hashable, Comparable, CustomStringConvertible {
    package let seconds: Int

    package init(seconds: Int) { self.seconds = seconds }

    package static func < (left: Instant, right: Instant) -> Bool { left.seconds < right.seconds }

    package func advanced(by seconds: Int) -> Instant { Instant(seconds: self.seconds + seconds) }

    /// As the wire has it, such as `2026-01-02T09:00:00Z`.
    package var description: String {
        let local = LocalTime(seconds: seconds)
        let (year, month, day) = local.date.fields
        let time = local.secondOfDay
        return padded(year, 4) + "-" + padded(month, 2) + "-" + padded(day, 2) + "T" + padded(time / 3600, 2) + ":"
            + padded(time / 60 % 60, 2) + ":" + padded(time % 60, 2) + "Z"
    }
}

/// What a clock on the wall shows, in a zone that stands elsewhere: seconds since 1970-01-01T00:00:00 on that clock.
package struct LocalTime: Sendable, Hashable, Comparable {
    package let seconds: Int

    package init(seconds: Int) { self.seconds = seconds }

    package init(_ date: CivilDate, secondOfDay: Int = 0) { seconds = date.number * 86_400 + secondOfDay }

    package static func < (left: LocalTime, right: LocalTime) -> Bool { left.seconds < right.seconds }

    package var date: CivilDate { CivilDate(number: CivilDate.floor(seconds, 86_400)) }
    package var secondOfDay: Int { seconds - date.number * 86_400 }

    /// `20260102T090000`.
    package var text: String {
        let time = secondOfDay
        return dateText + "T" + padded(time / 3600, 2) + padded(time / 60 % 60, 2) + padded(time % 60, 2)
    }

    /// `20260102`.
    package var dateText: String {
        let (year, month, day) = date.fields
        return padded(year, 4) + padded(month, 2) + padded(day, 2)
    }
}

func padded(_ value: Int, _ width: Int) -> String {
    let digits = String(value)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
}
