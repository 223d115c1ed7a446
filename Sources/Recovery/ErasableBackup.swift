import Cryptography
package import Diagnostics
import Glibc
import KeyStore
import MasterKey
import SecretMemory
import WireText

extension DiagnosedError.Code {
    /// The backup of the erasable keys, without which a backup's keys do not open, is not there or too old.
    package static let backupErasable: Self = "backup-erasable"
}

/// The second file of a backup: erasable keys and unbound keys, what is to be gone by a set date
/// (docs/decisions/016-erasable-keys.md).
///
/// A restore takes one that was made with the main file or later. What a later one has not any more was erased, and stays
/// erased.
package enum ErasableBackup {
    package static let ending = ".hdserasable"

    static func tables(of part: BackupHeader.Part?) -> [StoreTable] {
        part == .erasable ? [.erasableKeys, .keys] : StoreTable.backedUp
    }

    /// An unbound key is sealed under the root key alone: it may lie only where it goes in time.
    static func belongs(_ row: [StoreTable.Value], of table: StoreTable, to part: BackupHeader.Part?) -> Bool {
        guard table == .keys else { return true }
        return (row[2] == .null) == (part == .erasable)
    }

    /// Whether every key of the store is sealed under an erasable key.
    static func isCarried(_ snapshot: any StoreSnapshot) throws -> Bool {
        var isThere = false
        let name = StoreTable.Value.octets(Array(ErasableCarryOver.setting.utf8))
        try snapshot.rows(of: .settings) { if $0[0] == name { isThere = true } }
        return isThere
    }

    /// The newest one in the folder that fits the main file; damaged files are left out.
    package static func newest(beside path: String, of header: BackupHeader) throws -> String? {
        let folder = path.folderOfFile
        guard let directory = opendir(folder) else { return nil }
        defer { closedir(directory) }
        var found: (file: String, created: Timestamp)?
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard name.hasSuffix(ending), let other = try? Backup.header(of: "\(folder)/\(name)"),
                fits(other, header), found.map({ $0.created < other.created }) ?? true
            else { continue }
            found = ("\(folder)/\(name)", other.created)
        }
        return found?.file
    }

    private static func fits(_ erasable: BackupHeader, _ main: BackupHeader) -> Bool {
        erasable.part == .erasable && erasable.host == main.host && erasable.created >= main.created
    }

    // MARK: Restoring

    struct Contents {
        let header: BackupHeader
        /// Whether a space of the main file that has no erasable key here was erased.
        let isWhole: Bool
        /// Sealed erasable keys by the id of their resource.
        var keys: [[UInt8]: [UInt8]] = [:]
        var unbound: [[StoreTable.Value]] = []
    }

    /// Nil when the main file is of before there were parts. Values are sealed as the main file's root keys want it.
    static func read(
        _ named: String?, beside path: String, _ main: BackupHeader, key: BackupKey, known: [Int64: SymmetricKey]
    ) throws -> Contents? {
        guard main.part != .erasable else {
            throw BackupReader.damaged("it is the backup of the erasable keys; name the main one beside it")
        }
        guard main.part != nil else { return nil }
        guard let file = try named ?? newest(beside: path, of: main) else {
            throw DiagnosedError(
                .backupErasable, fault: .client,
                "the backup of the erasable keys is missing, and without it no key opens",
                expected: "a file \(ending) of \(main.host), made at \(main.created) or later, beside the backup",
                hint: "name the newest one with --erasable FILE; when all have expired, this backup's keys are gone")
        }
        let input = try BackupFile.open(file)
        let reader = try BackupReader(source: { try input.read($0) })
        guard fits(reader.header, main) else {
            throw DiagnosedError(
                .backupErasable, fault: .client, "\(file) does not go with this backup",
                expected: "erasable keys of \(main.host), made at \(main.created) or later",
                found: "\(reader.header.part?.rawValue ?? "a whole backup") of \(reader.header.host), "
                    + "\(reader.header.created)", hint: "name the newest one with --erasable FILE")
        }
        do {
            return try contents(reader, main, key: key, known: known)
        } catch let error as DiagnosedError where error.code == .backupKey {
            throw DiagnosedError(
                .backupKey, fault: .client,
                "\(file), the newest backup of the erasable keys, has root keys that this key does not open",
                expected: error.expected, found: error.found,
                hint: "give the newer key, or the shares; or name the file that was made with the backup, by "
                    + "--erasable FILE: then what was erased after it comes back")
        }
    }

    private static func contents(
        _ reader: BackupReader, _ main: BackupHeader, key: BackupKey, known: [Int64: SymmetricKey]
    ) throws -> Contents {
        let header = reader.header
        // A key-encryption key that came after the main file is not needed for root keys that the main file has.
        var roots = known
        for root in header.rootKeys where roots[root.version] == nil {
            roots[root.version] = try key.unwrap(root, of: header)
        }
        guard let root = roots[header.rootVersion], let target = known[main.rootVersion],
            let outside = RootKeyOutside(root, version: header.rootVersion),
            let sealer = RootKeyOutside(target, version: main.rootVersion),
            let fileKey = try? SymmetricKey(outside.open(header.sealedKey, kind: .backup, id: header.id, version: 1))
        else { throw BackupReader.damaged("the key of the erasable keys does not open under its root key") }
        /// Under a root key that the main file has: a rotation may have come between the two.
        func carried(_ sealed: [UInt8], _ kind: RecordKind, _ id: [UInt8], _ version: Int64) throws -> [UInt8] {
            guard let name = id.withUnsafeBytes({ RecordID(octets: $0) })?.text,
                let generation = SealRing.rootVersion(of: sealed), let root = roots[generation],
                let outside = RootKeyOutside(root, version: generation)
            else { throw BackupReader.damaged("it has a row under a root key that it has not") }
            guard known[generation] == nil else { return sealed }
            return try outside.open(sealed, kind: kind, id: name, version: version).withUnsafeBytes {
                try sealer.seal($0, kind: kind, id: name, version: version)
            }
        }
        let collector = Collector()
        var filling = BackupFilling(target: collector, sample: 0, tables: tables(of: .erasable)) { $0 }
        try reader.parts(key: fileKey) { try filling.take($0, $1) }
        _ = try filling.finish()
        var contents = Contents(header: header, isWhole: main.part == .main)
        for row in collector.erasable {
            guard case .octets(let id) = row[0], case .octets(let sealed) = row[1] else { continue }
            contents.keys[id] = try carried(sealed, .erasableKey, id, 1)
        }
        for row in collector.unbound {
            guard case .octets(let id) = row[0], case .integer(let version) = row[1], case .octets(let sealed) = row[4]
            else { continue }
            var row = row
            row[4] = .octets(try carried(sealed, .key, id, version))
            contents.unbound.append(row)
        }
        return contents
    }

    /// Keeps the rows in memory: they are few beside those of the main file.
    private final class Collector: StoreFilling {
        var erasable: [[StoreTable.Value]] = []
        var unbound: [[StoreTable.Value]] = []

        func insert(_ rows: [[StoreTable.Value]], into table: StoreTable) {
            if table == .erasableKeys { erasable += rows } else { unbound += rows }
        }
        func raiseLastPosition(to position: Int64) {}
        func commit() {}
    }
}

/// Puts a main file's rows in but for spaces that were erased after it, and then what the second file has.
final class ErasableFilling: StoreFilling {
    private let target: any StoreFilling
    private let erasable: ErasableBackup.Contents?
    private var resources: Set<[UInt8]> = []
    private var gone: Set<[UInt8]> = []

    init(target: any StoreFilling, _ erasable: ErasableBackup.Contents?) {
        (self.target, self.erasable) = (target, erasable)
    }

    /// How many spaces were left out.
    var dropped: Int { gone.count }

    func insert(_ rows: [[StoreTable.Value]], into table: StoreTable) throws {
        guard let erasable else { return try target.insert(rows, into: table) }
        var kept = rows
        switch table {
        case .resources:
            kept = rows.filter { row in
                guard case .octets(let id) = row[0] else { return true }
                guard erasable.keys[id] != nil || !erasable.isWhole else {
                    gone.insert(id)
                    return false
                }
                resources.insert(id)
                return true
            }
        case .keys, .authorizations:
            kept = rows.filter { row in
                guard case .octets(let resource) = row[2] else { return true }
                return !gone.contains(resource)
            }
        default: break
        }
        guard !kept.isEmpty else { return }
        try target.insert(kept, into: table)
    }

    /// Erasable keys of spaces that were made later are left out: the main file does not have those spaces.
    func finish() throws {
        guard let erasable else { return }
        let rows = erasable.keys.filter { resources.contains($0.key) }
            .map { [StoreTable.Value.octets($0.key), .octets($0.value)] }
        for start in stride(from: 0, to: rows.count, by: 500) {
            try target.insert(Array(rows[start..<min(start + 500, rows.count)]), into: .erasableKeys)
        }
        for start in stride(from: 0, to: erasable.unbound.count, by: 500) {
            let end = min(start + 500, erasable.unbound.count)
            try target.insert(Array(erasable.unbound[start..<end]), into: .keys)
        }
    }

    func raiseLastPosition(to position: Int64) throws { try target.raiseLastPosition(to: position) }
    func commit() throws { try target.commit() }
}
