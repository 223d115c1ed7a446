import WireText

/// A moment on the clock of a zone, in the forms that exports write. English, whatever the machine's locale.
struct ShownTime {
    private let moment: Timestamp
    private let offset: Int
    /// `2026-03-01T10:00:00.000` of the local clock.
    private let text: String

    init(_ moment: Timestamp, in zone: ZoneRules) {
        self.moment = moment
        offset = zone.offset(at: moment)
        text = String(moment.adding(seconds: Int64(offset)).iso8601.dropLast())
    }

    /// `2026-03-01T10:00:00.000+01:00`
    var iso8601: String { text + sign + Self.two(minutes / 60) + ":" + Self.two(minutes % 60) }
    /// `Sun, 01 Mar 2026 10:00:00 +0100` (RFC 5322, section 3.3).
    var mail: String {
        "\(weekday.prefix(3)), \(day) \(month.prefix(3)) \(year) \(clock(seconds: true)) \(sign)\(Self.two(minutes / 60))"
            + Self.two(minutes % 60)
    }
    /// `Sun Mar  1 10:00:00 2026`, the date of an envelope.
    var envelope: String {
        let plain = day.first == "0" ? " " + day.dropFirst() : day
        return "\(weekday.prefix(3)) \(month.prefix(3)) \(plain) \(clock(seconds: true)) \(year)"
    }
    /// `20260301`
    var compactDate: String { year + text.dropFirst(5).prefix(2) + day }
    /// `Sunday, 1 March 2026`
    var heading: String { "\(weekday), \(day.first == "0" ? String(day.dropFirst()) : day) \(month) \(year)" }
    /// `1 March 2026, 10:00`
    var short: String {
        "\(day.first == "0" ? String(day.dropFirst()) : day) \(month) \(year), \(clock(seconds: false))"
    }
    /// `2026-03-01`
    var date: String { String(text.prefix(10)) }
    func clock(seconds: Bool) -> String { String(text.dropFirst(11).prefix(seconds ? 8 : 5)) }

    private var year: String { String(text.prefix(4)) }
    private var day: String { String(text.dropFirst(8).prefix(2)) }
    private var month: String { Self.months[(Int(text.dropFirst(5).prefix(2)) ?? 1) - 1] }
    private var weekday: String {
        let seconds = moment.seconds + Int64(offset)
        let days = seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400
        return Self.weekdays[Int((days % 7 + 11) % 7)]
    }
    private var sign: String { offset < 0 ? "-" : "+" }
    private var minutes: Int { abs(offset) / 60 }

    private static func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
    private static let months = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ]
    private static let weekdays = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
}
