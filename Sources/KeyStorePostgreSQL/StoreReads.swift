import Diagnostics
package import KeyStore
import PostgreSQLClient
package import WireText

// What `KeyStore` reads, one statement each.

extension PostgreSQLKeyStore {
    package func key(_ id: String) async throws -> KeyRecord? {
        guard let key = RecordID(id) else { return nil }
        return try await read(Statements.key) {
            $0.bind(key)
        } _: {
            try $0.first { try KeyRecord($0, $1) }
        }
    }

    /// The lookup depends on the key's resource: the key is read first, then both in one statement, which is one view,
    /// until the resource of that view is the one that the lookup was made for.
    package func key(_ id: String, lookup: @Sendable (_ resource: String) -> [UInt8]) async throws -> KeyWithGrant? {
        guard let key = RecordID(id) else { return nil }
        guard var record = try await self.key(id) else { return nil }
        for _ in 0..<8 {
            guard let resource = record.resource else { return KeyWithGrant(key: record) }
            let asked = lookup(resource)
            let found = try await read(Statements.keyWithAuthorization) {
                $0.bind(key)
                $0.bind(RecordID(resource))
                $0.bind(asked)
            } _: {
                try $0.first { rows, row in
                    let isGranted = !rows.isNull(row, 6)
                    return KeyWithGrant(
                        key: try KeyRecord(rows, row),
                        resource: rows.isNull(row, 13) ? nil : try ResourceRecord(rows, row, from: 13),
                        authorization: isGranted ? try AuthorizationRecord(rows, row, from: 6) : nil)
                }
            }
            guard let found else { return nil }
            if found.key.resource == resource { return found }
            record = found.key
        }
        throw DiagnosedError(
            .storeBusy, fault: .store, "a key changes its resource faster than it can be read", hint: "ask again")
    }

    package func keys(
        ofResource resource: String, from: Timestamp?, before: Timestamp?, limit: Int?
    ) async throws -> [KeyRecord] {
        guard let resource = RecordID(resource) else { return [] }
        return try await read(Statements.keysOfResource) {
            $0.bind(resource)
            $0.bind(from?.milliseconds ?? .min)
            $0.bind(before?.milliseconds ?? .max)
            $0.bind(limit.map { Int64(max(0, $0)) } ?? .max)
        } _: {
            try $0.all { try KeyRecord($0, $1) }
        }
    }

    package func keys(ofResource resource: String, behind key: KeyRecord?, limit: Int) async throws -> [KeyRecord] {
        guard let resource = RecordID(resource) else { return [] }
        return try await read(Statements.keysBehind) {
            $0.bind(resource)
            $0.bind(key?.boundAt?.milliseconds ?? .min)
            $0.bind(key.flatMap { RecordID($0.id) })
            $0.bind(Int64(max(0, limit)))
        } _: {
            try $0.all { try KeyRecord($0, $1) }
        }
    }

    package func unboundKeys(after id: String?, limit: Int) async throws -> [KeyRecord] {
        try await read(Statements.unboundKeys) {
            $0.bind(id.flatMap { RecordID($0) })
            $0.bind(Int64(max(0, limit)))
        } _: {
            try $0.all { try KeyRecord($0, $1) }
        }
    }

    package func resource(_ id: String) async throws -> ResourceRecord? {
        guard let resource = RecordID(id) else { return nil }
        return try await read(Statements.resource) {
            $0.bind(resource)
        } _: {
            try $0.first { try ResourceRecord($0, $1) }
        }
    }

    package func erasableKey(ofResource resource: String) async throws -> [UInt8]? {
        guard let resource = RecordID(resource) else { return nil }
        return try await read(Statements.erasableKey) {
            $0.bind(resource)
        } _: {
            $0.count == 0 ? nil : $0.bytes(0, 0)
        }
    }

    package func authorization(_ id: String) async throws -> AuthorizationRecord? {
        guard let id = RecordID(id) else { return nil }
        return try await read(Statements.authorization) {
            $0.bind(id)
        } _: {
            try $0.first { try AuthorizationRecord($0, $1) }
        }
    }

    package func authorization(ofResource resource: String, lookup: [UInt8]) async throws -> AuthorizationRecord? {
        try await authorization(Statements.liveAuthorization, resource, lookup)
    }

    package func lastRemoval(ofResource resource: String, lookup: [UInt8]) async throws -> AuthorizationRecord? {
        try await authorization(Statements.lastRemoval, resource, lookup)
    }

    private func authorization(
        _ statement: PostgreSQLStatement, _ resource: String, _ lookup: [UInt8]
    ) async throws -> AuthorizationRecord? {
        guard let resource = RecordID(resource) else { return nil }
        return try await read(statement) {
            $0.bind(resource)
            $0.bind(lookup)
        } _: {
            try $0.first { try AuthorizationRecord($0, $1) }
        }
    }

    package func authorizations(
        ofResource resource: String, includingRemoved: Bool
    ) async throws -> [AuthorizationRecord] {
        guard let resource = RecordID(resource) else { return [] }
        return try await read(Statements.authorizations) {
            $0.bind(resource)
            $0.bind(includingRemoved ? 1 : 0)
        } _: {
            try $0.all { try AuthorizationRecord($0, $1) }
        }
    }

    package func session(_ id: String) async throws -> SessionRecord? {
        guard let session = RecordID(id) else { return nil }
        return try await read(Statements.session) {
            $0.bind(session)
        } _: {
            try $0.first { try SessionRecord($0, $1) }
        }
    }

    package func sessions(ofUser user: [UInt8], liveAt now: Timestamp) async throws -> Int {
        try await read(Statements.sessionsOfUser) {
            $0.bind(user)
            $0.bind(now)
        } _: {
            Int(try $0.integer(0, 0))
        }
    }

    package func ledgerEntry(_ digest: [UInt8]) async throws -> LedgerRecord? {
        try await read(Statements.ledgerEntry) {
            $0.bind(digest)
        } _: {
            try $0.first { try LedgerRecord($0, $1) }
        }
    }

    package func ledgerAudits(after position: Int64, limit: Int) async throws -> [LedgerAudit] {
        try await read(Statements.ledgerAudits) {
            $0.bind(position)
            $0.bind(Int64(max(0, limit)))
        } _: {
            try $0.all { rows, row in
                LedgerAudit(position: try rows.integer(row, 0), audit: rows.bytes(row, 1))
            }
        }
    }

    package func ledgerPosition() async throws -> Int64 {
        try await read(Statements.ledgerPosition) { try $0.integer(0, 0) }
    }

    package func sessions(ofUser user: [UInt8]?, after id: String?, limit: Int) async throws -> [SessionRecord] {
        try await read(Statements.sessionWalk) {
            $0.bind(id.flatMap { RecordID($0) })
            $0.bind(user ?? [])
            $0.bind(Int64(max(0, limit)))
        } _: {
            try $0.all { try SessionRecord($0, $1) }
        }
    }

    package func removedAuthorizations(until moment: Timestamp, limit: Int) async throws -> [AuthorizationRecord] {
        try await read(Statements.removedAuthorizations) {
            $0.bind(moment)
            $0.bind(Int64(max(0, limit)))
        } _: {
            try $0.all { try AuthorizationRecord($0, $1) }
        }
    }

    package func resources(after id: String?, limit: Int) async throws -> [ResourceRecord] {
        try await read(Statements.resources) {
            $0.bind(id.flatMap { RecordID($0) })
            $0.bind(Int64(max(0, limit)))
        } _: {
            try $0.all { try ResourceRecord($0, $1) }
        }
    }

    package func deletedResources(until moment: Timestamp, limit: Int) async throws -> [ResourceRecord] {
        try await read(Statements.deletedResources) {
            $0.bind(moment)
            $0.bind(Int64(max(0, limit)))
        } _: {
            try $0.all { try ResourceRecord($0, $1) }
        }
    }

    package func rootKeys() async throws -> [RootKeyRecord] {
        try await read(Statements.rootKeys) { try RootKeyRecord.all($0) }
    }

    package func sealedRows(
        _ table: SealedTable, notUnder version: Int64, after id: String?, limit: Int
    ) async throws -> [SealedRow] {
        try await read(SealedStatements.rows(table)) {
            $0.bind(id, of: table)
            $0.bind(SealedTable.mark(UInt32(truncatingIfNeeded: version)))
            $0.bind(Int64(max(0, limit)))
        } _: {
            try $0.all { rows, row in
                let id =
                    switch table {
                    case .keys, .resources, .authorizations, .erasableKeys: try rows.id(row, 0)
                    case .sessionKEKs, .ledger: String(try rows.integer(row, 0))
                    case .settings: String(decoding: rows.bytes(row, 0), as: UTF8.self)
                    }
                return SealedRow(id: id, version: try rows.integer(row, 1), value: rows.bytes(row, 2))
            }
        }
    }

    package func sealedCounts(_ table: SealedTable) async throws -> [Int64: Int] {
        let rows = try await read(SealedStatements.counts(table)) {
            try $0.all { rows, row in (mark: rows.bytes(row, 0), count: try rows.integer(row, 1)) }
        }
        return rows.reduce(into: [:]) { counts, row in
            counts[row.mark.dropFirst().reduce(Int64(0)) { $0 << 8 | Int64($1) }] = Int(row.count)
        }
    }

    package func sessionKEK(_ id: Int64) async throws -> SessionKEKRecord? {
        try await read(Statements.sessionKEK) {
            $0.bind(id)
        } _: {
            try $0.first { try SessionKEKRecord($0, $1) }
        }
    }

    package func setting(_ name: String) async throws -> [UInt8]? {
        try await read(Statements.setting) {
            $0.bind(name)
        } _: {
            $0.count == 0 ? nil : $0.bytes(0, 0)
        }
    }

    package func isEmpty() async throws -> Bool {
        try await read(Statements.isEmpty) { try $0.integer(0, 0) != 0 }
    }

    package func hasExpired(at now: Timestamp) async throws -> Bool {
        try await read(Statements.hasExpired) {
            $0.bind(now)
        } _: {
            try $0.integer(0, 0) != 0
        }
    }
}
