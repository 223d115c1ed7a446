// The sealed values of all tables alike, for a rotation of the root key.

extension SealedTable {
    /// The order of the table's key: numbers as numbers, everything else by octets.
    func precedes(_ left: String, _ right: String) -> Bool {
        switch self {
        case .sessionKEKs, .ledger: Int64(left) ?? .min < Int64(right) ?? .min
        default: left.utf8.lexicographicallyPrecedes(right.utf8)
        }
    }
}

extension MemoryState {
    /// Those that are sealed under a root key, in no order.
    func sealedRows(_ table: SealedTable) -> [SealedRow] {
        let rows =
            switch table {
            case .keys: keys.values.map { SealedRow(id: $0.id, version: $0.version, value: $0.sealed) }
            case .resources: resources.values.map { SealedRow(id: $0.id, version: $0.version, value: $0.sealed) }
            case .authorizations:
                authorizations.values.map { SealedRow(id: $0.id, version: $0.version, value: $0.sealed) }
            case .erasableKeys: erasableKeys.map { SealedRow(id: $0.key, version: 1, value: $0.value) }
            case .sessionKEKs: sessionKEKs.values.map { SealedRow(id: "\($0.id)", version: 1, value: $0.sealed) }
            case .settings: settings.map { SealedRow(id: $0.key, version: 1, value: $0.value) }
            case .ledger:
                ledgerPositions.compactMap { position, digest in
                    ledger[digest].map { SealedRow(id: "\(position)", version: 1, value: $0.audit) }
                }
            }
        return rows.filter { table.generation(of: $0.value) != nil }
    }
}
