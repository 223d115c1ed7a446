import Diagnostics
package import KeyStore
package import SignedPolicy
import Synchronization
import WireText

/// The highest version of the signed policy that was ever in force, sealed as a setting of the store: neither the owner
/// of the policy's file nor a restart brings an old policy back.
///
/// While the process runs, a setting that goes back or vanishes is noticed as well.
package final class PolicyMemory: Sendable {
    package static let setting = "policy-seen"
    private static let format: UInt8 = 1

    private let store: any KeyStore
    private let vault: RecordVault
    private let highest = Mutex<PolicyHolder.Seen?>(nil)

    package init(store: any KeyStore, vault: RecordVault) {
        self.store = store
        self.vault = vault
    }

    /// For `PolicyHolder`.
    package func recall() async throws -> PolicyHolder.Seen? {
        let seen = try read(try await store.setting(Self.setting)).seen
        try notice(seen)
        return seen
    }

    /// What the setting says, as a renewal of the lease brings it.
    package func seen(in value: [UInt8]?) throws -> PolicyHolder.Seen? { try read(value).seen }

    /// For `PolicyHolder`: durable when it returns. Never goes back, whatever another node writes meanwhile.
    package func remember(_ seen: PolicyHolder.Seen) async throws {
        for _ in 0..<16 {
            let value = try await store.setting(Self.setting)
            let (before, version) = try read(value)
            try notice(before)
            if let before, before.version >= seen.version {
                guard before == seen else {
                    throw DiagnosedError(
                        .policyRollback, fault: .configuration, "another node took another policy meanwhile",
                        expected: "version \(before.version) or a higher one", found: "version \(seen.version)",
                        hint: "give every node the same file")
                }
                return
            }
            var fields = FieldWriter(format: Self.format)
            fields.field(Int64(seen.version))
            seen.digest.withUnsafeBytes { fields.field($0) }
            let sealed = try fields.withUnsafeBytes {
                try vault.sealSetting($0, name: Self.setting, version: version + 1)
            }
            let change = StoreChange(
                writes: [.putSetting(name: Self.setting, value: sealed)],
                expectations: [.setting(name: Self.setting, value: value)])
            if try await store.commit(change) == .committed {
                try notice(seen)
                return
            }
        }
        throw DiagnosedError(.storeBusy, fault: .store, "others take a policy at the same time")
    }

    private func notice(_ seen: PolicyHolder.Seen?) throws {
        let wentBack = highest.withLock { highest in
            if let known = highest, (seen?.version ?? 0) < known.version { return true }
            highest = seen
            return false
        }
        guard wentBack else { return }
        throw DiagnosedError(
            "store-rollback", fault: .store, "the policy's highest version in the store is older than the one known",
            expected: "a version that only rises", hint: "somebody put back an old row; find out who has write access")
    }

    /// What a value of the setting says.
    static func seen(in value: [UInt8], vault: RecordVault) throws -> PolicyHolder.Seen? {
        try read(value, vault: vault).seen
    }

    private func read(_ value: [UInt8]?) throws -> (seen: PolicyHolder.Seen?, version: Int64) {
        try Self.read(value, vault: vault)
    }

    private static func read(
        _ value: [UInt8]?, vault: RecordVault
    ) throws -> (seen: PolicyHolder.Seen?, version: Int64) {
        guard let value else { return (nil, 0) }
        return try vault.openSetting(value, name: setting) { bytes, version in
            guard var fields = FieldReader(bytes, format: format), let number = fields.number(), number > 0,
                let digest = fields.octets(), fields.isAtEnd
            else { throw RecordVault.forged("policy") }
            return (PolicyHolder.Seen(version: Int(number), digest: Array(digest)), version)
        }
    }
}
