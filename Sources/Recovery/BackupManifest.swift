import Cryptography
package import KeyStore
import WireText

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

    package func rows(of table: StoreTable) -> Int64 { tables.first { $0.name == table.rawValue }?.rows ?? 0 }

    func json() -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("lastPosition", lastPosition)
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

    init(tables: [Table] = [], lastPosition: Int64 = 0) { (self.tables, self.lastPosition) = (tables, lastPosition) }

    init?(_ octets: some Collection<UInt8>) {
        guard let root = try? JSONDocument(octets).root, let last = root["lastPosition"]?.integer,
            let elements = root["tables"]?.elements
        else { return nil }
        var tables: [Table] = []
        for element in elements {
            guard let name = element["name"]?.string, let rows = element["rows"]?.integer,
                let digest = element["sha256"]?.string.flatMap({ Hexadecimal.decode($0) })
            else { return nil }
            tables.append(Table(name: name, rows: rows, digest: digest))
        }
        self.init(tables: tables, lastPosition: last)
    }
}
