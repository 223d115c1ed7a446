import KMSProtocol
package import KeyStore
package import WireText

/// Deleted resources on their way out (security model, rule 13):
///
/// 1. A member's deletion makes keys unreadable at once and keeps them sealed for the policy's time.
/// 2. After that time the resource, its keys and its list are erased, unless the resource is held.
/// 3. Whether it is held is judged inside the transaction that erases: a hold that came meanwhile wins.
package struct Tombstones: Sendable {
    private let store: any KeyStore
    private let vault: RecordVault
    private let policy: PolicyInForce
    private static let page = 100

    package init(store: any KeyStore, vault: RecordVault, policy: KMSPolicy) {
        self.init(store: store, vault: vault, inForce: PolicyInForce(policy))
    }

    package init(store: any KeyStore, vault: RecordVault, inForce: PolicyInForce) {
        self.store = store
        self.vault = vault
        policy = inForce
    }

    /// Erases what is due; how many resources that were. Safe to run on several nodes at a time.
    package func erase(now: Timestamp) async throws -> Int {
        let due = now.adding(seconds: -policy.current.values.tombstoneLife)
        var erased = 0
        var passed: Set<String> = []
        while true {
            let records = try await store.deletedResources(until: due, limit: Self.page + passed.count)
                .filter { !passed.contains($0.id) }
            guard !records.isEmpty else { return erased }
            for record in records {
                // Whatever happens to it, it is looked at once: what is held must not keep the walk going.
                passed.insert(record.id)
                _ = try vault.content(record)
                let (holds, sealed) = try await HoldList.read(store, vault)
                guard !holds.contains(record.id) else { continue }
                let change = StoreChange(
                    writes: [.eraseResource(id: record.id, version: record.version)],
                    expectations: [.setting(name: HoldList.setting, value: sealed)])
                if try await store.commit(change) == .committed { erased += 1 }
            }
        }
    }
}

/// The resources that must not be erased, sealed as one setting of the store.
package struct HoldList: Sendable, Equatable {
    static let setting = "holds"
    private static let format: UInt8 = 1

    /// Ids of resources with the reason of each hold.
    private var reasons: [String: String] = [:]
    private var version: Int64 = 0

    func contains(_ resource: String) -> Bool { reasons[resource] != nil }

    func reason(_ resource: String) -> String? { reasons[resource] }

    package var resources: [String] { reasons.keys.sorted() }

    /// The resources with the reason of each hold.
    package var entries: [(resource: String, reason: String)] {
        reasons.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// What is held now.
    package static func standing(_ store: any KeyStore, _ vault: RecordVault) async throws -> HoldList {
        try await read(store, vault).0
    }

    /// The list with what the store holds, for an expectation.
    static func read(_ store: any KeyStore, _ vault: RecordVault) async throws -> (HoldList, [UInt8]?) {
        let sealed = try await store.setting(setting)
        return (try read(sealed, vault), sealed)
    }

    static func read(_ sealed: [UInt8]?, _ vault: RecordVault) throws -> HoldList {
        guard let sealed else { return HoldList() }
        return try vault.openSetting(sealed, name: setting) { bytes, version in
            guard var list = HoldList(bytes) else { throw RecordVault.forged("hold list") }
            list.version = version
            return list
        }
    }

    /// Adds or ends holds; `reason` nil ends them.
    package static func change(
        _ ids: [String], reason: String?, store: any KeyStore, vault: RecordVault
    ) async throws {
        for _ in 0..<16 {
            var (list, sealed) = try await read(store, vault)
            for id in ids { list.reasons[id] = reason }
            let fields = list.encoded()
            let value = try fields.withUnsafeBytes {
                try vault.sealSetting($0, name: setting, version: list.version + 1)
            }
            let change = StoreChange(
                writes: [.putSetting(name: setting, value: value)],
                expectations: [.setting(name: setting, value: sealed)])
            if try await store.commit(change) == .committed { return }
        }
        throw KMSFailure(KMSStatus.tooManyRequests, "others change the hold list at the same time; try again")
    }

    private func encoded() -> FieldWriter {
        var fields = FieldWriter(format: Self.format)
        fields.field(Int64(reasons.count))
        for (id, reason) in reasons.sorted(by: { $0.key < $1.key }) {
            fields.field(id)
            fields.field(reason)
        }
        return fields
    }

    private init() {}

    private init?(_ bytes: UnsafeRawBufferPointer) {
        guard var fields = FieldReader(bytes, format: Self.format), let count = fields.number(),
            (0...1_000_000).contains(count)
        else { return nil }
        for _ in 0..<count {
            guard let id = fields.text(), let reason = fields.text() else { return nil }
            reasons[id] = reason
        }
        guard fields.isAtEnd else { return nil }
    }
}
