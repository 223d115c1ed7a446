/// The rows of a key store as they were at one moment, whatever is written meanwhile.
package protocol StoreSnapshot {
    /// Calls `body` with every row, in the order of the table's key.
    func rows(of table: StoreTable, _ body: ([StoreTable.Value]) throws -> Void) throws
    /// The highest position that the ledger ever gave, also to entries that are gone.
    func lastPosition() throws -> Int64
}

/// An empty key store that takes rows, all in one transaction: without `commit` nothing has happened.
package protocol StoreFilling {
    func insert(_ rows: [[StoreTable.Value]], into table: StoreTable) throws
    /// Positions of the ledger go on above this one.
    func raiseLastPosition(to position: Int64) throws
    /// Durable when it returns.
    func commit() throws
}

extension StoreTable {
    /// What copies leave out: sessions and what opens them (security model, rule 18), and the ledger, whose entries
    /// are good only within those sessions. Erasable keys have a backup of their own.
    package static let backedUp = allCases.filter { ![.sessionKEKs, .sessions, .ledger, .erasableKeys].contains($0) }

    /// The row of these octets, which `octets(of:)` made; nil when they are not those of a row of this table.
    package func row(of octets: some Collection<UInt8>) -> [Value]? {
        var rest = Array(octets)[...]
        func number() -> UInt64? {
            guard rest.count >= 8 else { return nil }
            defer { rest = rest.dropFirst(8) }
            return rest.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
        }
        var row: [Value] = []
        while let kind = rest.popFirst() {
            switch kind {
            case 0: row.append(.null)
            case 1:
                guard let bits = number() else { return nil }
                row.append(.integer(Int64(bitPattern: bits)))
            case 2:
                guard let bits = number(), let count = Int(exactly: bits), count <= rest.count else { return nil }
                row.append(.octets(Array(rest.prefix(count))))
                rest = rest.dropFirst(count)
            default: return nil
            }
        }
        return row.count == columns.count ? row : nil
    }
}
