import GRDB
package import KeyStore

/// Rows of whole tables, for copies: of one connection, within one access to it.
struct TableRows: StoreSnapshot {
    let db: Database

    func rows(of table: StoreTable, _ body: ([StoreTable.Value]) throws -> Void) throws {
        let columns = table.columns
        let names = columns.map { Self.name($0.name) }.joined(separator: ", ")
        let key = columns.prefix(table.keyCount).map { Self.name($0.name) }.joined(separator: ", ")
        var query = try Query(db, "SELECT \(names) FROM \(table.rawValue) ORDER BY \(key)")
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

    func lastPosition() throws -> Int64 {
        try Query(db, "SELECT seq FROM sqlite_sequence WHERE name = 'ledger'").single() ?? 0
    }

    static func name(_ column: String) -> String { column == "user_lookup" ? "user" : column }
}

/// A view of a SQLite key store while the service writes on: a read transaction on a connection of its own.
package enum SQLiteSnapshot {
    /// Blocks. What `body` throws passes through; the log of the database grows until it returns.
    package static func read<R>(path: String, _ body: (any StoreSnapshot) throws -> R) throws -> R {
        do {
            let queue = try Connections.reader(path, SQLiteKeyStore.Options())
            defer { try? queue.close() }
            return try queue.read { try body(TableRows(db: $0)) }
        } catch {
            guard SQLiteFailure(error) != nil else { throw error }
            throw diagnosed(error, path)
        }
    }
}
