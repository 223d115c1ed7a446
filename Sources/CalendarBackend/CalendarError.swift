package import Diagnostics

/// Why a backend did not do what it was asked: a reason to act on, and a diagnosis for people.
package struct CalendarError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Reason: Hashable, Sendable {
        /// The server does not take user and password, or token.
        case credentialsRefused
        /// The server knows who asks and does not allow it.
        case forbidden
        case notFound
        /// Nil: the server did not say until when.
        case rateLimited(retryAfter: Duration?)
        /// The user's calendar is full.
        case quotaExceeded
        /// It is not proven to be the server that was configured: trust, pins, name or dates of its certificate.
        case serverUnproven
        /// No connection, no answer in time, or an answer that says so.
        case serverAway
        /// What came is not what the protocol says.
        case protocolViolation
        /// The server does not take the octets as a calendar object.
        case objectRefused
        /// It leads to another server, that an administrator has to allow first.
        case redirectPending(to: String)
        case unsupported
        /// The settings do not fit.
        case configuration
    }

    package let reason: Reason
    package let diagnosis: DiagnosedError

    package init(_ reason: Reason, _ diagnosis: DiagnosedError) {
        self.reason = reason
        self.diagnosis = diagnosis
    }

    package var description: String { diagnosis.description }

    /// Whether the same call may succeed later without anybody doing anything.
    package var isTransient: Bool {
        switch reason {
        case .rateLimited, .serverAway: true
        default: false
        }
    }

    package static func == (left: CalendarError, right: CalendarError) -> Bool { left.reason == right.reason }
    package func hash(into hasher: inout Hasher) { hasher.combine(reason) }
}

extension DiagnosedError.Code {
    package static let calendarCredentialsRefused: Self = "calendar-credentials-refused"
    package static let calendarForbidden: Self = "calendar-forbidden"
    package static let calendarNotFound: Self = "calendar-not-found"
    package static let calendarRateLimited: Self = "calendar-rate-limited"
    package static let calendarQuotaExceeded: Self = "calendar-quota-exceeded"
    package static let calendarServerAway: Self = "calendar-server-away"
    package static let calendarProtocolViolation: Self = "calendar-protocol-violation"
    /// A kind of protocol violation: it may be asked for in parts.
    package static let calendarAnswerTooLong: Self = "calendar-answer-too-long"
    package static let calendarObjectRefused: Self = "calendar-object-refused"
    package static let calendarRedirectPending: Self = "calendar-redirect-pending"
    package static let calendarUnsupported: Self = "calendar-unsupported"
    package static let calendarConfiguration: Self = "calendar-configuration"
}

extension CalendarError {
    package static func credentialsRefused(_ found: String) -> CalendarError {
        CalendarError(
            .credentialsRefused,
            DiagnosedError(
                .calendarCredentialsRefused, fault: .configuration, "the calendar server does not take the credentials",
                expected: "a user and a password, or a token, that are valid", found: found,
                hint: "check whether the password was changed or has expired, and set the new one"))
    }

    package static func forbidden(_ found: String) -> CalendarError {
        CalendarError(
            .forbidden,
            DiagnosedError(
                .calendarForbidden, fault: .configuration, "the calendar server does not allow it",
                expected: "the right to read and write that calendar", found: found,
                hint: "give the connector's account that right on the calendar server"))
    }

    package static func notFound(_ what: String) -> CalendarError {
        CalendarError(
            .notFound,
            DiagnosedError(
                .calendarNotFound, fault: .peer, "\(what) is not there", found: "status 404",
                hint: "it was deleted or renamed: the next discovery tells"))
    }

    package static func rateLimited(_ retryAfter: Duration?, _ found: String) -> CalendarError {
        CalendarError(
            .rateLimited(retryAfter: retryAfter),
            DiagnosedError(
                .calendarRateLimited, fault: .peer, "the calendar server wants fewer requests", found: found,
                hint: "nothing to do at once; if it lasts, lower the limits of this backend"))
    }

    package static let quotaExceeded = CalendarError(
        .quotaExceeded,
        DiagnosedError(
            .calendarQuotaExceeded, fault: .peer, "the calendar is full", found: "status 507",
            hint: "raise the user's quota on the calendar server, or delete old objects"))

    package static func serverAway(_ found: String) -> CalendarError {
        CalendarError(
            .serverAway,
            DiagnosedError(
                .calendarServerAway, fault: .peer, "the calendar server does not answer", found: found,
                hint: "check that it runs and that the network lets the connector reach it"))
    }

    package static func violation(_ summary: String, expected: String? = nil, found: String? = nil) -> CalendarError {
        CalendarError(
            .protocolViolation,
            DiagnosedError(
                .calendarProtocolViolation, fault: .peer, summary, expected: expected, found: found,
                hint: "check that the URL names a calendar server, and tell its vendor"))
    }

    package static func objectRefused(_ found: String) -> CalendarError {
        CalendarError(
            .objectRefused,
            DiagnosedError(
                .calendarObjectRefused, fault: .peer, "the calendar server does not take this object", found: found,
                hint: "the user's object stays as it is; tell the code and the server's name to support"))
    }

    package static func redirectPending(to origin: String) -> CalendarError {
        CalendarError(
            .redirectPending(to: origin),
            DiagnosedError(
                .calendarRedirectPending, fault: .configuration, "the calendar server leads to another one",
                expected: "an origin among the allowed ones", found: origin,
                hint: "if \(origin) is yours, allow it in trust.redirects.allowed and give its credentials"))
    }

    package static func unsupported(_ what: String) -> CalendarError {
        CalendarError(
            .unsupported,
            DiagnosedError(
                .calendarUnsupported, fault: .peer, "the calendar server has no \(what)",
                hint: "the connector does without where it can"))
    }

    package static func configuration(_ summary: String, expected: String, found: String? = nil) -> CalendarError {
        CalendarError(
            .configuration,
            DiagnosedError(
                .calendarConfiguration, fault: .configuration, summary, expected: expected, found: found,
                hint: "correct it in the settings of this backend"))
    }
}

extension CalendarError {
    /// `If-Match` with a weak ETag never holds, and a write without it may undo what others wrote.
    package static let weakETag = CalendarError(
        .unsupported,
        DiagnosedError(
            .calendarUnsupported, fault: .peer, "nothing can be written safely to this calendar server",
            expected: "a strong ETag of the object", found: "a weak one",
            hint: "look for a proxy that compresses answers between here and the server, and exempt this path"))
}
