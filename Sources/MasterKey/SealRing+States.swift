import KeyStore
import SecretMemory

// The states of root keys stand in clear in their table, where the store judges by them. The journal of rotations has them
// sealed: somebody who makes a retired version active again in the database is noticed, and nothing is sealed under it.
extension SealRing {
    /// The root keys as they are, with the value of the journal that belongs to them.
    static func records(
        in store: any KeyStore
    ) async throws -> (records: [RootKeyRecord], journal: [UInt8]?) {
        var journal = try await store.setting(RootKeyRotation.setting)
        for _ in 0..<16 {
            let records = try await store.rootKeys()
            let after = try await store.setting(RootKeyRotation.setting)
            // Whoever changes a state replaces the journal in the same transaction.
            if after == journal { return (records, journal) }
            journal = after
        }
        throw RootKeyRotation.contended
    }

    /// Why the records are not what the journal says; nil when they are, or when no journal says anything.
    static func trouble(
        _ records: [RootKeyRecord], journal value: [UInt8]?, wasThere: Bool,
        open: (_ value: [UInt8]) throws -> RotationJournal?
    ) -> String? {
        guard let value else { return wasThere ? "the journal of rotations is missing" : nil }
        guard let journal = try? open(value) else {
            return "the journal of rotations does not open"
        }
        guard let states = journal.states else { return nil }
        for record in records where states[record.version] != record.state {
            let expected = states[record.version]?.rawValue ?? "no such version"
            return "version \(record.version) of the root key is \(record.state.rawValue), expected \(expected)"
        }
        let missing = Set(states.keys).subtracting(records.map(\.version)).sorted().first
        return missing.map { "version \($0) of the root key is missing" }
    }
}

extension RootKeyRotation {
    /// Gives every version the state that the journal says, for an officer who was shown that they differ.
    package func restoreStates() async throws {
        let (records, value) = try await SealRing.records(in: store)
        guard let value, let journal = try open(value), let states = journal.states else { return }
        let wrong = records.filter { record in states[record.version].map { $0 != record.state } ?? false }
        // The one active version becomes another before a second one can be.
        let writes = wrong.sorted { left, _ in left.state == .active }.map { record in
            var record = record
            record.state = states[record.version] ?? record.state
            return StoreWrite.updateRootKey(record)
        }
        guard !writes.isEmpty else { return }
        let change = StoreChange(writes: writes, expectations: [.setting(name: Self.setting, value: value)])
        guard try await store.commit(change) == .committed else { throw Self.contended }
        try await ring.refresh()
    }

    func open(_ value: [UInt8]) throws -> RotationJournal? {
        let plain = try ring.open(
            Array(value.dropFirst(SealedTable.settingOffset)), kind: .setting, id: Self.setting,
            version: SealedTable.settingVersion(value))
        return plain.withUnsafeBytes { RotationJournal($0) }
    }

    /// The states behind a change of root keys.
    func states(after writes: [StoreWrite]) -> [Int64: RootKeyRecord.State] {
        var states = Dictionary(ring.records.map { ($0.version, $0.state) }, uniquingKeysWith: { first, _ in first })
        for write in writes {
            switch write {
            case .insertRootKey(let record), .updateRootKey(let record): states[record.version] = record.state
            case .deleteRootKey(let version): states[version] = nil
            default: break
            }
        }
        return states
    }
}
