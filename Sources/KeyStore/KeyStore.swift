package import WireText

/// Where the KMS keeps its records: rows with versions, changed by atomic, durable, optimistic commits.
///
/// **Reads** see everything that any `commit` reported as `.committed` before the read was called. Each read is one
/// consistent view; two reads are two views, so what was decided on several is protected by expectations. Reads run on
/// the caller's thread and may block it on the disk or the network: call them from a pool made for that, never from an
/// event loop.
///
/// **Commits** are all or nothing, and one of them behaves as if no other ran at the same time. Their checks, in order:
/// 1. a ledger digest that is there → `.duplicate`, whatever else holds;
/// 2. an expectation that does not hold → `.conflict`;
///    So does one that seals something under a root key version that is not open (`StoreChange.rootVersions`);
/// 3. the writes in their order; the first that can not be done → `.conflict`. An update needs the row at the version
///    before; an insert needs the row to be absent, and a second live authorization of one lookup on one resource or a
///    second active root key count as present; a resource or session KEK that a record names must be there.
///
/// **Failure**: a thrown error is a `DiagnosedError` of fault `store` (or `internal` for a malformed change). After an
/// error of `commit` nothing was acknowledged and the outcome is unknown: read to find out, or send the same change
/// again and let the ledger or the versions judge. Cancelling the task does not stop a commit that has begun.
///
/// A lookup or id of a wrong form is simply not there. Every implementation passes `KeyStoreConformance`.
package protocol KeyStore: Sendable {
    func key(_ id: String) async throws -> KeyRecord?
    /// A key and, when it is bound, its resource and the live authorization there under the lookup that `lookup` makes of
    /// the resource's id: what most retrievals need, in one consistent view.
    func key(_ id: String, lookup: @Sendable (_ resource: String) -> [UInt8]) async throws -> KeyWithGrant?
    /// The keys bound to a resource, newest `boundAt` first (then higher id first); `from` is inclusive, `before` is
    /// exclusive, `limit` cuts the oldest.
    func keys(
        ofResource resource: String, from: Timestamp?, before: Timestamp?, limit: Int?
    ) async throws -> [KeyRecord]
    /// A walk through the keys bound to a resource, oldest `boundAt` first (then lower id first): those behind `key`
    /// (nil: from the start), at most `limit`.
    func keys(ofResource resource: String, behind key: KeyRecord?, limit: Int) async throws -> [KeyRecord]
    /// A walk through the keys that are bound to nothing, in the order of their ids: those behind `id`.
    func unboundKeys(after id: String?, limit: Int) async throws -> [KeyRecord]
    func resource(_ id: String) async throws -> ResourceRecord?
    /// The sealed erasable key of a resource.
    func erasableKey(ofResource resource: String) async throws -> [UInt8]?
    func authorization(_ id: String) async throws -> AuthorizationRecord?
    /// The live one, in time that does not depend on how many the resource has.
    func authorization(ofResource resource: String, lookup: [UInt8]) async throws -> AuthorizationRecord?
    /// In creation order (then by id).
    func authorizations(ofResource resource: String, includingRemoved: Bool) async throws -> [AuthorizationRecord]
    /// Of the removed authorizations of that lookup, the one removed last.
    func lastRemoval(ofResource resource: String, lookup: [UInt8]) async throws -> AuthorizationRecord?
    /// Authorizations that were removed at or before the moment, longest ago first, at most `limit`.
    func removedAuthorizations(until moment: Timestamp, limit: Int) async throws -> [AuthorizationRecord]
    func session(_ id: String) async throws -> SessionRecord?
    /// How many sessions of the user end after the moment.
    func sessions(ofUser user: [UInt8], liveAt now: Timestamp) async throws -> Int
    /// A walk through the sessions of a user (nil: of all) in the order of their ids, ended ones included: those behind
    /// `id`, at most `limit`.
    func sessions(ofUser user: [UInt8]?, after id: String?, limit: Int) async throws -> [SessionRecord]
    func ledgerEntry(_ digest: [UInt8]) async throws -> LedgerRecord?
    /// Audit records of ledger entries behind a position, oldest first, at most `limit`; entries without one are left
    /// out. An entry whose session has ended is purged with it.
    func ledgerAudits(after position: Int64, limit: Int) async throws -> [LedgerAudit]
    /// The position of the newest ledger entry, 0 for none.
    func ledgerPosition() async throws -> Int64
    /// A walk through all resources in the order of their ids, deleted ones included: those behind `id` (nil: from the
    /// start), at most `limit`.
    func resources(after id: String?, limit: Int) async throws -> [ResourceRecord]
    /// Resources that were deleted at or before the moment, longest ago first, at most `limit`.
    func deletedResources(until moment: Timestamp, limit: Int) async throws -> [ResourceRecord]
    /// A walk through the values of a table that are sealed under another root key version than this one, in the order of
    /// the table's key: those behind `id` (nil: from the start), at most `limit`.
    func sealedRows(
        _ table: SealedTable, notUnder version: Int64, after id: String?, limit: Int
    ) async throws -> [SealedRow]
    /// The same in the order in which the values lie on the disk, so that neighbours are changed together; when the one
    /// with `id` is gone the walk begins again.
    func neighbouringSealedRows(
        _ table: SealedTable, notUnder version: Int64, after id: String?, limit: Int
    ) async throws -> [SealedRow]
    /// How many values of a table are sealed under each root key version.
    func sealedCounts(_ table: SealedTable) async throws -> [Int64: Int]
    /// All versions, lowest first.
    func rootKeys() async throws -> [RootKeyRecord]
    func sessionKEK(_ id: Int64) async throws -> SessionKEKRecord?
    func setting(_ name: String) async throws -> [UInt8]?
    /// What each writer has done, in the order of the writers' ids.
    func rowSums() async throws -> [WriterSum]
    /// Whether there is no record of any kind: only then may a root key be made.
    func isEmpty() async throws -> Bool
    /// Whether `purgeExpired(now:)` would delete anything.
    func hasExpired(at now: Timestamp) async throws -> Bool

    /// Applies the change; durable when it returns `.committed`.
    func commit(_ change: StoreChange) async throws -> CommitResult
    /// Proves that reading and durable writing work now.
    func check() async throws
    /// From now on nothing waits for a database that is away: what waits fails within a second, what comes later at its
    /// first failure. For a service that stops. Idempotent.
    func stopHolding()
    /// Finishes what was begun and releases everything; every later call throws `store-closed`. Idempotent.
    func close() async
}

/// A key with what decides whether somebody may have it.
package struct KeyWithGrant: Hashable, Sendable {
    package var key: KeyRecord
    /// That the key is bound to.
    package var resource: ResourceRecord?
    package var authorization: AuthorizationRecord?

    package init(key: KeyRecord, resource: ResourceRecord? = nil, authorization: AuthorizationRecord? = nil) {
        self.key = key
        self.resource = resource
        self.authorization = authorization
    }
}

extension KeyStore {
    package func stopHolding() {}

    package func neighbouringSealedRows(
        _ table: SealedTable, notUnder version: Int64, after id: String?, limit: Int
    ) async throws -> [SealedRow] {
        try await sealedRows(table, notUnder: version, after: id, limit: limit)
    }

    package func keys(ofResource resource: String) async throws -> [KeyRecord] {
        try await keys(ofResource: resource, from: nil, before: nil, limit: nil)
    }
    package func authorizations(ofResource resource: String) async throws -> [AuthorizationRecord] {
        try await authorizations(ofResource: resource, includingRemoved: false)
    }

    /// Purges in bounded commits until nothing expired is left, so that other commits are never held up for long.
    package func purgeExpired(now: Timestamp) async throws {
        while try await hasExpired(at: now) {
            _ = try await commit(StoreChange(writes: [.purgeExpired(now: now)]))
        }
    }
}
