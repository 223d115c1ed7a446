import Diagnostics
import Synchronization
import WireText

/// What the trail's thread does with a batch: run the jobs, commit, tell everybody.
final class WriterLoop: Sendable {
    typealias Completion = @Sendable (DiagnosedError?) -> Void

    /// Something to write; the completion gets the outcome of the batch that it was in.
    struct Job: Sendable {
        /// Of its latest record: decides whether a segment begins before it.
        let time: Timestamp?
        /// The time is the clock's, now.
        var isTick = false
        let run: @Sendable (inout TrailWriter) -> Completion
    }

    private let writer: Mutex<TrailWriter>
    private let snapshot: Mutex<AuditTrailState>
    /// As long as anything may still be written.
    private let lock: TrailLock

    init(_ writer: TrailWriter, _ lock: TrailLock) {
        self.writer = Mutex(writer)
        snapshot = Mutex(AuditTrailState(writer))
        self.lock = lock
    }

    /// Another process may write now; only when the thread has ended.
    func unlock() { lock.release() }

    var state: AuditTrailState { snapshot.withLock { $0 } }

    func work(_ jobs: [Job]) {
        let outcomes = writer.withLock { writer in
            var outcomes: [(Completion, DiagnosedError?)] = []
            var pending: [Completion] = []
            outcomes.reserveCapacity(jobs.count)
            func commit() {
                let failure = writer.commit()
                outcomes += pending.map { ($0, failure) }
                pending.removeAll(keepingCapacity: true)
            }
            writer.beginBatch()
            for job in jobs {
                if let time = job.time, writer.turns(at: time, isTick: job.isTick) {
                    if !pending.isEmpty {
                        commit()
                        writer.beginBatch()
                    }
                    writer.turn(at: time)
                }
                pending.append(job.run(&writer))
            }
            commit()
            let state = AuditTrailState(writer)
            snapshot.withLock { $0 = state }
            return outcomes
        }
        // The newest first: where answers wait for one another, all of them may go with the last one that is told.
        for (completion, failure) in outcomes.reversed() { completion(failure) }
    }
}

extension AuditTrailState {
    init(_ writer: TrailWriter) {
        node = writer.node
        trail = writer.trail
        usedOctets = writer.usedOctets
        limitOctets = writer.quota.limit
        segments = writer.spool.segments.count + 1
        blocked = writer.blocked ?? writer.fullReason
        lastSeq = writer.tip.seq
        sealedThrough = writer.tip.sealedThrough
        unsealedSince = writer.tip.unsealedSince
        position = writer.tip.position
        store = writer.tip.store
        exportedThrough = writer.spool.exportedThrough
        refusalsWaiting = 0
        witnesses = []
    }
}
