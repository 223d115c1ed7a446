package import Diagnostics
import Synchronization
package import WireText

/// The audit trail of one node: append-only, chained, on the disk before an answer leaves, provable without the KMS.
///
/// `keep` returns when the record is on the disk; many callers share one write and one sync on a thread of the trail.
/// The caller's loop seals: `sealHead` each minute, `sealRoot` each hour (a segment also turns by itself with the first
/// record of a later hour). While the disk takes no writes every `keep` fails with `audit-blocked`, and works again by
/// itself. After an error or a crash the record may or may not stand in the trail; `present` tells. The format and how
/// to verify it stand in `docs/audit.md`. Any thread may call.
/// ```swift
/// let trail = try await AuditTrail.open(configuration)
/// // Everything behind the position of the last head may be missing:
/// let standing = try await trail.present(carried.map(\.id))
/// try await trail.keep(carried.filter { !standing.contains($0.id) })
/// ```
package final class AuditTrail: Sendable {
    package let node: String
    package let trail: String
    private let key: AttestationKey
    private let retentionSeconds: Atomic<Int64>
    private let clock: @Sendable () -> Timestamp
    private let posts: [WitnessPost]
    /// The own key and those before it.
    let ownTrust: AttestationTrust
    private let refusals = Mutex(RefusalLedger())
    private let loop: WriterLoop
    private let thread: BatchThread
    package let reader: TrailReader

    /// Looks at the end of the trail, holds it against the witnesses and writes a `start` record.
    package static func open(_ configuration: AuditTrailConfiguration) async throws -> AuditTrail {
        try await onThread {
            var opening = try TrailOpening(configuration)
            let lock = try TrailLock(folder: configuration.folder)
            return AuditTrail(configuration, WriterLoop(try opening.open(), lock))
        }
    }

    private init(_ configuration: AuditTrailConfiguration, _ loop: WriterLoop) {
        (node, trail) = (loop.state.node, loop.state.trail)
        key = configuration.key
        retentionSeconds = Atomic(configuration.retention)
        clock = configuration.clock
        posts = configuration.witnesses.map { WitnessPost($0) }
        ownTrust = configuration.trust
        self.loop = loop
        thread = BatchThread { loop.work($0) }
        reader = TrailReader(folder: configuration.folder)
    }

    /// How long records stay, in seconds; another value counts from the next head on.
    package var retention: Int64 {
        get { retentionSeconds.load(ordering: .relaxed) }
        set { retentionSeconds.store(newValue, ordering: .relaxed) }
    }

    package var state: AuditTrailState {
        var state = loop.state
        state.refusalsWaiting = refusals.withLock { $0.waiting }
        state.witnesses = posts.map(\.current)
        return state
    }

    // MARK: Keeping

    /// Returns when the record is on the disk; throws `audit-blocked` when it can not be brought there now.
    package func keep(_ record: AuditRecord) async throws { try await keep([record]) }

    /// All of them or none.
    package func keep(_ records: [AuditRecord]) async throws {
        guard let last = records.map(\.time).max() else { return }
        let bodies = try records.map { try keepable($0) }
        try await perform(at: last) { writer in
            guard writer.admits(bodies) else { throw writer.full }
            for body in bodies { writer.append(body) }
        }
    }

    /// For callers that do not wait: `completion` is called exactly once, when the record is on the disk or can not be
    /// brought there; on the trail's thread, which does nothing else meanwhile. Records stand in the order of calls.
    package func keep(_ record: AuditRecord, then completion: @escaping @Sendable (DiagnosedError?) -> Void) {
        let body: RecordBody
        do throws(DiagnosedError) {
            body = try keepable(record)
        } catch {
            return completion(error)
        }
        let job = WriterLoop.Job(time: body.time) { writer in
            guard writer.admits([body]) else {
                let full = writer.full
                return { _ in completion(full) }
            }
            writer.append(body)
            return completion
        }
        if !thread.submit(job) { completion(Self.closed) }
    }

    private func keepable(_ record: AuditRecord) throws(DiagnosedError) -> RecordBody {
        guard record.kind.isKept else {
            throw DiagnosedError(
                .auditRecordInvalid, fault: .internal, "records of this kind are the trail's own",
                found: record.kind.rawValue)
        }
        return try RecordBody(record, node: node)
    }

    private static let closed = DiagnosedError(.auditClosed, fault: .internal, "the audit trail is closed")

    /// Notes a refusal without waiting: the first ones of a source are kept as they are, the others counted.
    ///
    /// - Parameter source: a pseudonym of who or where it came from.
    package func noteRefusal(_ record: AuditRecord, source: String) {
        let counter = RefusalLedger.Counter(
            source: Self.clipped(source), rule: Self.clipped(record.rule ?? "-"), status: record.status ?? 0)
        guard refusals.withLock({ $0.note(counter, at: record.time) }) else { return }
        let counted = RefusalLedger.Aggregate(counter: counter, count: 1, since: record.time, until: record.time)
        guard record.kind == .decision, let body = try? RecordBody(record, node: node, share: .refusal) else {
            return refusals.withLock { $0.add(counted) }
        }
        let job = WriterLoop.Job(time: record.time) { [self] writer in
            guard writer.admits([body]) else {
                return { [self] _ in refusals.withLock { $0.add(counted) } }
            }
            writer.append(body)
            return { [self] failure in
                if failure != nil { refusals.withLock { $0.add(counted) } }
            }
        }
        if !thread.submit(job) { refusals.withLock { $0.add(counted) } }
    }

    /// What is counted has to fit into a record later on.
    private static func clipped(_ text: String) -> String {
        text.utf8.count <= 128 ? text : String(decoding: text.utf8.prefix(128), as: UTF8.self)
    }

    // MARK: Sealing

    /// Signs where the chain is and hands it to the witnesses; writes the counted refusals before, and deletes segments
    /// that may go. Where nothing is new, only witnesses that lack the newest head get it again.
    ///
    /// - Parameters:
    ///   - position: up to here in the caller's ledger, everything stands in the trail.
    ///   - store: how far the caller's store has counted; nil: as far as in the head before.
    package func sealHead(now: Timestamp, position: Int64? = nil, store: StoreCounters? = nil) async throws {
        try await writeRefusals(now)
        let retention = retention
        let head = try await perform(at: now) { writer in
            writer.prune(now: now, retention: retention)
            return try writer.appendHead(at: now, position: position, store: store)
        }
        for post in posts { if let head { post.post(head) } else { post.retry() } }
    }

    /// Closes the segment with a signed root if its hour is over.
    package func sealRoot(now: Timestamp) async throws {
        // The turn itself is the work: see `WriterLoop`.
        try await perform(at: now, isTick: true) { _ in }
    }

    /// Records that records of another node are lost for good.
    package func keepGap(node lost: String, trail: String?, lastSeq: Int64, reason: String) async throws {
        let now = clock()
        let gap = GapStatement(node: lost, trail: trail, lastSeq: lastSeq, reason: reason, time: now)
        let body = try RecordBody(try AuditRecord(gap: gap, key: key, at: now), node: node)
        try await perform(at: now) { $0.append(body) }
    }

    private func writeRefusals(_ now: Timestamp) async throws {
        let counted = refusals.withLock { $0.take() }
        guard !counted.isEmpty else { return }
        do {
            let bodies = try counted.map { try RecordBody($0.record(at: now), node: node, share: .refusal) }
            let left = try await perform(at: now) { writer in
                bodies.indices.filter { index in
                    guard writer.admits([bodies[index]]) else { return true }
                    writer.append(bodies[index])
                    return false
                }
            }
            refusals.withLock { ledger in left.forEach { ledger.add(counted[$0]) } }
        } catch {
            refusals.withLock { ledger in counted.forEach { ledger.add($0) } }
            throw error
        }
    }

    /// Returns when no head is on its way to a witness.
    package func witnessesSettled() async {
        for post in posts { await post.settle() }
    }

    /// Fingerprint of the key that signs this trail.
    package var fingerprint: String { key.fingerprint }

    /// The certificate of an erasure, signed and with the key's public half, for who verifies it anywhere.
    package func certify(_ certificate: ErasureCertificate) throws -> String {
        try certificate.file(signedBy: key)
    }

    package func certify(_ certificate: RotationCertificate) throws -> String {
        try certificate.file(signedBy: key)
    }

    // MARK: Reading

    /// The records that match; reads files on a thread of its own.
    package func records(_ query: AuditQuery) async throws -> [StoredRecord] {
        let reader = reader
        return try await onThread { try reader.records(query) }
    }

    /// Which of these records stand in the trail: what a caller asks after a crash before it completes the trail.
    package func present(_ ids: [AuditID]) async throws -> Set<AuditID> {
        let reader = reader
        return try await onThread { try reader.present(ids) }
    }

    package func contains(_ id: AuditID) async throws -> Bool { try await !present([id]).isEmpty }

    /// The ids of all records behind one.
    package func ids(since seq: Int64) async throws -> [AuditID] {
        let reader = reader
        return try await onThread { try reader.ids(since: seq) }
    }

    // MARK: The end

    /// Writes what is counted, a `stop` record and a last head; then nothing is taken any more.
    package func close() async throws {
        let outcome: Result<Void, any Error>
        do {
            let now = clock()
            try await writeRefusals(now)
            try await perform(at: now) { writer in try writer.append(AuditRecord(.stop, at: now)) }
            outcome = .success(try await sealHead(now: now))
        } catch {
            outcome = .failure(error)
        }
        await abandon()
        try outcome.get()
    }

    /// Ends without a stop record, as a crash would; what was accepted is still written.
    func abandon() async {
        await thread.finish()
        loop.unlock()
    }

    /// Runs the body in a batch; returns when the batch is on the disk.
    private func perform<R: Sendable>(
        at time: Timestamp, isTick: Bool = false, _ body: @escaping @Sendable (inout TrailWriter) throws -> R
    ) async throws -> R {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<R, any Error>) in
            let job = WriterLoop.Job(time: time, isTick: isTick) { writer in
                do {
                    let result = try body(&writer)
                    return { failure in
                        if let failure {
                            continuation.resume(throwing: failure)
                        } else {
                            continuation.resume(returning: result)
                        }
                    }
                } catch {
                    return { _ in continuation.resume(throwing: error) }
                }
            }
            if !thread.submit(job) { continuation.resume(throwing: Self.closed) }
        }
    }
}
