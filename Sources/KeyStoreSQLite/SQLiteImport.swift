import Diagnostics
import GRDB
import Glibc
package import KeyStore

/// Puts the rows of another store into a new SQLite file, in one transaction. One thread at a time.
///
/// Holds the store's lock, so that no service starts on a file that is not whole. Without `commit` the file stays empty.
package final class SQLiteImport: StoreFilling {
    private let file: DatabaseFile
    private let database: DatabaseQueue

    /// Makes the file; throws `store-not-empty` when there is one.
    package init(path: String) throws {
        guard access(path, F_OK) != 0 else {
            throw DiagnosedError(
                .storeNotEmpty, fault: .configuration, "there is a key store \(path)",
                expected: "no file: nothing is ever overwritten", hint: "name a new file")
        }
        do {
            file = try DatabaseFile.open(path)
            database = try Connections.writer(file, SQLiteKeyStore.Options())
            try database.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
        } catch {
            throw diagnosed(error, path)
        }
    }

    deinit { file.release() }

    package func insert(_ rows: [[StoreTable.Value]], into table: StoreTable) throws {
        let columns = table.columns
        let names = columns.map { TableRows.name($0.name) }.joined(separator: ", ")
        let marks = columns.map { _ in "?" }.joined(separator: ", ")
        let isText = columns.map { column in
            if case .text = column.kind { return true }
            return table == .settings && column.name == "name" || table == .rootKeyWraps && column.name == "holder"
        }
        try writing { db in
            for row in rows {
                var query = try Query(db, "INSERT INTO \(table.rawValue) (\(names)) VALUES (\(marks))")
                for (index, value) in row.enumerated() {
                    switch value {
                    case .null: try query.bind(Int64?.none)
                    case .integer(let number): try query.bind(number)
                    case .octets(let octets) where isText[index]:
                        guard let text = String(validating: octets, as: UTF8.self) else {
                            throw SQLiteFailure.corrupt("a text that is not UTF-8")
                        }
                        try query.bind(text)
                    case .octets(let octets): try query.bind(octets)
                    }
                }
                try query.run()
            }
        }
    }

    package func raiseLastPosition(to position: Int64) throws {
        guard position > 0 else { return }
        try writing { db in
            var remove = try Query(db, "DELETE FROM sqlite_sequence WHERE name = 'ledger' AND seq < ?")
            try remove.bind(position)
            try remove.run()
            var query = try Query(
                db,
                """
                INSERT INTO sqlite_sequence (name, seq) SELECT 'ledger', ?
                WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'ledger')
                """)
            try query.bind(position)
            try query.run()
        }
    }

    /// The file is whole and closed when it returns, and nobody holds it.
    package func commit() throws {
        try writing { try $0.execute(sql: "COMMIT") }
        do { try database.close() } catch { throw diagnosed(error, file.path) }
        file.release()
    }

    private func writing(_ body: (Database) throws -> Void) throws {
        do {
            try database.writeWithoutTransaction(body)
        } catch {
            throw diagnosed(error, file.path)
        }
    }
}
