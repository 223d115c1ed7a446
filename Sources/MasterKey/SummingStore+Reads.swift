package import KeyStore
package import WireText

// Everything but commits goes to the store as it is.
extension SummingStore {
    package func key(_ id: String) async throws -> KeyRecord? { try await inner.key(id) }
    package func key(_ id: String, lookup: @Sendable (_ resource: String) -> [UInt8]) async throws -> KeyWithGrant? {
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
    package func erasableKey(ofResource resource: String) async throws -> [UInt8]? {
        try await inner.erasableKey(ofResource: resource)
    }
    package func resource(_ id: String) async throws -> ResourceRecord? { try await inner.resource(id) }
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
    package func removedAuthorizations(until moment: Timestamp, limit: Int) async throws -> [AuthorizationRecord] {
        try await inner.removedAuthorizations(until: moment, limit: limit)
    }
    package func session(_ id: String) async throws -> SessionRecord? { try await inner.session(id) }
    package func sessions(ofUser user: [UInt8], liveAt now: Timestamp) async throws -> Int {
        try await inner.sessions(ofUser: user, liveAt: now)
    }
    package func sessions(ofUser user: [UInt8]?, after id: String?, limit: Int) async throws -> [SessionRecord] {
        try await inner.sessions(ofUser: user, after: id, limit: limit)
    }
    package func ledgerEntry(_ digest: [UInt8]) async throws -> LedgerRecord? { try await inner.ledgerEntry(digest) }
    package func ledgerAudits(after position: Int64, limit: Int) async throws -> [LedgerAudit] {
        try await inner.ledgerAudits(after: position, limit: limit)
    }
    package func ledgerPosition() async throws -> Int64 { try await inner.ledgerPosition() }
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
    package func sessionKEK(_ id: Int64) async throws -> SessionKEKRecord? { try await inner.sessionKEK(id) }
    package func setting(_ name: String) async throws -> [UInt8]? { try await inner.setting(name) }
    package func rowSums() async throws -> [WriterSum] { try await inner.rowSums() }
    package func isEmpty() async throws -> Bool { try await inner.isEmpty() }
    package func hasExpired(at now: Timestamp) async throws -> Bool { try await inner.hasExpired(at: now) }
    package func check() async throws { try await inner.check() }
    package func stopHolding() { inner.stopHolding() }
    package func close() async { await inner.close() }
}
