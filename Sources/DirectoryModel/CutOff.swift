package import WireText

/// That somebody is cut off, by whose order, and why. A person may be cut off by several at once and comes in again when
/// none is left.
package struct CutOff: Sendable, Equatable {
    /// Who ordered it: each lifts his own.
    package enum Authority: Sendable, Equatable {
        case operators
        /// `ldap:NAME` or `scim`.
        case directory(String)

        package var name: String {
            switch self {
            case .operators: "operators"
            case .directory(let source): source
            }
        }

        package init(name: String) { self = name == "operators" ? .operators : .directory(name) }
    }

    /// The `sub` of the tokens.
    package let subject: String
    package let authority: Authority
    package let since: Timestamp
    /// `operator:UID`, or the directory again.
    package let by: String
    package let reason: String

    package init(subject: String, authority: Authority, since: Timestamp, by: String, reason: String) {
        (self.subject, self.authority, self.since, self.by, self.reason) = (subject, authority, since, by, reason)
    }
}
