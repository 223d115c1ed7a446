import AuditTrail
import Cryptography
import Diagnostics
import KeyManagement
import KeyStore
import MasterKey
import Recovery
import ServiceLifecycle
import ServiceRuntime
import Synchronization
import WireText

/// A node's part in a rotation of the root key: takes over what other nodes changed, proves new versions, and on one
/// node of the cluster seals everything again, retires, certifies and destroys what is due.
///
/// Who does the work is the node whose name comes first among those of the lease: two would only do it twice.
final class RootKeyKeeper: Service, Sendable {
    /// What others changed is known after at most so long.
    static let refreshMilliseconds = 500
    private static let beatSeconds: Int64 = 4
    /// Nodes have taken a promotion over after that time; then nobody seals under the old version any more.
    private static let settling: Int64 = 2
    /// How often it is counted what stands under which version; each minute while something stands under none.
    private static let secondsBetweenCounts: Int64 = 3600

    struct Work: Sendable {
        /// The one that the other members are about.
        var promotion: RotationJournal.Promotion?
        var progress: Resealer.Progress?
        var failure: DiagnosedError?
        /// Why a destruction that is due is not done.
        var heldUp: DiagnosedError?
        /// How far spaces of before have erasable keys; nil when that is done, or not begun.
        var carryOver: Resealer.Progress?
        /// When a value was last sealed again, or the rotation began.
        var moved: Timestamp?
        /// How many values stand under versions that nothing opens, when that was last counted.
        var orphans: [Int64: Int] = [:]
        var counted: Timestamp?
    }

    let rotation: RootKeyRotation
    private let resealer: Resealer
    private let carryOver: ErasableCarryOver
    private let isCarried = Atomic<Bool>(false)
    private let host: String
    let node: String
    private let audit: DecisionAudit
    private let alarms: AlarmBoard
    private let log: KMSRequestLog
    private let section: RootKeySection
    /// Why a version may not be destroyed now.
    private let review: @Sendable (_ version: Int64, RootKeyRotation) async throws -> DiagnosedError?
    /// A node that has the backups destroys what is due; for so long it has time before another one says that none does.
    private static let reviewing: Int64 = 10
    /// Nodes that were removed: they do no work, whatever they say.
    private let removed: @Sendable () -> Set<String>
    private let adopt: @Sendable (RootKeyRotation) async throws -> Void
    private let state = Mutex(Work())

    init(
        store: any KeyStore, ring: SealRing, host: String, node: String, audit: DecisionAudit, alarms: AlarmBoard,
        log: KMSRequestLog, section: RootKeySection = RootKeySection(),
        pulse: ServingPulse? = nil,
        removed: @escaping @Sendable () -> Set<String> = { [] },
        adopt: @escaping @Sendable (RootKeyRotation) async throws -> Void = { _ in },
        review: @escaping @Sendable (_ version: Int64, RootKeyRotation) async throws -> DiagnosedError?
    ) {
        self.section = section
        (self.removed, self.adopt, self.review) = (removed, adopt, review)
        rotation = RootKeyRotation(store: store, ring: ring)
        resealer = Resealer(store: store, ring: ring, pulse: pulse)
        carryOver = ErasableCarryOver(store: store, ring: ring, pulse: pulse)
        (self.host, self.node, self.audit, self.alarms, self.log) = (host, node, audit, alarms, log)
    }

    var work: Work { state.withLock { $0 } }

    func run() async throws {
        await cancelWhenGracefulShutdown { [self] in
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await self.listen() }
                group.addTask { await self.labour() }
            }
        }
    }

    private func listen() async {
        var beaten = Timestamp(seconds: 0)
        var wasKnown = true
        while !Task.isCancelled {
            do {
                let now = Timestamp.now()
                let isChanged = try await rotation.ring.refresh()
                if !removed().contains(node) { try await adopt(rotation) }
                if !removed().contains(node), isChanged || beaten.adding(seconds: Self.beatSeconds) <= now {
                    beaten = now
                    try await rotation.beat(node: node, now: now)
                }
                wasKnown = true
            } catch {
                if wasKnown { log.failure(error, while: "taking over the root keys") }
                wasKnown = false
            }
            do { try await Task.sleep(for: .milliseconds(Self.refreshMilliseconds)) } catch { return }
        }
    }

    private func labour() async {
        var told: DiagnosedError.Code?
        while !Task.isCancelled {
            do {
                try await step(now: .now())
            } catch is CancellationError {
                return
            } catch {
                if told != (error as? DiagnosedError)?.code {
                    log.failure(error, while: "sealing again under the new root key")
                }
                told = (error as? DiagnosedError)?.code
            }
            do { try await Task.sleep(for: .seconds(1)) } catch { return }
        }
    }

    /// What is to be done now, if this node is to do it; then the alarms.
    func step(now: Timestamp) async throws {
        let journal = try await rotation.journal()
        let gone = removed()
        let isOurs = journal.live(at: now).keys.filter { !gone.contains($0) }.min() == node
        var failure: (any Error)?
        // Any node: backups lie where their folder is.
        let heldUp = try await destroyDue(journal, now)
        if isOurs {
            do { try await work(journal, now) } catch { failure = error }
            state.withLock { $0.heldUp = heldUp }
        } else {
            state.withLock { $0 = Work() }
        }
        let known = failure.map {
            ($0 as? DiagnosedError) ?? DiagnosedError(.storeFailed, fault: .store, "the store failed")
        }
        let work = state.withLock { state in
            state.failure = known
            return state
        }
        RootKeyAlarms(
            journal: try await rotation.journal(), records: rotation.ring.records, kek: rotation.ring.fingerprint,
            work: isOurs ? work : nil, rotationDueDays: section.rotationDueDays, now: now
        ).tell(alarms)
        if let failure { throw failure }
    }

    private func work(_ journal: RotationJournal, _ now: Timestamp) async throws {
        if let promotion = journal.promotion {
            if promotion.retired != nil {
                state.withLock { $0 = Work(orphans: $0.orphans, counted: $0.counted) }
                try await certify(promotion, now)
            } else if promotion.at.adding(seconds: Self.settling) <= now {
                try await replace(promotion, now)
            }
        }
        try await count(now)
        try await giveErasableKeys()
    }

    /// Destroys what is due, if what allowed it when it was ordered is still so: the backup that was proved then may be gone
    /// or of no use by now. Answers why it waits.
    private func destroyDue(_ journal: RotationJournal, _ now: Timestamp) async throws -> DiagnosedError? {
        guard let destruction = journal.destruction, destruction.due <= now else { return nil }
        let refusal: DiagnosedError?
        do { refusal = try await review(destruction.version, rotation) } catch {
            refusal =
                (error as? DiagnosedError)
                ?? DiagnosedError(
                    .backupFile, fault: .store, "the backups can not be looked at")
        }
        guard let refusal else {
            if let gone = try await rotation.destroyDue(now: now) {
                try await keep("master-key-destroyed", "version \(gone)")
            }
            return nil
        }
        return destruction.due.adding(seconds: Self.reviewing) <= now ? refusal : nil
    }

    /// Once for each store that is older than erasable keys.
    private func giveErasableKeys() async throws {
        guard !isCarried.load(ordering: .relaxed) else { return }
        let count = try await carryOver.run(progress: { progress in state.withLock { $0.carryOver = progress } })
        state.withLock { $0.carryOver = nil }
        if count > 0 { try await keep("erasable-keys-given", "\(count) keys sealed again") }
        if try await carryOver.isDone() { isCarried.store(true, ordering: .relaxed) }
    }

    private func replace(_ promotion: RotationJournal.Promotion, _ now: Timestamp) async throws {
        state.withLock { state in
            guard state.promotion != promotion else { return }
            state = Work(promotion: promotion, moved: now, orphans: state.orphans, counted: state.counted)
        }
        let end = try await resealer.run(
            now: { max(now, .now()) },
            progress: { progress in
                state.withLock { state in
                    if progress.done > state.progress?.done ?? 0 { state.moved = progress.now }
                    state.progress = progress
                }
                alarms.raise(.rotationRunning, RootKeyAlarms.running(progress))
            })
        guard end.broken == 0, let old = try await rotation.retire(now: .now()) else { return }
        try await keep("master-key-retired", "version \(old)")
    }

    /// Looks whether values stand under a version that is not there: its row was deleted, or theirs was put back.
    private func count(_ now: Timestamp) async throws {
        let isDue = state.withLock { state in
            let pause = state.orphans.isEmpty ? Self.secondsBetweenCounts : 60
            return state.counted.map { $0.adding(seconds: pause) <= now } ?? true
        }
        guard isDue else { return }
        var counts: [Int64: Int] = [:]
        for table in SealedTable.allCases {
            for (version, count) in try await rotation.store.sealedCounts(table) {
                counts[version, default: 0] += count
            }
        }
        // Looked up after counting: what came meanwhile stands under a version that the ring has by now.
        try await rotation.ring.refresh()
        let known = Set(rotation.ring.versions)
        state.withLock { state in
            state.orphans = counts.filter { !known.contains($0.key) }
            state.counted = now
        }
    }

    // MARK: The certificate

    static func certificateSetting(_ promotion: RotationJournal.Promotion) -> String {
        "rotation-certificate \(promotion.from)-\(promotion.to)"
    }

    /// Made once for each rotation; a crash before it stood in the store only means that it is made at the next look.
    private func certify(_ promotion: RotationJournal.Promotion, _ now: Timestamp) async throws {
        let store = rotation.store
        let name = Self.certificateSetting(promotion)
        guard let retired = promotion.retired, try await store.setting(name) == nil else { return }
        guard let old = try? rotation.ring.rootFingerprint(promotion.from) else { return }
        var tree = MerkleTree()
        var counts: [RotationCertificate.Count] = []
        for table in SealedTable.allCases {
            var (last, count): (String?, Int64) = (nil, 0)
            while true {
                try Task.checkCancellation()
                let rows = try await store.sealedRows(table, notUnder: 0, after: last, limit: 1000)
                guard let end = rows.last else { break }
                for row in rows {
                    tree.append(RotationCertificate.leaf(table: table.rawValue, id: row.id, value: row.value))
                }
                (last, count) = (end.id, count + Int64(rows.count))
            }
            counts.append(.init(table: table.rawValue, values: count))
        }
        let certificate = RotationCertificate(
            host: host, node: node, from: .init(number: promotion.from, fingerprint: old),
            to: .init(
                number: promotion.to, fingerprint: try rotation.ring.rootFingerprint(promotion.to)),
            promoted: promotion.at, retired: retired, issued: .now(), counts: counts, merkleRoot: tree.root)
        let file = try audit.trail.certify(certificate)
        let change = StoreChange(
            writes: [.putSetting(name: name, value: Array(file.utf8))],
            expectations: [.setting(name: name, value: nil)])
        guard try await store.commit(change) == .committed else { return }
        try await keep("master-key-certified", "versions \(promotion.from) to \(promotion.to)")
    }

    /// The certificate of the last rotation; nil while there is none.
    func certificate() async throws -> String? {
        guard let promotion = try await rotation.journal().promotion, promotion.retired != nil else { return nil }
        return try await rotation.store.setting(Self.certificateSetting(promotion)).map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    private func keep(_ command: String, _ result: String) async throws {
        var act = OfficeAct(.policy, by: "node:\(node)", command: command, rule: "master-key:\(command)")
        act.result = result
        try await audit.keep(act, now: .now())
    }
}
