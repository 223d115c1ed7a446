package import SignedPolicy
import Synchronization

/// What one request is judged by, from its beginning to its end: the configuration's values and the signed policy at one
/// moment. Compared by identity.
package final class PolicySnapshot: Sendable, Equatable {
    /// The configuration's values with those that the signed policy names in their place.
    package let values: KMSPolicy
    package let signed: Policy
    package let rules: ConsentRules
    /// Subjects that this policy or any before it named as services.
    private let services: Set<String>

    init(_ standing: KMSPolicy, signed: Policy, services: Set<String> = []) {
        values = standing.overlaid(by: signed)
        self.signed = signed
        rules = ConsentRules(signed)
        self.services = services.union(signed.services.map(\.subject))
    }

    /// Whether a subject is a service's, also when the policy does not name it any more.
    package func isService(_ subject: String) -> Bool { services.contains(subject) }

    fileprivate func followed(by policy: Policy, knowing subjects: Set<String>, _ standing: KMSPolicy) -> PolicySnapshot
    {
        PolicySnapshot(standing, signed: policy, services: services.union(subjects))
    }

    package static func == (left: PolicySnapshot, right: PolicySnapshot) -> Bool { left === right }
}

/// The policy that this node judges by now. Each request takes `current` once; another policy is in force for every
/// request that begins after `take` returned. Thread-safe.
package final class PolicyInForce: Sendable {
    private let standing: KMSPolicy
    private let snapshot: Mutex<PolicySnapshot>
    /// The highest version that any node has taken, as far as this one knows.
    private let highest = Mutex(0)

    /// In force at first: the configuration alone, and no consent for anybody.
    package init(_ standing: KMSPolicy) {
        self.standing = standing
        snapshot = Mutex(PolicySnapshot(standing, signed: .none(organisation: "")))
    }

    package var current: PolicySnapshot { snapshot.withLock { $0 } }

    /// Puts a policy in force that `PolicyHolder` took. A lower version than the present one is left out.
    package func take(_ policy: Policy) {
        snapshot.withLock { present in
            guard present.signed.version <= policy.version else { return }
            present = present.followed(by: policy, knowing: [], standing)
        }
    }

    /// Says which version another node may have taken.
    package func learn(highest version: Int) { highest.withLock { $0 = max($0, version) } }

    /// The version by which other nodes judge while this one still has a lower one, nil as long as that is not so. A node
    /// that is behind answers nobody: what the newer policy withdrew it would still give (security model, rule 6).
    package var outdatedBy: Int? {
        let version = current.signed.version
        let highest = highest.withLock { $0 }
        return version > 0 && highest > version ? highest : nil
    }

    /// Says of subjects that earlier policies named them as services.
    package func know(services subjects: Set<String>) {
        snapshot.withLock { $0 = $0.followed(by: $0.signed, knowing: subjects, standing) }
    }
}

extension KMSPolicy {
    /// With what a signed policy says. Version 0 says nothing: then the configuration stands alone.
    func overlaid(by policy: Policy) -> KMSPolicy {
        guard policy.version > 0 else { return self }
        var values = self
        func take<Value>(_ value: Value?, into member: WritableKeyPath<KMSPolicy, Value>) {
            if let value { values[keyPath: member] = value }
        }
        take(policy.limits.perUserPerMinute, into: \.requestsPerUserAndMinute)
        take(policy.limits.perServicePerMinute, into: \.requestsPerServiceAndMinute)
        take(policy.limits.perDevicePerMinute, into: \.requestsPerDeviceAndMinute)
        values.openingsPerDeviceAndHour = policy.limits.sessionOpeningsPerDevice
        values.deletionsPerUserAndDay = policy.limits.massDeletion
        take(policy.retention.tombstoneDays.map { Int64($0) * 86_400 }, into: \.tombstoneLife)
        take(policy.retention.intervalDays.map { Int64($0) * 86_400 }, into: \.intervalLife)
        values.auditLife = policy.retention.auditDays.map { Int64($0) * 86_400 }
        take(policy.anomaly.keyReadsPerUserPerHour, into: \.keyReadsPerUserAndHour)
        values.spacesPerUserAndHour = policy.anomaly.spacesPerUserPerHour
        values.refusalsPerUserAndHour = policy.anomaly.refusalsPerUserPerHour
        values.newDevicesPerUserAndDay = policy.anomaly.newDevicesPerUserPerDay
        values.allowsPublic = policy.publicAuthorizations
        values.enforcesModeration = policy.moderation
        return values
    }
}
