import Diagnostics
import FoundationEssentials
import PostgreSQLClient
import Synchronization

/// Rows that several workers share, in a PostgreSQL database. One of them writes: the one whose connection holds the lock.
///
/// The lock is the server's own of a session (`pg_try_advisory_lock`), and everything is written over that very connection: a
/// worker that is cut off or killed has lost it before another one can have it, so two never write, whatever the core says about
/// whose turn it is. Reading needs no lock. One call at a time; each blocks its thread, as SQLite does.
final class PostgreSQLMirror: MirrorStore {
    let isShared = true
    private let settings: PostgreSQLSettings
    private let session = Mutex(Session())

    private struct Session {
        var connection: PostgreSQLConnection?
        var preferred = 0
        var isOurs = false
        var hasLock = false
        var isClosed = false
        /// Prepared on this connection: by text and types.
        var statements: [String: PostgreSQLStatement] = [:]

        mutating func drop() { (connection, hasLock, statements) = (nil, false, [:]) }
    }

    private static let patience = Duration.seconds(10)
    /// The lock's number: of the mirror, in every database.
    private static let lock: Int64 = 0x6864_735F_6D69_7272

    /// Makes the tables where there are none.
    init(_ settings: PostgreSQLSettings) throws {
        self.settings = settings
        try session.withLock { session in
            let connection = try connect(&session)
            try told { _ = try connection.script(Self.schema, until: .now + Self.patience) }
        }
    }

    func read<Result>(_ body: (any Database) throws -> Result) throws -> Result {
        var result: Result?
        try session.withLock { session in
            try transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", &session) { result = try body($0) }
        }
        return try Self.present(result)
    }

    func write<Result>(_ body: (any Database) throws -> Result) throws -> Result {
        var result: Result?
        try session.withLock { session in
            guard session.isOurs else { throw Self.elsewhere }
            if !session.hasLock || session.connection == nil {
                let asking = Transaction(try connect(&session), statements: session.statements)
                let answer: [Row]
                do {
                    answer = try asking.rows("SELECT CAST(pg_try_advisory_lock(\(Self.lock)) AS INT) AS mine", [])
                } catch {
                    session.drop()
                    throw Self.away("\(error)")
                }
                session.statements = asking.statements
                guard answer.first?["mine"] as Int64? == 1 else { throw Self.elsewhere }
                session.hasLock = true
            }
            try transaction("BEGIN", &session) { result = try body($0) }
        }
        return try Self.present(result)
    }

    private static func present<Result>(_ result: Result?) throws -> Result {
        guard let result else { throw away("a transaction gave nothing") }
        return result
    }

    var isOurs: Bool { session.withLock { $0.isOurs } }

    /// Whose turn it is not any more has given the lock back when this returns.
    func turn(_ isOurs: Bool) {
        session.withLock { session in
            session.isOurs = isOurs
            if !isOurs { session.drop() }
        }
    }

    func close() {
        session.withLock { session in
            session.isClosed = true
            session.drop()
        }
    }

    // MARK: - One connection

    private func connect(_ session: inout Session) throws -> PostgreSQLConnection {
        if let connection = session.connection { return connection }
        guard !session.isClosed else { throw Self.away("it was closed") }
        session.drop()
        var found = "no host"
        for step in settings.hosts.indices {
            let index = (session.preferred + step) % settings.hosts.count
            do {
                let connection = try PostgreSQLConnection.open(
                    settings, host: settings.hosts[index], until: .now + Self.patience)
                // What is committed is on the disk; text is compared by its octets in this schema alone.
                try connection.script(
                    """
                    CREATE SCHEMA IF NOT EXISTS hds_ediscovery; SET search_path = hds_ediscovery;
                    SET synchronous_commit = on; SET statement_timeout = '9s'; SET lock_timeout = '5s'
                    """, until: .now + Self.patience)
                (session.connection, session.preferred) = (connection, index)
                return connection
            } catch let failure as PostgreSQLFailure {
                found = "\(settings.hosts[index]): \(failure)"
            }
        }
        throw Self.away(found)
    }

    private func transaction(
        _ begin: String, _ session: inout Session, _ body: (any Database) throws -> Void
    ) throws {
        let transaction = Transaction(try connect(&session), statements: session.statements)
        defer { if session.connection != nil { session.statements = transaction.statements } }
        do {
            try transaction.execute(sql: begin)
            try body(transaction)
            try transaction.execute(sql: "COMMIT")
        } catch {
            // After a failure of the way nothing is known of the connection: it goes, and the lock with it.
            if error is PostgreSQLFailure || (try? transaction.execute(sql: "ROLLBACK")) == nil { session.drop() }
            throw (error as? PostgreSQLFailure).map { Self.away("\($0)") } ?? error
        }
    }

    private func told(_ body: () throws -> Void) throws {
        do { try body() } catch let failure as PostgreSQLFailure { throw Self.away("\(failure)") }
    }

    private static var elsewhere: DiagnosedError {
        DiagnosedError(
            .mirrorElsewhere, fault: .peer, "another worker writes to the shared database",
            hint: "this passes by itself: when that worker ends, or the core says that it is not its turn")
    }

    private static func away(_ found: String) -> DiagnosedError {
        DiagnosedError(
            .mirror, fault: .store, "the workers' database does not do what it is asked", found: found,
            hint: "see mirror.postgresql and the log of the server")
    }

    private final class Transaction: Database {
        private let connection: PostgreSQLConnection
        private(set) var statements: [String: PostgreSQLStatement]
        private(set) var changesCount = 0

        init(_ connection: PostgreSQLConnection, statements: [String: PostgreSQLStatement]) {
            (self.connection, self.statements) = (connection, statements)
        }

        func execute(sql: String, arguments: StatementArguments) throws {
            changesCount = try run(sql, arguments).changed
        }

        func rows(_ sql: String, _ arguments: StatementArguments) throws -> [Row] {
            let answer = try run(sql, arguments)
            let names = PostgreSQLDialect.columns(of: sql)
            return try (0..<answer.count).map { row in
                let values = try names.indices.map { column -> MirrorValue in
                    if answer.isNull(row, column) { return .null }
                    return switch PostgreSQLDialect.kind(of: names[column]) {
                    case .octets: .octets(answer.bytes(row, column))
                    case .text: .text(answer.text(row, column))
                    case .number: .integer(try answer.integer(row, column))
                    }
                }
                return Row(names: names, values: values)
            }
        }

        private func run(_ sql: String, _ arguments: StatementArguments) throws -> PostgreSQLRows {
            let values = arguments.map { $0?.mirrorValue ?? .null }
            let types = values.map { value -> PostgreSQLType in
                switch value {
                // What may be NULL is a text.
                case .null, .text: .text
                case .integer: .bigint
                case .octets: .bytea
                }
            }
            let name = sql + types.map { "\($0.rawValue)" }.joined(separator: ",")
            let statement: PostgreSQLStatement
            if let known = statements[name] {
                statement = known
            } else {
                statement = PostgreSQLStatement(
                    "hds\(statements.count)", PostgreSQLDialect.translated(sql), types: types)
                try connection.prepare([statement], until: .now + PostgreSQLMirror.patience)
                statements[name] = statement
            }
            var call = PostgreSQLCall(statement)
            for value in values {
                switch value {
                case .null: call.bind(Int64?.none)
                case .integer(let number): call.bind(number)
                case .text(let text): call.bind(text)
                case .octets(let octets): call.bind(octets)
                }
            }
            return try connection.run([call], until: .now + PostgreSQLMirror.patience)[0].get()
        }
    }

    /// As the SQLite file has it; text is ordered by its octets, as there.
    private static let schema = """
        SELECT pg_advisory_xact_lock(\(lock + 1));
        CREATE TABLE IF NOT EXISTS event (
            position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, space TEXT COLLATE "C" NOT NULL,
            sequence BIGINT NOT NULL, sealed BYTEA NOT NULL, kind BIGINT NOT NULL DEFAULT -1,
            published BIGINT NOT NULL DEFAULT 0, about TEXT COLLATE "C", cause TEXT COLLATE "C", UNIQUE (space, sequence));
        CREATE INDEX IF NOT EXISTS "eventByTime" ON event (published) WHERE kind = 1;
        CREATE INDEX IF NOT EXISTS "eventByCause" ON event (cause, space, sequence) WHERE cause IS NOT NULL;
        CREATE INDEX IF NOT EXISTS "eventUnknown" ON event (position) WHERE kind = -1;
        CREATE INDEX IF NOT EXISTS "eventByAbout" ON event (space, about) WHERE about IS NOT NULL;
        CREATE TABLE IF NOT EXISTS report (id TEXT COLLATE "C" PRIMARY KEY, sealed BYTEA NOT NULL);
        CREATE TABLE IF NOT EXISTS item (
            report TEXT COLLATE "C" NOT NULL, place BIGINT NOT NULL, sealed BYTEA NOT NULL, PRIMARY KEY (report, place));
        CREATE TABLE IF NOT EXISTS command (id TEXT COLLATE "C" PRIMARY KEY, until BIGINT NOT NULL);
        CREATE TABLE IF NOT EXISTS audit (position BIGINT PRIMARY KEY, sealed BYTEA NOT NULL, chain BYTEA NOT NULL);
        CREATE TABLE IF NOT EXISTS setting (name TEXT COLLATE "C" PRIMARY KEY, value TEXT NOT NULL);
        CREATE TABLE IF NOT EXISTS removal (
            space TEXT COLLATE "C" NOT NULL, sequence BIGINT NOT NULL, cause TEXT COLLATE "C" NOT NULL,
            state BIGINT NOT NULL DEFAULT 0, message TEXT, PRIMARY KEY (space, sequence));
        CREATE INDEX IF NOT EXISTS "removalByState" ON removal (state);
        CREATE TABLE IF NOT EXISTS document (
            kind TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL, sealed BYTEA NOT NULL, PRIMARY KEY (kind, id));
        CREATE TABLE IF NOT EXISTS file (
            space TEXT COLLATE "C" NOT NULL, sequence BIGINT NOT NULL, number BIGINT NOT NULL,
            id TEXT COLLATE "C" NOT NULL, size BIGINT NOT NULL, state BIGINT NOT NULL DEFAULT 0, record BYTEA,
            PRIMARY KEY (space, sequence, number));
        CREATE INDEX IF NOT EXISTS "fileByState" ON file (state);
        CREATE INDEX IF NOT EXISTS "fileByID" ON file (id);
        CREATE TABLE IF NOT EXISTS held (
            space TEXT COLLATE "C" NOT NULL, resource TEXT COLLATE "C" NOT NULL, PRIMARY KEY (space, resource));
        """
}

/// What PostgreSQL says otherwise than the mirror's SQL.
enum PostgreSQLDialect {
    enum Kind { case octets, text, number }

    /// `?` and `?1` as `$1`. No text of the mirror's SQL has a question mark.
    static func translated(_ sql: String) -> String {
        var result = "", count = 0
        var rest = sql[...]
        while let mark = rest.firstIndex(of: "?") {
            result += rest[..<mark] + "$"
            rest = rest[rest.index(after: mark)...]
            if rest.first?.isNumber != true {
                count += 1
                result += "\(count)"
            }
        }
        return result + rest
    }

    /// The columns that a query names; an expression is called by its alias, or by itself.
    static func columns(of sql: String) -> [String] {
        let words = sql.split(whereSeparator: \.isWhitespace)
        guard words.first == "SELECT", let end = words.firstIndex(of: "FROM") ?? Optional(words.endIndex) else {
            return []
        }
        let list = words[1..<end].drop { $0 == "DISTINCT" }.joined(separator: " ")
        var columns: [String] = [], depth = 0, column = ""
        for character in list {
            switch character {
            case "(": depth += 1
            case ")": depth -= 1
            case "," where depth == 0:
                columns.append(column)
                column = ""
                continue
            default: break
            }
            column.append(character)
        }
        return (columns + [column]).map { text in
            let words = text.split(separator: " ")
            return words.count > 2 && words[words.count - 2] == "AS"
                ? String(words[words.count - 1])
                : String(
                    words.joined(separator: " "))
        }
    }

    /// By the names that the schema has.
    static func kind(of column: String) -> Kind {
        switch column {
        case "sealed", "chain", "record": .octets
        case "space", "id", "value", "cause", "message", "resource", "about", "name": .text
        default: .number
        }
    }
}

extension DiagnosedError.Code {
    /// The lock of a shared mirror is another worker's.
    static let mirrorElsewhere: Self = "ediscovery-database-elsewhere"
}
