import KeyStore
import PostgreSQLClient
import WireText

/// A change as calls, with what each has to answer.
///
/// All calls are sent before any answer is read, so they run on even when one of them found that the change conflicts:
/// whoever reads that rolls them back.
struct ChangeCalls: Sendable {
    enum Demand: Sendable {
        /// No row, or the change is a duplicate.
        case absent
        /// No row.
        case noRow
        /// One row whose version is this one; nil: any.
        case version(Int64?)
        /// One row with these two numbers.
        case sameContents(Int64, Int64)
        /// That value; nil: no row.
        case value([UInt8]?)
        /// One changed row.
        case one
        case nothing
    }

    enum Judgement: Equatable {
        case done(CommitResult)
        /// The server refused a statement of it for another reason than a conflict.
        case failed(PostgreSQLFailure)
        /// Something before it failed: nothing is known.
        case skipped
    }

    private(set) var calls: [PostgreSQLCall] = []
    /// What the change adds to its writer's sum; `SumCalls` makes one call of those of a batch.
    let sum: SumChange?
    private var demands: [Demand] = []

    init(_ change: StoreChange) {
        sum = change.sum
        for case .insertLedger(let entry) in change.writes {
            add(Statements.hasLedger, .absent) { $0.bind(entry.digest) }
        }
        for expectation in change.expectations { add(expectation) }
        for version in change.rootVersions.sorted() { add(SealedStatements.closedRoot, .noRow) { $0.bind(version) } }
        for write in change.writes { add(write) }
    }

    /// What the answers to `calls` say, in their order: a duplicate before any conflict, the first conflict before all
    /// that only failed after it.
    func judge(_ answers: some Sequence<Result<PostgreSQLRows, PostgreSQLFailure>>) -> Judgement {
        for (answer, demand) in zip(answers, demands) {
            switch answer {
            case .failure(let failure):
                switch failure.kind {
                case .constraint: return .done(.conflict)
                case .skipped: return .skipped
                default: return .failed(failure)
                }
            case .success(let rows):
                guard !holds(demand, rows) else { continue }
                if case .absent = demand { return .done(.duplicate) }
                return .done(.conflict)
            }
        }
        return .done(.committed)
    }

    private func holds(_ demand: Demand, _ rows: PostgreSQLRows) -> Bool {
        switch demand {
        case .absent, .noRow: rows.count == 0
        case .version(let version?): rows.count == 1 && (try? rows.integer(0, 0)) == version
        case .version(nil): rows.count == 1
        case .sameContents(let first, let second):
            rows.count == 1 && (try? rows.integer(0, 0)) == first && (try? rows.integer(0, 1)) == second
        case .value(let value): value == (rows.count == 0 ? nil : rows.bytes(0, 0))
        case .one: rows.changed == 1
        case .nothing: true
        }
    }

    private mutating func add(
        _ statement: PostgreSQLStatement, _ demand: Demand, _ bind: (inout PostgreSQLCall) -> Void
    ) {
        var call = PostgreSQLCall(statement)
        bind(&call)
        calls.append(call)
        demands.append(demand)
    }

    private mutating func add(_ expectation: StoreExpectation) {
        switch expectation {
        case .resource(let id, let version):
            add(Statements.lockResource, .version(version)) { $0.bind(RecordID(id)) }
        case .key(let id, let version): add(Statements.lockKey, .version(version)) { $0.bind(RecordID(id)) }
        case .session(let id): add(Statements.lockSession, .version(nil)) { $0.bind(RecordID(id)) }
        case .setting(let name, let value): add(Statements.lockSetting, .value(value)) { $0.bind(name) }
        case .contents(let id, let rows, let versions):
            add(SumStatements.contents, .sameContents(rows, versions)) { $0.bind(RecordID(id)) }
        case .openRoot(let version): add(SealedStatements.openRoot, .version(version)) { $0.bind(version) }
        case .nothingUnderRoot(let version):
            for table in SealedTable.allCases {
                add(SealedStatements.any(table), .noRow) {
                    $0.bind(SealedTable.mark(UInt32(truncatingIfNeeded: version)))
                }
            }
        }
    }

    private mutating func add(_ write: StoreWrite) {
        switch write {
        case .insertKey(let key): add(Statements.insertKey, .one) { bind(key, to: &$0) }
        case .updateKey(let key): add(Statements.updateKey, .one) { bind(key, to: &$0) }
        case .insertResource(let resource): add(Statements.insertResource, .one) { bind(resource, to: &$0) }
        case .updateResource(let resource): add(Statements.updateResource, .one) { bind(resource, to: &$0) }
        case .insertErasableKey(let record):
            add(Statements.insertErasableKey, .one) {
                $0.bind(RecordID(record.resource))
                $0.bind(record.sealed)
            }
        case .insertAuthorization(let grant): add(Statements.insertAuthorization, .one) { bind(grant, to: &$0) }
        case .updateAuthorization(let grant): add(Statements.updateAuthorization, .one) { bind(grant, to: &$0) }
        case .insertSession(let session): add(session)
        case .deleteSession(let id): add(Statements.deleteSession, .nothing) { $0.bind(RecordID(id)) }
        case .advanceSession(let id, let counter):
            add(Statements.advanceSession, .one) {
                $0.bind(counter)
                $0.bind(RecordID(id))
            }
        case .insertLedger(let entry):
            add(Statements.insertLedger, .one) {
                $0.bind(entry.digest)
                $0.bind(RecordID(entry.session))
                $0.bind(entry.expires)
                $0.bind(entry.sealedAnswer)
                $0.bind(entry.audit)
            }
        case .insertSessionKEK(let kek):
            add(Statements.insertSessionKEK, .one) {
                $0.bind(kek.id)
                $0.bind(kek.sealed)
                $0.bind(kek.lastExpiry)
            }
        case .putSetting(let name, let value):
            add(Statements.putSetting, .one) {
                $0.bind(name)
                $0.bind(value)
            }
        case .eraseKey(let id, let version): erase(Statements.eraseKey, id, version)
        case .eraseAuthorization(let id, let version): erase(Statements.eraseAuthorization, id, version)
        case .eraseResource(let id, let version): erase(id, version)
        case .insertRootKey(let root):
            add(Statements.insertRootKey, .one) { bind(root, to: &$0) }
            wrap(root)
        case .updateRootKey(let root):
            add(Statements.updateRootKey, .one) { bind(root, to: &$0) }
            wrap(root)
        case .deleteRootKey(let version):
            add(Statements.dropWraps, .nothing) { $0.bind(version) }
            add(Statements.deleteRootKey, .one) { $0.bind(version) }
        case .reseal(let table, let id, let old, let new):
            add(SealedStatements.reseal(table), .nothing) {
                $0.bind(new)
                $0.bind(id, of: table)
                $0.bind(old)
            }
        case .purgeExpired(let now):
            for statement in [Statements.purgeLedger, Statements.purgeSessions, Statements.purgeSessionKEKs] {
                add(statement, .nothing) {
                    $0.bind(now)
                    $0.bind(Int64(StoreChange.purgeLimit))
                }
            }
        }
    }

    private mutating func wrap(_ root: RootKeyRecord) {
        add(Statements.dropWraps, .nothing) { $0.bind(root.version) }
        for (holder, wrapped) in root.wraps.sorted(by: { $0.key < $1.key }) {
            add(Statements.insertWrap, .one) {
                $0.bind(root.version)
                $0.bind(Array(holder.utf8))
                $0.bind(wrapped)
            }
        }
    }

    private mutating func add(_ session: SessionRecord) {
        add(Statements.raiseExpiry, .one) {
            $0.bind(session.expires)
            $0.bind(session.kek)
        }
        add(Statements.insertSession, .one) {
            $0.bind(RecordID(session.id))
            $0.bind(session.version)
            $0.bind(session.kek)
            $0.bind(session.user)
            $0.bind(session.expires)
            $0.bind(session.lastCounter)
            $0.bind(session.sealed)
        }
    }

    private mutating func erase(_ id: String, _ version: Int64) {
        for statement in [Statements.eraseKeys, Statements.eraseAuthorizations, Statements.eraseErasableKey] {
            add(statement, .nothing) { $0.bind(RecordID(id)) }
        }
        erase(Statements.eraseResource, id, version)
    }

    private mutating func erase(_ statement: PostgreSQLStatement, _ id: String, _ version: Int64) {
        add(statement, .one) {
            $0.bind(RecordID(id))
            $0.bind(version)
        }
    }
}

// The parameters that insert and update share; the identity comes last.

private func bind(_ key: KeyRecord, to call: inout PostgreSQLCall) {
    call.bind(key.version)
    call.bind(key.resource.flatMap { RecordID($0) })
    call.bind(key.boundAt)
    call.bind(key.sealed)
    call.bind(RecordID(key.id))
}

private func bind(_ resource: ResourceRecord, to call: inout PostgreSQLCall) {
    call.bind(resource.version)
    call.bind(resource.deletedAt)
    call.bind(resource.sealed)
    call.bind(RecordID(resource.id))
}

private func bind(_ authorization: AuthorizationRecord, to call: inout PostgreSQLCall) {
    call.bind(authorization.version)
    call.bind(RecordID(authorization.resource))
    call.bind(authorization.lookup)
    call.bind(authorization.order)
    call.bind(authorization.removedAt)
    call.bind(authorization.sealed)
    call.bind(RecordID(authorization.id))
}

private func bind(_ root: RootKeyRecord, to call: inout PostgreSQLCall) {
    call.bind(root.state.rawValue)
    call.bind(root.created)
    call.bind(root.version)
}
