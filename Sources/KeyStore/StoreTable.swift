/// A table of a store as rows of plain values: what moves everything from one database to another.
///
/// The cases stand in the order in which rows can be put in, so that what a row names is there before it. The first
/// `keyCount` columns are the key; rows are read in its order, octets compared as octets.
package enum StoreTable: String, CaseIterable, Sendable {
    case rootKeys = "root_keys"
    case rootKeyWraps = "root_key_wraps"
    case settings
    case sessionKEKs = "session_keks"
    case sessions
    case resources
    case erasableKeys = "erasable_keys"
    case keys
    case authorizations
    case ledger
    case rowSums = "row_sums"

    package struct Column: Sendable {
        package enum Kind: Sendable {
            case integer
            case octets
            case text
            /// 16 octets.
            case id
        }

        package let name: String
        package let kind: Kind

        init(_ name: String, _ kind: Kind) {
            self.name = name
            self.kind = kind
        }
    }

    package enum Value: Hashable, Sendable {
        case null
        case integer(Int64)
        case octets([UInt8])
    }

    /// How many columns the key has.
    package var keyCount: Int { self == .rootKeyWraps ? 2 : 1 }

    package var columns: [Column] {
        func columns(_ first: (String, Column.Kind), _ rest: (String, Column.Kind)...) -> [Column] {
            ([first] + rest).map { Column($0.0, $0.1) }
        }
        return switch self {
        case .rootKeys:
            columns(("version", .integer), ("state", .text), ("created", .integer))
        case .rootKeyWraps: columns(("version", .integer), ("holder", .octets), ("wrapped", .octets))
        case .settings: columns(("name", .octets), ("value", .octets))
        case .sessionKEKs: columns(("id", .integer), ("sealed", .octets), ("last_expiry", .integer))
        case .sessions:
            columns(
                ("id", .id), ("version", .integer), ("kek", .integer), ("user_lookup", .octets),
                ("expires", .integer), ("last_counter", .integer), ("sealed", .octets))
        case .resources:
            columns(("id", .id), ("version", .integer), ("deleted_at", .integer), ("sealed", .octets))
        case .erasableKeys: columns(("resource", .id), ("sealed", .octets))
        case .keys:
            columns(
                ("id", .id), ("version", .integer), ("resource", .id), ("bound_at", .integer), ("sealed", .octets))
        case .authorizations:
            columns(
                ("id", .id), ("version", .integer), ("resource", .id), ("lookup", .octets), ("position", .integer),
                ("removed_at", .integer), ("sealed", .octets))
        case .ledger:
            columns(
                ("position", .integer), ("digest", .octets), ("session", .id), ("expires", .integer),
                ("sealed_answer", .octets), ("audit", .octets))
        case .rowSums:
            [Column("writer", .id), Column("counter", .integer)] + Self.sumColumns.map { Column($0, .integer) }
        }
    }

    /// A row as octets: of each value its kind, its length, its octets. Equal rows have equal octets and no others do.
    package static func octets(of row: [Value]) -> [UInt8] {
        var octets: [UInt8] = []
        for value in row {
            switch value {
            case .null: octets.append(0)
            case .integer(let number):
                octets.append(1)
                withUnsafeBytes(of: number.bigEndian) { octets.append(contentsOf: $0) }
            case .octets(let bytes):
                octets.append(2)
                withUnsafeBytes(of: UInt64(bytes.count).bigEndian) { octets.append(contentsOf: $0) }
                octets += bytes
            }
        }
        return octets
    }
}
