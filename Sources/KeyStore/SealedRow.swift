/// A column of values that are sealed under root keys: what a rotation walks through.
///
/// A value's first octets tell what sealed it: 1 and the version of the root key (4, big endian). In a setting that has a
/// version of its own (8 octets, big endian) they stand behind it. Values of other forms are none of a root key.
package enum SealedTable: String, CaseIterable, Sendable {
    case keys, resources, authorizations
    case erasableKeys = "erasable_keys"
    case sessionKEKs = "session_keks"
    case settings
    /// The audit records of ledger entries.
    case ledger

    /// Where the mark begins in a value; settings that are sealed as a whole begin with it.
    package static let settingOffset = 8
    /// Format and version of the root key.
    package static let markCount = 5
    /// The shortest sealed value: mark, nonce and tag.
    package static let minimum = 33

    package static func mark(_ version: UInt32) -> [UInt8] {
        [1] + withUnsafeBytes(of: version.bigEndian) { Array($0) }
    }

    /// Where the seal begins in a value; nil when it is not sealed under a root key.
    package func offset(in value: [UInt8]) -> Int? {
        let offset = self == .settings && value.first != 1 ? Self.settingOffset : 0
        return value.count >= offset + Self.minimum && value[offset] == 1 ? offset : nil
    }

    /// The version of the root key that sealed it; nil for another value.
    package func generation(of value: [UInt8]) -> UInt32? {
        offset(in: value).map { offset in
            value[(offset + 1)..<(offset + Self.markCount)].reduce(0) { $0 << 8 | UInt32($1) }
        }
    }
}

/// A sealed value and what its seal is bound to.
package struct SealedRow: Hashable, Sendable {
    /// A record's id, a setting's name, a day or position in decimal digits.
    package var id: String
    /// Of the row; 1 where rows have none.
    package var version: Int64
    package var value: [UInt8]

    package init(id: String, version: Int64, value: [UInt8]) {
        self.id = id
        self.version = version
        self.value = value
    }
}

extension StoreChange {
    /// The versions of the root key under which something in it is sealed. Each must be open when it is applied: so no
    /// late write brings a version back that was counted to 0 and retired, whoever sealed it.
    package var rootVersions: Set<Int64> {
        var versions: Set<Int64> = []
        func note(_ value: [UInt8], _ table: SealedTable) {
            if let generation = table.generation(of: value) { versions.insert(Int64(generation)) }
        }
        for write in writes {
            switch write {
            case .insertKey(let record), .updateKey(let record): note(record.sealed, .keys)
            case .insertResource(let record), .updateResource(let record): note(record.sealed, .resources)
            case .insertAuthorization(let record), .updateAuthorization(let record):
                note(record.sealed, .authorizations)
            case .insertErasableKey(let record): note(record.sealed, .erasableKeys)
            case .insertLedger(let entry): note(entry.audit, .ledger)
            case .insertSessionKEK(let kek): note(kek.sealed, .sessionKEKs)
            case .putSetting(_, let value): note(value, .settings)
            case .reseal(let table, _, _, let new): note(new, table)
            case .insertSession, .deleteSession, .advanceSession, .eraseKey, .eraseResource, .eraseAuthorization,
                .insertRootKey, .updateRootKey, .deleteRootKey, .purgeExpired:
                break
            }
        }
        return versions
    }
}
