/// What becomes of a call from one service to another: exactly one of these for each.
package enum LinkCallOutcome: Equatable, Sendable {
    case answered([UInt8])
    case refused(LinkCallRefusal)
}

/// Why a call has no answer, as a word on the wire; words of a newer core are taken as they are.
package struct LinkCallRefusal: RawRepresentable, Hashable, Sendable {
    package let rawValue: String
    package init(rawValue: String) { self.rawValue = rawValue }

    /// The core serves no such destination, or the two customers have not agreed on calls.
    package static let unknownDestination = Self(rawValue: "unknown-destination")
    /// The destination's service is not connected now, or the caller is not.
    package static let notLinked = Self(rawValue: "not-linked")
    /// More calls wait than are allowed, of this link or at the destination.
    package static let tooMany = Self(rawValue: "too-many")
    /// The destination did not answer in time.
    package static let timeout = Self(rawValue: "timeout")
    /// Longer than the core takes; never on the wire.
    package static let tooLong = Self(rawValue: "too-long")
    /// The core knows no calls; never on the wire.
    package static let notSupported = Self(rawValue: "not-supported")
}
