import Diagnostics
package import KeyStore
import WireText

/// The subjects that any signed policy has named as services, sealed as one setting of the store.
///
/// Not every provider's token says that it is a service's. Once a policy has said it of a subject, it stays so: an account
/// whose consent was taken out of the policy must not go on as a person.
package struct ServiceSubjects: Sendable {
    static let setting = "policy-services"
    private static let format: UInt8 = 1
    private static let maximum = 100_000

    private let store: any KeyStore
    private let vault: RecordVault

    package init(store: any KeyStore, vault: RecordVault) {
        self.store = store
        self.vault = vault
    }

    package func known() async throws -> Set<String> { try read(try await store.setting(Self.setting)).subjects }

    /// Durable when it returns.
    package func note(_ subjects: Set<String>) async throws {
        for _ in 0..<16 {
            let value = try await store.setting(Self.setting)
            let (known, version) = try read(value)
            guard !subjects.isSubset(of: known) else { return }
            let all = known.union(subjects)
            guard all.count <= Self.maximum else {
                throw DiagnosedError(
                    "service-limit", fault: .configuration, "the policies have named too many services",
                    expected: "at most \(Self.maximum)")
            }
            var fields = FieldWriter(format: Self.format)
            fields.field(Int64(all.count))
            for subject in all.sorted() { fields.field(subject) }
            let sealed = try fields.withUnsafeBytes {
                try vault.sealSetting($0, name: Self.setting, version: version + 1)
            }
            let change = StoreChange(
                writes: [.putSetting(name: Self.setting, value: sealed)],
                expectations: [.setting(name: Self.setting, value: value)])
            if try await store.commit(change) == .committed { return }
        }
        throw DiagnosedError(.storeBusy, fault: .store, "others take a policy at the same time")
    }

    private func read(_ value: [UInt8]?) throws -> (subjects: Set<String>, version: Int64) {
        guard let value else { return ([], 0) }
        return try vault.openSetting(value, name: Self.setting) { bytes, version in
            guard var fields = FieldReader(bytes, format: Self.format), let count = fields.number(),
                (0...Int64(Self.maximum)).contains(count)
            else { throw RecordVault.forged("list of services") }
            var subjects: Set<String> = []
            for _ in 0..<count {
                guard let subject = fields.text() else { throw RecordVault.forged("list of services") }
                subjects.insert(subject)
            }
            guard fields.isAtEnd else { throw RecordVault.forged("list of services") }
            return (subjects, version)
        }
    }
}
