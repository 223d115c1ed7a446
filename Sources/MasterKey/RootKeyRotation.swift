import Cryptography
package import Diagnostics
package import KeyStore
import SecretMemory
package import WireText

/// Changes the root key while the KMS works: a new version is made, proved by every node, promoted, and the old one is
/// retired when nothing stands under it any more (docs/keys-at-rest.md).
///
/// Each step is one transaction that expects the journal it decided on; what a crash leaves is the state before a step
/// or behind it. Between promotion and retirement `Resealer` does the work. Any node may take any step.
package struct RootKeyRotation: Sendable {
    static let setting = "root-rotation"
    /// A node that was not seen for so long is gone, and does not hold a promotion up; it can not start or go on without
    /// the new version.
    package static let lease: Int64 = 10
    /// How long a destruction can be undone, unless another time is asked for.
    package static let undoWindow: Int64 = 7 * 86_400
    private static let trialIdentity = RecordSeal.Identity(kind: .setting, id: "root-key-trial", version: 1)

    package let store: any KeyStore
    package let ring: SealRing

    package init(store: any KeyStore, ring: SealRing) {
        self.store = store
        self.ring = ring
    }

    package func journal() async throws -> RotationJournal { try await read().journal }

    // MARK: Every node

    /// Takes over what changed, opens the trial record of a version that is staged, and writes down that it did. Called
    /// by each node twice in each lease.
    package func beat(node: String, now: Timestamp) async throws {
        var failure: (any Error)?
        try await change { journal, _ in
            var proved = ring.activeVersion
            failure = nil
            if let trial = journal.trial, trial.version > proved {
                do {
                    _ = try ring.open(trial.sealed, kind: .setting, id: Self.trialIdentity.id, version: 1)
                    proved = trial.version
                } catch {
                    failure = error
                }
            }
            journal.nodes[node] = RotationJournal.Node(seen: now, proved: proved, kek: ring.fingerprint)
            if journal.ownKEKs[node] != nil { journal.ownKEKs[node] = ring.fingerprint }
            // A node that is gone for a day is no node.
            journal.nodes = journal.nodes.filter { $0.value.seen > now.adding(seconds: -86_400) }
            return []
        }
        // Written down as not proved before it is thrown: this node holds the promotion up.
        if let failure { throw failure }
    }

    // MARK: The steps

    /// Makes a new version that seals nothing yet; answers its number, which is above `above`. `nodes`: by name, the public
    /// keys of nodes, for those that do not work with this node's key-encryption key.
    package func generate(
        now: Timestamp, escrow: [any RootKeyHolder] = [], nodes: [String: any RootKeyHolder] = [:], above: Int64 = 0
    ) async throws -> Int64 {
        var made: Int64 = 0
        try await change { journal, records in
            if let open = records.first(where: { $0.state == .inert || $0.state == .retiring }) {
                throw Self.refused(
                    "version \(open.version) of the root key is \(open.state.rawValue)", "no rotation under way",
                    "finish that rotation first, or take it back with 'hdsctl master-key undo'")
            }
            guard let active = records.first(where: { $0.state == .active }),
                let last = records.last.map({ max($0.version, above) }), last < UInt32.max
            else { throw Self.refused("there is no active root key", "one", "restore the key store from a backup") }
            let others = nodes.filter { journal.nodes[$0.key]?.kek != ring.fingerprint }
            let covered = Set(others.keys.compactMap { journal.nodes[$0]?.kek ?? journal.ownKEKs[$0] })
            guard Set(active.keks).subtracting(covered) == [ring.fingerprint] else {
                throw Self.refused(
                    "the key-encryption key is being changed", "one holder", "finish that with --finish first")
            }
            made = last + 1
            let root = try SymmetricKey.random()
            var record = RootKeyRecord(version: made, state: .inert, wraps: [:], created: now)
            for holder in [ring.kek] + escrow + Array(others.values) {
                record.wraps[holder.holder] = try holder.wrap(root, version: made)
            }
            journal.trial = RotationJournal.Trial(
                version: made, sealed: try ring.seal(trial: Self.trialIdentity, under: made, key: root))
            return [.insertRootKey(record)]
        }
        return made
    }

    /// Makes the new version the one that everything is sealed under from now on; answers its number. `gone`: nodes that
    /// were removed and may still say that they live.
    package func promote(now: Timestamp, without gone: Set<String> = []) async throws -> Int64 {
        var promoted: Int64 = 0
        try await change { journal, records in
            guard var next = records.first(where: { $0.state == .inert }),
                var old = records.first(where: { $0.state == .active })
            else { throw Self.refused("no new version is there", "an inert version", "run generate first") }
            let live = journal.live(at: now).filter { !gone.contains($0.key) }
            let missing = live.filter { $0.value.proved < next.version }.keys.sorted()
            guard !live.isEmpty, missing.isEmpty else {
                throw Self.refused(
                    "not every node has proved version \(next.version) of the root key",
                    "a proof of each node that was seen in the last \(Self.lease) s",
                    "wait a few seconds; a node that can not open the new version says so in its log",
                    found: missing.isEmpty ? "no node at all" : "none of " + missing.joined(separator: ", "))
            }
            old.state = .retiring
            next.state = .active
            promoted = next.version
            journal.trial = nil
            journal.promotion = .init(from: old.version, to: next.version, at: now)
            return [.updateRootKey(old), .updateRootKey(next)]
        }
        try await ring.refresh()
        return promoted
    }

    /// Closes the old version, in the transaction that counts 0 values under it; answers its number, or nil while there
    /// are some, or nothing is to be retired.
    package func retire(now: Timestamp) async throws -> Int64? {
        let (value, journal, records) = try await read()
        guard let old = records.first(where: { $0.state == .retiring }) else { return nil }
        // Without holding up writers; that a look at every row inside the transaction finds nothing is then likely.
        for table in SealedTable.allCases where try await store.sealedCounts(table)[old.version] ?? 0 > 0 { return nil }
        var next = journal
        if next.promotion?.from == old.version { next.promotion?.retired = now }
        var retired = old
        retired.state = .retired
        let done = try await commit(
            next, over: value, [.updateRootKey(retired)],
            [.nothingUnderRoot(version: old.version)])
        if done { try await ring.refresh() }
        return done ? old.version : nil
    }

    /// Has a retired version's wraps deleted when the window is over; answers when that is.
    package func destroy(_ version: Int64, window: Int64 = undoWindow, now: Timestamp) async throws -> Timestamp {
        let due = now.adding(seconds: max(0, window))
        try await change { journal, records in
            guard let record = records.first(where: { $0.version == version }), record.state == .retired else {
                let state = records.first { $0.version == version }?.state.rawValue
                throw Self.refused(
                    "version \(version) of the root key can not be destroyed", "a retired version",
                    "destroy is for a version under which nothing stands", found: state ?? "no such version")
            }
            guard journal.destruction == nil else {
                throw Self.refused("a destruction is under way", "none", "wait for it, or undo it")
            }
            journal.destruction = .init(version: version, due: due)
            return []
        }
        return due
    }

    /// Deletes the wraps whose window is over; answers the version.
    package func destroyDue(now: Timestamp) async throws -> Int64? {
        guard let due = try await journal().destruction, due.due <= now else { return nil }
        var destroyed: Int64?
        try await change { journal, records in
            destroyed = nil
            guard journal.destruction == due, var record = records.first(where: { $0.version == due.version }) else {
                return []
            }
            journal.destruction = nil
            guard record.state == .retired else { return [] }
            record.state = .destroyed
            record.wraps = [:]
            destroyed = record.version
            return [.updateRootKey(record)]
        }
        try await ring.refresh()
        return destroyed
    }

    package enum Undone: Sendable, Equatable {
        case destruction(Int64)
        /// The old version is active again, and what was sealed under the new one is sealed again.
        case promotion(Int64)
        /// The new version is gone: nothing was sealed under it.
        case generation(Int64)
    }

    /// Takes the last step back that can be taken back.
    package func undo(now: Timestamp) async throws -> Undone {
        var undone: Undone?
        try await change { journal, records in
            if let destruction = journal.destruction {
                journal.destruction = nil
                undone = .destruction(destruction.version)
                return []
            }
            if let inert = records.first(where: { $0.state == .inert }) {
                journal.trial = nil
                undone = .generation(inert.version)
                return [.deleteRootKey(version: inert.version)]
            }
            guard var old = records.first(where: { $0.state == .retiring }),
                var new = records.first(where: { $0.state == .active })
            else { throw Self.refused("there is nothing to undo", "a step that can be taken back", "see status") }
            old.state = .active
            new.state = .retiring
            journal.promotion = .init(from: new.version, to: old.version, at: now)
            undone = .promotion(new.version)
            return [.updateRootKey(new), .updateRootKey(old)]
        }
        try await ring.refresh()
        guard let undone else { throw Self.contended }
        return undone
    }

    // MARK: The key-encryption key

    /// Wraps every version for another key-encryption key as well: nodes start with either.
    package func add(_ kek: some RootKeyWrapping) async throws {
        try await change { _, records in
            try records.filter { $0.state != .destroyed && $0.wraps[kek.holder] == nil }.map { record in
                var record = record
                record.wraps[kek.holder] = try kek.wrap(ring.root(record.version), version: record.version)
                return .updateRootKey(record)
            }
        }
        try await ring.refresh()
    }

    /// Drops the wraps of all key-encryption keys but the one that this node works with, which must have all versions.
    ///
    /// Refused while a node with a lease works with another one: it could not start again.
    package func dropOtherKEKs(now: Timestamp) async throws {
        try await change { journal, records in
            let own = Set(journal.ownKEKs.values).subtracting([ring.fingerprint])
            let others = journal.live(at: now).filter { node in
                node.value.kek != ring.fingerprint && node.value.kek.map { !own.contains($0) } ?? true
            }
            guard others.isEmpty else {
                throw Self.refused(
                    "not every node works with the new key-encryption key", "\(ring.fingerprint) at each of them",
                    "restart those nodes with the new key first",
                    found: others.sorted { $0.key < $1.key }.map { "\($0.value.kek ?? "unknown") at \($0.key)" }
                        .joined(separator: ", "))
            }
            return try records.filter { $0.state != .destroyed }.compactMap { record -> StoreWrite? in
                guard record.wraps[ring.kek.holder] != nil else {
                    throw Self.refused(
                        "version \(record.version) of the root key is not wrapped by \(ring.fingerprint)",
                        "a wrap by the key-encryption key of this node", "run change-kek --to first")
                }
                var left = record
                for kek in record.keks where kek != ring.fingerprint && !own.contains(kek) {
                    left.wraps[RootKeyRecord.holder(kek: kek)] = nil
                }
                return left == record ? nil : .updateRootKey(left)
            }
        }
        try await ring.refresh()
    }

    // MARK: The escrow

    /// Wraps every version for the escrow as well, and drops the wraps for escrows before it. Cheap when all is so.
    package func wrap(for escrow: some RootKeyHolder) async throws {
        try await change { _, records in
            try records.filter { $0.state != .destroyed }.compactMap { record in
                var wrapped = record
                wrapped.wraps = record.wraps.filter { !$0.key.hasPrefix("escrow ") || $0.key == escrow.holder }
                if wrapped.wraps[escrow.holder] == nil {
                    wrapped.wraps[escrow.holder] = try escrow.wrap(ring.root(record.version), version: record.version)
                }
                return wrapped == record ? nil : .updateRootKey(wrapped)
            }
        }
        try await ring.refresh()
    }

    // MARK: Reading and changing

    func read() async throws -> (value: [UInt8]?, journal: RotationJournal, records: [RootKeyRecord]) {
        // The value first: whoever changes root keys changes it, so older records with a newer value can not be.
        let value = try await store.setting(Self.setting)
        try await ring.refresh()
        let records = ring.records
        guard let value else { return (nil, RotationJournal(), records) }
        let version = Self.version(of: value)
        let plain = try ring.open(Array(value.dropFirst(8)), kind: .setting, id: Self.setting, version: version)
        guard let journal = plain.withUnsafeBytes({ RotationJournal($0) }) else { throw RecordSeal.broken(.setting) }
        return (value, journal, records)
    }

    private static func version(of value: [UInt8]?) -> Int64 {
        value?.prefix(8).reduce(Int64(0)) { $0 << 8 | Int64($1) } ?? 0
    }

    /// Reads, decides and commits, until nobody came between.
    func change(
        _ body: (inout RotationJournal, [RootKeyRecord]) throws -> [StoreWrite]
    ) async throws {
        for _ in 0..<16 {
            let (value, journal, records) = try await read()
            var next = journal
            let writes = try body(&next, records)
            if writes.isEmpty && next == journal { return }
            if try await commit(next, over: value, writes, []) { return }
        }
        throw Self.contended
    }

    private func commit(
        _ next: RotationJournal, over value: [UInt8]?, _ writes: [StoreWrite],
        _ expectations: [StoreExpectation]
    ) async throws -> Bool {
        var next = next
        next.states = states(after: writes)
        let version = Self.version(of: value) + 1
        let sealed = try Array(next.text().utf8).withUnsafeBytes {
            try ring.seal($0, kind: .setting, id: Self.setting, version: version)
        }
        // First the journal, then the root keys: its own seal is judged by the states from before.
        let put = StoreWrite.putSetting(
            name: Self.setting, value: withUnsafeBytes(of: version.bigEndian) { Array($0) } + sealed)
        let change = StoreChange(
            writes: [put] + writes, expectations: [.setting(name: Self.setting, value: value)] + expectations)
        return try await store.commit(change) == .committed
    }

    private static func refused(
        _ what: String, _ expected: String, _ hint: String, found: String? = nil
    ) -> DiagnosedError {
        DiagnosedError(.rotationRefused, fault: .client, what, expected: expected, found: found, hint: hint)
    }

    static let contended = DiagnosedError(
        .rotationRefused, fault: .store, "others change the root keys at the same time", hint: "try again")
}

extension DiagnosedError.Code {
    /// A step of a rotation of the root key that can not be taken now.
    package static let rotationRefused: Self = "rotation-refused"
}
