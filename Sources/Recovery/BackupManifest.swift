import Cryptography
package import KeyStore
package import WireText

/// What a backup holds, as it stands sealed at its end: rows and digest of each table.
package struct BackupManifest: Sendable, Equatable {
    package struct Table: Sendable, Equatable {
        package let name: String
        package var rows: Int64 = 0
        /// A chain: each row's octets are digested together with the digest so far.
        package var digest = [UInt8](repeating: 0, count: SHA256.byteCount)

        mutating func note(_ octets: [UInt8]) {
            digest = SHA256.hash(digest + octets)
            rows += 1
        }
    }

    package var tables: [Table]
    /// The highest position that the ledger ever gave.
    package var lastPosition: Int64
    /// A check of each root key by its version. Anybody who knows the escrow's public key can wrap something to it: this
    /// says, under the seal of the file, which root keys the KMS had.
    package var rootChecks: [Int64: [UInt8]]
    /// The form of its tables: raised when what a row means changes. What is restored is of the same form or older.
    package var schema = BackupManifest.presentSchema
    /// When it was made, once more under the seal; nil in backups of before.
    package var created: Timestamp?
    /// How far the audit trail and the journal of each node had come.
    package var heads: [NodeHeads] = []
    /// Of the cluster: what was restored under a lower one the core would refuse. Nil in backups of before.
    package var epoch: Int64?

    package static let presentSchema: Int64 = 1

    package func rows(of table: StoreTable) -> Int64 { tables.first { $0.name == table.rawValue }?.rows ?? 0 }

    func json() -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("schema", schema)
        json.member("created", ifPresent: created?.iso8601)
        json.member("lastPosition", lastPosition)
        if let epoch { json.member("epoch", epoch) }
        json.name("nodes")
        json.beginArray()
        for head in heads { head.write(to: &json) }
        json.endArray()
        json.name("rootKeys")
        json.beginArray()
        for (version, check) in rootChecks.sorted(by: { $0.key < $1.key }) {
            json.beginObject()
            json.member("version", version)
            json.member("check", Hexadecimal.encode(check))
            json.endObject()
        }
        json.endArray()
        json.name("tables")
        json.beginArray()
        for table in tables {
            json.beginObject()
            json.member("name", table.name)
            json.member("rows", table.rows)
            json.member("sha256", Hexadecimal.encode(table.digest))
            json.endObject()
        }
        json.endArray()
        json.endObject()
        return json.bytes()
    }

    init(tables: [Table] = [], lastPosition: Int64 = 0, rootChecks: [Int64: [UInt8]] = [:]) {
        (self.tables, self.lastPosition, self.rootChecks) = (tables, lastPosition, rootChecks)
    }

    init?(_ octets: some Collection<UInt8>) {
        guard let root = try? JSONDocument(octets).root, let last = root["lastPosition"]?.integer,
            let elements = root["tables"]?.elements, let checks = root["rootKeys"]?.elements
        else { return nil }
        var rootChecks: [Int64: [UInt8]] = [:]
        for element in checks {
            guard let version = element["version"]?.integer,
                let check = element["check"]?.string.flatMap({ Hexadecimal.decode($0) })
            else { return nil }
            rootChecks[version] = check
        }
        var tables: [Table] = []
        for element in elements {
            guard let name = element["name"]?.string, let rows = element["rows"]?.integer,
                let digest = element["sha256"]?.string.flatMap({ Hexadecimal.decode($0) })
            else { return nil }
            tables.append(Table(name: name, rows: rows, digest: digest))
        }
        self.init(tables: tables, lastPosition: last, rootChecks: rootChecks)
        schema = root["schema"]?.integer ?? Self.presentSchema
        created = root["created"]?.string.flatMap { Timestamp(iso8601: $0) }
        epoch = root["epoch"]?.integer
        heads = (root["nodes"]?.elements ?? []).compactMap { NodeHeads($0) }
    }
}
