package import Diagnostics
import GRDB
import Glibc
package import KeyStore

/// All rows of a SQLite key store that no service has open, for moving them elsewhere.
///
/// Holds the store's lock, so that a service can neither run meanwhile nor start; an older schema is brought to the
/// present one first. One thread at a time.
package final class SQLiteExport: Sendable {
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

    /// Calls `body` with every row, in the order of the table's key.
    package func rows(of table: StoreTable, _ body: ([StoreTable.Value]) throws -> Void) throws {
        let columns = table.columns
        let names = columns.map { Self.name($0.name) }.joined(separator: ", ")
        let key = columns.prefix(table.keyCount).map { Self.name($0.name) }.joined(separator: ", ")
        let sql = "SELECT \(names) FROM \(table.rawValue) ORDER BY \(key)"
        try reading { db in
            var query = try Query(db, sql)
            while try query.step() {
                var row: [StoreTable.Value] = []
                for (index, column) in columns.enumerated() {
                    let position = Int32(index)
                    if query.isNull(position) {
                        row.append(.null)
                    } else if case .integer = column.kind {
                        row.append(.integer(query.integer(position)))
                    } else {
                        row.append(.octets(query.bytes(position)))
                    }
                }
                try body(row)
            }
        }
    }

    /// The highest position that the ledger ever gave, also to entries that are gone.
    package func lastPosition() throws -> Int64 {
        try reading { db in try Query(db, "SELECT seq FROM sqlite_sequence WHERE name = 'ledger'").single() ?? 0 }
    }

    private static func name(_ column: String) -> String { column == "user_lookup" ? "user" : column }

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
