import Synchronization
package import WireText

/// A key store in front of another that fails or delays chosen calls, for tests of what happens then.
///
/// Faults are numbered by calls from the moment they are injected: `inject(.fail(error), at: 1, of: .commit)` fails
/// the next commit. Each strikes once. Calls without a fault pass through unchanged. Thread-safe.
package final class FaultingKeyStore: KeyStore {
    package enum Operation: Hashable, Sendable { case read, commit, check }

    package enum Fault: Sendable {
        /// Throws instead of doing it.
        case fail(any Error)
        /// Does it and throws: the effect is there, its acknowledgement is lost.
        case loseAnswer(any Error)
        /// Waits, then does it; the closure returns when the test lets it go.
        case delay(@Sendable () async -> Void)
    }

    private struct Planned {
        var remaining: Int
        var fault: Fault
    }

    private struct State {
        var calls: [Operation: Int] = [:]
        var plan: [Operation: [Planned]] = [:]
    }

    private let inner: any KeyStore
    private let state = Mutex(State())

    package init(_ inner: any KeyStore) { self.inner = inner }

    package func inject(_ fault: Fault, at call: Int = 1, of operation: Operation) {
        state.withLock { $0.plan[operation, default: []].append(Planned(remaining: max(1, call), fault: fault)) }
    }

    /// How many calls of that kind came, faulted ones included.
    package func calls(of operation: Operation) -> Int { state.withLock { $0.calls[operation] ?? 0 } }

    private func fault(for operation: Operation) -> Fault? {
        state.withLock { state in
            state.calls[operation, default: 0] += 1
            var struck: Fault?
            var left: [Planned] = []
            for var planned in state.plan[operation] ?? [] {
                planned.remaining -= 1
                if planned.remaining > 0 {
                    left.append(planned)
                } else if struck == nil {
                    struck = planned.fault
                } else {
                    planned.remaining = 1
                    left.append(planned)
                }
            }
            state.plan[operation] = left
            return struck
        }
    }

    private func call<R>(_ operation: Operation, _ body: () async throws -> R) async throws -> R {
        switch fault(for: operation) {
        case nil: return try await body()
        case .fail(let error): throw error
        case .loseAnswer(let error):
            _ = try await body()
            throw error
        case .delay(let released):
            await released()
            return try await body()
        }
    }

    package func key(_ id: String) async throws -> KeyRecord? {
        try await call(.read) { try await inner.key(id) }
    }
    package func key(_ id: String, lookup: @Sendable (_ resource: String) -> [UInt8]) async throws -> KeyWithGrant? {
        try await call(.read) { try await inner.key(id, lookup: lookup) }
    }
    package func keys(
        ofResource resource: String, from: Timestamp?, before: Timestamp?, limit: Int?
    ) async throws -> [KeyRecord] {
        try await call(.read) {
            try await inner.keys(ofResource: resource, from: from, before: before, limit: limit)
        }
    }
    package func keys(ofResource resource: String, behind key: KeyRecord?, limit: Int) async throws -> [KeyRecord] {
        try await call(.read) { try await inner.keys(ofResource: resource, behind: key, limit: limit) }
    }
    package func unboundKeys(after id: String?, limit: Int) async throws -> [KeyRecord] {
        try await call(.read) { try await inner.unboundKeys(after: id, limit: limit) }
    }
    package func resource(_ id: String) async throws -> ResourceRecord? {
        try await call(.read) { try await inner.resource(id) }
    }
    package func erasableKey(ofResource resource: String) async throws -> [UInt8]? {
        try await call(.read) { try await inner.erasableKey(ofResource: resource) }
    }
    package func authorization(_ id: String) async throws -> AuthorizationRecord? {
        try await call(.read) { try await inner.authorization(id) }
    }
    package func authorization(ofResource resource: String, lookup: [UInt8]) async throws -> AuthorizationRecord? {
        try await call(.read) { try await inner.authorization(ofResource: resource, lookup: lookup) }
    }
    package func authorizations(
        ofResource resource: String, includingRemoved: Bool
    ) async throws -> [AuthorizationRecord] {
        try await call(.read) {
            try await inner.authorizations(ofResource: resource, includingRemoved: includingRemoved)
        }
    }
    package func lastRemoval(ofResource resource: String, lookup: [UInt8]) async throws -> AuthorizationRecord? {
        try await call(.read) { try await inner.lastRemoval(ofResource: resource, lookup: lookup) }
    }
    package func session(_ id: String) async throws -> SessionRecord? {
        try await call(.read) { try await inner.session(id) }
    }
    package func sessions(ofUser user: [UInt8], liveAt now: Timestamp) async throws -> Int {
        try await call(.read) { try await inner.sessions(ofUser: user, liveAt: now) }
    }
    package func sessions(ofUser user: [UInt8]?, after id: String?, limit: Int) async throws -> [SessionRecord] {
        try await call(.read) { try await inner.sessions(ofUser: user, after: id, limit: limit) }
    }
    package func ledgerEntry(_ digest: [UInt8]) async throws -> LedgerRecord? {
        try await call(.read) { try await inner.ledgerEntry(digest) }
    }
    package func ledgerAudits(after position: Int64, limit: Int) async throws -> [LedgerAudit] {
        try await call(.read) { try await inner.ledgerAudits(after: position, limit: limit) }
    }
    package func ledgerPosition() async throws -> Int64 {
        try await call(.read) { try await inner.ledgerPosition() }
    }
    package func removedAuthorizations(until moment: Timestamp, limit: Int) async throws -> [AuthorizationRecord] {
        try await call(.read) { try await inner.removedAuthorizations(until: moment, limit: limit) }
    }
    package func resources(after id: String?, limit: Int) async throws -> [ResourceRecord] {
        try await call(.read) { try await inner.resources(after: id, limit: limit) }
    }
    package func deletedResources(until moment: Timestamp, limit: Int) async throws -> [ResourceRecord] {
        try await call(.read) { try await inner.deletedResources(until: moment, limit: limit) }
    }
    package func sealedRows(
        _ table: SealedTable, notUnder version: Int64, after id: String?, limit: Int
    ) async throws -> [SealedRow] {
        try await call(.read) { try await inner.sealedRows(table, notUnder: version, after: id, limit: limit) }
    }
    package func neighbouringSealedRows(
        _ table: SealedTable, notUnder version: Int64, after id: String?, limit: Int
    ) async throws -> [SealedRow] {
        try await call(.read) {
            try await inner.neighbouringSealedRows(table, notUnder: version, after: id, limit: limit)
        }
    }
    package func sealedCounts(_ table: SealedTable) async throws -> [Int64: Int] {
        try await call(.read) { try await inner.sealedCounts(table) }
    }
    package func rootKeys() async throws -> [RootKeyRecord] { try await call(.read) { try await inner.rootKeys() } }
    package func sessionKEK(_ id: Int64) async throws -> SessionKEKRecord? {
        try await call(.read) { try await inner.sessionKEK(id) }
    }
    package func setting(_ name: String) async throws -> [UInt8]? {
        try await call(.read) { try await inner.setting(name) }
    }
    package func rowSums() async throws -> [WriterSum] { try await call(.read) { try await inner.rowSums() } }
    package func isEmpty() async throws -> Bool { try await call(.read) { try await inner.isEmpty() } }
    package func hasExpired(at now: Timestamp) async throws -> Bool {
        try await call(.read) { try await inner.hasExpired(at: now) }
    }
    package func commit(_ change: StoreChange) async throws -> CommitResult {
        try await call(.commit) { try await inner.commit(change) }
    }
    package func check() async throws { try await call(.check) { try await inner.check() } }
    package func stopHolding() { inner.stopHolding() }
    package func close() async { await inner.close() }
}
