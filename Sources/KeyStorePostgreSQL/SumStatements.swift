package import KeyStore
import PostgreSQLClient

/// The statements on sums over rows.
enum SumStatements {
    private static let columns = StoreTable.sumColumns

    /// Adds to a writer's row. The turn of all writers is this transaction's, so nobody waits for the row.
    static let add = PostgreSQLStatement(
        "add_sum",
        """
        INSERT INTO row_sums AS r (writer, counter, \(columns.joined(separator: ", ")))
        VALUES ($1, $2, \(columns.indices.map { "$\($0 + 3)" }.joined(separator: ", ")))
        ON CONFLICT (writer) DO UPDATE SET counter = r.counter + excluded.counter,
            \(columns.map { "\($0) = (r.\($0) + excluded.\($0)) & 4294967295" }.joined(separator: ", "))
        """, types: [.uuid, .bigint] + columns.map { _ in .bigint })

    static let contents = PostgreSQLStatement(
        "contents",
        """
        SELECT count(*), coalesce(sum(version), 0)::bigint FROM (
            SELECT version FROM keys WHERE resource = $1
            UNION ALL SELECT version FROM authorizations WHERE resource = $1) AS contents
        """, .uuid)

    static let all = PostgreSQLStatement(
        "row_sums", "SELECT writer, counter, \(columns.joined(separator: ", ")) FROM row_sums ORDER BY writer")

    static let writing = [add, contents]
    static let reading = [all]

    /// One call for each writer of these changes: a row that is updated again and again within one transaction would be
    /// looked for behind all its old versions.
    static func calls(_ changes: [ChangeCalls]) -> [PostgreSQLCall] {
        var sums: [String: (count: Int64, sum: RowSum)] = [:]
        for case let change? in changes.map(\.sum) {
            let before = sums[change.writer] ?? (0, RowSum())
            sums[change.writer] = (before.count + 1, before.sum + change.sum)
        }
        return sums.sorted { $0.key < $1.key }.map { writer, added in
            var call = PostgreSQLCall(add)
            call.bind(RecordID(writer))
            call.bind(added.count)
            for number in added.sum.numbers { call.bind(number) }
            return call
        }
    }
}

extension PostgreSQLKeyStore {
    package func rowSums() async throws -> [WriterSum] {
        try await read(SumStatements.all) { rows in
            try rows.all { rows, row in
                let numbers = try (0..<RowSum.count).map { try rows.integer(row, $0 + 2) }
                guard let sum = RowSum(numbers: numbers) else {
                    throw PostgreSQLFailure(.corrupt, "a sum that is none")
                }
                return WriterSum(writer: try rows.id(row, 0), counter: try rows.integer(row, 1), sum: sum)
            }
        }
    }
}
