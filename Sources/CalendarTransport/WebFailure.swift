import CalendarBackend
import Diagnostics
import HTTPClient
import TLSChannel

/// What a failure of the HTTP client means for a calendar: `CalendarError`s, whatever system answers.
package enum WebFailure {
    package static func judged(_ error: any Error) -> any Error {
        guard let error = error as? DiagnosedError else { return error }
        switch error.code {
        case .httpResponseTooLarge, .httpResponseInvalid:
            return CalendarError(
                .protocolViolation,
                DiagnosedError(
                    error.code == .httpResponseTooLarge ? .calendarAnswerTooLong : .calendarProtocolViolation,
                    fault: .peer, "the calendar server's answer can not be taken",
                    expected: error.expected, found: error.found ?? error.summary, hint: error.hint))
        case .tlsExpired, .tlsNotYetValid: return CalendarError(.serverUnproven, error)
        default:
            // Never worked around, and waiting does not help: somebody has to look.
            guard !error.code.isIdentityFault else { return CalendarError(.serverUnproven, error) }
            guard error.fault != .configuration else { return CalendarError(.configuration, error) }
            return CalendarError(
                .serverAway,
                DiagnosedError(
                    .calendarServerAway, fault: error.fault, "the calendar server does not answer: \(error.summary)",
                    expected: error.expected, found: error.found,
                    hint: error.hint ?? "check that it runs and that the network lets the connector reach it"))
        }
    }
}
