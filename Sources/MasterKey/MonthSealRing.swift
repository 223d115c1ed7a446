import Cryptography
package import Diagnostics
package import KeyStore
package import SecretMemory
import Synchronization
package import WireText

/// Seals the details of audit records under a random key of their month, so that a month's details can be destroyed.
///
/// All months stand in one setting of the store, sealed under the root key: their keys, and of destroyed ones when that
/// was. Nodes share them: who changes the setting expects the value that it read. A destroyed key is gone from the
/// store and, with the next `prepare`, from every node; copies of the database from before have it until they expire.
/// Records that were sealed under the root key, as before there were months, open as well. Thread-safe; `seal` and
/// `open` never suspend.
package final class MonthSealRing: Sendable {
    private struct State {
        var months = SealedMonths()
        /// As it stands in the store; nil: there is none.
        var value: [UInt8]?
    }

    /// The setting's name.
    package static let setting = "audit-month-keys"
    /// The next month's key is made so long before, in seconds.
    private static let ahead: Int64 = 86_400

    private let store: any KeyStore
    private let ring: SealRing
    private let state = Mutex(State())

    package init(store: any KeyStore, ring: SealRing) {
        self.store = store
        self.ring = ring
    }

    /// Takes over what other nodes made and destroyed, and makes what is missing for now. Before the first record, then
    /// each minute.
    package func prepare(now: Timestamp) async throws {
        try await change { months in
            for month in Set([CalendarMonth(now), CalendarMonth(now.adding(seconds: Self.ahead))])
            where months.entries[month] == nil {
                months.entries[month] = .key(try SymmetricKey.random())
            }
        }
    }

    /// Destroys the key of the oldest month if its last moment is older than that many seconds; answers which that was.
    /// One at a call, so that a clock that jumps ahead does not take everything at once.
    package func destroy(olderThan seconds: Int64, now: Timestamp) async throws -> [CalendarMonth] {
        let end = now.adding(seconds: -seconds)
        var destroyed: [CalendarMonth] = []
        try await change { months in
            let due = months.entries.filter { $0.key.next.start <= end && $0.value.key != nil }.map(\.key).min()
            destroyed = due.map { [$0] } ?? []
            for month in destroyed { months.entries[month] = .destroyed(now) }
        }
        return destroyed
    }

    /// Seals under the key of the time's month; while it can not be had, because the store is away at the turn of a
    /// month, under the newest that is there. `id` is the record's.
    package func seal(_ plaintext: UnsafeRawBufferPointer, id: String, at time: Timestamp) throws -> [UInt8] {
        let month = CalendarMonth(time)
        let found = state.withLock { $0.months.key(of: month) }
        guard let (month, key) = found else {
            throw DiagnosedError(
                .auditMonthMissing, fault: .internal, "there is no key for the details of audit records yet",
                expected: "a key of \(month)", hint: "this is a defect: the keys are prepared before the first request")
        }
        return try RecordSeal.seal(
            plaintext, as: identity(id), format: .month, generation: month.number, parent: key)
    }

    /// Throws `audit-month-destroyed` for a month whose details were destroyed.
    package func open(_ sealed: [UInt8], id: String) throws -> SecretBytes {
        guard let generation = RecordSeal.generation(of: sealed, format: .month) else {
            return try ring.open(sealed, kind: .audit, id: id, version: 1)
        }
        guard let month = CalendarMonth(number: generation) else { throw RecordSeal.broken(.audit) }
        switch state.withLock({ $0.months.entries[month] }) {
        case .key(let key):
            return try RecordSeal.open(
                sealed, as: identity(id), format: .month, generation: generation, parent: key)
        case .destroyed(let time):
            throw DiagnosedError(
                .auditMonthDestroyed, fault: .client, "the details of the audit records of \(month) are destroyed",
                expected: "a record within the time for which details are kept", found: "destroyed at \(time)",
                hint: "nobody can read them any more; the records themselves, their pseudonyms and the chain still hold"
            )
        case nil:
            throw DiagnosedError(
                .auditMonthMissing, fault: .store, "the key store has no key for the audit details of \(month)",
                hint: "it is from another key store, or the key store was restored from an older backup")
        }
    }

    private func identity(_ id: String) -> RecordSeal.Identity {
        RecordSeal.Identity(kind: .audit, id: id, version: 1)
    }

    /// Reads, changes and commits until no other node came between.
    private func change(_ body: (inout SealedMonths) throws -> Void) async throws {
        for _ in 0..<8 {
            let value = try await store.setting(Self.setting)
            let (version, months) = try value.map(open) ?? (0, SealedMonths())
            var changed = months
            try body(&changed)
            guard changed.marks != months.marks else {
                state.withLock { $0 = State(months: months, value: value) }
                return
            }
            let next = try seal(changed, version: version + 1)
            let result = try await store.commit(
                StoreChange(
                    writes: [.putSetting(name: Self.setting, value: next)],
                    expectations: [.setting(name: Self.setting, value: value)]))
            guard result == .committed else { continue }
            state.withLock { $0 = State(months: changed, value: next) }
            return
        }
        throw DiagnosedError(
            .auditMonthMissing, fault: .store, "the keys of audit details are changed again and again by others",
            hint: "this is tried again within a minute")
    }

    private func seal(_ months: SealedMonths, version: Int64) throws -> [UInt8] {
        let plain = months.encoded()
        let sealed = try plain.withUnsafeBytes {
            try ring.seal($0, kind: .setting, id: Self.setting, version: version)
        }
        return withUnsafeBytes(of: version.bigEndian) { Array($0) } + sealed
    }

    private func open(_ value: [UInt8]) throws -> (Int64, SealedMonths) {
        guard value.count > 8 else { throw RecordSeal.broken(.setting) }
        let version = value.prefix(8).reduce(Int64(0)) { $0 << 8 | Int64($1) }
        let plain = try ring.open(Array(value.dropFirst(8)), kind: .setting, id: Self.setting, version: version)
        guard let months = plain.withUnsafeBytes({ SealedMonths($0) }) else { throw RecordSeal.broken(.setting) }
        return (version, months)
    }
}

extension DiagnosedError.Code {
    /// The key of that month's audit details is destroyed: its retention is over.
    package static let auditMonthDestroyed: Self = "audit-month-destroyed"
    package static let auditMonthMissing: Self = "audit-month-missing"
}

/// The months as they stand in the setting: month (4 octets, big endian), 1 and a key of 32, or 0 and a time of 8.
private struct SealedMonths {
    enum Entry {
        case key(SymmetricKey)
        case destroyed(Timestamp)

        var key: SymmetricKey? { if case .key(let key) = self { key } else { nil } }
    }

    var entries: [CalendarMonth: Entry] = [:]

    /// What can be compared: a key is only ever made or destroyed, never replaced.
    var marks: [CalendarMonth: Bool] { entries.mapValues { $0.key != nil } }

    /// Of the month; else of the newest month that has one.
    func key(of month: CalendarMonth) -> (CalendarMonth, SymmetricKey)? {
        if let key = entries[month]?.key { return (month, key) }
        let newest = entries.filter { $0.value.key != nil }.max { $0.key < $1.key }
        return newest.flatMap { newest in newest.value.key.map { (newest.key, $0) } }
    }

    init() {}

    init?(_ bytes: UnsafeRawBufferPointer) {
        var position = 0
        func number(_ count: Int) -> UInt64 {
            defer { position += count }
            return bytes[position..<position + count].reduce(0) { $0 << 8 | UInt64($1) }
        }
        while position < bytes.count {
            guard bytes.count - position >= 13, let month = CalendarMonth(number: UInt32(number(4))) else { return nil }
            let kind = number(1)
            switch kind {
            case 1:
                guard bytes.count - position >= 32 else { return nil }
                let key = UnsafeRawBufferPointer(rebasing: bytes[position..<position + 32])
                entries[month] = .key(SymmetricKey(copying: key))
                position += 32
            case 0: entries[month] = .destroyed(Timestamp(milliseconds: Int64(bitPattern: number(8))))
            default: return nil
            }
        }
    }

    func encoded() -> SecretBytes {
        var octets: [UInt8] = []
        // So that no copy is left behind where the array grew.
        octets.reserveCapacity(entries.count * 37)
        defer { wipe(&octets) }
        for (month, entry) in entries.sorted(by: { $0.key < $1.key }) {
            octets.append(bigEndian: month.number)
            switch entry {
            case .key(let key):
                octets.append(1)
                key.withUnsafeBytes { octets.append(contentsOf: $0) }
            case .destroyed(let time):
                octets.append(0)
                octets.append(bigEndian: time.milliseconds)
            }
        }
        return SecretBytes(copying: octets)
    }
}

/// A month of UTC.
package struct CalendarMonth: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// 202611 for November 2026.
    package let number: UInt32

    package init(_ time: Timestamp) {
        let digits = time.iso8601.utf8.prefix(7).filter { $0 != UInt8(ascii: "-") }
        number = digits.reduce(0) { $0 * 10 + UInt32($1 - UInt8(ascii: "0")) }
    }

    init?(number: UInt32) {
        guard (1...12).contains(number % 100), number < 1_000_000 else { return nil }
        self.number = number
    }

    private init(unchecked number: UInt32) { self.number = number }

    package var next: CalendarMonth {
        CalendarMonth(unchecked: number % 100 == 12 ? number + 89 : number + 1)
    }

    /// Its first moment.
    package var start: Timestamp { Timestamp(iso8601: "\(self)-01T00:00:00Z") ?? Timestamp(milliseconds: .max) }

    package var description: String {
        let year = String(number / 100)
        let month = number % 100
        return String(repeating: "0", count: 4 - min(4, year.count)) + year + (month < 10 ? "-0" : "-") + "\(month)"
    }

    package static func < (left: CalendarMonth, right: CalendarMonth) -> Bool { left.number < right.number }
}
