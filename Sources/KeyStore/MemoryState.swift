import WireText

/// The tables of `MemoryKeyStore` with the rules of a commit; a refused change leaves no trace.
struct MemoryState: Sendable {
    struct Grant: Hashable, Sendable {
        var resource: String
        var lookup: [UInt8]
    }

    private(set) var keys: [String: KeyRecord] = [:]
    private(set) var keysOfResource: [String: Set<String>] = [:]
    private(set) var resources: [String: ResourceRecord] = [:]
    private(set) var erasableKeys: [String: [UInt8]] = [:]
    private(set) var authorizations: [String: AuthorizationRecord] = [:]
    private(set) var authorizationsOfResource: [String: Set<String>] = [:]
    private(set) var liveAuthorization: [Grant: String] = [:]
    private(set) var sessions: [String: SessionRecord] = [:]
    private(set) var ledger: [[UInt8]: LedgerRecord] = [:]
    /// Digests by their place in the order of commits; those of purged entries stay.
    private(set) var ledgerPositions: [Int64: [UInt8]] = [:]
    private(set) var lastPosition: Int64 = 0
    private(set) var sessionKEKs: [Int64: SessionKEKRecord] = [:]
    private(set) var rootKeys: [Int64: RootKeyRecord] = [:]
    private(set) var settings: [String: [UInt8]] = [:]
    private(set) var sums: [String: WriterSum] = [:]

    /// The inverses of the writes of the change under way, in the order of the writes.
    private var undo: [@Sendable (inout MemoryState) -> Void] = []

    private struct Refusal: Error {}

    mutating func commit(_ change: StoreChange) -> CommitResult {
        for case .insertLedger(let entry) in change.writes where ledger[entry.digest] != nil { return .duplicate }
        guard change.expectations.allSatisfy(holds) else { return .conflict }
        guard change.rootVersions.allSatisfy({ rootKeys[$0]?.state.isOpen ?? true }) else { return .conflict }
        defer { undo.removeAll() }
        do {
            for write in change.writes { try apply(write) }
            if let sum = change.sum { add(sum) }
            return .committed
        } catch {
            while let inverse = undo.popLast() { inverse(&self) }
            return .conflict
        }
    }

    private func holds(_ expectation: StoreExpectation) -> Bool {
        switch expectation {
        case .resource(let id, let version): resources[id]?.version == version
        case .key(let id, let version): keys[id]?.version == version
        case .session(let id): sessions[id] != nil
        case .setting(let name, let value): settings[name] == value
        case .openRoot(let version): rootKeys[version]?.state.isOpen == true
        case .nothingUnderRoot(let version):
            SealedTable.allCases.allSatisfy { table in
                !sealedRows(table).contains { table.generation(of: $0.value) == UInt32(exactly: version) }
            }
        case .contents(let id, let rows, let total):
            versions(ofContents: id) == (rows, total)
        }
    }

    private func versions(ofContents resource: String) -> (rows: Int64, versions: Int64) {
        let versions =
            (keysOfResource[resource] ?? []).compactMap { keys[$0]?.version }
            + (authorizationsOfResource[resource] ?? []).compactMap { authorizations[$0]?.version }
        return (Int64(versions.count), versions.reduce(0, +))
    }

    private mutating func add(_ change: SumChange) {
        let old = sums[change.writer] ?? WriterSum(writer: change.writer, counter: 0, sum: RowSum())
        set(
            \.sums, change.writer,
            WriterSum(writer: change.writer, counter: old.counter + 1, sum: old.sum + change.sum))
    }

    /// A key with its resource's erasable key.
    func key(_ id: String) -> KeyRecord? {
        guard var key = keys[id] else { return nil }
        key.erasable = key.resource.flatMap { erasableKeys[$0] }
        return key
    }

    private mutating func apply(_ write: StoreWrite) throws(Refusal) {
        switch write {
        case .insertKey(let key):
            try require(keys[key.id] == nil)
            try put(key)
        case .updateKey(let key):
            try require(keys[key.id]?.version == key.version - 1)
            try put(key)
        case .insertResource(let resource):
            try require(resources[resource.id] == nil)
            set(\.resources, resource.id, resource)
        case .updateResource(let resource):
            try require(resources[resource.id]?.version == resource.version - 1)
            set(\.resources, resource.id, resource)
        case .insertErasableKey(let record):
            try require(resources[record.resource] != nil && erasableKeys[record.resource] == nil)
            set(\.erasableKeys, record.resource, record.sealed)
        case .insertAuthorization(let authorization):
            try require(authorizations[authorization.id] == nil)
            try put(authorization)
        case .updateAuthorization(let authorization):
            try require(authorizations[authorization.id]?.version == authorization.version - 1)
            try put(authorization)
        case .insertSession(let session):
            guard sessions[session.id] == nil, var kek = sessionKEKs[session.kek] else { throw Refusal() }
            kek.lastExpiry = max(kek.lastExpiry, session.expires)
            set(\.sessionKEKs, kek.id, kek)
            set(\.sessions, session.id, session)
        case .deleteSession(let id): set(\.sessions, id, nil)
        case .advanceSession(let id, let counter):
            guard var session = sessions[id], session.lastCounter < counter else { throw Refusal() }
            session.lastCounter = counter
            set(\.sessions, id, session)
        case .insertLedger(let entry):
            // Two equal digests in one change: the store's constraint refuses the second.
            try require(ledger[entry.digest] == nil)
            set(\.ledger, entry.digest, entry)
            lastPosition += 1
            set(\.ledgerPositions, lastPosition, entry.digest)
        case .insertSessionKEK(let kek):
            try require(sessionKEKs[kek.id] == nil)
            set(\.sessionKEKs, kek.id, kek)
        case .putSetting(let name, let value): set(\.settings, name, value)
        case .eraseKey(let id, let version):
            try require(keys[id]?.version == version)
            if let resource = keys[id]?.resource {
                set(\.keysOfResource, resource, keysOfResource[resource, default: []].subtracting([id]))
            }
            set(\.keys, id, nil)
        case .eraseResource(let id, let version): try erase(id, version)
        case .eraseAuthorization(let id, let version): try eraseAuthorization(id, version)
        case .insertRootKey(let root):
            try require(rootKeys[root.version] == nil)
            try put(root)
        case .updateRootKey(let root):
            try require(rootKeys[root.version] != nil)
            try put(root)
        case .deleteRootKey(let version):
            try require(rootKeys[version]?.state == .inert)
            set(\.rootKeys, version, nil)
        case .reseal(let table, let id, let old, let new): reseal(table, id, old, new)
        case .purgeExpired(let now): purge(now)
        }
    }

    private mutating func put(_ key: KeyRecord) throws(Refusal) {
        if let resource = key.resource { try require(resources[resource] != nil) }
        if let old = keys[key.id]?.resource, old != key.resource {
            set(\.keysOfResource, old, keysOfResource[old, default: []].subtracting([key.id]))
        }
        if let resource = key.resource { insert(\.keysOfResource, resource, key.id) }
        var row = key
        row.erasable = nil
        set(\.keys, key.id, row)
    }

    private mutating func put(_ authorization: AuthorizationRecord) throws(Refusal) {
        try require(resources[authorization.resource] != nil)
        if let old = authorizations[authorization.id] {
            if old.removedAt == nil {
                set(\.liveAuthorization, Grant(resource: old.resource, lookup: old.lookup), nil)
            }
            if old.resource != authorization.resource {
                let others = authorizationsOfResource[old.resource, default: []].subtracting([old.id])
                set(\.authorizationsOfResource, old.resource, others)
            }
        }
        if authorization.removedAt == nil {
            let grant = Grant(resource: authorization.resource, lookup: authorization.lookup)
            try require(liveAuthorization[grant] == nil)
            set(\.liveAuthorization, grant, authorization.id)
        }
        insert(\.authorizationsOfResource, authorization.resource, authorization.id)
        set(\.authorizations, authorization.id, authorization)
    }

    private mutating func erase(_ id: String, _ version: Int64) throws(Refusal) {
        guard let resource = resources[id], resource.version == version, resource.deletedAt != nil else {
            throw Refusal()
        }
        for key in keysOfResource[id] ?? [] { set(\.keys, key, nil) }
        for authorization in authorizationsOfResource[id] ?? [] {
            if let row = authorizations[authorization], row.removedAt == nil {
                set(\.liveAuthorization, Grant(resource: id, lookup: row.lookup), nil)
            }
            set(\.authorizations, authorization, nil)
        }
        set(\.keysOfResource, id, nil)
        set(\.authorizationsOfResource, id, nil)
        set(\.erasableKeys, id, nil)
        set(\.resources, id, nil)
    }

    private mutating func eraseAuthorization(_ id: String, _ version: Int64) throws(Refusal) {
        guard let row = authorizations[id], row.version == version, row.removedAt != nil else { throw Refusal() }
        set(
            \.authorizationsOfResource, row.resource,
            authorizationsOfResource[row.resource, default: []].subtracting([id]))
        set(\.authorizations, id, nil)
    }

    private mutating func put(_ root: RootKeyRecord) throws(Refusal) {
        if root.state == .active {
            try require(!rootKeys.values.contains { $0.state == .active && $0.version != root.version })
        }
        set(\.rootKeys, root.version, root)
    }

    private mutating func purge(_ now: Timestamp) {
        let entries = ledger.values.filter { $0.expires <= now }.sorted { $0.expires < $1.expires }
        for entry in entries.prefix(StoreChange.purgeLimit) { set(\.ledger, entry.digest, nil) }
        let ended = sessions.values.filter { $0.expires <= now }.sorted { $0.expires < $1.expires }
        for session in ended.prefix(StoreChange.purgeLimit) { set(\.sessions, session.id, nil) }
        for kek in expiredKEKs(now).prefix(StoreChange.purgeLimit) { set(\.sessionKEKs, kek, nil) }
    }

    private mutating func reseal(_ table: SealedTable, _ id: String, _ old: [UInt8], _ new: [UInt8]) {
        switch table {
        case .keys: if keys[id]?.sealed == old { change(\.keys, id) { $0.sealed = new } }
        case .erasableKeys: if erasableKeys[id] == old { set(\.erasableKeys, id, new) }
        case .resources: if resources[id]?.sealed == old { change(\.resources, id) { $0.sealed = new } }
        case .authorizations:
            if authorizations[id]?.sealed == old { change(\.authorizations, id) { $0.sealed = new } }
        case .sessionKEKs:
            guard let day = Int64(id), sessionKEKs[day]?.sealed == old else { return }
            change(\.sessionKEKs, day) { $0.sealed = new }
        case .settings: if settings[id] == old { set(\.settings, id, new) }
        case .ledger:
            guard let position = Int64(id), let digest = ledgerPositions[position], ledger[digest]?.audit == old
            else { return }
            change(\.ledger, digest) { $0.audit = new }
        }
    }

    private mutating func change<ID: Hashable & Sendable, Row: Sendable>(
        _ table: any WritableKeyPath<MemoryState, [ID: Row]> & Sendable, _ id: ID, _ body: (inout Row) -> Void
    ) {
        guard var row = self[keyPath: table][id] else { return }
        body(&row)
        set(table, id, row)
    }

    func hasExpired(_ now: Timestamp) -> Bool {
        ledger.values.contains { $0.expires <= now } || sessions.values.contains { $0.expires <= now }
            || !expiredKEKs(now).isEmpty
    }

    private func expiredKEKs(_ now: Timestamp) -> [Int64] {
        let past = sessionKEKs.values.filter { $0.lastExpiry <= now }.map(\.id)
        guard !past.isEmpty else { return [] }
        return Set(past).subtracting(sessions.values.map(\.kek)).sorted()
    }

    private func require(_ holds: Bool) throws(Refusal) {
        guard holds else { throw Refusal() }
    }

    private mutating func set<ID: Hashable & Sendable, Row: Sendable>(
        _ table: any WritableKeyPath<MemoryState, [ID: Row]> & Sendable, _ id: ID, _ row: Row?
    ) {
        let old = self[keyPath: table][id]
        self[keyPath: table][id] = row
        undo.append { $0[keyPath: table][id] = old }
    }

    private mutating func insert(
        _ table: any WritableKeyPath<MemoryState, [String: Set<String>]> & Sendable, _ group: String, _ id: String
    ) {
        guard self[keyPath: table][group, default: []].insert(id).inserted else { return }
        undo.append { $0[keyPath: table][group]?.remove(id) }
    }
}
