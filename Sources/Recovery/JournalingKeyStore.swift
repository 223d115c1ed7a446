package import KeyManagement
package import KeyStore
package import WireText

/// A key store that writes down what a change takes away before it is done (security model, rule 20).
///
/// 1. Changes that take nothing away, nearly all, go straight through.
/// 2. What a change takes away is in the journal, on the disk, before the change is committed; when it can not be
///    written, nothing is changed. So whatever is acknowledged is in the journal, wherever a crash comes.
/// 3. A change that was not committed is named as void there. Where its outcome is not known, it is not: a restore takes
///    away what somebody who may was about to take away.
/// 4. What allows something, the end of a freeze, is written down behind its commit: a restore rather keeps a freeze.
package final class JournalingKeyStore: KeyStore {
    private let inner: any KeyStore
    private let journal: RemovalJournal
    private let capture: RemovalCapture
    private let clock: @Sendable () -> Timestamp

    package init(
        _ inner: any KeyStore, journal: RemovalJournal, vault: RecordVault,
        clock: @escaping @Sendable () -> Timestamp = { Timestamp.now() }
    ) {
        (self.inner, self.journal, self.clock) = (inner, journal, clock)
        capture = RemovalCapture(store: inner, vault: vault)
    }

    package func commit(_ change: StoreChange) async throws -> CommitResult {
        let removals = try await capture.removals(in: change, now: clock())
        guard !removals.isEmpty else { return try await inner.commit(change) }
        let position = try await inner.ledgerPosition()
        let firm = removals.filter { !$0.isLoosening }
        let number = firm.isEmpty ? nil : try await journal.append(firm, position: position, now: clock())
        let result = try await inner.commit(change)
        guard result == .committed else {
            if let number { journal.void(number, position: position, now: clock()) }
            return result
        }
        let loosened = removals.filter(\.isLoosening)
        if !loosened.isEmpty { _ = try await journal.append(loosened, position: position, now: clock()) }
        return result
    }

    package func key(_ id: String) async throws -> KeyRecord? {
        try await inner.key(id)
    }
    package func key(
        _ id: String, lookup: @Sendable (_ resource: String) -> [UInt8]
    ) async throws -> KeyWithGrant? {
        try await inner.key(id, lookup: lookup)
    }
    package func keys(
        ofResource resource: String, from: Timestamp?, before: Timestamp?, limit: Int?
    ) async throws -> [KeyRecord] {
        try await inner.keys(ofResource: resource, from: from, before: before, limit: limit)
    }
    package func keys(ofResource resource: String, behind key: KeyRecord?, limit: Int) async throws -> [KeyRecord] {
        try await inner.keys(ofResource: resource, behind: key, limit: limit)
    }
    package func unboundKeys(after id: String?, limit: Int) async throws -> [KeyRecord] {
        try await inner.unboundKeys(after: id, limit: limit)
    }
    package func resource(_ id: String) async throws -> ResourceRecord? {
        try await inner.resource(id)
    }
    package func erasableKey(ofResource resource: String) async throws -> [UInt8]? {
        try await inner.erasableKey(ofResource: resource)
    }
    package func authorization(_ id: String) async throws -> AuthorizationRecord? {
        try await inner.authorization(id)
    }
    package func authorization(ofResource resource: String, lookup: [UInt8]) async throws -> AuthorizationRecord? {
        try await inner.authorization(ofResource: resource, lookup: lookup)
    }
    package func authorizations(
        ofResource resource: String, includingRemoved: Bool
    ) async throws -> [AuthorizationRecord] {
        try await inner.authorizations(ofResource: resource, includingRemoved: includingRemoved)
    }
    package func lastRemoval(ofResource resource: String, lookup: [UInt8]) async throws -> AuthorizationRecord? {
        try await inner.lastRemoval(ofResource: resource, lookup: lookup)
    }
    package func session(_ id: String) async throws -> SessionRecord? {
        try await inner.session(id)
    }
    package func sessions(ofUser user: [UInt8], liveAt now: Timestamp) async throws -> Int {
        try await inner.sessions(ofUser: user, liveAt: now)
    }
    package func sessions(ofUser user: [UInt8]?, after id: String?, limit: Int) async throws -> [SessionRecord] {
        try await inner.sessions(ofUser: user, after: id, limit: limit)
    }
    package func ledgerEntry(_ digest: [UInt8]) async throws -> LedgerRecord? {
        try await inner.ledgerEntry(digest)
    }
    package func ledgerAudits(after position: Int64, limit: Int) async throws -> [LedgerAudit] {
        try await inner.ledgerAudits(after: position, limit: limit)
    }
    package func ledgerPosition() async throws -> Int64 {
        try await inner.ledgerPosition()
    }
    package func removedAuthorizations(until moment: Timestamp, limit: Int) async throws -> [AuthorizationRecord] {
        try await inner.removedAuthorizations(until: moment, limit: limit)
    }
    package func resources(after id: String?, limit: Int) async throws -> [ResourceRecord] {
        try await inner.resources(after: id, limit: limit)
    }
    package func deletedResources(until moment: Timestamp, limit: Int) async throws -> [ResourceRecord] {
        try await inner.deletedResources(until: moment, limit: limit)
    }
    package func neighbouringSealedRows(
        _ table: SealedTable, notUnder version: Int64, after id: String?, limit: Int
    ) async throws -> [SealedRow] {
        try await inner.neighbouringSealedRows(table, notUnder: version, after: id, limit: limit)
    }
    package func sealedRows(
        _ table: SealedTable, notUnder version: Int64, after id: String?, limit: Int
    ) async throws -> [SealedRow] {
        try await inner.sealedRows(table, notUnder: version, after: id, limit: limit)
    }
    package func sealedCounts(_ table: SealedTable) async throws -> [Int64: Int] {
        try await inner.sealedCounts(table)
    }
    package func rootKeys() async throws -> [RootKeyRecord] { try await inner.rootKeys() }
    package func sessionKEK(_ id: Int64) async throws -> SessionKEKRecord? {
        try await inner.sessionKEK(id)
    }
    package func setting(_ name: String) async throws -> [UInt8]? {
        try await inner.setting(name)
    }
    package func rowSums() async throws -> [WriterSum] { try await inner.rowSums() }
    package func isEmpty() async throws -> Bool { try await inner.isEmpty() }
    package func hasExpired(at now: Timestamp) async throws -> Bool {
        try await inner.hasExpired(at: now)
    }
    package func stopHolding() { inner.stopHolding() }
    package func check() async throws { try await inner.check() }
    package func close() async { await inner.close() }
}
