import Diagnostics
import FoundationEssentials
import SecretMemory
import WireText

// Sealed JSON objects by kind and id: holds, rules of retention, steps of two officers, certificates, exports.
extension Mirror {
    func documents(_ kind: String, under key: SymmetricKey) throws -> [JSONDocument] {
        try queue.read { try Self.documents(kind, key, $0) }
    }

    func document(_ kind: String, _ id: String, under key: SymmetricKey) throws -> JSONDocument? {
        try queue.read { try Self.document(kind, id, key, $0) }
    }

    func put(_ kind: String, _ id: String, _ octets: [UInt8], under key: SymmetricKey) throws {
        try queue.write { try Self.put(kind, id, octets, key, $0) }
    }

    func deleteDocument(_ kind: String, _ id: String) throws {
        try queue.write { db in
            try db.execute(sql: "DELETE FROM document WHERE kind = ? AND id = ?", arguments: [kind, id])
        }
    }

    /// Changes a document in one transaction; nil when there is none. `change` gives what it becomes.
    func change(
        _ kind: String, _ id: String, under key: SymmetricKey, _ change: (JSONNode) throws -> [UInt8]
    ) throws -> JSONDocument? {
        try queue.write { db in
            guard let found = try Self.document(kind, id, key, db) else { return nil }
            let octets = try change(found.root)
            try Self.put(kind, id, octets, key, db)
            return try JSONDocument(octets)
        }
    }

    static func documents(_ kind: String, _ key: SymmetricKey, _ db: any Database) throws -> [JSONDocument] {
        try Row.fetchAll(
            db, sql: "SELECT id, sealed FROM document WHERE kind = ? ORDER BY id", arguments: [kind]
        ).map { row in
            try JSONDocument(MirrorSeal.open([UInt8](row["sealed"] as Data), "\(kind) \(row["id"] as String)", key))
        }
    }

    private static func document(
        _ kind: String, _ id: String, _ key: SymmetricKey, _ db: any Database
    ) throws -> JSONDocument? {
        try Row.fetchOne(
            db, sql: "SELECT sealed FROM document WHERE kind = ? AND id = ?", arguments: [kind, id]
        ).map { try JSONDocument(MirrorSeal.open([UInt8]($0["sealed"] as Data), "\(kind) \(id)", key)) }
    }

    static func put(
        _ kind: String, _ id: String, _ octets: [UInt8], _ key: SymmetricKey, _ db: any Database
    ) throws {
        try db.execute(
            sql: """
                INSERT INTO document VALUES (?, ?, ?)
                ON CONFLICT (kind, id) DO UPDATE SET sealed = excluded.sealed
                """, arguments: [kind, id, Data(try MirrorSeal.seal(octets, "\(kind) \(id)", key))])
    }
}
