import Diagnostics
package import KeyStore
import SecretMemory
package import WireText

/// Seals everything again that stands under another root key version than the active one, in small batches, while the
/// store works for others.
///
/// There is no progress to lose: what is left is what the store finds. A value that moved on meanwhile is left alone.
/// A batch that took longer than `slow` halves the next one and is followed by a pause as long as it was itself; a quick
/// one doubles the next.
package struct Resealer: Sendable {
    package struct Progress: Sendable, Equatable {
        package var total: Int
        package var done = 0
        /// Values whose seal does not open; they hold up retirement until somebody has restored them.
        package var broken = 0
        package var started: Timestamp
        package var now: Timestamp

        /// Seconds to go, at the speed so far; nil before there is one.
        package var remaining: Int64? {
            guard done > 0 else { return nil }
            let spent = max(1, now.milliseconds - started.milliseconds)
            return Int64(Double(spent) * Double(max(0, total - done)) / Double(done) / 1000)
        }
    }

    static let largest = 256
    static let smallest = 16
    static let slow = Duration.milliseconds(5)

    private let store: any KeyStore
    private let ring: SealRing

    package init(store: any KeyStore, ring: SealRing) {
        self.store = store
        self.ring = ring
    }

    /// How many values stand under other versions than the active one.
    package func left() async throws -> Int {
        let active = ring.activeVersion
        var count = 0
        for table in SealedTable.allCases {
            count += try await store.sealedCounts(table).filter { $0.key != active }.values.reduce(0, +)
        }
        return count
    }

    /// Walks through all tables once. Throws when the store does, or the task is cancelled; called again it goes on.
    package func run(
        clock: any Clock<Duration> = ContinuousClock(), now: @Sendable () -> Timestamp = { .now() },
        progress: (Progress) -> Void = { _ in }
    ) async throws -> Progress {
        try await ring.refresh()
        let started = now()
        var state = Progress(total: try await left(), started: started, now: started)
        progress(state)
        guard state.total > 0 else { return state }
        var limit = Self.largest
        var conflicts = 0
        for table in SealedTable.allCases {
            var last: String?
            while true {
                try Task.checkCancellation()
                let active = ring.activeVersion
                let rows = try await store.sealedRows(table, notUnder: active, after: last, limit: limit)
                guard let end = rows.last else { break }
                var writes: [StoreWrite] = []
                for row in rows {
                    guard let new = try? ring.reseal(row, of: table) else {
                        state.broken += 1
                        continue
                    }
                    writes.append(.reseal(table, id: row.id, old: row.value, new: new))
                }
                var took = Duration.zero
                if !writes.isEmpty {
                    let change = StoreChange(writes: writes)
                    let result = try await measure(clock, &took) { try await store.commit(change) }
                    guard result == .committed else {
                        // The version was retired meanwhile, which another node has brought about.
                        conflicts += 1
                        guard conflicts < 16 else { throw Self.contended }
                        try await ring.refresh()
                        continue
                    }
                }
                last = end.id
                state.done += writes.count
                state.now = now()
                progress(state)
                if took > Self.slow {
                    limit = max(Self.smallest, limit / 2)
                    try await clock.sleep(for: took)
                } else {
                    limit = min(Self.largest, limit * 2)
                }
            }
        }
        return state
    }

    private static let contended = DiagnosedError(
        .rotationRefused, fault: .store, "others change the root keys at the same time", hint: "tried again by itself")

    private func measure<Value>(
        _ clock: any Clock<Duration>, _ took: inout Duration, _ body: () async throws -> Value
    ) async throws -> Value {
        func measured<C: Clock<Duration>>(_ clock: C) async throws -> (Value, Duration) {
            let start = clock.now
            let value = try await body()
            return (value, start.duration(to: clock.now))
        }
        let (value, duration) = try await measured(clock)
        took = duration
        return value
    }
}

extension SealRing {
    /// The value as it has to stand under the active version; throws when it does not open.
    func reseal(_ row: SealedRow, of table: SealedTable) throws -> [UInt8] {
        guard let offset = table.offset(in: row.value) else { throw RecordSeal.broken(.setting) }
        // Behind a ledger entry's audit record stands its id, which is part of what it is bound to.
        let trailer = table == .ledger ? 36 : 0
        guard row.value.count >= offset + SealedTable.minimum + trailer else { throw RecordSeal.broken(.audit) }
        let head = row.value[..<offset]
        let tail = row.value.suffix(trailer)
        let sealed = Array(row.value[offset...].dropLast(trailer))
        let (kind, id, version): (RecordKind, String, Int64) =
            switch table {
            case .keys: (.key, row.id, row.version)
            case .resources: (.resource, row.id, row.version)
            case .authorizations: (.authorization, row.id, row.version)
            case .erasableKeys: (.erasableKey, row.id, 1)
            case .sessionKEKs: (.sessionKEK, row.id, 1)
            case .settings: (.setting, row.id, offset == 0 ? 1 : head.reduce(0) { $0 << 8 | Int64($1) })
            case .ledger: (.audit, "ledger " + String(decoding: tail, as: UTF8.self), 1)
            }
        let plain = try open(sealed, kind: kind, id: id, version: version)
        return try head + plain.withUnsafeBytes { try seal($0, kind: kind, id: id, version: version) } + tail
    }
}
