/// The types of parameters that are used, by their object ids in every PostgreSQL (pg_type.dat).
package enum PostgreSQLType: UInt32, Sendable {
    case bytea = 17
    case bigint = 20
    case text = 25
    case uuid = 2950
}

/// Constant text with its parameters' types; prepared once on each connection that needs it.
package struct PostgreSQLStatement: Sendable {
    package let name: String
    package let sql: String
    package let types: [PostgreSQLType]

    package init(_ name: String, _ sql: String, _ types: PostgreSQLType...) {
        self.init(name, sql, types: types)
    }

    package init(_ name: String, _ sql: String, types: [PostgreSQLType]) {
        self.name = name
        self.sql = sql
        self.types = types
    }
}

/// One use of a statement: parameters in binary form, in their order.
package struct PostgreSQLCall: Sendable {
    package let statement: PostgreSQLStatement
    /// The values one behind the other; the last octet only makes sure that an empty value is none without memory.
    private(set) var octets: [UInt8] = []
    /// Length of each value; -1 for NULL.
    private(set) var lengths: [Int32] = []

    package init(_ statement: PostgreSQLStatement) { self.statement = statement }

    package mutating func bind(_ value: Int64?) {
        guard let value else { return lengths.append(-1) }
        unsafe withUnsafeBytes(of: value.bigEndian) { unsafe octets.append(contentsOf: $0) }
        lengths.append(8)
    }

    package mutating func bind(_ value: [UInt8]) {
        octets += value
        lengths.append(Int32(clamping: value.count))
    }

    package mutating func bind(_ value: UnsafeRawBufferPointer) {
        unsafe octets.append(contentsOf: value)
        lengths.append(Int32(clamping: value.count))
    }

    package mutating func bind(_ text: String) { bind(Array(text.utf8)) }
}

/// What a call answered: rows in binary form, or how many rows it changed.
package struct PostgreSQLRows: Sendable {
    package let count: Int
    /// Rows that an INSERT, UPDATE or DELETE changed; rows that a SELECT found.
    package let changed: Int
    /// The command as the server names it, such as `COMMIT`.
    package let command: String
    private let columns: Int
    private let octets: [UInt8]
    /// Where each value ends; its start is the end before it.
    private let ends: [Int]
    private let nulls: Set<Int>

    init(count: Int, columns: Int, changed: Int, command: String, values: (Int, Int) -> [UInt8]?) {
        var octets: [UInt8] = []
        var ends: [Int] = []
        var nulls: Set<Int> = []
        for row in 0..<count {
            for column in 0..<columns {
                if let value = values(row, column) { octets += value } else { nulls.insert(ends.count) }
                ends.append(octets.count)
            }
        }
        (self.count, self.columns, self.changed, self.command) = (count, columns, changed, command)
        (self.octets, self.ends, self.nulls) = (octets, ends, nulls)
    }

    private func range(_ row: Int, _ column: Int) -> Range<Int> {
        precondition(row >= 0 && row < count && column >= 0 && column < columns, "no such value in this answer")
        let index = row * columns + column
        return (index == 0 ? 0 : ends[index - 1])..<ends[index]
    }

    package func isNull(_ row: Int, _ column: Int) -> Bool { nulls.contains(row * columns + column) }
    package func bytes(_ row: Int, _ column: Int) -> [UInt8] { Array(octets[range(row, column)]) }
    package func text(_ row: Int, _ column: Int) -> String {
        String(decoding: octets[range(row, column)], as: UTF8.self)
    }

    /// A whole number or a truth value of 1 to 8 octets, big-endian.
    package func integer(_ row: Int, _ column: Int) throws(PostgreSQLFailure) -> Int64 {
        let value = octets[range(row, column)]
        guard !isNull(row, column), [1, 2, 4, 8].contains(value.count) else {
            throw PostgreSQLFailure(.corrupt, "a number that is none")
        }
        let word = value.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        let unused = UInt64(64 - value.count * 8)
        return Int64(bitPattern: word << unused) >> Int64(unused)
    }

    package func withOctets<R>(_ row: Int, _ column: Int, _ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        let range = range(row, column)
        return try unsafe octets.withUnsafeBytes { try unsafe body(UnsafeRawBufferPointer(rebasing: $0[range])) }
    }
}
