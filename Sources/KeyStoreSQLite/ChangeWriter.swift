import Diagnostics
import GRDB
import GRDBSQLite
import KeyStore
import WireText

/// Applies changes to the writing connection: one transaction and one sync for all, a savepoint for each.
///
/// A change that conflicts, or that SQLite refuses, is rolled back to its savepoint and does not hurt its neighbours.
/// When the transaction itself fails (full disk, failed sync), nobody's change is there and everybody gets the error.
struct ChangeWriter {
    private struct Conflict: Error {}

    let db: Database
    let path: String
    private var destroyedKeys = false
    /// What the changes of this batch add, to one row for each writer.
    private var sums: [String: (count: Int64, sum: RowSum)] = [:]

    init(db: Database, path: String) {
        self.db = db
        self.path = path
    }

    mutating func apply(_ changes: [StoreChange]) -> [CommitQueue.Outcome] {
        do {
            // A rollback that failed after an error of the disk may have left one open.
            if db.isInsideTransaction { try Query(db, "ROLLBACK").run() }
            try Query(db, "BEGIN IMMEDIATE").run()
            var outcomes: [CommitQueue.Outcome] = []
            for change in changes { outcomes.append(try applyOne(change)) }
            for (writer, added) in sums { try add(added.count, added.sum, to: writer) }
            try Query(db, "COMMIT").run()
            if destroyedKeys { forgetLog() }
            return outcomes
        } catch {
            if db.isInsideTransaction { _ = try? Query(db, "ROLLBACK").run() }
            return changes.map { _ in .failure(diagnosed(error, path)) }
        }
    }

    /// Throws only when the whole transaction is lost.
    private mutating func applyOne(_ change: StoreChange) throws -> CommitQueue.Outcome {
        try Query(db, "SAVEPOINT change").run()
        do {
            let result = try judge(change)
            if result == .committed {
                for write in change.writes { try apply(write) }
            }
            try Query(db, "RELEASE change").run()
            if result == .committed, let sum = change.sum {
                let before = sums[sum.writer] ?? (0, RowSum())
                sums[sum.writer] = (before.count + 1, before.sum + sum.sum)
            }
            return .success(result)
        } catch {
            guard db.isInsideTransaction else { throw error }
            try Query(db, "ROLLBACK TO change").run()
            try Query(db, "RELEASE change").run()
            if error is Conflict || SQLiteFailure(error)?.isConflict == true { return .success(.conflict) }
            return .failure(diagnosed(error, path))
        }
    }

    private func add(_ count: Int64, _ sum: RowSum, to writer: String) throws {
        let columns = StoreTable.sumColumns
        let sums = columns.map { "\($0) = (\($0) + excluded.\($0)) & 4294967295" }.joined(separator: ", ")
        try one(
            """
            INSERT INTO row_sums (writer, counter, \(columns.joined(separator: ", ")))
            VALUES (?, ?, \(columns.map { _ in "?" }.joined(separator: ", ")))
            ON CONFLICT (writer) DO UPDATE SET counter = counter + excluded.counter, \(sums)
            """
        ) {
            try $0.bind(RecordID(writer))
            try $0.bind(count)
            for number in sum.numbers { try $0.bind(number) }
        }
    }

    private func judge(_ change: StoreChange) throws -> CommitResult {
        for case .insertLedger(let entry) in change.writes where try isInLedger(entry.digest) { return .duplicate }
        for expectation in change.expectations where try !holds(expectation) { return .conflict }
        for version in change.rootVersions where try isOpen(version) == false { return .conflict }
        return .committed
    }

    private func isInLedger(_ digest: [UInt8]) throws -> Bool {
        var query = try Query(db, "SELECT 1 FROM ledger WHERE digest = ?")
        try query.bind(digest)
        return try query.step()
    }

    private func holds(_ expectation: StoreExpectation) throws -> Bool {
        switch expectation {
        case .resource(let id, let version):
            try version == self.version(id, "SELECT version FROM resources WHERE id = ?")
        case .key(let id, let version): try version == self.version(id, "SELECT version FROM keys WHERE id = ?")
        case .session(let id): try version(id, "SELECT version FROM sessions WHERE id = ?") != nil
        case .setting(let name, let value): try setting(name) == value
        case .openRoot(let version): try isOpen(version) == true
        case .nothingUnderRoot(let version):
            try SealedTable.allCases.allSatisfy { table in
                var query = try Query(db, "SELECT 1 FROM \(table.rawValue) WHERE \(table.markSQL) = ? LIMIT 1")
                try query.bind(SealedTable.mark(UInt32(truncatingIfNeeded: version)))
                return try !query.step()
            }
        case .contents(let id, let rows, let versions):
            try holds(contentsOf: id, rows, versions)
        }
    }

    private func holds(contentsOf resource: String, _ rows: Int64, _ versions: Int64) throws -> Bool {
        var query = try Query(
            db,
            """
            SELECT count(*), coalesce(sum(version), 0) FROM (
                SELECT version FROM keys WHERE resource = ?1
                UNION ALL SELECT version FROM authorizations WHERE resource = ?1)
            """)
        try query.bind(RecordID(resource))
        return try query.step() && query.integer(0) == rows && query.integer(1) == versions
    }

    /// Nil when there is no such version.
    private func isOpen(_ version: Int64) throws -> Bool? {
        var query = try Query(db, "SELECT state IN ('active', 'retiring') FROM root_keys WHERE version = ?")
        try query.bind(version)
        return try query.single().map { $0 == 1 }
    }

    private func reseal(_ table: SealedTable, _ id: String, _ old: [UInt8], _ new: [UInt8]) throws {
        let columns = table.columns
        var query = try Query(
            db,
            "UPDATE \(table.rawValue) SET \(columns.value) = ? WHERE \(columns.id) = ? AND \(columns.value) = ?")
        try query.bind(new)
        try query.bind(id, of: table)
        try query.bind(old)
        try query.run()
    }

    private func wrap(_ root: RootKeyRecord) throws {
        var drop = try Query(db, "DELETE FROM root_key_wraps WHERE version = ?")
        try drop.bind(root.version)
        try drop.run()
        for (holder, wrapped) in root.wraps.sorted(by: { $0.key < $1.key }) {
            try one("INSERT INTO root_key_wraps (version, holder, wrapped) VALUES (?, ?, ?)") {
                try $0.bind(root.version)
                try $0.bind(holder)
                try $0.bind(wrapped)
            }
        }
    }

    private func setting(_ name: String) throws -> [UInt8]? {
        var query = try Query(db, "SELECT value FROM settings WHERE name = ?")
        try query.bind(name)
        return try query.first { $0.bytes(0) }
    }

    private func version(_ id: String, _ sql: String) throws -> Int64? {
        var query = try Query(db, sql)
        try query.bind(RecordID(id))
        return try query.single()
    }

    private mutating func apply(_ write: StoreWrite) throws {
        switch write {
        case .insertKey(let key):
            try one(
                "INSERT INTO keys (version, resource, bound_at, sealed, id) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
            ) { try bind(key, to: &$0) }
        case .updateKey(let key):
            try one(
                "UPDATE keys SET version = ?, resource = ?, bound_at = ?, sealed = ? WHERE id = ? AND version = ?"
            ) {
                try bind(key, to: &$0)
                try $0.bind(key.version - 1)
            }
        case .insertResource(let resource):
            try one(
                "INSERT INTO resources (version, deleted_at, sealed, id) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
            ) { try bind(resource, to: &$0) }
        case .updateResource(let resource):
            try one("UPDATE resources SET version = ?, deleted_at = ?, sealed = ? WHERE id = ? AND version = ?") {
                try bind(resource, to: &$0)
                try $0.bind(resource.version - 1)
            }
        case .insertErasableKey(let record):
            try one("INSERT INTO erasable_keys (resource, sealed) VALUES (?, ?) ON CONFLICT DO NOTHING") {
                try $0.bind(RecordID(record.resource))
                try $0.bind(record.sealed)
            }
        case .insertAuthorization(let authorization):
            try one(
                """
                INSERT INTO authorizations (version, resource, lookup, position, removed_at, sealed, id)
                VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
                """
            ) { try bind(authorization, to: &$0) }
        case .updateAuthorization(let authorization):
            try one(
                """
                UPDATE authorizations
                SET version = ?, resource = ?, lookup = ?, position = ?, removed_at = ?, sealed = ?
                WHERE id = ? AND version = ?
                """
            ) {
                try bind(authorization, to: &$0)
                try $0.bind(authorization.version - 1)
            }
        case .insertSession(let session): try insert(session)
        case .deleteSession(let id):
            var query = try Query(db, "DELETE FROM sessions WHERE id = ?")
            try query.bind(RecordID(id))
            try query.run()
        case .advanceSession(let id, let counter):
            try one("UPDATE sessions SET last_counter = ?1 WHERE id = ?2 AND last_counter < ?1") {
                try $0.bind(counter)
                try $0.bind(RecordID(id))
            }
        case .insertLedger(let entry):
            try one(
                """
                INSERT INTO ledger (digest, session, expires, sealed_answer, audit) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT DO NOTHING
                """
            ) {
                try $0.bind(entry.digest)
                try $0.bind(RecordID(entry.session))
                try $0.bind(entry.expires)
                try $0.bind(entry.sealedAnswer)
                try $0.bind(entry.audit)
            }
        case .insertSessionKEK(let kek):
            try one("INSERT INTO session_keks (id, sealed, last_expiry) VALUES (?, ?, ?) ON CONFLICT DO NOTHING") {
                try $0.bind(kek.id)
                try $0.bind(kek.sealed)
                try $0.bind(kek.lastExpiry)
            }
        case .putSetting(let name, let value):
            try one("INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value")
            {
                try $0.bind(name)
                try $0.bind(value)
            }
        case .insertRootKey(let root):
            try one("INSERT INTO root_keys (state, created, version) VALUES (?, ?, ?) ON CONFLICT DO NOTHING") {
                try bind(root, to: &$0)
            }
            try wrap(root)
        case .updateRootKey(let root):
            try one("UPDATE root_keys SET state = ?, created = ? WHERE version = ?") { try bind(root, to: &$0) }
            try wrap(root)
            // A wrap that is gone must not stay readable in the log.
            destroyedKeys = true
        case .deleteRootKey(let version):
            try wrap(RootKeyRecord(version: version, state: .inert, wraps: [:], created: Timestamp(seconds: 0)))
            try one("DELETE FROM root_keys WHERE version = ? AND state = 'inert'") { try $0.bind(version) }
            destroyedKeys = true
        case .reseal(let table, let id, let old, let new): try reseal(table, id, old, new)
        case .eraseKey(let id, let version):
            try one("DELETE FROM keys WHERE id = ? AND version = ?") {
                try $0.bind(RecordID(id))
                try $0.bind(version)
            }
            destroyedKeys = true
        case .eraseResource(let id, let version): try erase(id, version)
        case .eraseAuthorization(let id, let version):
            try one("DELETE FROM authorizations WHERE id = ? AND version = ? AND removed_at IS NOT NULL") {
                try $0.bind(RecordID(id))
                try $0.bind(version)
            }
        case .purgeExpired(let now): try purge(now)
        }
    }

    /// Like the keys of days gone by, what is erased must not stay readable in the log.
    private mutating func erase(_ id: String, _ version: Int64) throws {
        for table in ["keys", "authorizations", "erasable_keys"] {
            var query = try Query(db, "DELETE FROM \(table) WHERE resource = ?")
            try query.bind(RecordID(id))
            try query.run()
        }
        try one("DELETE FROM resources WHERE id = ? AND version = ? AND deleted_at IS NOT NULL") {
            try $0.bind(RecordID(id))
            try $0.bind(version)
        }
        destroyedKeys = true
    }

    /// Runs a statement that must change one row; none means that a condition of it did not hold.
    private func one(_ sql: String, _ bind: (inout Query) throws -> Void) throws {
        var query = try Query(db, sql)
        try bind(&query)
        guard try query.run() == 1 else { throw Conflict() }
    }

    private func insert(_ session: SessionRecord) throws {
        try one("UPDATE session_keks SET last_expiry = max(last_expiry, ?) WHERE id = ?") {
            try $0.bind(session.expires)
            try $0.bind(session.kek)
        }
        try one(
            """
            INSERT INTO sessions (id, version, kek, user, expires, last_counter, sealed) VALUES (?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT DO NOTHING
            """
        ) {
            try $0.bind(RecordID(session.id))
            try $0.bind(session.version)
            try $0.bind(session.kek)
            try $0.bind(session.user)
            try $0.bind(session.expires)
            try $0.bind(session.lastCounter)
            try $0.bind(session.sealed)
        }
    }

    private mutating func purge(_ now: Timestamp) throws {
        try delete(
            "DELETE FROM ledger WHERE rowid IN (SELECT rowid FROM ledger WHERE expires <= ? ORDER BY expires LIMIT ?)",
            now)
        try delete(
            """
            DELETE FROM sessions
            WHERE rowid IN (SELECT rowid FROM sessions WHERE expires <= ? ORDER BY expires LIMIT ?)
            """, now)
        let destroyed = try delete(
            """
            DELETE FROM session_keks WHERE id IN (
                SELECT id FROM session_keks AS kek WHERE last_expiry <= ?
                AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.kek = kek.id) ORDER BY id LIMIT ?)
            """, now)
        if destroyed > 0 { destroyedKeys = true }
    }

    @discardableResult
    private func delete(_ sql: String, _ now: Timestamp) throws -> Int {
        var query = try Query(db, sql)
        try query.bind(now)
        try query.bind(Int64(StoreChange.purgeLimit))
        return try query.run()
    }

    /// Copies the log back and empties it, so that the file holds no older image of a page with a destroyed key.
    /// A reader that is too slow puts it off to the next ordinary checkpoint.
    private func forgetLog() {
        _ = try? Query(db, "PRAGMA wal_checkpoint(TRUNCATE)").single()
    }
}

// The parameters that insert and update share; the identity comes last, where an update's condition has it.

private func bind(_ key: KeyRecord, to query: inout Query) throws {
    try query.bind(key.version)
    try query.bind(key.resource.flatMap { RecordID($0) })
    try query.bind(key.boundAt)
    try query.bind(key.sealed)
    try query.bind(RecordID(key.id))
}

private func bind(_ resource: ResourceRecord, to query: inout Query) throws {
    try query.bind(resource.version)
    try query.bind(resource.deletedAt)
    try query.bind(resource.sealed)
    try query.bind(RecordID(resource.id))
}

private func bind(_ authorization: AuthorizationRecord, to query: inout Query) throws {
    try query.bind(authorization.version)
    try query.bind(RecordID(authorization.resource))
    try query.bind(authorization.lookup)
    try query.bind(authorization.order)
    try query.bind(authorization.removedAt)
    try query.bind(authorization.sealed)
    try query.bind(RecordID(authorization.id))
}

private func bind(_ root: RootKeyRecord, to query: inout Query) throws {
    try query.bind(root.state.rawValue)
    try query.bind(root.created)
    try query.bind(root.version)
}
