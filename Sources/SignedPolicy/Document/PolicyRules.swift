import Diagnostics
import WireText

// What the organisation decides about the KMS as a whole. A limit that is nil is left to the service's configuration.

/// When a freeze needs a second officer. Stopping is the safe direction, so the default is never.
package struct FreezeRules: Sendable, Equatable {
    /// A freeze that hits more users or more spaces than this needs two officers; nil for never.
    package var secondOfficerOver: Int?

    init() {}

    init(_ place: PolicyPlace?) throws(DiagnosedError) {
        guard let place else { return }
        guard let number = try place.object(["secondOfficerOver"])["secondOfficerOver"] else { return }
        if number.node.string == "never" { return }
        guard number.node.kind == .number else { throw number.refusal("a number or the word never is expected here") }
        secondOfficerOver = try number.integer(0...10_000_000)
    }
}

/// Whether an erasure needs two officers. It can not be undone, so the default is yes.
package struct ErasureRules: Sendable, Equatable {
    package var fourEyes = true

    init() {}

    init(_ place: PolicyPlace?) throws(DiagnosedError) {
        fourEyes = try place?.object(["fourEyes"])["fourEyes"]?.boolean() ?? true
    }
}

/// Whether names in explanations of decisions are opened by two officers only. Operators need them to help people, so the
/// default is no.
package struct ExplanationRules: Sendable, Equatable {
    package var fourEyes = false

    init() {}

    init(_ place: PolicyPlace?) throws(DiagnosedError) {
        fourEyes = try place?.object(["fourEyes"])["fourEyes"]?.boolean() ?? false
    }
}

/// How long things stay after their use, in days.
package struct Retention: Sendable, Equatable {
    /// Sealed keys after a member deleted them.
    package var tombstoneDays: Int?
    /// Sealed intervals of who was authorized when, for eDiscovery.
    package var intervalDays: Int?
    package var auditDays: Int?

    init() {}

    init(_ place: PolicyPlace?) throws(DiagnosedError) {
        let members = try place?.object(["tombstoneDays", "intervalDays", "auditDays"]) ?? PolicyMembers()
        tombstoneDays = try members["tombstoneDays"]?.integer(0...3650)
        intervalDays = try members["intervalDays"]?.integer(0...36_500)
        auditDays = try members["auditDays"]?.integer(1...36_500)
    }
}

/// How much one source may ask for.
package struct PolicyLimits: Sendable, Equatable {
    package var perUserPerMinute: Int?
    package var perServicePerMinute: Int?
    package var perDevicePerMinute: Int?
    /// In an hour.
    package var sessionOpeningsPerDevice: Int?
    /// Keys and spaces that one member may delete in a day; more is refused and alarmed.
    package var massDeletion: Int?

    static let names = [
        "perUserPerMinute", "perServicePerMinute", "perDevicePerMinute", "sessionOpeningsPerDevice", "massDeletion",
    ]

    init() {}

    init(_ place: PolicyPlace?) throws(DiagnosedError) {
        let members = try place?.object(Self.names) ?? PolicyMembers()
        perUserPerMinute = try members["perUserPerMinute"]?.integer(1...10_000_000)
        perServicePerMinute = try members["perServicePerMinute"]?.integer(1...10_000_000)
        perDevicePerMinute = try members["perDevicePerMinute"]?.integer(1...10_000_000)
        sessionOpeningsPerDevice = try members["sessionOpeningsPerDevice"]?.integer(1...10_000_000)
        massDeletion = try members["massDeletion"]?.integer(0...10_000_000)
    }
}

/// From when on a behaviour is reported as unusual (HDS-KEYREAD-ANOMALY); nothing is refused by these.
package struct AnomalyThresholds: Sendable, Equatable {
    package var keyReadsPerUserPerHour: Int?
    package var spacesPerUserPerHour: Int?
    package var refusalsPerUserPerHour: Int?
    package var newDevicesPerUserPerDay: Int?

    static let names = [
        "keyReadsPerUserPerHour", "spacesPerUserPerHour", "refusalsPerUserPerHour", "newDevicesPerUserPerDay",
    ]

    init() {}

    init(_ place: PolicyPlace?) throws(DiagnosedError) {
        let members = try place?.object(Self.names) ?? PolicyMembers()
        keyReadsPerUserPerHour = try members["keyReadsPerUserPerHour"]?.integer(1...10_000_000)
        spacesPerUserPerHour = try members["spacesPerUserPerHour"]?.integer(1...10_000_000)
        refusalsPerUserPerHour = try members["refusalsPerUserPerHour"]?.integer(1...10_000_000)
        newDevicesPerUserPerDay = try members["newDevicesPerUserPerDay"]?.integer(1...10_000)
    }
}
