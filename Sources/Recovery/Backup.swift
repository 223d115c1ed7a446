import Cryptography
import Diagnostics
package import KeyStore
package import MasterKey
import SecretMemory
package import WireText

/// Makes and reads backups of a key store: everything but sessions, as it was at one moment, encrypted.
package enum Backup {
    enum Part {
        static let table = UInt8(ascii: "T")
        static let row = UInt8(ascii: "R")
        static let manifest = UInt8(ascii: "M")
    }

    package struct Names: Sendable {
        package let host: String, node: String

        package init(host: String, node: String) { (self.host, self.node) = (host, node) }
    }

    package struct Made: Sendable {
        package let header: BackupHeader
        package let manifest: BackupManifest
    }

    /// Writes a new file of mode 0600, on the disk under its name when it returns. Blocks.
    package static func write(
        _ snapshot: any StoreSnapshot, ring: SealRing, names: Names, toNew path: String, now: Timestamp
    ) throws -> Made {
        let key = try SymmetricKey.random()
        let header = try header(of: snapshot, ring: ring, names: names, key: key, now: now)
        let file = try BackupFile.create(path)
        let manifest = try contents(of: snapshot, header: header, key: key, checks: ring.checks()) {
            try file.append($0)
        }
        try file.finish()
        return Made(header: header, manifest: manifest)
    }

    /// What stands in clear: nothing is opened.
    package static func header(of path: String) throws -> BackupHeader {
        let file = try BackupFile.open(path)
        return try BackupReader(source: { try file.read($0) }).header
    }

    private static func header(
        of snapshot: any StoreSnapshot, ring: SealRing, names: Names, key: SymmetricKey, now: Timestamp
    ) throws -> BackupHeader {
        var escrow: EscrowWraps?
        try snapshot.rows(of: .settings) { row in
            if case .octets(let name) = row[0], name == Array(EscrowWraps.setting.utf8),
                case .octets(let value) = row[1]
            {
                escrow = EscrowWraps(value)
            }
        }
        var rootKeys: [BackupHeader.RootKey] = []
        try snapshot.rows(of: .rootKeys) { row in
            guard case .integer(let version) = row[0], case .octets(let wrapped) = row[2],
                case .octets(let kek) = row[3]
            else { return }
            rootKeys.append(
                BackupHeader.RootKey(
                    version: version, wrapped: wrapped, kek: String(decoding: kek, as: UTF8.self),
                    escrowed: escrow?.wraps[version]))
        }
        let version = ring.activeVersion
        guard rootKeys.contains(where: { $0.version == version }) else {
            throw DiagnosedError(
                .rootKeyMissing, fault: .store, "the key store has lost the root key that this service seals under",
                expected: "version \(version)", hint: "restart the service and see what it says")
        }
        // Nothing is copied that might not come back.
        guard Set(rootKeys.map(\.version)).isSubset(of: ring.versions) else {
            throw DiagnosedError(
                .rootKeyUnknown, fault: .store, "the key store has a root key that this service has not loaded",
                expected: "versions " + ring.versions.map(String.init).joined(separator: ", "),
                found: rootKeys.map { String($0.version) }.joined(separator: ", "),
                hint: "a rotation goes on; try again, or restart the service")
        }
        let id = UUIDText.random()
        return BackupHeader(
            id: id, host: names.host, node: names.node, created: now, rootVersion: version, rootKeys: rootKeys,
            escrow: escrow?.escrow,
            sealedKey: try key.withUnsafeBytes { try ring.seal($0, kind: .backup, id: id, version: 1) })
    }

    private static func contents(
        of snapshot: any StoreSnapshot, header: BackupHeader, key: SymmetricKey, checks: [Int64: [UInt8]],
        _ sink: @escaping ([UInt8]) throws -> Void
    ) throws -> BackupManifest {
        var writer = try BackupWriter(header: header.json(), key: key, sink: sink)
        var manifest = BackupManifest(lastPosition: try snapshot.lastPosition(), rootChecks: checks)
        for table in StoreTable.backedUp {
            try writer.append(Part.table, Array(table.rawValue.utf8))
            var summary = BackupManifest.Table(name: table.rawValue)
            try snapshot.rows(of: table) { row in
                let octets = StoreTable.octets(of: row)
                summary.note(octets)
                try writer.append(Part.row, octets)
            }
            manifest.tables.append(summary)
        }
        try writer.append(Part.manifest, manifest.json())
        try writer.finish()
        return manifest
    }
}
