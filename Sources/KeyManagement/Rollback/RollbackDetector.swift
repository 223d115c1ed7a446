package import AuditTrail
import Diagnostics
package import KeyStore
package import MasterKey
import Synchronization
package import WireText

/// Notices that somebody put back, changed or deleted rows of the store, and stops the release of keys then (security model,
/// rule 19).
///
/// What it compares, and how soon it shows:
/// 1. the counters and sums in the store with those that this node remembers, in memory and in a file (`look`, a second);
/// 2. the own sum with what this node did, without anything under way (`verify`, a quarter of a minute);
/// 3. all rows with all sums, in one view (`scan`, an hour, and at the start in the background).
///
/// A restore, and an officer's acceptance of a gap, begin a new epoch: from it on other counters count.
package final class RollbackDetector: Sendable {
    /// Runs its argument on a consistent view of the store, on a thread that may block.
    package typealias View =
        @Sendable (@escaping @Sendable (any StoreSnapshot) throws -> RowScan) async throws -> RowScan

    package struct LastScan: Sendable {
        package let scan: RowScan
        package let at: Timestamp
    }

    private struct State {
        var memory: CountersMemory
        var saved: CountersMemory?
        var epoch: StoreEpoch?
        var scan: LastScan?
        /// Something happened after which a scan has to show that all fits.
        var scanIsDue = true
    }

    package let store: SummingStore
    let vault: RecordVault
    let freezes: FreezeBoard
    let view: View
    private let file: CountersFile
    private let state: Mutex<State>
    private let turn = Turn()
    /// Whether this node remembered nothing when it started.
    package let isFirstStart: Bool

    package var rollback: RollbackGuard { freezes.rollback }
    package var memory: CountersMemory { state.withLock { $0.memory } }
    package var epoch: StoreEpoch? { state.withLock { $0.epoch } }
    package var lastScan: LastScan? { state.withLock { $0.scan } }
    package var scanIsDue: Bool { state.withLock { $0.scanIsDue } }

    /// - Parameter memory: what `file` has; nil for none. `store` writes as its writer.
    package init(
        store: SummingStore, vault: RecordVault, freezes: FreezeBoard, file: CountersFile, memory: CountersMemory?,
        view: @escaping View, now: Timestamp
    ) {
        (self.store, self.vault, self.freezes, self.file, self.view) = (store, vault, freezes, file, view)
        isFirstStart = memory == nil
        state = Mutex(State(memory: memory ?? CountersMemory(writer: store.writer, began: now)))
    }

    /// Judges what is there before this node writes anything. Nothing else may commit meanwhile.
    package func start(now: Timestamp) async throws {
        for finding in memory.findings { rollback.report(finding) }
        try await turn.take {
            let rows = try await store.rowSums()
            let own = rows.first { $0.writer == store.writer }
            store.adopt(own)
            if isFirstStart {
                var (epoch, value) = try await StoreEpoch.read(store, vault)
                if epoch == nil, value == nil {
                    // Another node may be quicker; then it is read.
                    _ = try await rebase(StoreEpoch(.begun, time: now), replacing: value)
                    (epoch, value) = try await StoreEpoch.read(store, vault)
                }
                guard let epoch else { throw RecordVault.forged("store epoch") }
                try await adopt(epoch)
            } else {
                let remembered = memory
                if remembered.isClosed, let own, let last = remembered.rows[own.writer], own.counter > last.counter {
                    report(own.writer, "was at \(last.counter) when this node had ended, and is at \(own.counter)")
                }
                try await judge(rows, own: nil, now)
            }
            state.withLock { $0.memory.isClosed = false }
        }
        try save()
    }

    /// The counters, and the epoch; then what is remembered goes to the disk if it is news.
    package func look(now: Timestamp) async throws {
        try await turn.take {
            let before = store.known
            let rows = try await store.rowSums()
            try await judge(rows, own: before, now)
        }
        try save()
    }

    /// The own sum, exactly.
    package func verify() async throws {
        try await turn.take {
            switch try await store.verify() {
            case .holds: break
            case .adopted(let row):
                state.withLock { state in
                    state.memory.rows[row.writer] = row
                    state.scanIsDue = true
                }
            case .differs(let expected, let found): reportOwn(expected, found)
            }
        }
    }

    /// All rows. What does not fit is looked for a second time before it counts: a root key may have come meanwhile.
    @discardableResult
    package func scan(now: Timestamp) async throws -> RowScan {
        let before = state.withLock { state in
            state.scanIsDue = false
            return state.epoch?.id
        }
        var found = try await scanOnce()
        if !fits(found) {
            _ = try? await vault.ring.refresh()
            found = try await scanOnce()
        }
        let scan = found
        await turn.take {
            let isOfNow = state.withLock { state in
                state.scan = LastScan(scan: scan, at: now)
                // What was accepted meanwhile is looked at again.
                if state.epoch?.id != before { state.scanIsDue = true }
                return state.epoch?.id == before
            }
            if isOfNow, !fits(scan) { rollback.report(.init(.rows, Self.text(scan))) }
        }
        return scan
    }

    func scanOnce() async throws -> RowScan {
        try await view { [vault] in try RowScan.run($0, vault) }
    }

    private func fits(_ scan: RowScan) -> Bool { scan.adds && scan.broken == epoch?.broken ?? [] }

    private static func text(_ scan: RowScan) -> String {
        var parts: [String] = []
        if !scan.adds {
            let digest = Hexadecimal.encode(scan.difference.octets.prefix(8))
            parts.append("the rows are not those that were written (\(digest))")
        }
        if scan.brokenCount > 0 { parts.append("\(scan.brokenCount) rows do not open or were changed") }
        return parts.isEmpty ? "rows that did not open before open now" : parts.joined(separator: "; ")
    }

    /// For the audit trail's seals; nil while there is no epoch.
    package var counters: StoreCounters? {
        state.withLock { state in
            state.memory.epoch.map { StoreCounters(epoch: $0, counters: state.memory.rows.mapValues(\.counter)) }
        }
    }

    /// What the newest seal of the audit trail had: it may be there when the file of counters is not.
    package func compare(_ sealed: StoreCounters?) async throws {
        guard let sealed else { return }
        try await turn.take {
            guard sealed.epoch == memory.epoch else { return }
            let rows = try await store.rowSums()
            let present = Dictionary(rows.map { ($0.writer, $0.counter) }, uniquingKeysWith: { first, _ in first })
            for (writer, counter) in sealed.counters.sorted(by: { $0.key < $1.key })
            where present[writer] ?? 0 < counter {
                report(writer, "is at \(present[writer] ?? 0), and was at \(counter) in a seal of the audit trail")
            }
        }
        try save()
    }

    /// The last state, when nothing is committed any more.
    package func close() async {
        await turn.take {
            let own = store.known
            let standing = try? await store.verify()
            state.withLock { state in
                guard case .holds? = standing else { return }
                state.memory.rows[own.writer] = own
                state.memory.isClosed = true
            }
        }
        try? save()
    }

    // MARK: Judging

    private func judge(_ rows: [WriterSum], own before: WriterSum?, _ now: Timestamp) async throws {
        if let trouble = vault.ring.distrusted { rollback.report(.init(.roots, trouble)) }
        let (epoch, value) = try await StoreEpoch.read(store, vault)
        guard let epoch else {
            return rollback.report(.init(.epoch, "the mark of the store's epoch is missing or does not open"))
        }
        let known = memory
        guard epoch.id == known.epoch else { return try await take(epoch) }
        state.withLock { $0.epoch = epoch }
        let present = Dictionary(rows.map { ($0.writer, $0) }, uniquingKeysWith: { first, _ in first })
        for (writer, last) in known.rows.sorted(by: { $0.key < $1.key }) {
            let row = present[writer] ?? WriterSum(writer: writer, counter: 0, sum: RowSum())
            if row.counter < last.counter {
                report(writer, "is at \(row.counter), and was at \(last.counter)")
            } else if row.counter == last.counter, row.sum != last.sum {
                report(writer, "has another sum than it had at \(row.counter)")
            }
        }
        if let before, case .differs(let expected, let found)? = store.verifyIfIdle(rows, readAfter: before) {
            reportOwn(expected, found)
        }
        state.withLock { state in
            for row in rows where row.counter > state.memory.rows[row.writer]?.counter ?? -1 {
                state.memory.rows[row.writer] = row
            }
        }
        if epoch.cause == .restored, !freezes.standing.contains(where: { $0.orderedBy == Freeze.byRestore }) {
            // For nodes that come later: an officer has opened it.
            let opened = StoreEpoch(.opened, id: epoch.id, note: epoch.note, time: now)
            _ = try await store.commit(opened.change(replacing: value, vault))
        }
    }

    /// An epoch that this node does not know as its present one.
    private func take(_ epoch: StoreEpoch) async throws {
        let known = memory
        guard !known.earlier.contains(epoch.id) else {
            return rollback.report(.init(.epoch, "the store is of an epoch that was over: \(epoch.id)"))
        }
        switch epoch.cause {
        case .opened, .accepted: break
        case .begun where known.epoch == nil: break
        case .begun:
            return rollback.report(.init(.epoch, "the counters of the store began anew, in epoch \(epoch.id)"))
        case .restored:
            try await freezes.refresh()
            guard freezes.standing.contains(where: { $0.orderedBy == Freeze.byRestore }) else {
                return rollback.report(.init(.epoch, "a restored store without its freeze, in epoch \(epoch.id)"))
            }
        }
        try await adopt(epoch)
    }

    /// Counters count from here on as they are; what was found before belongs to the epoch before.
    func adopt(_ epoch: StoreEpoch) async throws {
        let own = try await store.adoptRow()
        let rows = try await store.rowSums()
        state.withLock { state in
            if let before = state.memory.epoch, before != epoch.id { state.memory.earlier.append(before) }
            state.memory.epoch = epoch.id
            state.memory.rows = Dictionary(rows.map { ($0.writer, $0) }, uniquingKeysWith: { first, _ in first })
            // As it was while nothing was under way.
            state.memory.rows[own.writer] = own
            state.epoch = epoch
            state.scanIsDue = true
        }
        if let gap = rollback.gap { rollback.accept(gap) }
    }

    private func reportOwn(_ expected: WriterSum, _ found: WriterSum) {
        report(
            found.writer,
            found.counter == expected.counter
                ? "has another sum than this node left"
                : "is at \(found.counter), and this node left \(expected.counter)")
    }

    private func report(_ writer: String, _ what: String) {
        rollback.report(.init(.counters, id: writer, "the counter of \(writer) \(what)"))
    }

    // MARK: Beginning anew

    /// Makes the sums those of the rows as they are, in one transaction with the new epoch. False when somebody else was
    /// quicker.
    func rebase(_ epoch: StoreEpoch, replacing value: [UInt8]?) async throws -> Bool {
        let scan = try await scanOnce()
        var epoch = epoch
        epoch.broken = scan.broken
        let change = try epoch.change(replacing: value, vault)
        return try await store.commit(change, adding: scan.difference) == .committed
    }

    /// Within the one turn of looks and steps.
    func inTurn<R>(_ body: () async throws -> R) async rethrows -> R { try await turn.take(body) }

    private func save() throws {
        let memory = state.withLock { state in
            state.memory.findings = rollback.findings
            return state.saved == state.memory ? nil : state.memory
        }
        guard let memory else { return }
        try file.save(memory)
        state.withLock { $0.saved = memory }
    }
}

/// Lets one caller in after the other.
private final class Turn: Sendable {
    private struct State {
        var isTaken = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }
    private let state = Mutex(State())

    func take<R>(_ body: () async throws -> R) async rethrows -> R {
        await withCheckedContinuation { continuation in
            let isFree = state.withLock { state in
                guard state.isTaken else {
                    state.isTaken = true
                    return true
                }
                state.waiting.append(continuation)
                return false
            }
            if isFree { continuation.resume() }
        }
        defer {
            let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
                guard !state.waiting.isEmpty else {
                    state.isTaken = false
                    return nil
                }
                return state.waiting.removeFirst()
            }
            next?.resume()
        }
        return try await body()
    }
}
