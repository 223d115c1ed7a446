import Cryptography
import Glibc
package import KeyStore
import MasterKey
import WireText

/// A look at every row that is summed, in one view of the store: do they make the sums that their writers left, and does
/// each of them open?
package struct RowScan: Sendable, Equatable {
    package private(set) var rows = 0
    /// The sum over the rows less the sums of all writers: of nothing when all is as it was written.
    package private(set) var difference = RowSum()
    /// Rows that do not open, or whose clear columns are not what is sealed.
    package private(set) var brokenCount = 0
    /// Empty for none.
    package private(set) var broken: [UInt8] = []

    package var adds: Bool { difference == RowSum() }

    /// After so many rows others get the processor and the disk for a moment.
    private static let stretch = 512

    /// Blocks its thread.
    package static func run(_ view: any StoreSnapshot, _ vault: RecordVault) throws -> RowScan {
        var scan = RowScan()
        // Some 150 octets for each space, for as long as the look takes: keys come in another order than spaces.
        var erasable: [[UInt8]: [UInt8]] = [:]
        try view.rows(of: .erasableKeys) { row in
            if let space = row[0].octets, let sealed = row[1].octets { erasable[space] = sealed }
        }
        for table in [StoreTable.resources, .keys, .authorizations, .settings] {
            try view.rows(of: table) { row in
                let (kind, id, version) = scan.identity(row, table)
                scan.difference += vault.ring.term(kind, id: id, version: version)
                if !opens(row, table, id, version, erasable, vault) {
                    scan.brokenCount += 1
                    scan.broken = SHA256.hash(scan.broken + Array("\(table.rawValue) \(id) \(version)".utf8))
                }
                scan.rows += 1
                if scan.rows.isMultiple(of: stretch) { usleep(500) }
            }
        }
        try view.rows(of: .rowSums) { row in
            guard let writer = WriterSum(row) else { throw RecordVault.forged("sum") }
            scan.difference -= writer.sum
        }
        return scan
    }

    private func identity(
        _ row: [StoreTable.Value], _ table: StoreTable
    ) -> (kind: RecordKind, id: String, version: Int64) {
        let id = row[0].octets ?? []
        if table == .settings {
            return (.setting, String(decoding: id, as: UTF8.self), SealedTable.settingVersion(row[1].octets ?? []))
        }
        let kind: RecordKind = table == .keys ? .key : table == .resources ? .resource : .authorization
        return (kind, id.withUnsafeBytes { RecordID(octets: $0)?.text } ?? "", row[1].number ?? 0)
    }

    private static func opens(
        _ row: [StoreTable.Value], _ table: StoreTable, _ id: String, _ version: Int64, _ erasable: [[UInt8]: [UInt8]],
        _ vault: RecordVault
    ) -> Bool {
        func uuid(_ value: StoreTable.Value) -> String? {
            value.octets.flatMap { $0.withUnsafeBytes { RecordID(octets: $0)?.text } }
        }
        func time(_ value: StoreTable.Value) -> Timestamp? { value.number.map { Timestamp(milliseconds: $0) } }
        do {
            switch table {
            case .keys:
                var key = KeyRecord(
                    id: id, version: version, resource: uuid(row[2]), boundAt: time(row[3]), sealed: row[4].octets ?? []
                )
                key.erasable = row[2].octets.flatMap { erasable[$0] }
                _ = try vault.content(key)
            case .resources:
                _ = try vault.content(
                    ResourceRecord(id: id, version: version, deletedAt: time(row[2]), sealed: row[3].octets ?? []))
            case .authorizations:
                _ = try vault.content(
                    AuthorizationRecord(
                        id: id, version: version, resource: uuid(row[2]) ?? "", lookup: row[3].octets ?? [],
                        order: row[4].number ?? 0, removedAt: time(row[5]), sealed: row[6].octets ?? []))
            case .settings:
                let value = row[1].octets ?? []
                guard let offset = SealedTable.settings.offset(in: value) else { break }
                _ = try vault.ring.open(Array(value[offset...]), kind: .setting, id: id, version: version)
            default: break
            }
            return true
        } catch {
            return false
        }
    }
}

extension StoreTable.Value {
    fileprivate var octets: [UInt8]? { if case .octets(let octets) = self { octets } else { nil } }
    fileprivate var number: Int64? { if case .integer(let number) = self { number } else { nil } }
}
