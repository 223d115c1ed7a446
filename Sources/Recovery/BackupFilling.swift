import Diagnostics
import KeyStore
import WireText

/// Puts a backup's parts into an empty store, counting and digesting as the one who made it did.
struct BackupFilling {
    private let target: any StoreFilling
    private let rewrapped: ([StoreTable.Value]) throws -> [StoreTable.Value]?
    private let sample: Int
    private let tables: [StoreTable]
    private var table: StoreTable?
    private var batch: [[StoreTable.Value]] = []
    private var found = BackupManifest()
    private var stated: BackupManifest?
    private var keys = 0
    /// Ids of keys, taken at random.
    private(set) var sampled: [String] = []

    /// - Parameter rewrapped: the row of a root key's wrap as it is put in; nil when it is left out.
    init(
        target: any StoreFilling, sample: Int, tables: [StoreTable] = StoreTable.backedUp,
        rewrapped: @escaping ([StoreTable.Value]) throws -> [StoreTable.Value]?
    ) {
        (self.target, self.sample, self.tables, self.rewrapped) = (target, sample, tables, rewrapped)
    }

    mutating func take(_ kind: UInt8, _ payload: ArraySlice<UInt8>) throws {
        guard stated == nil else { throw BackupReader.damaged("something follows its manifest") }
        switch kind {
        case Backup.Part.table:
            try flush()
            let name = String(decoding: payload, as: UTF8.self)
            guard let next = StoreTable(rawValue: name), tables.contains(next),
                !found.tables.contains(where: { $0.name == name })
            else {
                throw BackupReader.damaged(
                    "it has a table that this version does not know; use the version that made it")
            }
            table = next
            found.tables.append(BackupManifest.Table(name: name))
        case Backup.Part.row:
            guard let table, let row = table.row(of: payload) else {
                throw BackupReader.damaged("a row is of another form")
            }
            found.tables[found.tables.count - 1].note(Array(payload))
            if let row = table == .rootKeyWraps ? try rewrapped(row) : row { batch.append(row) }
            if table == .keys { note(row) }
            if batch.count == 500 { try flush() }
        case Backup.Part.manifest:
            try flush()
            guard let manifest = BackupManifest(payload) else {
                throw BackupReader.damaged("its manifest is of another form")
            }
            stated = manifest
        default: throw BackupReader.damaged("it has a part of another kind")
        }
    }

    /// The manifest, which what came agrees with.
    func finish() throws -> BackupManifest {
        guard let stated else { throw BackupReader.damaged("it has no manifest") }
        guard stated.tables == found.tables else {
            throw DiagnosedError(
                .restoreUnverified, fault: .client, "the backup's rows are not those of its manifest",
                expected: stated.tables.map { "\($0.rows) in \($0.name)" }.joined(separator: ", "),
                found: found.tables.map { "\($0.rows) in \($0.name)" }.joined(separator: ", "))
        }
        return stated
    }

    /// Each key has the same chance to be among the sample.
    private mutating func note(_ row: [StoreTable.Value]) {
        guard case .octets(let octets) = row[0], let id = octets.withUnsafeBytes({ RecordID(octets: $0) }) else {
            return
        }
        keys += 1
        if sampled.count < sample {
            sampled.append(id.text)
        } else {
            let place = Int.random(in: 0..<keys)
            if place < sample { sampled[place] = id.text }
        }
    }

    private mutating func flush() throws {
        guard let table, !batch.isEmpty else { return }
        try target.insert(batch, into: table)
        batch = []
    }
}
