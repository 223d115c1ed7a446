import Diagnostics
import FoundationEssentials

/// Where the mirror keeps its rows: a file of this worker's own, or a database that workers share.
///
/// Both run the same SQL: `?` or `?1` for values, `ON CONFLICT` and no word of one of them alone. Any thread; blocks.
protocol MirrorStore: Sendable {
    /// A fixed state of the rows.
    func read<Result>(_ body: (any Database) throws -> Result) throws -> Result
    /// One transaction, on the disk when it returns.
    func write<Result>(_ body: (any Database) throws -> Result) throws -> Result
    /// Whether other workers use the same rows.
    var isShared: Bool { get }
    /// Whether it is this worker's turn to write; for one with rows of its own it always is.
    var isOurs: Bool { get }
    func turn(_ isOurs: Bool)
    func close() throws
}

/// A transaction of the mirror.
protocol Database: AnyObject {
    func execute(sql: String, arguments: StatementArguments) throws
    func rows(_ sql: String, _ arguments: StatementArguments) throws -> [Row]
    /// Of the last `execute`.
    var changesCount: Int { get }
}

extension Database {
    func execute(sql: String) throws { try execute(sql: sql, arguments: []) }
}

enum MirrorValue: Sendable, Equatable {
    case null
    case integer(Int64)
    case text(String)
    case octets([UInt8])
}

typealias StatementArguments = [(any MirrorBindable)?]

/// What may stand for a `?`.
protocol MirrorBindable { var mirrorValue: MirrorValue { get } }

extension Int64: MirrorBindable { var mirrorValue: MirrorValue { .integer(self) } }
extension Int: MirrorBindable { var mirrorValue: MirrorValue { .integer(Int64(self)) } }
extension Bool: MirrorBindable { var mirrorValue: MirrorValue { .integer(self ? 1 : 0) } }
extension String: MirrorBindable { var mirrorValue: MirrorValue { .text(self) } }
extension Data: MirrorBindable { var mirrorValue: MirrorValue { .octets([UInt8](self)) } }

/// What a column may be read as; nil when it is something else.
protocol MirrorReadable { init?(_ value: MirrorValue) }

extension Int64: MirrorReadable {
    init?(_ value: MirrorValue) {
        guard case .integer(let number) = value else { return nil }
        self = number
    }
}
extension Int: MirrorReadable {
    init?(_ value: MirrorValue) {
        guard case .integer(let number) = value else { return nil }
        self.init(exactly: number)
    }
}
extension Bool: MirrorReadable {
    init?(_ value: MirrorValue) {
        guard case .integer(let number) = value else { return nil }
        self = number != 0
    }
}
extension String: MirrorReadable {
    init?(_ value: MirrorValue) {
        guard case .text(let text) = value else { return nil }
        self = text
    }
}
extension Data: MirrorReadable {
    init?(_ value: MirrorValue) {
        guard case .octets(let octets) = value else { return nil }
        self.init(octets)
    }
}
extension Optional: MirrorReadable where Wrapped: MirrorReadable {
    init?(_ value: MirrorValue) {
        guard value != .null else {
            self = .none
            return
        }
        guard let wrapped = Wrapped(value) else { return nil }
        self = wrapped
    }
}

extension MirrorReadable {
    /// The first column of all rows.
    static func fetchAll(_ db: any Database, sql: String, arguments: StatementArguments = []) throws -> [Self] {
        try db.rows(sql, arguments).map { row in try row.column(0) }
    }

    /// The first column of the first row; nil without a row, and for NULL.
    static func fetchOne(_ db: any Database, sql: String, arguments: StatementArguments = []) throws -> Self? {
        guard let row = try db.rows(sql, arguments).first, row.values.first != .null else { return nil }
        return try row.column(0) as Self
    }
}

/// One row, by the names of its columns.
struct Row: Sendable {
    let names: [String]
    let values: [MirrorValue]

    static func fetchAll(_ db: any Database, sql: String, arguments: StatementArguments = []) throws -> [Row] {
        try db.rows(sql, arguments)
    }

    static func fetchOne(_ db: any Database, sql: String, arguments: StatementArguments = []) throws -> Row? {
        try db.rows(sql, arguments).first
    }

    /// The column has to be there and of this type: it is one of a schema that this program made.
    subscript<Value: MirrorReadable>(_ name: String) -> Value {
        guard let index = names.firstIndex(of: name), let value = Value(values[index]) else {
            preconditionFailure("the schema of the mirror has no such column")
        }
        return value
    }

    fileprivate func column<Value: MirrorReadable>(_ index: Int) throws -> Value {
        guard index < values.count, let value = Value(values[index]) else {
            throw DiagnosedError(.mirror, fault: .store, "a value of the worker's database is not of its type")
        }
        return value
    }
}
