import GRDB
package import KeyStore

// Root keys, and the values that are sealed under them.

extension SealedTable {
    /// Key, version and sealed value, the order of `SealedRow`.
    var columns: (id: String, version: String, value: String) {
        switch self {
        case .keys, .resources, .authorizations: ("id", "version", "sealed")
        case .erasableKeys: ("resource", "1", "sealed")
        case .sessionKEKs: ("id", "1", "sealed")
        case .settings: ("name", "1", "value")
        case .ledger: ("position", "1", "audit")
        }
    }

    /// Format and root key version of the sealed value; null for what is not sealed under a root key.
    var markSQL: String {
        let value = columns.value
        let mark: (String, Int) -> String = { value, offset in
            "iif(length(\(value)) >= \(offset + Self.minimum) AND substr(\(value), \(offset + 1), 1) = x'01', "
                + "substr(\(value), \(offset + 1), \(Self.markCount)), NULL)"
        }
        guard self == .settings else { return mark(value, 0) }
        return "iif(substr(\(value), 1, 1) = x'01', \(mark(value, 0)), \(mark(value, Self.settingOffset)))"
    }
}

extension Query {
    /// A `SealedRow`'s id as the table has it; nil binds what stands before all of them.
    mutating func bind(_ id: String?, of table: SealedTable) throws {
        switch table {
        case .keys, .resources, .authorizations, .erasableKeys:
            if let id = id.flatMap({ RecordID($0) }) { try bind(id) } else { try bind([UInt8]()) }
        case .sessionKEKs, .ledger: try bind(id.flatMap { Int64($0) } ?? .min)
        case .settings: try bind(id ?? "")
        }
    }
}

extension SQLiteKeyStore {
    package func rootKeys() async throws -> [RootKeyRecord] { try await heldRead(Self.rootKeys) }

    /// The same at once, for a look at the store that is not to wait.
    func readRootKeys() throws -> [RootKeyRecord] { try read(Self.rootKeys) }

    private static func rootKeys(_ db: Database) throws -> [RootKeyRecord] {
        // Both reads in one view: wraps come and go together with what their version's state says.
        try Query(db, "BEGIN").run()
        defer { _ = try? Query(db, "COMMIT").run() }
        var records = try Query(db, "SELECT \(RootKeyRecord.columns) FROM root_keys ORDER BY version")
            .all { try RootKeyRecord($0) }
        for index in records.indices {
            var query = try Query(db, "SELECT holder, wrapped FROM root_key_wraps WHERE version = ?")
            try query.bind(records[index].version)
            for (holder, wrapped) in try query.all({ ($0.text(0), $0.bytes(1)) }) {
                records[index].wraps[holder] = wrapped
            }
        }
        return records
    }

    package func sealedRows(
        _ table: SealedTable, notUnder version: Int64, after id: String?, limit: Int
    ) async throws -> [SealedRow] {
        let key = table.columns.id
        return try await sealedRows(table, version, id, limit, where: "\(key) > ?", order: key)
    }

    package func neighbouringSealedRows(
        _ table: SealedTable, notUnder version: Int64, after id: String?, limit: Int
    ) async throws -> [SealedRow] {
        // Where the key is the place.
        guard table != .settings, table != .erasableKeys else {
            return try await sealedRows(table, notUnder: version, after: id, limit: limit)
        }
        let place = "coalesce((SELECT rowid FROM \(table.rawValue) WHERE \(table.columns.id) = ?), -1)"
        return try await sealedRows(table, version, id, limit, where: "rowid > \(place)", order: "rowid")
    }

    private func sealedRows(
        _ table: SealedTable, _ version: Int64, _ id: String?, _ limit: Int, where condition: String, order: String
    ) async throws -> [SealedRow] {
        let columns = table.columns
        return try await heldRead { db in
            var query = try Query(
                db,
                """
                SELECT \(columns.id), \(columns.version), \(columns.value) FROM \(table.rawValue)
                WHERE \(condition) AND \(table.markSQL) <> ? ORDER BY \(order) LIMIT ?
                """)
            try query.bind(id, of: table)
            try query.bind(SealedTable.mark(UInt32(truncatingIfNeeded: version)))
            try query.bind(Int64(max(0, limit)))
            return try query.all { row in
                let id =
                    switch table {
                    case .keys, .resources, .authorizations, .erasableKeys: try row.id(0)
                    case .sessionKEKs, .ledger: String(row.integer(0))
                    case .settings: row.text(0)
                    }
                return SealedRow(id: id, version: row.integer(1), value: row.bytes(2))
            }
        }
    }

    package func sealedCounts(_ table: SealedTable) async throws -> [Int64: Int] {
        let rows = try await heldRead { db in
            try Query(
                db,
                """
                SELECT \(table.markSQL) AS mark, count(*) FROM \(table.rawValue) WHERE mark IS NOT NULL GROUP BY mark
                """
            ).all { (mark: $0.bytes(0), count: $0.integer(1)) }
        }
        return rows.reduce(into: [:]) { counts, row in
            counts[row.mark.dropFirst().reduce(Int64(0)) { $0 << 8 | Int64($1) }] = Int(row.count)
        }
    }
}
