import Diagnostics
import GRDB
package import KeyStore
import Synchronization
package import WireText

/// The key store in one SQLite file, for a single node: write-ahead log, every acknowledged commit on the disk.
///
/// Reads run on the caller's thread on one of a few read-only connections; a caller waits when all are taken. Commits
/// gather on one writing thread (`CommitQueue`). Durability is `synchronous = FULL`: the log is synced before a commit
/// returns, and `init` proves the setting. A second process, or a second instance, is refused (`store-in-use`).
/// Deleted content is overwritten (`secure_delete`). See docs/decisions/011-group-commit.md.
///
/// What fails because the disk is full, read-only or away is held for `patience`, tried again and then done as if nothing
/// had been; a commit is refused while the path does not lead to the file that was opened, for nobody would find it there
/// later. See docs/decisions/017-held-requests.md.
package final class SQLiteKeyStore: KeyStore {
    package struct Options: Sendable {
        /// Connections for reading, one for each thread that reads at the same time.
        package var readers = 4
        /// The database grows to so many pages of 4 KiB and then answers `store-full`; nil leaves it to the disk.
        package var maximumPages: Int?
        /// How many seconds to wait for a lock that another program, such as a sqlite3 shell, holds on the file.
        package var busyTimeout = 5.0
        /// Up to this size opening checks the whole file, beyond it the tables without which nothing opens.
        package var wholeCheckBytes = 16 << 20
        /// How long a request waits for a disk that does not do what it should; zero: it fails at once.
        package var patience = Duration.zero
        package var observer = StoreObserver()

        package init() {}
    }

    private let file: DatabaseFile
    private let writer: DatabaseQueue
    private let readers: [ReadConnection]
    private let nextReader = Atomic<Int>(0)
    private let commits: CommitQueue
    private let hold: StoreHold

    /// Opens the database, making or migrating it as needed; blocks on the disk.
    package init(path: String, options: Options = Options()) throws {
        do {
            let file = try DatabaseFile.open(path)
            let writer = try Connections.writer(file, options)
            self.file = file
            self.writer = writer
            readers = try (0..<max(1, options.readers)).map { _ in ReadConnection(try Connections.reader(path, options))
            }
            let hold = StoreHold(patience: options.patience, observer: options.observer)
            self.hold = hold
            commits = CommitQueue(label: "hds.key-store.commit", hold: hold) { changes in
                do throws(DiagnosedError) {
                    try file.checkIdentity()
                } catch {
                    return changes.map { _ in .failure(error) }
                }
                return writer.writeWithoutTransaction { db in
                    var changeWriter = ChangeWriter(db: db, path: path)
                    return changeWriter.apply(changes)
                }
            }
        } catch {
            throw diagnosed(error, path)
        }
    }

    package func commit(_ change: StoreChange) async throws -> CommitResult {
        try change.validate()
        return try await commits.commit(change)
    }

    package func check() async throws {
        do {
            _ = try readRootKeys()
            hold.noteRead(nil)
            try file.checkIdentity(strictly: true)
            try proveWriting()
            hold.noteCommit(nil)
        } catch {
            let error = diagnosed(error, file.path)
            hold.noteCommit(error)
            throw error
        }
    }

    private func proveWriting() throws {
        do {
            try writer.writeWithoutTransaction { db in
                var query = try Query(
                    db, "INSERT INTO liveness (id, at) VALUES (1, ?) ON CONFLICT DO UPDATE SET at = excluded.at")
                try query.bind(Timestamp.now())
                try query.run()
            }
        } catch {
            throw diagnosed(error, file.path)
        }
    }

    package func stopHolding() { hold.end() }

    package func close() async {
        await commits.close()
        for reader in readers { reader.close() }
        // Nothing is lost if it fails: the log is replayed at the next start.
        try? writer.close()
        file.release()
    }

    /// A read that is held while the disk does not answer.
    func heldRead<R: Sendable>(_ body: (Database) throws -> R) async throws -> R {
        do {
            return try read(body)
        } catch let error as DiagnosedError where error.fault == .store {
            return try await again(after: error, body)
        }
    }

    private func again<R: Sendable>(after first: DiagnosedError, _ body: (Database) throws -> R) async throws -> R {
        var (error, pause) = (first, StoreHold.Pause())
        let arrived = ContinuousClock.now
        while true {
            if error.code != .storeClosed { hold.noteRead(error) }
            guard hold.keeps(error, since: arrived, at: .now) else { throw error }
            // A caller that is cancelled waits no longer; what is thrown says what the matter is.
            guard (try? await Task.sleep(for: .microseconds(Int(pause.next())))) != nil else { throw error }
            do {
                let found = try read(body)
                hold.noteRead(nil)
                return found
            } catch let again as DiagnosedError {
                error = again
            }
        }
    }

    /// The first free connection, so that few page caches stay warm; when none is free, the turn decides who waits where.
    func read<R: Sendable>(_ body: (Database) throws -> R) throws -> R {
        do {
            for reader in readers {
                if let result = try reader.readIfFree(body) { return result }
            }
            let turn = nextReader.wrappingAdd(1, ordering: .relaxed).oldValue
            return try readers[Int(UInt(bitPattern: turn) % UInt(readers.count))].read(body)
        } catch {
            throw diagnosed(error, file.path)
        }
    }
}

// MARK: Reads

extension SQLiteKeyStore {
    package func key(_ id: String) async throws -> KeyRecord? {
        guard let key = RecordID(id) else { return nil }
        return try await heldRead { db in
            var query = try Query(db, "SELECT \(KeyRecord.columns) FROM keys WHERE id = ?")
            try query.bind(key)
            return try query.first { try KeyRecord($0, id: id) }
        }
    }

    package func key(_ id: String, lookup: @Sendable (_ resource: String) -> [UInt8]) async throws -> KeyWithGrant? {
        guard let key = RecordID(id) else { return nil }
        return try await heldRead { db in
            // One view for both, and one pair of locks on the log's index instead of two.
            try Query(db, "BEGIN").run()
            defer { _ = try? Query(db, "COMMIT").run() }
            var query = try Query(db, Self.keyByID)
            try query.bind(key)
            guard let record = try query.first({ try KeyRecord($0, id: id) }) else { return nil }
            guard let resource = record.resource else { return KeyWithGrant(key: record) }
            return KeyWithGrant(
                key: record, resource: try Self.resource(db, resource),
                authorization: try Self.authorization(db, RecordID(resource), lookup(resource)))
        }
    }

    private static func resource(_ db: Database, _ id: String) throws -> ResourceRecord? {
        var query = try Query(db, "SELECT \(ResourceRecord.columns) FROM resources WHERE id = ?")
        try query.bind(RecordID(id))
        return try query.first { ResourceRecord($0, id: id) }
    }

    private static func authorization(
        _ db: Database, _ resource: RecordID?, _ lookup: [UInt8]
    ) throws -> AuthorizationRecord? {
        var query = try Query(db, authorizationByLookup)
        try query.bind(resource)
        try query.bind(lookup)
        return try query.first { try AuthorizationRecord($0) }
    }

    // Made once: these run for every retrieval.
    private static let keyByID = "SELECT \(KeyRecord.columns) FROM keys WHERE id = ?"
    private static let authorizationByLookup = """
        SELECT \(AuthorizationRecord.columns) FROM authorizations
        WHERE resource = ? AND lookup = ? AND removed_at IS NULL
        """

    package func keys(
        ofResource resource: String, from: Timestamp?, before: Timestamp?, limit: Int?
    ) async throws -> [KeyRecord] {
        guard let resource = RecordID(resource) else { return [] }
        return try await heldRead { db in
            var query = try Query(
                db,
                """
                SELECT \(KeyRecord.columns) FROM keys WHERE resource = ? AND bound_at >= ? AND bound_at < ?
                ORDER BY bound_at DESC, id DESC LIMIT ?
                """)
            try query.bind(resource)
            try query.bind(from ?? Timestamp(milliseconds: .min))
            try query.bind(before ?? Timestamp(milliseconds: .max))
            try query.bind(limit.map { Int64(max(0, $0)) } ?? -1)
            return try query.all { try KeyRecord($0) }
        }
    }

    package func keys(ofResource resource: String, behind key: KeyRecord?, limit: Int) async throws -> [KeyRecord] {
        guard let resource = RecordID(resource) else { return [] }
        return try await heldRead { db in
            var query = try Query(
                db,
                """
                SELECT \(KeyRecord.columns) FROM keys WHERE resource = ? AND (bound_at, id) > (?, ?)
                ORDER BY bound_at, id LIMIT ?
                """)
            try query.bind(resource)
            try query.bind(key?.boundAt ?? Timestamp(milliseconds: .min))
            if let id = key.flatMap({ RecordID($0.id) }) { try query.bind(id) } else { try query.bind([UInt8]()) }
            try query.bind(Int64(max(0, limit)))
            return try query.all { try KeyRecord($0) }
        }
    }

    package func unboundKeys(after id: String?, limit: Int) async throws -> [KeyRecord] {
        try await heldRead { db in
            var query = try Query(
                db, "SELECT \(KeyRecord.columns) FROM keys WHERE resource IS NULL AND id > ? ORDER BY id LIMIT ?")
            if let after = id.flatMap({ RecordID($0) }) { try query.bind(after) } else { try query.bind([UInt8]()) }
            try query.bind(Int64(max(0, limit)))
            return try query.all { try KeyRecord($0) }
        }
    }

    package func resource(_ id: String) async throws -> ResourceRecord? {
        guard RecordID(id) != nil else { return nil }
        return try await heldRead { db in try Self.resource(db, id) }
    }

    package func erasableKey(ofResource resource: String) async throws -> [UInt8]? {
        guard let resource = RecordID(resource) else { return nil }
        return try await heldRead { db in
            var query = try Query(db, "SELECT sealed FROM erasable_keys WHERE resource = ?")
            try query.bind(resource)
            return try query.first { $0.bytes(0) }
        }
    }

    package func authorization(_ id: String) async throws -> AuthorizationRecord? {
        guard let id = RecordID(id) else { return nil }
        return try await heldRead { db in
            var query = try Query(db, "SELECT \(AuthorizationRecord.columns) FROM authorizations WHERE id = ?")
            try query.bind(id)
            return try query.first { try AuthorizationRecord($0) }
        }
    }

    package func authorization(ofResource resource: String, lookup: [UInt8]) async throws -> AuthorizationRecord? {
        guard let resource = RecordID(resource) else { return nil }
        return try await heldRead { db in try Self.authorization(db, resource, lookup) }
    }

    package func authorizations(
        ofResource resource: String, includingRemoved: Bool
    ) async throws -> [AuthorizationRecord] {
        guard let resource = RecordID(resource) else { return [] }
        return try await heldRead { db in
            var query = try Query(
                db,
                """
                SELECT \(AuthorizationRecord.columns) FROM authorizations
                WHERE resource = ? AND (? OR removed_at IS NULL) ORDER BY position, id
                """)
            try query.bind(resource)
            try query.bind(includingRemoved ? 1 : 0)
            return try query.all { try AuthorizationRecord($0) }
        }
    }

    package func lastRemoval(ofResource resource: String, lookup: [UInt8]) async throws -> AuthorizationRecord? {
        guard let resource = RecordID(resource) else { return nil }
        return try await heldRead { db in
            var query = try Query(
                db,
                """
                SELECT \(AuthorizationRecord.columns) FROM authorizations
                WHERE resource = ? AND lookup = ? AND removed_at IS NOT NULL
                ORDER BY removed_at DESC, position DESC, id DESC LIMIT 1
                """)
            try query.bind(resource)
            try query.bind(lookup)
            return try query.first { try AuthorizationRecord($0) }
        }
    }

    package func session(_ id: String) async throws -> SessionRecord? {
        guard let session = RecordID(id) else { return nil }
        return try await heldRead { db in
            var query = try Query(db, "SELECT \(SessionRecord.columns) FROM sessions WHERE id = ?")
            try query.bind(session)
            return try query.first { SessionRecord($0, id: id) }
        }
    }

    package func sessions(ofUser user: [UInt8], liveAt now: Timestamp) async throws -> Int {
        try await heldRead { db in
            var query = try Query(db, "SELECT count(*) FROM sessions WHERE user = ? AND expires > ?")
            try query.bind(user)
            try query.bind(now)
            return Int(try query.single() ?? 0)
        }
    }

    package func sessions(ofUser user: [UInt8]?, after id: String?, limit: Int) async throws -> [SessionRecord] {
        try await heldRead { db in
            let condition = user == nil ? "" : "AND user = ?"
            var query = try Query(
                db, "SELECT \(SessionRecord.columns), id FROM sessions WHERE id > ? \(condition) ORDER BY id LIMIT ?")
            if let after = id.flatMap({ RecordID($0) }) { try query.bind(after) } else { try query.bind([UInt8]()) }
            if let user { try query.bind(user) }
            try query.bind(Int64(max(0, limit)))
            return try query.all { SessionRecord($0, id: try $0.id(6)) }
        }
    }

    package func ledgerEntry(_ digest: [UInt8]) async throws -> LedgerRecord? {
        try await heldRead { db in
            var query = try Query(db, "SELECT \(LedgerRecord.columns) FROM ledger WHERE digest = ?")
            try query.bind(digest)
            return try query.first { try LedgerRecord($0, digest: digest) }
        }
    }

    package func ledgerAudits(after position: Int64, limit: Int) async throws -> [LedgerAudit] {
        try await heldRead { db in
            var query = try Query(
                db, "SELECT position, audit FROM ledger WHERE position > ? AND audit <> x'' ORDER BY position LIMIT ?")
            try query.bind(position)
            try query.bind(Int64(max(0, limit)))
            return try query.all { LedgerAudit(position: $0.integer(0), audit: $0.bytes(1)) }
        }
    }

    package func ledgerPosition() async throws -> Int64 {
        try await heldRead { db in try Query(db, "SELECT max(position) FROM ledger").single() ?? 0 }
    }

    package func resources(after id: String?, limit: Int) async throws -> [ResourceRecord] {
        try await heldRead { db in
            var query = try Query(
                db, "SELECT \(ResourceRecord.columns), id FROM resources WHERE id > ? ORDER BY id LIMIT ?")
            if let after = id.flatMap({ RecordID($0) }) { try query.bind(after) } else { try query.bind([UInt8]()) }
            try query.bind(Int64(max(0, limit)))
            return try query.all { ResourceRecord($0, id: try $0.id(3)) }
        }
    }

    package func deletedResources(until moment: Timestamp, limit: Int) async throws -> [ResourceRecord] {
        try await heldRead { db in
            var query = try Query(
                db,
                """
                SELECT \(ResourceRecord.columns), id FROM resources WHERE deleted_at <= ?
                ORDER BY deleted_at, id LIMIT ?
                """)
            try query.bind(moment)
            try query.bind(Int64(max(0, limit)))
            return try query.all { ResourceRecord($0, id: try $0.id(3)) }
        }
    }

    package func removedAuthorizations(until moment: Timestamp, limit: Int) async throws -> [AuthorizationRecord] {
        try await heldRead { db in
            var query = try Query(
                db,
                """
                SELECT \(AuthorizationRecord.columns) FROM authorizations WHERE removed_at <= ?
                ORDER BY removed_at, id LIMIT ?
                """)
            try query.bind(moment)
            try query.bind(Int64(max(0, limit)))
            return try query.all { try AuthorizationRecord($0) }
        }
    }

    package func sessionKEK(_ id: Int64) async throws -> SessionKEKRecord? {
        try await heldRead { db in
            var query = try Query(db, "SELECT \(SessionKEKRecord.columns) FROM session_keks WHERE id = ?")
            try query.bind(id)
            return try query.first { SessionKEKRecord($0, id: id) }
        }
    }

    package func setting(_ name: String) async throws -> [UInt8]? {
        try await heldRead { db in
            var query = try Query(db, "SELECT value FROM settings WHERE name = ?")
            try query.bind(name)
            return try query.first { $0.bytes(0) }
        }
    }

    package func rowSums() async throws -> [WriterSum] {
        let columns = StoreTable.sumColumns.joined(separator: ", ")
        return try await heldRead { db in
            try Query(db, "SELECT writer, counter, \(columns) FROM row_sums ORDER BY writer").all { row in
                let numbers = (0..<RowSum.count).map { row.integer(Int32($0 + 2)) }
                guard let sum = RowSum(numbers: numbers) else { throw SQLiteFailure.corrupt("a sum that is none") }
                return WriterSum(writer: try row.id(0), counter: row.integer(1), sum: sum)
            }
        }
    }

    package func isEmpty() async throws -> Bool {
        try await heldRead { db in
            try Query(
                db,
                """
                SELECT EXISTS (SELECT 1 FROM root_keys) OR EXISTS (SELECT 1 FROM settings)
                    OR EXISTS (SELECT 1 FROM session_keks) OR EXISTS (SELECT 1 FROM sessions)
                    OR EXISTS (SELECT 1 FROM resources) OR EXISTS (SELECT 1 FROM keys)
                    OR EXISTS (SELECT 1 FROM authorizations) OR EXISTS (SELECT 1 FROM ledger)
                """
            ).single() == 0
        }
    }

    package func hasExpired(at now: Timestamp) async throws -> Bool {
        try await heldRead { db in
            var query = try Query(
                db,
                """
                SELECT EXISTS (SELECT 1 FROM ledger WHERE expires <= ?1)
                    OR EXISTS (SELECT 1 FROM sessions WHERE expires <= ?1)
                    OR EXISTS (SELECT 1 FROM session_keks AS kek WHERE last_expiry <= ?1
                        AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.kek = kek.id))
                """)
            try query.bind(now)
            return try query.single() == 1
        }
    }
}
