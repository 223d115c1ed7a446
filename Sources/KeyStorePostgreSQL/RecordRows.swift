import KeyStore
import PostgreSQLClient
import WireText

/// Each table's columns in the order in which its record is decoded.
enum Columns {
    /// With the resource's erasable key, of the same view.
    static let key = """
        id, version, resource, bound_at, sealed, \
        (SELECT e.sealed FROM erasable_keys AS e WHERE e.resource = keys.resource)
        """
    static let resource = "id, version, deleted_at, sealed"
    static let authorization = "id, version, resource, lookup, position, removed_at, sealed"
    static let session = "id, version, kek, user_lookup, expires, last_counter, sealed"
    static let ledger = "digest, session, expires, sealed_answer, audit"
    static let rootKey = "k.version, k.state, k.created, w.holder, w.wrapped"
    static let sessionKEK = "id, sealed, last_expiry"
}

extension PostgreSQLRows {
    func id(_ row: Int, _ column: Int) throws -> String {
        guard let id = withOctets(row, column, { RecordID(octets: $0) }) else {
            throw PostgreSQLFailure(.corrupt, "an id that has not 16 octets")
        }
        return id.text
    }
    func idIfPresent(_ row: Int, _ column: Int) throws -> String? {
        try isNull(row, column) ? nil : id(row, column)
    }
    func moment(_ row: Int, _ column: Int) throws -> Timestamp {
        Timestamp(milliseconds: try integer(row, column))
    }
    func momentIfPresent(_ row: Int, _ column: Int) throws -> Timestamp? {
        try isNull(row, column) ? nil : moment(row, column)
    }

    /// The first row, or nil for none.
    func first<Record>(_ decode: (PostgreSQLRows, Int) throws -> Record) throws -> Record? {
        try count == 0 ? nil : decode(self, 0)
    }
    func all<Record>(_ decode: (PostgreSQLRows, Int) throws -> Record) throws -> [Record] {
        try (0..<count).map { try decode(self, $0) }
    }
}

extension PostgreSQLCall {
    mutating func bind(_ id: RecordID?) {
        guard let id else { return bind(Int64?.none) }
        id.withOctets { bind($0) }
    }
    mutating func bind(_ moment: Timestamp?) { bind(moment?.milliseconds) }
}

extension KeyRecord {
    init(_ rows: PostgreSQLRows, _ row: Int) throws {
        try self.init(
            id: rows.id(row, 0), version: rows.integer(row, 1), resource: rows.idIfPresent(row, 2),
            boundAt: rows.momentIfPresent(row, 3), sealed: rows.bytes(row, 4),
            erasable: rows.isNull(row, 5) ? nil : rows.bytes(row, 5))
    }
}

extension ResourceRecord {
    init(_ rows: PostgreSQLRows, _ row: Int) throws { try self.init(rows, row, from: 0) }

    init(_ rows: PostgreSQLRows, _ row: Int, from column: Int) throws {
        try self.init(
            id: rows.id(row, column), version: rows.integer(row, column + 1),
            deletedAt: rows.momentIfPresent(row, column + 2), sealed: rows.bytes(row, column + 3))
    }
}

extension AuthorizationRecord {
    init(_ rows: PostgreSQLRows, _ row: Int) throws { try self.init(rows, row, from: 0) }

    init(_ rows: PostgreSQLRows, _ row: Int, from column: Int) throws {
        try self.init(
            id: rows.id(row, column), version: rows.integer(row, column + 1), resource: rows.id(row, column + 2),
            lookup: rows.bytes(row, column + 3), order: rows.integer(row, column + 4),
            removedAt: rows.momentIfPresent(row, column + 5), sealed: rows.bytes(row, column + 6))
    }
}

extension SessionRecord {
    init(_ rows: PostgreSQLRows, _ row: Int) throws {
        try self.init(
            id: rows.id(row, 0), version: rows.integer(row, 1), kek: rows.integer(row, 2), user: rows.bytes(row, 3),
            expires: rows.moment(row, 4), lastCounter: rows.integer(row, 5), sealed: rows.bytes(row, 6))
    }
}

extension LedgerRecord {
    init(_ rows: PostgreSQLRows, _ row: Int) throws {
        try self.init(
            digest: rows.bytes(row, 0), session: rows.id(row, 1), expires: rows.moment(row, 2),
            sealedAnswer: rows.bytes(row, 3), audit: rows.bytes(row, 4))
    }
}

extension RootKeyRecord {
    init(_ rows: PostgreSQLRows, _ row: Int) throws {
        guard let state = State(rawValue: rows.text(row, 1)) else {
            throw PostgreSQLFailure(.corrupt, "a root key in an unknown state")
        }
        try self.init(version: rows.integer(row, 0), state: state, wraps: [:], created: rows.moment(row, 2))
    }

    /// A row for each wrap, of each version together.
    static func all(_ rows: PostgreSQLRows) throws -> [RootKeyRecord] {
        var records: [RootKeyRecord] = []
        for row in 0..<rows.count {
            let record = try RootKeyRecord(rows, row)
            if records.last?.version != record.version { records.append(record) }
            guard !rows.isNull(row, 3) else { continue }
            records[records.count - 1].wraps[String(decoding: rows.bytes(row, 3), as: UTF8.self)] = rows.bytes(row, 4)
        }
        return records
    }
}

extension SessionKEKRecord {
    init(_ rows: PostgreSQLRows, _ row: Int) throws {
        try self.init(id: rows.integer(row, 0), sealed: rows.bytes(row, 1), lastExpiry: rows.moment(row, 2))
    }
}
