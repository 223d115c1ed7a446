package import Diagnostics
package import WireText

/// One write of a change.
package enum StoreWrite: Hashable, Sendable {
    case insertKey(KeyRecord)
    /// Replaces the row, which must be there with the version before the record's.
    case updateKey(KeyRecord)
    case insertResource(ResourceRecord)
    case updateResource(ResourceRecord)
    /// A conflict when the resource has one or is not there. It goes with `eraseResource`.
    case insertErasableKey(ErasableKeyRecord)
    case insertAuthorization(AuthorizationRecord)
    case updateAuthorization(AuthorizationRecord)
    /// Also raises `lastExpiry` of the session's KEK, which must be there, to the session's expiry.
    case insertSession(SessionRecord)
    /// No conflict when it is gone already.
    case deleteSession(id: String)
    /// Raises `lastCounter`; a conflict unless the session is there with a lower one.
    case advanceSession(id: String, counter: Int64)
    /// `.duplicate` for the whole change when the digest is there, whatever else would conflict.
    case insertLedger(LedgerRecord)
    case insertSessionKEK(SessionKEKRecord)
    /// Sets or replaces.
    case putSetting(name: String, value: [UInt8])
    /// Deletes a key for ever, which must be there at that version.
    case eraseKey(id: String, version: Int64)
    /// Deletes the resource, which must be there at that version and be marked as deleted, with all its keys,
    /// authorizations and its erasable key, for ever.
    case eraseResource(id: String, version: Int64)
    /// Deletes an authorization, which must be there at that version and be marked as removed, for ever.
    case eraseAuthorization(id: String, version: Int64)
    case insertRootKey(RootKeyRecord)
    /// Replaces the row of that version, which must be there, and all its wraps.
    case updateRootKey(RootKeyRecord)
    /// Deletes a version that was never in use: it must be there and inert.
    case deleteRootKey(version: Int64)
    /// Replaces a sealed value, if it still is the old one; no conflict when the row has moved on. The row's version
    /// stays: to every reader and expectation nothing has happened.
    case reseal(SealedTable, id: String, old: [UInt8], new: [UInt8])
    /// Deletes what ended at or before the moment, at most `StoreChange.purgeLimit` rows of each kind: ledger entries,
    /// sessions, then session KEKs past their last expiry that no session needs. `KeyStore.purgeExpired` repeats it.
    case purgeExpired(now: Timestamp)
}

/// What must still hold when a change is applied, beyond the versions that its updates imply.
package enum StoreExpectation: Hashable, Sendable {
    case resource(id: String, version: Int64)
    case key(id: String, version: Int64)
    /// The session is there.
    case session(id: String)
    /// The setting has that value; nil: it is not there.
    case setting(name: String, value: [UInt8]?)
    /// The root key version is active or retiring. A change also expects it, unasked, of each version that something in
    /// it is sealed under (`rootVersions`), unless the store has no row of that version at all.
    case openRoot(version: Int64)
    /// No value in any table is sealed under that version: a look at every row.
    case nothingUnderRoot(version: Int64)
    /// The keys and authorizations of the resource, removed ones included, are so many with so many versions together.
    case contents(resource: String, rows: Int64, versions: Int64)
}

/// Writes that happen all or not at all, in their order, if every expectation holds.
package struct StoreChange: Hashable, Sendable {
    /// The most rows of one kind that one `purgeExpired` deletes.
    package static let purgeLimit = 1_000

    package var writes: [StoreWrite]
    package var expectations: [StoreExpectation]
    /// Added to its writer's row when the change is applied, and only then. Nil: it is in no sum.
    package var sum: SumChange?

    package init(writes: [StoreWrite] = [], expectations: [StoreExpectation] = []) {
        self.writes = writes
        self.expectations = expectations
    }
}

package enum CommitResult: Hashable, Sendable {
    /// Durable, and visible to every read issued from now on.
    case committed
    /// Nothing was written: an expectation or a version did not hold, a row to be inserted is there, or a row that a
    /// record names is not. Read again and decide again.
    case conflict
    /// Nothing was written: the ledger has the digest. Answer what it holds.
    case duplicate
}

extension StoreChange {
    /// Refuses what no caller may hand to a store, so that all stores refuse alike and before any effect.
    package func validate() throws(DiagnosedError) {
        for write in writes {
            switch write {
            case .insertKey(let key), .updateKey(let key):
                try check(key.id, key.version, "key")
                if let resource = key.resource { try check(resource, key.version, "resource of a key") }
                try require(
                    (key.resource == nil) == (key.boundAt == nil), "a key with both resource and boundAt, or neither")
            case .insertResource(let resource), .updateResource(let resource):
                try check(resource.id, resource.version, "resource")
            case .insertErasableKey(let record): try check(record.resource, 1, "resource of an erasable key")
            case .insertAuthorization(let authorization), .updateAuthorization(let authorization):
                try check(authorization.id, authorization.version, "authorization")
                try check(authorization.resource, authorization.version, "resource of an authorization")
                try require(authorization.lookup.count == 16, "an authorization's lookup of 16 octets")
            case .insertSession(let session):
                try check(session.id, session.version, "session")
                try require(session.user.count == 16, "a session's user lookup of 16 octets")
                try require(session.lastCounter >= 0, "a session's counter of 0 or more")
            case .deleteSession(let id): try check(id, 1, "session")
            case .advanceSession(let id, let counter):
                try check(id, 1, "session")
                try require(counter > 0, "a session's counter above 0")
            case .insertLedger(let entry):
                try check(entry.session, 1, "session of a ledger entry")
                try require(entry.digest.count == 32, "a ledger digest of 32 octets")
            case .insertRootKey(let root), .updateRootKey(let root):
                try require((1...Int64(UInt32.max)).contains(root.version), "a root key version of 1 to 2^32 - 1")
            case .putSetting(let name, _): try require(!name.isEmpty, "a setting's name")
            case .reseal(let table, let id, let old, let new):
                try require(
                    table.generation(of: old) != nil && table.generation(of: new) != nil, "two values of root keys")
                try require(id != "", "the id of a sealed value")
            case .eraseKey(let id, let version): try check(id, version, "key to erase")
            case .eraseResource(let id, let version): try check(id, version, "resource to erase")
            case .eraseAuthorization(let id, let version): try check(id, version, "authorization to erase")
            case .insertSessionKEK, .purgeExpired, .deleteRootKey: break
            }
        }
        if let sum { try check(sum.writer, 1, "writer of a sum") }
        for expectation in expectations {
            switch expectation {
            case .resource(let id, let version): try check(id, version, "expected resource")
            case .key(let id, let version): try check(id, version, "expected key")
            case .session(let id): try check(id, 1, "expected session")
            case .setting(let name, _): try require(!name.isEmpty, "an expected setting's name")
            case .contents(let id, _, _): try check(id, 1, "resource of expected contents")
            case .openRoot(let version), .nothingUnderRoot(let version):
                try require((1...Int64(UInt32.max)).contains(version), "an expected root key version of 1 to 2^32 - 1")
            }
        }
    }

    private func check(_ id: String, _ version: Int64, _ what: String) throws(DiagnosedError) {
        try require(RecordID(id) != nil, "\(what) id as a lower-case UUID")
        try require(version >= 1, "\(what) version of 1 or more")
    }

    private func require(_ holds: Bool, _ expected: String) throws(DiagnosedError) {
        guard !holds else { return }
        throw DiagnosedError(
            .storeChangeMalformed, fault: .internal, "a change that no store takes", expected: expected,
            hint: "this is a defect of the program; nothing was written")
    }
}
