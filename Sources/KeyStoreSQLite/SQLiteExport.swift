package import Diagnostics
import GRDB
import Glibc
package import KeyStore

/// All rows of a SQLite key store that no service has open, for moving them elsewhere.
///
/// Holds the store's lock, so that a service can neither run meanwhile nor start; an older schema is brought to the
/// present one first. One thread at a time.
package final class SQLiteExport: StoreSnapshot, Sendable {
    private let file: DatabaseFile
    private let database: DatabaseQueue

    /// Throws `store-in-use` while a service runs on it.
    package init(path: String) throws(DiagnosedError) {
        do {
            // Opening would make one.
            guard access(path, F_OK) == 0 else {
                throw DiagnosedError(
                    .storeUnreachable, fault: .configuration, "no key store \(path)", expected: "a SQLite file",
                    found: String(cString: strerror(errno)), hint: "name the file of store.file")
            }
            file = try DatabaseFile.open(path)
            database = try Connections.writer(file, SQLiteKeyStore.Options())
        } catch {
            throw diagnosed(error, path)
        }
    }

    deinit { file.release() }

    package func rows(of table: StoreTable, _ body: ([StoreTable.Value]) throws -> Void) throws {
        try reading { try TableRows(db: $0).rows(of: table, body) }
    }

    package func lastPosition() throws -> Int64 { try reading { try TableRows(db: $0).lastPosition() } }

    private func reading<Value>(_ body: (Database) throws -> Value) throws -> Value {
        do {
            return try database.unsafeRead(body)
        } catch {
            // What `body` throws of its own passes through.
            guard error is DiagnosedError || SQLiteFailure(error) == nil else { throw diagnosed(error, file.path) }
            throw error
        }
    }
}
