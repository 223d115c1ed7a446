import Cryptography
package import Diagnostics
package import KeyStore
import KeyStorePostgreSQL
import KeyStoreSQLite
package import PostgreSQLClient
import WireText

extension DiagnosedError.Code {
    /// What was read back is not what was put in.
    package static let storeMoveUnverified: Self = "store-move-unverified"
}

/// Moves a key store from SQLite to PostgreSQL: everything, or nothing.
///
/// The rows go over in one transaction; before it is committed every table is read back and compared by its number of
/// rows and the SHA-256 over them. A service on the SQLite file is refused, before and meanwhile. Whatever ends it
/// early, it can be started again: a target that has exactly these rows is found to be done, one that has others is
/// refused and left alone. The SQLite file is only read, but for the migration of an old schema.
package enum StoreMigration {
    package struct Table: Hashable, Sendable {
        package let table: StoreTable
        package let rows: Int
        /// SHA-256 over the rows in the order of their keys, in hexadecimal digits.
        package let digest: String
    }

    package struct Outcome: Sendable {
        /// False: everything was there already.
        package let wasMoved: Bool
        package let tables: [Table]
    }

    /// Blocks. `progress` is told how many rows of a table were moved so far; what it throws ends the move.
    package static func sqliteToPostgreSQL(
        from path: String, to settings: PostgreSQLSettings, schema: String = PostgreSQLKeyStore.Options().schema,
        epoch: Int64 = 1, progress: (StoreTable, Int) throws -> Void = { _, _ in }
    ) throws -> Outcome {
        let source = try SQLiteExport(path: path)
        let target = try PostgreSQLImport(settings, schema: schema)
        let present = try StoreTable.allCases.map { try summary(of: $0) { try target.rows(of: $0, $1) } }
        guard present.allSatisfy({ $0.rows == 0 }) else {
            let own = try StoreTable.allCases.map { try summary(of: $0) { try source.rows(of: $0, $1) } }
            guard own == present else { throw notEmpty(present, settings) }
            return Outcome(wasMoved: false, tables: own)
        }
        var moved: [Table] = []
        for table in StoreTable.allCases {
            moved.append(try move(table, from: source, to: target, progress))
        }
        try target.raiseLastPosition(to: source.lastPosition())
        try target.raiseEpoch(to: epoch)
        for own in moved {
            let found = try summary(of: own.table) { try target.rows(of: $0, $1) }
            guard found == own else {
                throw DiagnosedError(
                    .storeMoveUnverified, fault: .store,
                    "the table \(own.table.rawValue) did not arrive as it was sent",
                    expected: "\(own.rows) rows, \(own.digest)", found: "\(found.rows) rows, \(found.digest)",
                    hint: "nothing was kept in the target; look for triggers and rules in its schema")
            }
        }
        try target.commit()
        return Outcome(wasMoved: true, tables: moved)
    }

    private static func move(
        _ table: StoreTable, from source: SQLiteExport, to target: PostgreSQLImport,
        _ progress: (StoreTable, Int) throws -> Void
    ) throws -> Table {
        var batch: [[StoreTable.Value]] = []
        var count = 0
        func flush() throws {
            try target.insert(batch, into: table)
            count += batch.count
            batch = []
            try progress(table, count)
        }
        let sent = try summary(of: table) { table, note in
            try source.rows(of: table) { row in
                try note(row)
                batch.append(row)
                if batch.count == 500 { try flush() }
            }
        }
        try flush()
        return sent
    }

    private static func summary(
        of table: StoreTable, _ rows: (StoreTable, ([StoreTable.Value]) throws -> Void) throws -> Void
    ) throws -> Table {
        // A chain: each row's octets are digested together with the digest so far.
        var digest = [UInt8](repeating: 0, count: 32)
        var count = 0
        try rows(table) { row in
            digest = SHA256.hash(digest + StoreTable.octets(of: row))
            count += 1
        }
        return Table(table: table, rows: count, digest: Hexadecimal.encode(digest))
    }

    private static func notEmpty(_ present: [Table], _ settings: PostgreSQLSettings) -> DiagnosedError {
        let found = present.filter { $0.rows > 0 }.map { "\($0.rows) rows in \($0.table.rawValue)" }
        return DiagnosedError(
            .storeNotEmpty, fault: .configuration,
            "the database \(settings.database) has a key store with other records",
            expected: "no records", found: found.joined(separator: ", "),
            hint: "name an empty database; to give up what is there, drop its schema hds_kms yourself")
    }
}
