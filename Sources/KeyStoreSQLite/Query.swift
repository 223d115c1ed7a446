import GRDB
import GRDBSQLite
import KeyStore
import WireText

/// One use of a prepared statement: bind in order, step, read columns; reset when it ends.
///
/// Speaks SQLite's C interface on a statement that GRDB prepared and caches, because retrieval is the hot path: GRDB's
/// own binding and rows copy every value through `Data` and arrays. Lives inside one access to a `Database` and on its
/// thread, which is why it is not copyable and must not leave the closure.
struct Query: ~Copyable {
    private let statement: OpaquePointer
    private let connection: OpaquePointer?
    private var bound: Int32 = 0

    /// `sql` is constant text: the connection keeps the prepared statement for ever.
    init(_ db: Database, _ sql: String) throws {
        let prepared = try db.cachedStatement(sql: sql)
        statement = prepared.sqliteStatement
        connection = db.sqliteConnection
    }

    deinit {
        // The result of a reset repeats the error of the last step, which was thrown there.
        sqlite3_reset(statement)
        sqlite3_clear_bindings(statement)
    }

    // MARK: Parameters, in the order of the question marks

    mutating func bind(_ value: Int64?) throws {
        bound += 1
        try check(value.map { sqlite3_bind_int64(statement, bound, $0) } ?? sqlite3_bind_null(statement, bound))
    }
    mutating func bind(_ moment: Timestamp?) throws { try bind(moment?.milliseconds) }
    mutating func bind(_ id: RecordID?) throws {
        guard let id else { return try bind(Int64?.none) }
        try id.withOctets { try bind($0) }
    }
    mutating func bind(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try bind($0) } }
    mutating func bind(_ text: String) throws {
        bound += 1
        var text = text
        let code = text.withUTF8 { utf8 in
            utf8.withMemoryRebound(to: CChar.self) {
                sqlite3_bind_text(statement, bound, $0.baseAddress, Int32($0.count), Self.copied)
            }
        }
        try check(code)
    }

    private mutating func bind(_ bytes: UnsafeRawBufferPointer) throws {
        bound += 1
        // A null pointer would bind NULL: an empty blob has its own call.
        let code =
            bytes.isEmpty
            ? sqlite3_bind_zeroblob(statement, bound, 0)
            : sqlite3_bind_blob64(statement, bound, bytes.baseAddress, UInt64(bytes.count), Self.copied)
        try check(code)
    }

    /// SQLITE_TRANSIENT, a cast in C that Swift does not import: SQLite copies the value before the call returns.
    private static let copied = unsafeBitCast(-1, to: sqlite3_destructor_type.self)

    // MARK: Rows

    /// Whether there is a (further) row.
    mutating func step() throws -> Bool {
        switch sqlite3_step(statement) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        case let code: throw SQLiteFailure(code, connection)
        }
    }

    /// Runs a statement that returns no rows; the number of rows that it changed.
    @discardableResult
    consuming func run() throws -> Int {
        while try step() {}
        return Int(sqlite3_changes(connection))
    }

    /// The first column of the first row, as an integer.
    consuming func single() throws -> Int64? { try step() ? integer(0) : nil }

    consuming func first<Row>(_ decode: (borrowing Query) throws -> Row) throws -> Row? {
        try step() ? decode(self) : nil
    }
    consuming func all<Row>(_ decode: (borrowing Query) throws -> Row) throws -> [Row] {
        var rows: [Row] = []
        while try step() { rows.append(try decode(self)) }
        return rows
    }

    // MARK: Columns of the row, from 0

    func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(statement, column) }
    func moment(_ column: Int32) -> Timestamp { Timestamp(milliseconds: integer(column)) }
    func isNull(_ column: Int32) -> Bool { sqlite3_column_type(statement, column) == SQLITE_NULL }
    func ifPresent<Value>(_ column: Int32, _ value: (Int32) throws -> Value) rethrows -> Value? {
        isNull(column) ? nil : try value(column)
    }
    func bytes(_ column: Int32) -> [UInt8] { Array(octets(column)) }
    func text(_ column: Int32) -> String { String(decoding: octets(column), as: UTF8.self) }
    func id(_ column: Int32) throws -> String {
        guard let id = RecordID(octets: octets(column)) else {
            throw SQLiteFailure.corrupt("an id that has not 16 octets")
        }
        return id.text
    }

    /// Valid until the next step.
    private func octets(_ column: Int32) -> UnsafeRawBufferPointer {
        let start = sqlite3_column_blob(statement, column)
        return UnsafeRawBufferPointer(start: start, count: Int(sqlite3_column_bytes(statement, column)))
    }

    private func check(_ code: Int32) throws {
        guard code == SQLITE_OK else { throw SQLiteFailure(code, connection) }
    }
}
