import Glibc

/// A moment as milliseconds since 1970-01-01T00:00:00Z, the precision of every date on the wire.
///
/// The text form is RFC 3339: written as `YYYY-MM-DDTHH:MM:SS.mmmZ`, read with 0 to 9 fraction digits (digits after
/// the third are cut) and with `Z` or a numeric offset. Years 0000 to 9999.
package struct Timestamp: Hashable, Comparable, Sendable, CustomStringConvertible {
    package var milliseconds: Int64

    package init(milliseconds: Int64) { self.milliseconds = milliseconds }
    package init(seconds: Int64) { milliseconds = seconds.multipliedReportingOverflow(by: 1000).partialValue }

    /// The system's wall clock.
    package static func now() -> Timestamp {
        Timestamp(milliseconds: KernelClock.nanoseconds(CLOCK_REALTIME) / 1_000_000)
    }

    /// Whole seconds, rounded down.
    package var seconds: Int64 { floorDivide(milliseconds, 1000) }

    package func adding(milliseconds more: Int64) -> Timestamp {
        let (sum, overflow) = milliseconds.addingReportingOverflow(more)
        return Timestamp(milliseconds: overflow ? (more > 0 ? .max : .min) : sum)
    }
    package func adding(seconds: Int64) -> Timestamp {
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1000)
        return adding(milliseconds: overflow ? (seconds > 0 ? .max : .min) : product)
    }

    package static func < (left: Timestamp, right: Timestamp) -> Bool { left.milliseconds < right.milliseconds }
    package var description: String { iso8601 }

    package var iso8601: String {
        let days = floorDivide(milliseconds, 86_400_000)
        let rest = Int(milliseconds - days * 86_400_000)
        let (year, month, day) = civil(days)
        var text: [UInt8] = []
        text.reserveCapacity(24)
        func append(_ value: Int, _ digits: Int) {
            var power = 1
            for _ in 1..<digits { power *= 10 }
            while power > 0 {
                text.append(UInt8(ascii: "0") + UInt8(value / power % 10))
                power /= 10
            }
        }
        append(Int(max(0, min(9999, year))), 4)
        text.append(UInt8(ascii: "-"))
        append(month, 2)
        text.append(UInt8(ascii: "-"))
        append(day, 2)
        text.append(UInt8(ascii: "T"))
        append(rest / 3_600_000, 2)
        text.append(UInt8(ascii: ":"))
        append(rest / 60_000 % 60, 2)
        text.append(UInt8(ascii: ":"))
        append(rest / 1000 % 60, 2)
        text.append(UInt8(ascii: "."))
        append(rest % 1000, 3)
        text.append(UInt8(ascii: "Z"))
        return String(decoding: text, as: UTF8.self)
    }

    package init?(iso8601 source: some StringProtocol) {
        let text = Array(source.utf8)
        var position = 0
        func digits(_ count: Int) -> Int? {
            guard position + count <= text.count else { return nil }
            var value = 0
            for character in text[position..<position + count] {
                guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(character) else { return nil }
                value = value * 10 + Int(character - UInt8(ascii: "0"))
            }
            position += count
            return value
        }
        func take(_ characters: StaticString) -> Bool {
            guard position < text.count, characters.withUTF8Buffer({ $0.contains(text[position]) }) else {
                return false
            }
            position += 1
            return true
        }
        guard let year = digits(4), take("-"), let month = digits(2), take("-"), let day = digits(2), take("Tt"),
            let hour = digits(2), take(":"), let minute = digits(2), take(":"), let second = digits(2),
            (1...12).contains(month), day >= 1, day <= daysOfMonth(year, month), hour < 24, minute < 60, second < 61
        else { return nil }
        var fraction = 0
        if take(".") {
            var count = 0
            while count < 9, let digit = digits(1) {
                if count < 3 { fraction = fraction * 10 + digit }
                count += 1
            }
            guard count > 0 else { return nil }
            for _ in count..<max(count, 3) { fraction *= 10 }
        }
        var offset = 0
        if !take("Zz") {
            guard position < text.count else { return nil }
            let sign = text[position] == UInt8(ascii: "-") ? -1 : 1
            guard take("+-"), let hours = digits(2), take(":"), let minutes = digits(2), hours < 24, minutes < 60 else {
                return nil
            }
            offset = sign * (hours * 60 + minutes)
        }
        guard position == text.count else { return nil }
        let time = (hour * 60 + minute - offset) * 60_000 + second * 1000 + fraction
        milliseconds = days(year, month, day) * 86_400_000 + Int64(time)
    }
}

private func floorDivide(_ value: Int64, _ divisor: Int64) -> Int64 {
    let quotient = value / divisor
    return value % divisor < 0 ? quotient - 1 : quotient
}

private func daysOfMonth(_ year: Int, _ month: Int) -> Int {
    switch month {
    case 2: (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar (years counted from March, in eras of 400).
private func days(_ year: Int, _ month: Int, _ day: Int) -> Int64 {
    let year = Int64(month <= 2 ? year - 1 : year)
    let era = floorDivide(year, 400)
    let yearOfEra = year - era * 400
    let dayOfYear = Int64((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1)
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
}

private func civil(_ days: Int64) -> (year: Int64, month: Int, day: Int) {
    let shifted = days + 719_468
    let era = floorDivide(shifted, 146_097)
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let day = Int(dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    let month = Int(shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9)
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
}
