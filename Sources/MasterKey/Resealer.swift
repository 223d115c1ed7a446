import Diagnostics
package import KeyStore
import SecretMemory
package import WireText

/// Seals everything again that stands under another root key version than the active one, in small batches, while the
/// store works for others.
///
/// There is no progress to lose: what is left is what the store finds. A value that moved on meanwhile is left alone.
/// While one batch is committed the next is read and sealed, by threads of the lowest priority. How much at a time, and
/// how long the pause behind it is, `ResealPace` says.
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

    /// Values as they are to be written.
    private struct Batch: Sendable {
        /// Id of the last one that was looked at.
        let end: String
        var writes: [StoreWrite] = []
        var broken = 0
    }

    private let store: any KeyStore
    private let ring: SealRing
    private let pulse: ServingPulse?

    /// - Parameter pulse: how long requests take meanwhile; nil: there are none.
    package init(store: any KeyStore, ring: SealRing, pulse: ServingPulse? = nil) {
        self.store = store
        self.ring = ring
        self.pulse = pulse
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
        let threads = BackgroundThreads(count: Self.sealers)
        pulse?.listen()
        defer {
            threads.shutDown()
            pulse?.leave()
        }
        try await ring.refresh()
        let started = now()
        var state = Progress(total: try await left(), started: started, now: started)
        progress(state)
        guard state.total > 0 else { return state }
        var pace = ResealPace()
        var conflicts = 0
        for table in SealedTable.allCases {
            var last: String?
            var batch = try await prepare(table, after: last, limit: pace.limit, on: threads)
            while let present = batch {
                try Task.checkCancellation()
                let size = pace.limit
                async let next = prepare(table, after: present.end, limit: size, on: threads)
                var took = Duration.zero
                var isCommitted = true
                if !present.writes.isEmpty {
                    let change = StoreChange(writes: present.writes)
                    isCommitted = try await measure(clock, &took) { try await store.commit(change) } == .committed
                }
                batch = try await next
                guard isCommitted else {
                    // The version was retired meanwhile, which another node has brought about.
                    conflicts += 1
                    guard conflicts < 16 else { throw Self.contended }
                    try await ring.refresh()
                    batch = try await prepare(table, after: last, limit: pace.limit, on: threads)
                    continue
                }
                last = present.end
                state.done += present.writes.count
                state.broken += present.broken
                state.now = now()
                progress(state)
                try await pace.keep(after: took, pulse, clock)
            }
        }
        return state
    }

    /// How many threads seal: on a node with more cores the writer is the limit.
    private static let sealers = 2

    /// Reads and seals the next values behind `last`; nil: there are none.
    private func prepare(
        _ table: SealedTable, after last: String?, limit: Int, on threads: BackgroundThreads
    ) async throws -> Batch? {
        try await withTaskExecutorPreference(threads) {
            let rows = try await store.neighbouringSealedRows(
                table, notUnder: ring.activeVersion, after: last, limit: limit)
            guard let end = rows.last else { return nil }
            var batch = Batch(end: end.id)
            let half = rows.count / Self.sealers
            async let first = seal(rows[..<half], of: table)
            for part in [seal(rows[half...], of: table), await first] {
                batch.writes += part.writes
                batch.broken += part.broken
            }
            return batch
        }
    }

    private func seal(_ rows: ArraySlice<SealedRow>, of table: SealedTable) -> (writes: [StoreWrite], broken: Int) {
        var writes: [StoreWrite] = []
        writes.reserveCapacity(rows.count)
        for row in rows {
            guard let new = try? ring.reseal(row, of: table) else { continue }
            writes.append(.reseal(table, id: row.id, old: row.value, new: new))
        }
        return (writes, rows.count - writes.count)
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
