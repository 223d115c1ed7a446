import Diagnostics
import FoundationEssentials
import GRDB
import Glibc
import KeyStore
import TestServers
import Testing
import WireText

@testable import KeyStoreSQLite

/// What stands in the way of opening a database, and what is said about it.
@Suite struct SQLiteOpeningTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.path("keys.db") }

    init() throws { directory = try TemporaryDirectory() }

    private func refusal(_ path: String? = nil, _ options: SQLiteKeyStore.Options = .init()) async -> DiagnosedError? {
        do {
            let store = try SQLiteKeyStore(path: path ?? self.path, options: options)
            await store.close()
            return nil
        } catch {
            return error as? DiagnosedError
        }
    }

    @Test("the files are the owner's alone")
    func modes() async {
        // The mask belongs to the whole process: this one has its own.
        await #expect(processExitsWith: .success) {
            umask(0)
            let directory = try TemporaryDirectory()
            let store = try SQLiteKeyStore(path: directory.path("keys.db"))
            try await store.apply(.insertKey(Sample.key(1)))
            for name in ["keys.db", "keys.db-wal", "keys.db-shm", "keys.db.lock"] {
                var status = stat()
                #expect(stat(directory.path(name), &status) == 0)
                #expect(status.st_mode & 0o7777 == 0o600, "\(name)")
            }
            await store.close()
        }
    }

    @Test("a second instance is refused with the name of the lock and the process that holds it")
    func secondInstance() async throws {
        let store = try SQLiteKeyStore(path: path)
        let error = try #require(await refusal())
        #expect(error.code == .storeInUse)
        #expect(error.description.contains("\(path).lock"))
        #expect(error.description.contains("process \(getpid())"))
        // The holder is not disturbed, and its end frees the lock.
        #expect(try await store.apply(.insertKey(Sample.key(1))) == .committed)
        await store.close()
    }

    @Test("a second process is refused while it works, and free when the first has ended")
    func secondProcess() async throws {
        do {
            let store = try SQLiteKeyStore(path: path)
            #expect(try lockIsFreeForAnotherProcess() == false)
            await store.close()
        }
        #expect(try lockIsFreeForAnotherProcess())
    }

    @Test("it is free when the first has ended, also while a program that is being started has copies of its files")
    func copiedLock() async throws {
        let store = try SQLiteKeyStore(path: path)
        let copy = try #require(Descriptors.copy(of: path + ".lock"))
        defer { close(copy) }
        #expect(await refusal()?.code == .storeInUse)
        await store.close()
        await #expect(refusal() == nil)
    }

    /// As `flock(1)`, another process, sees it.
    private func lockIsFreeForAnotherProcess() throws -> Bool {
        var process = pid_t()
        let arguments = ["flock", "--nonblock", "\(path).lock", "true"]
        var pointers = arguments.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        guard posix_spawnp(&process, "flock", nil, nil, &pointers, environ) == 0 else {
            throw TestFailure("flock(1) of util-linux is not here")
        }
        var status: Int32 = 0
        guard waitpid(process, &status, 0) == process else { throw TestFailure("waitpid: \(errno)") }
        return status == 0
    }

    @Test("a file or directory that others can reach is refused with the command that mends it")
    func permissions() async throws {
        await #expect(refusal() == nil)
        chmod(path, 0o644)
        var error = try #require(await refusal())
        #expect(error.code == .storePermissions)
        #expect(error.description.contains("0644"))
        #expect(error.description.contains("chmod 600 \(path)"))
        chmod(path, 0o600)
        chmod(directory.root, 0o777)
        error = try #require(await refusal())
        #expect(error.code == .storePermissions)
        #expect(error.description.contains(directory.root))
        chmod(directory.root, 0o755)
        await #expect(refusal() == nil)
    }

    @Test("a path that leads to no plain file of ours is refused")
    func oddPaths() async throws {
        await #expect(refusal(directory.path("missing/keys.db"))?.code == .storeUnreachable)
        symlink("elsewhere.db", directory.path("link.db"))
        await #expect(refusal(directory.path("link.db"))?.code == .storeUnreachable)
        mkdir(directory.path("folder.db"), 0o700)
        await #expect(refusal(directory.path("folder.db"))?.code == .storeUnreachable)
        mkfifo(directory.path("pipe.db"), 0o600)
        await #expect(refusal(directory.path("pipe.db"))?.code == .storeUnreachable)
    }

    @Test("a directory that can not be written is named")
    func readOnlyDirectory() async throws {
        // Root passes any mode: for root a file system that takes no files.
        let unwritable = geteuid() == 0 ? "/sys" : directory.root
        if geteuid() != 0 { chmod(unwritable, 0o500) }
        defer { chmod(directory.root, 0o700) }
        let error = try #require(await refusal("\(unwritable)/keys.db"))
        #expect(error.code == .storeUnreachable || error.code == .storeReadOnly)
        #expect(error.description.contains("\(unwritable)/keys.db"))
    }

    @Test("what is no database is called damaged, and is left as it is")
    func noDatabase() async throws {
        let garbage = Data((0..<8192).map { UInt8(truncatingIfNeeded: $0 &* 31 + 7) })
        try garbage.write(to: URL(filePath: path))
        chmod(path, 0o600)
        let error = try #require(await refusal())
        #expect(error.code == .storeCorrupt)
        #expect(error.description.contains(path))
        #expect(FileManager.default.contents(atPath: path) == garbage)
    }

    @Test(
        "a damaged page is found when the database opens, whole or by its most important tables",
        arguments: [true, false])
    func damagedPage(_ whole: Bool) async throws {
        let store = try SQLiteKeyStore(path: path)
        var value = [UInt8](repeating: 3, count: 100_000)
        try await store.apply(.putSetting(name: "large", value: value))
        value = []
        for number in 0..<300 { try await store.apply(.insertKey(Sample.key(number))) }
        await store.close()
        var content = try #require(FileManager.default.contents(atPath: path))
        let root = try rootPage(of: "settings")
        // Everything but the header of the table's root page: its cells point nowhere.
        for offset in (root - 1) * 4096 + 8..<root * 4096 { content[offset] = 0xEE }
        try content.write(to: URL(filePath: path))
        var options = SQLiteKeyStore.Options()
        options.wholeCheckBytes = whole ? .max : 0
        let error = try #require(await refusal(path, options))
        #expect(error.code == .storeCorrupt)
        #expect(error.hint?.contains("backup") == true)
    }

    private func rootPage(of table: String) throws -> Int {
        let database = try DatabaseQueue(path: path)
        defer { try? database.close() }
        return try #require(
            try database.inDatabase { db in
                try Int.fetchOne(db, sql: "SELECT rootpage FROM sqlite_schema WHERE name = ?", arguments: [table])
            })
    }

    @Test("a row that was written with a malformed id is damage, not a crash")
    func malformedRow() async throws {
        let store = try SQLiteKeyStore(path: path)
        try await store.apply(.insertResource(Sample.resource(50)), .insertKey(Sample.key(1, resource: 50)))
        let other = try DatabaseQueue(path: path)
        try await other.write { try $0.execute(sql: "UPDATE keys SET id = x'0102'") }
        try other.close()
        #expect(await code { _ = try await store.keys(ofResource: Sample.id(50)) } == .storeCorrupt)
        await store.close()
    }

    @Test("a database of another program, or of a newer version of this one, is refused untouched")
    func foreign() async throws {
        let other = try DatabaseQueue(path: path)
        try await other.write { try $0.execute(sql: "CREATE TABLE recipes (id INTEGER)") }
        try other.close()
        chmod(path, 0o600)
        #expect(try #require(await refusal()).code == .storeForeign)

        let newer = directory.path("newer.db")
        await #expect(refusal(newer) == nil)
        let database = try DatabaseQueue(path: newer)
        try await database.write { try $0.execute(sql: "PRAGMA user_version = 99") }
        try database.close()
        let error = try #require(await refusal(newer))
        #expect(error.code == .storeForeign)
        #expect(error.description.contains("99"))
    }

    @Test("root keys of the schema with one wrap each keep it, and a version that opened older records goes on to")
    func rootKeyWraps() async throws {
        let database = try DatabaseQueue(path: path)
        try await database.writeWithoutTransaction { [path] db in
            try Schema.migrate(db, path: path, steps: Array(Schema.steps.prefix(3)))
            try db.execute(
                sql: """
                    INSERT INTO root_keys VALUES (1, 'retired', x'0701', 'aa', 1000), (2, 'active', x'0702', 'aa', 2000),
                        (3, 'inert', x'0703', 'bb', 3000)
                    """)
        }
        try database.close()
        chmod(path, 0o600)
        let store = try SQLiteKeyStore(path: path)
        let states: [RootKeyRecord.State] = [.retiring, .active, .inert]
        let expected = states.enumerated().map { index, state in
            let number = UInt8(index + 1)
            return RootKeyRecord(
                version: Int64(number), state: state, wraps: ["kek \(number == 3 ? "bb" : "aa")": [7, number]],
                created: Timestamp(seconds: Int64(number)))
        }
        #expect(try await store.rootKeys() == expected)
        // Still one active version at most.
        #expect(try await store.apply(.insertRootKey(Sample.root(4, .active))) == .conflict)
        await store.close()
    }

    @Test("steps of the schema are applied once each, in order, and a failed one leaves no trace")
    func migration() throws {
        let database = try DatabaseQueue(path: path)
        let steps = ["CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y"]
        try database.writeWithoutTransaction { db in
            try Schema.migrate(db, path: path, steps: Array(steps.prefix(1)))
            try db.execute(sql: "INSERT INTO a VALUES (1)")
            try Schema.migrate(db, path: path, steps: steps)
            try Schema.migrate(db, path: path, steps: steps)
            #expect(try Int.fetchOne(db, sql: "SELECT count(*) FROM a WHERE y IS NULL") == 1)
            #expect(throws: (any Error).self) {
                try Schema.migrate(db, path: path, steps: steps + ["CREATE TABLE b (x); CREATE TABLE a (x)"])
            }
            #expect(try Int.fetchOne(db, sql: "PRAGMA user_version") == 2)
            #expect(try !db.tableExists("b"))
        }
        try database.close()
    }

    @Test("a check notices that the file was replaced")
    func replaced() async throws {
        let store = try SQLiteKeyStore(path: path)
        try await store.check()
        rename(path, directory.path("moved.db"))
        #expect(await code { try await store.check() } == .storeReplaced)
        try Data().write(to: URL(filePath: path))
        #expect(await code { try await store.check() } == .storeReplaced)
        rename(directory.path("moved.db"), path)
        try await store.check()
        await store.close()
    }

    @Test("each result of SQLite has its own code and says where")
    func codes() {
        let expected: [(ResultCode, DiagnosedError.Code)] = [
            (.SQLITE_FULL, .storeFull), (.SQLITE_READONLY_DBMOVED, .storeReadOnly),
            (.SQLITE_CORRUPT_VTAB, .storeCorrupt),
            (.SQLITE_NOTADB, .storeCorrupt), (.SQLITE_BUSY_SNAPSHOT, .storeBusy), (.SQLITE_LOCKED, .storeBusy),
            (.SQLITE_IOERR_FSYNC, .storeUnreachable), (.SQLITE_CANTOPEN, .storeUnreachable),
            (.SQLITE_CONSTRAINT_CHECK, .storeFailed),
        ]
        for (result, code) in expected {
            let error = diagnosed(DatabaseError(resultCode: result, message: "m"), "/x/keys.db")
            #expect(error.code == code)
            #expect(error.fault == .store)
            #expect(error.description.contains("/x/keys.db"))
        }
    }
}
