package import KeyStore
import WireText

/// A series of changes as key creation, binding, list changes and session openings make them; the same for whoever
/// applies it and whoever checks what is left of it.
package enum StoreScript {
    package static let count = 26
    /// The last two: a space that is made, and erased with all that belongs to it.
    private static let making = 24, erasing = 25

    package static func id(_ kind: Int, _ number: Int) -> String {
        let digits = String(number)
        return "00000000-0000-4000-8000-\(kind)" + String(repeating: "0", count: 11 - digits.count) + digits
    }
    private static func octets(_ number: Int, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: number &* 31 &+ $0 &* 7) }
    }
    package static func digest(_ number: Int) -> [UInt8] { octets(number, 31) + [UInt8(number)] }
    private static func time(_ seconds: Int) -> Timestamp { Timestamp(seconds: 1_700_000_000 + Int64(seconds)) }

    /// Change `number`, from 0. Each one leaves a ledger entry, and rows in one to four tables.
    package static func change(_ number: Int) -> StoreChange {
        if number >= making { return lastly(number) }
        var writes: [StoreWrite] = []
        if number == 0 {
            writes.append(.insertSessionKEK(SessionKEKRecord(id: 1, sealed: octets(1, 60), lastExpiry: time(0))))
        }
        switch number % 4 {
        case 0:
            writes.append(
                .insertSession(
                    SessionRecord(
                        id: id(4, number), kek: 1, user: octets(number, 16), expires: time(86_400),
                        sealed: octets(number, 300))))
        case 1:
            for index in 0..<5 {
                let key = KeyRecord(
                    id: id(1, number * 10 + index), version: 1, resource: nil, boundAt: nil,
                    sealed: octets(number + index, 200))
                writes.append(.insertKey(key))
            }
        case 2:
            writes.append(.insertResource(resource(number, version: 1)))
            writes.append(.insertErasableKey(erasable(number)))
            for index in 0..<3 {
                writes.append(
                    .insertAuthorization(
                        AuthorizationRecord(
                            id: id(3, number * 10 + index), version: 1, resource: id(2, number),
                            lookup: octets(number * 3 + index, 16), order: Int64(index), removedAt: nil,
                            sealed: octets(number + index, 180))))
            }
            for index in 0..<5 {
                let key = KeyRecord(
                    id: id(1, (number - 1) * 10 + index), version: 2, resource: id(2, number), boundAt: time(number),
                    sealed: octets(number + index, 240))
                writes.append(.updateKey(key))
            }
        default:
            writes.append(.updateResource(resource(number - 1, version: 2)))
            writes.append(
                .updateAuthorization(
                    AuthorizationRecord(
                        id: id(3, (number - 1) * 10), version: 2, resource: id(2, number - 1),
                        lookup: octets((number - 1) * 3, 16), order: 0, removedAt: time(number),
                        sealed: octets(number, 190))))
            writes.append(.advanceSession(id: id(4, number - 3), counter: Int64(number)))
        }
        return StoreChange(writes: writes + [ledger(number)])
    }

    private static func lastly(_ number: Int) -> StoreChange {
        let key = KeyRecord(
            id: id(1, making * 10), version: 1, resource: id(2, making), boundAt: time(making),
            sealed: octets(making, 240))
        let writes: [StoreWrite] =
            number == making
            ? [.insertResource(resource(making, version: 1)), .insertErasableKey(erasable(making)), .insertKey(key)]
            : [
                .updateResource(resource(making, version: 2, deleted: time(erasing))),
                .eraseResource(id: id(2, making), version: 2),
            ]
        return StoreChange(writes: writes + [ledger(number)])
    }

    private static func ledger(_ number: Int) -> StoreWrite {
        .insertLedger(
            LedgerRecord(
                digest: digest(number), session: id(4, number), expires: time(86_400),
                sealedAnswer: octets(number, 500), audit: octets(number, 120)))
    }

    private static func erasable(_ number: Int) -> ErasableKeyRecord {
        ErasableKeyRecord(resource: id(2, number), sealed: octets(number + 5, 90))
    }

    private static func resource(_ number: Int, version: Int64, deleted: Timestamp? = nil) -> ResourceRecord {
        ResourceRecord(
            id: id(2, number), version: version, deletedAt: deleted, sealed: octets(number + Int(version), 250))
    }

    /// How many rows of change `number` stand as it left them, and how many it wrote; later changes may have moved on.
    package static func standing(_ number: Int, in store: any KeyStore) async throws -> (found: Int, of: Int) {
        var found = 0
        let writes = change(number).writes
        if number >= making, try await store.ledgerEntry(digest(erasing)) != nil {
            // Nothing of the space is left, and of its making the ledger's entry.
            let (space, key) = (try await store.resource(id(2, making)), try await store.key(id(1, making * 10)))
            let erasable = try await store.erasableKey(ofResource: id(2, making))
            let isGone = space == nil && key == nil && erasable == nil
            return (isGone ? writes.count : 1, writes.count)
        }
        for write in writes {
            let isThere =
                switch write {
                case .insertKey(let key), .updateKey(let key):
                    try await store.key(key.id).map { row in
                        var row = row
                        row.erasable = nil
                        return row == key || row.version > key.version
                    } ?? false
                case .insertResource(let row), .updateResource(let row):
                    try await store.resource(row.id).map { $0 == row || $0.version > row.version } ?? false
                case .insertAuthorization(let row), .updateAuthorization(let row):
                    try await store.authorization(row.id).map { $0 == row || $0.version > row.version } ?? false
                case .insertErasableKey(let row):
                    try await store.erasableKey(ofResource: row.resource) == row.sealed
                case .insertSession(let session): try await store.session(session.id)?.sealed == session.sealed
                case .advanceSession(let id, let counter):
                    try await (store.session(id)?.lastCounter ?? 0) >= counter
                case .insertLedger(let entry): try await store.ledgerEntry(entry.digest) == entry
                case .insertSessionKEK(let kek): try await store.sessionKEK(kek.id)?.sealed == kek.sealed
                default: false
                }
            found += isThere ? 1 : 0
        }
        return (found, writes.count)
    }
}
