package import Diagnostics
import Glibc
import Synchronization
package import WireText

/// Holds the policy that is in force and takes a new one only when everything about it is in order.
///
/// `current` may be read by any thread at any time and is one consistent policy. Loads run one after the other; a policy
/// that is refused changes nothing. The highest version and its digest go through a pair of closures, so that the KMS can
/// keep them sealed where neither the owner of the file nor the owner of the database can turn them back.
package actor PolicyHolder {
    /// The highest policy that was ever in force.
    package struct Seen: Sendable, Equatable {
        package let version: Int
        /// SHA-256 of the canonical policy.
        package let digest: [UInt8]

        package init(version: Int, digest: [UInt8]) {
            self.version = version
            self.digest = digest
        }
    }

    /// What a load did, for journal and audit: a change that widens is a decision.
    package struct Outcome: Sendable {
        /// What was in force in this process; version 0 at its start.
        package let previous: Policy
        package let current: Policy
        package let signers: [Officer]
        package let changes: [PolicyChange]
        /// Whether this version was never in force before; false for the policy that a restart takes up again.
        package let isNew: Bool

        package var widens: Bool { isNew && changes.contains { $0.effect == .widens } }
    }

    private let organisation: String
    private let signaturesNeeded: Int
    private let recall: @Sendable () async throws -> Seen?
    private let remember: @Sendable (Seen) async throws -> Void
    private let inForce: Mutex<Policy>
    private var isLoading = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    /// How far the clock of who issued a policy may be ahead, in seconds.
    package static let clockSkew: Int64 = 300

    /// In force at first: nothing but the default denial.
    ///
    /// - Parameters:
    ///   - organisation: the only one whose policies are taken.
    ///   - signaturesNeeded: 1 or 2.
    ///   - recall: the highest policy seen, from where it is kept.
    ///   - remember: keeps it; returns when it is durable.
    package init(
        organisation: String, signaturesNeeded: Int, recall: @escaping @Sendable () async throws -> Seen?,
        remember: @escaping @Sendable (Seen) async throws -> Void
    ) {
        self.organisation = organisation
        self.signaturesNeeded = max(1, signaturesNeeded)
        self.recall = recall
        self.remember = remember
        inForce = Mutex(.none(organisation: organisation))
    }

    /// The policy in force.
    nonisolated package var current: Policy { inForce.withLock { $0 } }

    /// For a KMS that is configured without a policy file: fine as long as there never was a policy.
    package func loadNothing() async throws(DiagnosedError) {
        await begin()
        defer { end() }
        if let seen = try await seen() {
            throw .policy(
                .policyMissing, "no policy is configured although version \(seen.version) was in force",
                expected: "the policy file",
                hint: "name the file again; to allow nothing, sign a policy without services")
        }
    }

    package func load(
        file path: String, officers: OfficerRoster, now: Timestamp
    ) async throws(DiagnosedError) -> Outcome {
        try await load(text: try Self.text(of: path), officers: officers, now: now)
    }

    /// Rules, in this order, after those of `SignedPolicyText.verify`:
    /// 1. It is the policy of this organisation.
    /// 2. It was not issued in the future.
    /// 3. Its version is not lower than the highest seen, and the highest seen version is that very policy.
    package func load(
        text: String, officers: OfficerRoster, now: Timestamp
    ) async throws(DiagnosedError) -> Outcome {
        await begin()
        defer { end() }
        let signed = try SignedPolicyText.verify(text, by: officers, signaturesNeeded: signaturesNeeded)
        let policy = signed.policy
        guard policy.organisation == organisation else {
            throw .policy(
                .policyOrganisation, "the policy is for another organisation", expected: organisation,
                found: policy.organisation, hint: "give this service the policy of its own organisation")
        }
        guard policy.issued <= now.adding(seconds: Self.clockSkew) else {
            throw .policy(
                .policyNotYetValid, "the policy was issued in the future", expected: "by \(now)",
                found: "\(policy.issued)", hint: "compare the clocks, or load it then")
        }
        let seen = try await seen()
        if let seen { try Self.check(policy, against: seen) }
        if seen?.version != policy.version {
            do {
                try await remember(Seen(version: policy.version, digest: policy.digest))
            } catch {
                throw DiagnosedError(
                    .policyRollback, fault: .store, "the policy's version can not be written down, so it is not taken",
                    found: (error as? DiagnosedError)?.summary, hint: "see to the database and load the policy again")
            }
        }
        let previous = inForce.withLock { inForce in
            defer { inForce = policy }
            return inForce
        }
        return Outcome(
            previous: previous, current: policy, signers: signed.signers,
            changes: PolicyDifference.changes(from: previous, to: policy), isNew: seen?.version != policy.version)
    }

    private static func check(_ policy: Policy, against seen: Seen) throws(DiagnosedError) {
        guard policy.version >= seen.version else {
            throw .policy(
                .policyRollback, "the policy is older than one that was in force",
                expected: "version \(seen.version) or higher", found: "version \(policy.version)",
                hint: "load the newest file; to go back to earlier contents, sign them under a new version")
        }
        guard policy.version > seen.version || policy.digest == seen.digest else {
            throw .policy(
                .policyRollback, "another policy of version \(policy.version) was in force",
                expected: "the digest \(Hexadecimal.encode(seen.digest))",
                found: Hexadecimal.encode(policy.digest), hint: "sign the changed policy under a higher version")
        }
    }

    /// The highest version that any node has taken; nil for none. Waits for a load that is under way.
    package func highest() async throws(DiagnosedError) -> Int? {
        await begin()
        defer { end() }
        return try await seen()?.version
    }

    private func seen() async throws(DiagnosedError) -> Seen? {
        do {
            return try await recall()
        } catch {
            throw DiagnosedError(
                .policyRollback, fault: .store, "the highest version of the policy can not be read, so none is taken",
                found: (error as? DiagnosedError)?.summary, hint: "see to the database and load the policy again")
        }
    }

    private func begin() async {
        while isLoading { await withCheckedContinuation { waiting.append($0) } }
        isLoading = true
    }

    private func end() {
        isLoading = false
        if !waiting.isEmpty { waiting.removeFirst().resume() }
    }

    private static func text(of path: String) throws(DiagnosedError) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw .policy(
                .policyUnreadable, "the policy file \(path) can not be read",
                found: String(cString: strerror(errno)), hint: "see path and permissions")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
            status.st_size <= SignedPolicyText.maximumBytes
        else {
            throw .policy(
                .policyUnreadable, "the policy file \(path) can not be used",
                expected: "a regular file of at most \(SignedPolicyText.maximumBytes) octets")
        }
        var bytes = [UInt8](repeating: 0, count: SignedPolicyText.maximumBytes + 1)
        var count = 0
        while count < bytes.count {
            let read = bytes.withUnsafeMutableBytes {
                Glibc.read(descriptor, $0.baseAddress! + count, $0.count - count)
            }
            if read < 0, errno == EINTR { continue }
            guard read > 0 else { break }
            count += read
        }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }
}
