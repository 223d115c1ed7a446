package import Diagnostics

extension DiagnosedError.Code {
    /// A date, a duration, a zone or a rule is not as RFC 5545 writes it.
    package static let calendarTimeMalformed: Self = "calendar-time-malformed"
    /// No zone of this name is known, by IANA, by Windows or by the object itself. Never read as UTC.
    package static let calendarZoneUnknown: Self = "calendar-zone-unknown"
    /// A rule that is well formed and not followed here.
    package static let calendarRuleUnsupported: Self = "calendar-rule-unsupported"
}

extension DiagnosedError {
    static func malformedTime(_ what: String, expected: String) -> DiagnosedError {
        DiagnosedError(
            .calendarTimeMalformed, fault: .peer, "\(what) not understood", expected: expected,
            hint: "the event is left as it is and stays out of the list of meetings")
    }

    static func unknownZone() -> DiagnosedError {
        DiagnosedError(
            .calendarZoneUnknown, fault: .peer, "time zone of an event not known",
            expected: "a zone of the IANA data, a Windows name, or a VTIMEZONE in the same object",
            hint: "install the package tzdata, or save the event in a calendar program with a known zone")
    }

    static func unsupportedRule(_ expected: String) -> DiagnosedError {
        DiagnosedError(
            .calendarRuleUnsupported, fault: .peer, "recurrence rule not followed", expected: expected,
            hint: "let the calendar server expand this series")
    }
}
