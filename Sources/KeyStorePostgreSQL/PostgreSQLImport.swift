package import KeyStore
package import PostgreSQLClient

/// Puts the rows of another store into a PostgreSQL database, in one transaction that nobody sees until it is whole.
///
/// It has the turn of all writers for its whole life: no node of a cluster can write meanwhile. Blocks its thread; one
/// thread at a time. Without `commit` nothing has happened.
package final class PostgreSQLImport: StoreFilling {
    private let connection: PostgreSQLConnection
    private let connector: StoreConnector
    static let page = 500

    /// Connects, makes or migrates the tables, and begins.
    package init(_ settings: PostgreSQLSettings, schema: String = PostgreSQLKeyStore.Options().schema) throws {
        let connector = StoreConnector(settings, schema: schema, observe: nil)
        self.connector = connector
        do {
            let limit = ContinuousClock.now + .seconds(600)
            connection = try connector.connect([], until: .now + .seconds(15))
            try Schema.migrate(connection, connector, until: limit)
            try connection.script(
                "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0", until: limit)
            let tables = StoreTable.allCases.flatMap { [Self.insert($0), Self.page($0)] }
            try connection.prepare(tables + [Statements.begin, Statements.turn, Statements.commit], until: limit)
            for answer in try connection.run(
                [Statements.begin, Statements.turn].map { PostgreSQLCall($0) }, until: limit)
            {
                _ = try answer.get()
            }
        } catch {
            throw connector.diagnosis.diagnosed(error)
        }
    }

    /// Puts rows in; at most a few hundred at once travel well.
    package func insert(_ rows: [[StoreTable.Value]], into table: StoreTable) throws {
        let statement = Self.insert(table)
        let calls = rows.map { row in
            var call = PostgreSQLCall(statement)
            for value in row { Self.bind(value, to: &call) }
            return call
        }
        for rows in try run(calls) where rows.changed != 1 {
            throw connector.diagnosis.diagnosed(PostgreSQLFailure(.constraint, "a row was not put in"))
        }
    }

    /// Calls `body` with every row, as this transaction sees it, in the order of the table's key.
    package func rows(of table: StoreTable, _ body: ([StoreTable.Value]) throws -> Void) throws {
        try Self.rows(of: table, run: { try run([$0])[0] }, body)
    }

    static func rows(
        of table: StoreTable, run: (PostgreSQLCall) throws -> PostgreSQLRows,
        _ body: ([StoreTable.Value]) throws -> Void
    ) throws {
        var last = [StoreTable.Value](repeating: .null, count: table.keyCount)
        while true {
            var call = PostgreSQLCall(page(table))
            for value in last { bind(value, to: &call) }
            let rows = try run(call)
            for number in 0..<rows.count {
                let row = try table.columns.enumerated().map { index, column -> StoreTable.Value in
                    if rows.isNull(number, index) { return .null }
                    if case .integer = column.kind { return .integer(try rows.integer(number, index)) }
                    return .octets(rows.bytes(number, index))
                }
                try body(row)
                last = Array(row.prefix(table.keyCount))
            }
            guard rows.count == page else { return }
        }
    }

    /// Positions of the ledger go on above this one.
    package func raiseLastPosition(to position: Int64) throws {
        guard position > 0 else { return }
        try script(
            """
            SELECT setval(pg_get_serial_sequence('\(connector.schema).ledger', 'position'),
                greatest(\(position), (SELECT coalesce(max(position), 1) FROM \(connector.schema).ledger)))
            """)
    }

    /// The cluster begins in this epoch, if it is in a lower one.
    package func raiseEpoch(to epoch: Int64) throws {
        guard epoch > 1 else { return }
        try script("UPDATE \(connector.schema).cluster SET epoch = \(epoch), since = now() WHERE epoch < \(epoch)")
    }

    /// Durable when it returns. When the answer is lost, starting again tells whether everything is there.
    package func commit() throws {
        guard try run([PostgreSQLCall(Statements.commit)])[0].command == "COMMIT" else {
            throw connector.diagnosis.diagnosed(PostgreSQLFailure(.other, "the server took the transaction back"))
        }
    }

    private func run(_ calls: [PostgreSQLCall]) throws -> [PostgreSQLRows] {
        guard !calls.isEmpty else { return [] }
        do {
            return try connection.run(calls, until: .now + .seconds(120)).map { try $0.get() }
        } catch {
            throw connector.diagnosis.diagnosed(error)
        }
    }

    private func script(_ sql: String) throws {
        do {
            try connection.script(sql, until: .now + .seconds(120))
        } catch {
            throw connector.diagnosis.diagnosed(error)
        }
    }

    static func bind(_ value: StoreTable.Value, to call: inout PostgreSQLCall) {
        switch value {
        case .null: call.bind(Int64?.none)
        case .integer(let number): call.bind(number)
        case .octets(let octets): call.bind(octets)
        }
    }

    private static func type(_ column: StoreTable.Column) -> PostgreSQLType {
        switch column.kind {
        case .integer: .bigint
        case .octets: .bytea
        case .text: .text
        case .id: .uuid
        }
    }

    private static func insert(_ table: StoreTable) -> PostgreSQLStatement {
        let columns = table.columns
        let names = columns.map(\.name).joined(separator: ", ")
        let values = columns.indices.map { "$\($0 + 1)" }.joined(separator: ", ")
        return PostgreSQLStatement(
            "move_\(table.rawValue)", "INSERT INTO \(table.rawValue) (\(names)) VALUES (\(values))",
            types: columns.map(type))
    }

    static func page(_ table: StoreTable) -> PostgreSQLStatement {
        let columns = table.columns
        let keys = columns.prefix(table.keyCount)
        let key = keys.map(\.name).joined(separator: ", ")
        return PostgreSQLStatement(
            "page_\(table.rawValue)",
            """
            SELECT \(columns.map(\.name).joined(separator: ", ")) FROM \(table.rawValue)
            WHERE $1 IS NULL OR (\(key)) > (\(keys.indices.map { "$\($0 + 1)" }.joined(separator: ", ")))
            ORDER BY \(key) LIMIT \(page)
            """, types: keys.map(type))
    }
}
