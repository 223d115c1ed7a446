/// An error that tells code, whose fault it is, what was expected, what came and what to do.
///
/// Every error that leaves a module of this project is one of these. `description` is safe to log: no field may
/// carry a secret, a bearer token or plaintext. Two errors are equal when their codes are equal, so that tests and
/// callers compare what happened and not how it was worded. Style: lower case, no full stop.
package struct DiagnosedError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Whose fault it is, which decides who has to act.
    package enum Fault: String, Sendable {
        /// The request of a client: answered with a status, never an alarm.
        case client
        /// The other end of a connection, or the network between.
        case peer
        /// The database or the file system.
        case store
        /// The administrator's files: configuration, certificates, credentials.
        case configuration
        /// This program.
        case `internal`
    }

    /// A stable name in kebab case, such as `pin-mismatch`; declared as a static constant by the module that raises it.
    package struct Code: RawRepresentable, Hashable, Sendable, ExpressibleByStringLiteral {
        package let rawValue: String
        package init(rawValue: String) { self.rawValue = rawValue }
        package init(stringLiteral value: String) { self.rawValue = value }
    }

    package let code: Code
    package let fault: Fault
    /// What happened, in a few words.
    package let summary: String
    package let expected: String?
    package let found: String?
    /// What the reader can do about it.
    package let hint: String?

    package init(
        _ code: Code, fault: Fault, _ summary: String, expected: String? = nil, found: String? = nil,
        hint: String? = nil
    ) {
        self.code = code
        self.fault = fault
        self.summary = summary
        self.expected = expected
        self.found = found
        self.hint = hint
    }

    package var description: String {
        var text = summary
        if let expected { text += "; expected \(expected)" }
        if let found { text += expected == nil ? "; found \(found)" : ", found \(found)" }
        if let hint { text += "; \(hint)" }
        return text + " [\(code.rawValue)]"
    }

    package static func == (left: DiagnosedError, right: DiagnosedError) -> Bool { left.code == right.code }
    package func hash(into hasher: inout Hasher) { hasher.combine(code) }
}
