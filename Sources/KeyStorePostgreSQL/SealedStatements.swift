import KeyStore
import PostgreSQLClient

/// The statements on values that are sealed under root keys, one of each kind for each table.
enum SealedStatements {
    private static func columns(_ table: SealedTable) -> (id: String, version: String, value: String) {
        switch table {
        case .keys, .resources, .authorizations: ("id", "version", "sealed")
        case .erasableKeys: ("resource", "1::bigint", "sealed")
        case .sessionKEKs: ("id", "1::bigint", "sealed")
        case .settings: ("name", "1::bigint", "value")
        case .ledger: ("position", "1::bigint", "audit")
        }
    }

    private static func keyType(_ table: SealedTable) -> PostgreSQLType {
        switch table {
        case .keys, .resources, .authorizations, .erasableKeys: .uuid
        case .sessionKEKs, .ledger: .bigint
        case .settings: .bytea
        }
    }

    /// Format and root key version of the sealed value; null for what is not sealed under a root key.
    private static func mark(_ table: SealedTable) -> String {
        let value = columns(table).value
        func mark(_ offset: Int) -> String {
            """
            CASE WHEN length(\(value)) >= \(offset + SealedTable.minimum)
                AND substring(\(value) FROM \(offset + 1) FOR 1) = '\\x01'::bytea
                THEN substring(\(value) FROM \(offset + 1) FOR \(SealedTable.markCount)) END
            """
        }
        guard table == .settings else { return mark(0) }
        return """
            CASE WHEN substring(\(value) FROM 1 FOR 1) = '\\x01'::bytea THEN \(mark(0))
                ELSE \(mark(SealedTable.settingOffset)) END
            """
    }

    static func rows(_ table: SealedTable) -> PostgreSQLStatement {
        let columns = columns(table)
        return PostgreSQLStatement(
            "sealed_rows_\(table.rawValue)",
            """
            SELECT \(columns.id), \(columns.version), \(columns.value) FROM \(table.rawValue)
            WHERE ($1 IS NULL OR \(columns.id) > $1) AND (\(mark(table))) <> $2 ORDER BY \(columns.id) LIMIT $3
            """, keyType(table), .bytea, .bigint)
    }

    static func counts(_ table: SealedTable) -> PostgreSQLStatement {
        PostgreSQLStatement(
            "sealed_counts_\(table.rawValue)",
            """
            SELECT mark, count(*) FROM (SELECT \(mark(table)) AS mark FROM \(table.rawValue)) AS marks
            WHERE mark IS NOT NULL GROUP BY mark
            """)
    }

    /// No row when nothing is sealed under that version.
    static func any(_ table: SealedTable) -> PostgreSQLStatement {
        PostgreSQLStatement(
            "sealed_any_\(table.rawValue)",
            "SELECT 1::bigint FROM \(table.rawValue) WHERE (\(mark(table))) = $1 LIMIT 1", .bytea)
    }

    static func reseal(_ table: SealedTable) -> PostgreSQLStatement {
        let columns = columns(table)
        return PostgreSQLStatement(
            "reseal_\(table.rawValue)",
            "UPDATE \(table.rawValue) SET \(columns.value) = $1 WHERE \(columns.id) = $2 AND \(columns.value) = $3",
            .bytea, keyType(table), .bytea)
    }

    /// A closed version, if it is there. Without locks: a change has the turn of all writers.
    static let closedRoot = PostgreSQLStatement(
        "closed_root",
        "SELECT 1::bigint FROM root_keys WHERE version = $1 AND state NOT IN ('active', 'retiring')", .bigint)
    static let openRoot = PostgreSQLStatement(
        "open_root",
        "SELECT version FROM root_keys WHERE version = $1 AND state IN ('active', 'retiring')", .bigint)

    static let writing =
        SealedTable.allCases.flatMap { [any($0), reseal($0)] } + [closedRoot, openRoot]
    static let reading = SealedTable.allCases.flatMap { [rows($0), counts($0)] }
}

extension PostgreSQLCall {
    /// A `SealedRow`'s id as the table has it; nil stands before all of them.
    mutating func bind(_ id: String?, of table: SealedTable) {
        switch table {
        case .keys, .resources, .authorizations, .erasableKeys: bind(id.flatMap { RecordID($0) })
        case .sessionKEKs, .ledger: bind(id.flatMap { Int64($0) })
        case .settings: if let id { bind(id) } else { bind(Int64?.none) }
        }
    }
}
