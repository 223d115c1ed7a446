package import Diagnostics

extension DiagnosedError.Code {
    /// A calendar object is well formed and still nothing that meetings are read from or written to.
    package static let calendarObjectRefused: Self = "calendar-object-refused"
    /// Others wrote the object again and again between our reading and our writing.
    package static let calendarWriteContended: Self = "calendar-write-contended"
}

extension DiagnosedError {
    static func refusedObject(_ expected: String) -> DiagnosedError {
        DiagnosedError(
            .calendarObjectRefused, fault: .peer, "calendar object refused", expected: expected,
            hint: "the object is left as it is on the calendar server")
    }
}
