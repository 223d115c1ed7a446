package import Diagnostics

extension DiagnosedError.Code {
    /// The octets are no iCalendar object, or one beyond the bounds of `CalendarDocument`.
    package static let calendarMalformed: Self = "calendar-malformed"
    /// What was to be written can not stand in an iCalendar object.
    package static let calendarEditRefused: Self = "calendar-edit-refused"
}

extension DiagnosedError {
    /// No octet of the calendar goes into the error: only the number of the physical line.
    static func malformed(line: Int, expected: String) -> DiagnosedError {
        DiagnosedError(
            .calendarMalformed, fault: .peer, "calendar object not understood", expected: expected,
            found: "something else at line \(line)", hint: "the object is left as it is on the calendar server")
    }

    static func refused(_ summary: String, expected: String) -> DiagnosedError {
        DiagnosedError(.calendarEditRefused, fault: .internal, summary, expected: expected)
    }
}
