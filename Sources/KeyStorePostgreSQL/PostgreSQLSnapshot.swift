package import KeyStore
package import PostgreSQLClient

/// A view of a PostgreSQL key store while nodes write on: one transaction, REPEATABLE READ and read only.
///
/// Blocks its thread; one thread at a time. Ends with the connection.
package final class PostgreSQLSnapshot: StoreSnapshot {
    private static let begin = PostgreSQLStatement(
        "begin_snapshot", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    /// Also of positions whose entries are gone: 0 while none was given.
    private static let position = PostgreSQLStatement(
        "snapshot_position",
        """
        SELECT coalesce(max(last_value), 0)::bigint FROM pg_sequences
        WHERE format('%I.%I', schemaname, sequencename)
            = pg_get_serial_sequence(format('%I.ledger', current_schema()), 'position')
        """)

    private let connection: PostgreSQLConnection
    private let connector: StoreConnector

    package init(_ settings: PostgreSQLSettings, schema: String = PostgreSQLKeyStore.Options().schema) throws {
        let connector = StoreConnector(settings, schema: schema, observe: nil)
        self.connector = connector
        do {
            let limit = ContinuousClock.now + .seconds(60)
            connection = try connector.connect([], until: .now + .seconds(15))
            try connection.script(
                "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0", until: limit)
            try connection.prepare(
                StoreTable.allCases.map { PostgreSQLImport.page($0) } + [Self.begin, Self.position], until: limit)
            _ = try connection.run([PostgreSQLCall(Self.begin)], until: limit).map { try $0.get() }
        } catch {
            throw connector.diagnosis.diagnosed(error)
        }
    }

    package func rows(of table: StoreTable, _ body: ([StoreTable.Value]) throws -> Void) throws {
        try PostgreSQLImport.rows(of: table, run: run, body)
    }

    package func lastPosition() throws -> Int64 { try run(PostgreSQLCall(Self.position)).integer(0, 0) }

    private func run(_ call: PostgreSQLCall) throws -> PostgreSQLRows {
        do {
            return try connection.run([call], until: .now + .seconds(120))[0].get()
        } catch {
            throw connector.diagnosis.diagnosed(error)
        }
    }
}
