import GRDB
import KeyStore
import WireText

// Each table's columns in the order in which its record is decoded.

extension KeyRecord {
    /// With the resource's erasable key, of the same view.
    static let columns = """
        version, resource, bound_at, sealed, id, \
        (SELECT sealed FROM erasable_keys WHERE erasable_keys.resource = keys.resource)
        """

    init(_ row: borrowing Query, id: String? = nil) throws {
        try self.init(
            id: id ?? row.id(4), version: row.integer(0), resource: row.ifPresent(1) { try row.id($0) },
            boundAt: row.ifPresent(2) { row.moment($0) }, sealed: row.bytes(3),
            erasable: row.ifPresent(5) { row.bytes($0) })
    }
}

extension ResourceRecord {
    static let columns = "version, deleted_at, sealed"

    init(_ row: borrowing Query, id: String) {
        self.init(
            id: id, version: row.integer(0), deletedAt: row.ifPresent(1) { row.moment($0) }, sealed: row.bytes(2))
    }
}

extension AuthorizationRecord {
    static let columns = "id, version, resource, lookup, position, removed_at, sealed"

    init(_ row: borrowing Query) throws {
        try self.init(
            id: row.id(0), version: row.integer(1), resource: row.id(2), lookup: row.bytes(3), order: row.integer(4),
            removedAt: row.ifPresent(5) { row.moment($0) }, sealed: row.bytes(6))
    }
}

extension SessionRecord {
    static let columns = "version, kek, user, expires, last_counter, sealed"

    init(_ row: borrowing Query, id: String) {
        self.init(
            id: id, version: row.integer(0), kek: row.integer(1), user: row.bytes(2), expires: row.moment(3),
            lastCounter: row.integer(4), sealed: row.bytes(5))
    }
}

extension LedgerRecord {
    static let columns = "session, expires, sealed_answer, audit"

    init(_ row: borrowing Query, digest: [UInt8]) throws {
        try self.init(
            digest: digest, session: row.id(0), expires: row.moment(1), sealedAnswer: row.bytes(2), audit: row.bytes(3))
    }
}

extension RootKeyRecord {
    static let columns = "version, state, created"

    init(_ row: borrowing Query) throws {
        guard let state = State(rawValue: row.text(1)) else {
            throw SQLiteFailure.corrupt("a root key in an unknown state")
        }
        self.init(version: row.integer(0), state: state, wraps: [:], created: row.moment(2))
    }
}

extension SessionKEKRecord {
    static let columns = "sealed, last_expiry"

    init(_ row: borrowing Query, id: Int64) {
        self.init(id: id, sealed: row.bytes(0), lastExpiry: row.moment(1))
    }
}
