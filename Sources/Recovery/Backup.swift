import Cryptography
import Diagnostics
package import KeyStore
package import MasterKey
import SecretMemory
package import WireText

/// Makes and reads backups of a key store: everything but sessions, as it was at one moment, encrypted.
///
/// What can be erased goes into a file of its own (`ErasableBackup`).
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
        _ snapshot: any StoreSnapshot, ring: SealRing, names: Names, toNew path: String, now: Timestamp,
        erasable: Bool = false, epoch: Int64? = nil
    ) throws -> Made {
        let key = try SymmetricKey.random()
        // Once: a version may be destroyed meanwhile.
        let checks = ring.checks()
        let part: BackupHeader.Part =
            erasable ? .erasable : try ErasableBackup.isCarried(snapshot) ? .main : .carrying
        let header = try header(
            of: snapshot, ring: ring, known: Set(checks.keys), names: names, key: key, now: now, part: part)
        let file = try BackupFile.create(path)
        let heads = try NodeHeads.all(in: snapshot, ring: ring)
        let manifest = try contents(of: snapshot, header: header, key: key, checks: checks, heads: heads, epoch: epoch)
        {
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
        of snapshot: any StoreSnapshot, ring: SealRing, known: Set<Int64>, names: Names, key: SymmetricKey,
        now: Timestamp, part: BackupHeader.Part
    ) throws -> BackupHeader {
        let rootKeys = try rootKeys(in: snapshot, ring: ring)
        let id = UUIDText.random()
        let sealedKey = try key.withUnsafeBytes { try ring.seal($0, kind: .backup, id: id, version: 1) }
        // A promotion may come at any moment: what counts is what it was sealed under.
        guard let version = SealRing.rootVersion(of: sealedKey),
            let active = rootKeys.first(where: { $0.version == version })
        else {
            throw DiagnosedError(
                .rootKeyMissing, fault: .store, "the key store has lost the root key that this service seals under",
                expected: "version \(ring.activeVersion)", hint: "restart the service and see what it says")
        }
        // Nothing is copied that might not come back.
        guard Set(rootKeys.map(\.version)).isSubset(of: known) else {
            throw DiagnosedError(
                .rootKeyUnknown, fault: .store, "the key store has a root key that this service has not loaded",
                expected: "versions " + known.sorted().map(String.init).joined(separator: ", "),
                found: rootKeys.map { String($0.version) }.joined(separator: ", "),
                hint: "a rotation goes on; try again, or restart the service")
        }
        let escrow = active.escrow
        return BackupHeader(
            id: id, host: names.host, node: names.node, created: now, rootVersion: version,
            rootKeys: rootKeys.map { root in
                BackupHeader.RootKey(
                    version: root.version, wrapped: root.wrapped, kek: root.kek,
                    escrowed: escrow.flatMap { root.record.wraps[RootKeyRecord.holder(escrow: $0)] })
            },
            escrow: escrow, sealedKey: sealedKey, part: part)
    }

    private struct Root {
        let record: RootKeyRecord
        let kek: String
        let wrapped: [UInt8]
        var version: Int64 { record.version }
        var escrow: String? { record.escrow }
    }

    /// The versions that somebody can open: destroyed ones have no wraps. While the key-encryption key changes, the wrap
    /// by the one that this service has.
    private static func rootKeys(in snapshot: any StoreSnapshot, ring: SealRing) throws -> [Root] {
        var wraps: [Int64: [String: [UInt8]]] = [:]
        try snapshot.rows(of: .rootKeyWraps) { row in
            guard case .integer(let version) = row[0], case .octets(let holder) = row[1],
                case .octets(let wrapped) = row[2]
            else { return }
            wraps[version, default: [:]][String(decoding: holder, as: UTF8.self)] = wrapped
        }
        return wraps.sorted { $0.key < $1.key }.compactMap { version, wraps in
            let record = RootKeyRecord(version: version, state: .active, wraps: wraps, created: .init(seconds: 0))
            let keks = record.keks
            guard let kek = keks.contains(ring.fingerprint) ? ring.fingerprint : keks.first,
                let wrapped = wraps[RootKeyRecord.holder(kek: kek)]
            else { return nil }
            return Root(record: record, kek: kek, wrapped: wrapped)
        }
    }

    private static func contents(
        of snapshot: any StoreSnapshot, header: BackupHeader, key: SymmetricKey, checks: [Int64: [UInt8]],
        heads: [NodeHeads], epoch: Int64?, _ sink: @escaping ([UInt8]) throws -> Void
    ) throws -> BackupManifest {
        var writer = try BackupWriter(header: header.json(), key: key, sink: sink)
        var manifest = BackupManifest(lastPosition: try snapshot.lastPosition(), rootChecks: checks)
        (manifest.created, manifest.heads, manifest.epoch) = (header.created, heads, epoch)
        for table in ErasableBackup.tables(of: header.part) {
            try writer.append(Part.table, Array(table.rawValue.utf8))
            var summary = BackupManifest.Table(name: table.rawValue)
            try snapshot.rows(of: table) { row in
                guard ErasableBackup.belongs(row, of: table, to: header.part) else { return }
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
