package import Diagnostics

/// A DURATION (RFC 5545, section 3.3.6): days follow the clock, seconds follow time.
package struct CalendarDuration: Sendable, Hashable {
    package let days: Int
    package let seconds: Int

    package init(days: Int, seconds: Int) {
        self.days = days
        self.seconds = seconds
    }

    /// - Throws: `calendar-time-malformed`.
    package init(_ text: String) throws(DiagnosedError) {
        let malformed = DiagnosedError.malformedTime("duration", expected: "a duration such as PT30M or P1D")
        var rest = text.uppercased()[...]
        let sign = rest.first == "-" ? -1 : 1
        if rest.first == "-" || rest.first == "+" { rest.removeFirst() }
        guard rest.popFirst() == "P", !rest.isEmpty else { throw malformed }
        var days = 0
        var seconds = 0
        var isTime = false
        while let first = rest.first {
            if first == "T", !isTime {
                isTime = true
                rest.removeFirst()
                guard !rest.isEmpty else { throw malformed }
                continue
            }
            let digits = rest.prefix { ("0"..."9").contains($0) }
            guard digits.count <= 8, let value = Int(digits) else { throw malformed }
            rest = rest.dropFirst(digits.count)
            switch (rest.popFirst(), isTime) {
            case ("W", false): days += value * 7
            case ("D", false): days += value
            case ("H", true): seconds += value * 3600
            case ("M", true): seconds += value * 60
            case ("S", true): seconds += value
            default: throw malformed
            }
            // No event lasts longer than a century, and no sum overflows.
            guard days <= 36_525, seconds <= 36_525 * 86_400 else { throw malformed }
        }
        self.days = sign * days
        self.seconds = sign * seconds
    }
}
