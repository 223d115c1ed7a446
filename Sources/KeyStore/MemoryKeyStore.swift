import Diagnostics
import Synchronization
package import WireText

/// A key store that lives in memory: complete in its semantics, durable for as long as the process runs.
///
/// For tests, benchmarks of what lies above a store, and the model that other stores are compared with. Thread-safe;
/// never suspends.
package final class MemoryKeyStore: KeyStore {
    private let tables = Mutex<MemoryState?>(MemoryState())

    package init() {}

    private func read<R>(_ body: (borrowing MemoryState) throws -> sending R) throws -> sending R {
        try tables.withLock { state in
            guard let open = state else { throw DiagnosedError.keyStoreClosed }
            return try body(open)
        }
    }

    package func key(_ id: String) async throws -> KeyRecord? { try read { $0.key(id) } }

    package func key(_ id: String, lookup: @Sendable (_ resource: String) -> [UInt8]) async throws -> KeyWithGrant? {
        try read { state -> KeyWithGrant? in
            guard let key = state.key(id) else { return nil }
            let grant = key.resource.map { MemoryState.Grant(resource: $0, lookup: lookup($0)) }
            return KeyWithGrant(
                key: key, resource: key.resource.flatMap { state.resources[$0] },
                authorization: grant.flatMap { state.liveAuthorization[$0] }.flatMap { state.authorizations[$0] })
        }
    }

    package func keys(
        ofResource resource: String, from: Timestamp?, before: Timestamp?, limit: Int?
    ) async throws -> [KeyRecord] {
        let bound = try read { state in (state.keysOfResource[resource] ?? []).compactMap { state.key($0) } }
        let within = bound.filter { key in
            guard let boundAt = key.boundAt else { return false }
            return from.map { boundAt >= $0 } ?? true && before.map { boundAt < $0 } ?? true
        }
        let newestFirst = within.sorted { left, right in
            left.boundAt == right.boundAt ? left.id > right.id : left.boundAt! > right.boundAt!  // filtered above
        }
        return Array(newestFirst.prefix(limit.map { max(0, $0) } ?? .max))
    }

    package func keys(ofResource resource: String, behind key: KeyRecord?, limit: Int) async throws -> [KeyRecord] {
        func place(_ key: KeyRecord) -> (Timestamp, String) { (key.boundAt ?? Timestamp(milliseconds: .min), key.id) }
        let bound = try read { state in (state.keysOfResource[resource] ?? []).compactMap { state.key($0) } }
        return Array(
            bound.filter { other in key.map { place(other) > place($0) } ?? true }
                .sorted { place($0) < place($1) }.prefix(max(0, limit)))
    }

    package func unboundKeys(after id: String?, limit: Int) async throws -> [KeyRecord] {
        let unbound = try read { state in state.keys.values.filter { $0.resource == nil } }
        return Array(
            unbound.filter { key in id.map { key.id > $0 } ?? true }.sorted { $0.id < $1.id }.prefix(max(0, limit)))
    }

    package func resource(_ id: String) async throws -> ResourceRecord? { try read { $0.resources[id] } }

    package func erasableKey(ofResource resource: String) async throws -> [UInt8]? {
        try read { $0.erasableKeys[resource] }
    }

    package func authorization(_ id: String) async throws -> AuthorizationRecord? {
        try read { $0.authorizations[id] }
    }

    package func authorization(ofResource resource: String, lookup: [UInt8]) async throws -> AuthorizationRecord? {
        try read { state in
            state.liveAuthorization[MemoryState.Grant(resource: resource, lookup: lookup)]
                .flatMap { state.authorizations[$0] }
        }
    }

    package func authorizations(
        ofResource resource: String, includingRemoved: Bool
    ) async throws -> [AuthorizationRecord] {
        let all = try read { state in
            (state.authorizationsOfResource[resource] ?? []).compactMap { state.authorizations[$0] }
        }
        return all.filter { includingRemoved || $0.removedAt == nil }
            .sorted { ($0.order, $0.id) < ($1.order, $1.id) }
    }

    package func lastRemoval(ofResource resource: String, lookup: [UInt8]) async throws -> AuthorizationRecord? {
        try await authorizations(ofResource: resource, includingRemoved: true)
            .filter { $0.lookup == lookup && $0.removedAt != nil }
            .max { ($0.removedAt!, $0.order, $0.id) < ($1.removedAt!, $1.order, $1.id) }  // filtered above
    }

    package func session(_ id: String) async throws -> SessionRecord? { try read { $0.sessions[id] } }

    package func sessions(ofUser user: [UInt8], liveAt now: Timestamp) async throws -> Int {
        try read { $0.sessions.values.count { $0.user == user && $0.expires > now } }
    }

    package func sessions(ofUser user: [UInt8]?, after id: String?, limit: Int) async throws -> [SessionRecord] {
        let all = try read { state in
            state.sessions.values.filter { session in user.map { session.user == $0 } ?? true }
        }
        return Array(
            all.filter { session in id.map { session.id > $0 } ?? true }.sorted { $0.id < $1.id }.prefix(max(0, limit)))
    }

    package func ledgerEntry(_ digest: [UInt8]) async throws -> LedgerRecord? { try read { $0.ledger[digest] } }

    package func ledgerAudits(after position: Int64, limit: Int) async throws -> [LedgerAudit] {
        let all = try read { state in
            state.ledgerPositions.filter { $0.key > position }.compactMap { position, digest in
                state.ledger[digest].map { LedgerAudit(position: position, audit: $0.audit) }
            }
        }
        return Array(all.filter { !$0.audit.isEmpty }.sorted { $0.position < $1.position }.prefix(limit))
    }

    package func ledgerPosition() async throws -> Int64 {
        try read { state in
            state.ledgerPositions.filter { state.ledger[$0.value] != nil }.keys.max() ?? 0
        }
    }

    package func resources(after id: String?, limit: Int) async throws -> [ResourceRecord] {
        let all = try read { Array($0.resources.values) }
        let behind = all.filter { record in id.map { record.id > $0 } ?? true }
        return Array(behind.sorted { $0.id < $1.id }.prefix(limit))
    }

    package func deletedResources(until moment: Timestamp, limit: Int) async throws -> [ResourceRecord] {
        let all = try read { Array($0.resources.values) }
        let deleted = all.filter { $0.deletedAt.map { $0 <= moment } ?? false }
        // Filtered above: both are deleted.
        return Array(deleted.sorted { ($0.deletedAt!, $0.id) < ($1.deletedAt!, $1.id) }.prefix(limit))
    }

    package func removedAuthorizations(until moment: Timestamp, limit: Int) async throws -> [AuthorizationRecord] {
        let all = try read { Array($0.authorizations.values) }
        let removed = all.filter { $0.removedAt.map { $0 <= moment } ?? false }
        // Filtered above: both are removed.
        return Array(removed.sorted { ($0.removedAt!, $0.id) < ($1.removedAt!, $1.id) }.prefix(limit))
    }

    package func sealedRows(
        _ table: SealedTable, notUnder version: Int64, after id: String?, limit: Int
    ) async throws -> [SealedRow] {
        let rows = try read { $0.sealedRows(table) }
        let behind = rows.filter { row in
            table.generation(of: row.value) != UInt32(exactly: version) && id.map { table.precedes($0, row.id) } ?? true
        }
        return Array(behind.sorted { table.precedes($0.id, $1.id) }.prefix(max(0, limit)))
    }

    package func sealedCounts(_ table: SealedTable) async throws -> [Int64: Int] {
        try read { $0.sealedRows(table) }.reduce(into: [:]) { counts, row in
            if let generation = table.generation(of: row.value) { counts[Int64(generation), default: 0] += 1 }
        }
    }

    package func rootKeys() async throws -> [RootKeyRecord] {
        try read { $0.rootKeys.values.sorted { $0.version < $1.version } }
    }

    package func sessionKEK(_ id: Int64) async throws -> SessionKEKRecord? { try read { $0.sessionKEKs[id] } }

    package func setting(_ name: String) async throws -> [UInt8]? { try read { $0.settings[name] } }

    package func rowSums() async throws -> [WriterSum] {
        try read { $0.sums.values.sorted { $0.writer < $1.writer } }
    }

    package func isEmpty() async throws -> Bool {
        try read { state in
            state.keys.isEmpty && state.resources.isEmpty && state.authorizations.isEmpty && state.sessions.isEmpty
                && state.ledger.isEmpty && state.sessionKEKs.isEmpty && state.rootKeys.isEmpty
                && state.settings.isEmpty
        }
    }

    package func hasExpired(at now: Timestamp) async throws -> Bool { try read { $0.hasExpired(now) } }

    package func commit(_ change: StoreChange) async throws -> CommitResult {
        try change.validate()
        return try tables.withLock { state throws(DiagnosedError) in
            guard state != nil else { throw .keyStoreClosed }
            return state!.commit(change)  // not nil, checked above; in place, so that no table is copied
        }
    }

    package func check() async throws { try read { _ in } }

    package func close() async { tables.withLock { $0 = nil } }
}
