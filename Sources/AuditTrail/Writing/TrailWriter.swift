import Cryptography
import Diagnostics
import WireText

/// Writes batches to the end of a trail: all of a batch is on the disk, or nothing of it stays.
///
/// Used by one thread at a time. After an error the file is cut back to what was acknowledged; as long as that fails
/// every batch fails. A batch goes `beginBatch`, `append`…, `commit`.
struct TrailWriter: Sendable {
    let node: String
    let trail: String
    let key: AttestationKey
    let folder: TrailFolder
    let quota: SpoolQuota
    private let files: any TrailFileSystem
    private(set) var tip: TrailTip
    private(set) var spool: TrailSpool
    private var file: any AppendFile
    private var lines = LineWriter()
    private var output: [UInt8] = []

    // Of the batch.
    private var saved: TrailTip
    private var turned: (file: any AppendFile, root: String)?
    private var failure: DiagnosedError?
    private(set) var hasPending = false

    // Left over from a failed batch.
    private var needsCut = false
    private var leftover: String?
    /// The reason why the last batch failed.
    private(set) var blocked: DiagnosedError?

    init(
        _ configuration: AuditTrailConfiguration, trail: String, tip: TrailTip, spool: TrailSpool,
        file: any AppendFile
    ) {
        node = configuration.node
        self.trail = trail
        key = configuration.key
        folder = TrailFolder(path: configuration.folder)
        quota = configuration.quota
        files = configuration.fileSystem
        self.tip = tip
        saved = tip
        self.spool = spool
        self.file = file
    }

    var usedOctets: Int { spool.octets + tip.octets }

    mutating func beginBatch() {
        output.removeAll(keepingCapacity: output.capacity < 1 << 20)
        saved = tip
        failure = nil
        hasPending = false
        do throws(DiagnosedError) {
            if let leftover { try files.remove(leftover) }
            leftover = nil
            if needsCut { try file.truncate(to: tip.octets) }
            needsCut = false
        } catch {
            failure = error
        }
    }

    /// Whether the quota has room for these records after what the batch already holds.
    func admits(_ bodies: [RecordBody]) -> Bool {
        var used = usedOctets
        var refusals = tip.refusalOctets
        for body in bodies {
            let octets = body.text.count + 128
            guard quota.admits(body.share, octets: octets, used: used, refusals: refusals) else { return false }
            used += octets
            if body.share == .refusal { refusals += octets }
        }
        return true
    }

    mutating func append(_ body: RecordBody) {
        let start = output.count
        let (leaf, chain) = lines.append(body.text, seq: tip.seq + 1, previous: tip.chain, to: &output)
        tip.advance(body, leaf: leaf, chain: chain, octets: output.count - start)
        hasPending = true
    }

    mutating func append(_ record: AuditRecord) throws(DiagnosedError) {
        append(try RecordBody(record, node: node))
    }

    /// Whether a record of that time begins a segment. A tick of the clock also does when the clock was set back by
    /// hours, else a segment begun in a wrong future would last until then; a late record does not.
    func turns(at time: Timestamp, isTick: Bool = false) -> Bool {
        let hour = TrailTip.hour(of: time)
        return tip.seq > 0 && (hour > tip.hour || (isTick && hour < tip.hour - 1))
    }

    /// Signs the root of the present segment and begins the next with it; only at the start of a batch.
    mutating func turn(at time: Timestamp) {
        guard failure == nil else { return }
        do {
            let statement = RootStatement(
                node: node, trail: trail, first: tip.segment.first, last: tip.seq, count: tip.tree.count,
                root: tip.tree.root, chain: tip.chain, previous: tip.previousRoot, time: time)
            let jws = try key.sign(statement.json(), as: .root)
            var record = AuditRecord(.root, at: time)
            record.own.jws = jws
            let body = try RecordBody(record, node: node)
            let next = SegmentName(node: node, first: tip.seq + 1)
            leftover = folder.path(of: next)
            let file = try files.openSegment(folder.path(of: next))
            try file.truncate(to: 0)
            tip.turn(digest: SHA256.hash(Array(jws.utf8)), at: time)
            turned = (file, jws)
            append(body)
        } catch {
            fail(error)
        }
    }

    /// Makes the batch fail as a whole.
    mutating func fail(_ error: any Error) {
        failure =
            error as? DiagnosedError
            ?? DiagnosedError(.auditBlocked, fault: .internal, "the audit trail failed", found: "\(type(of: error))")
    }

    /// Everything on the disk, or everything undone; answers why.
    mutating func commit() -> DiagnosedError? {
        do throws(DiagnosedError) {
            if let failure { throw failure }
            if hasPending { try write() }
            blocked = nil
            return nil
        } catch {
            undo()
            let reason = error.code == .auditBlocked ? error : Self.blocked(by: error)
            blocked = reason
            return reason
        }
    }

    private mutating func write() throws(DiagnosedError) {
        needsCut = turned == nil
        let target = turned?.file ?? file
        try target.append(output)
        try target.synchronize()
        if let turned {
            try files.synchronizeFolder(folder.path)
            spool.closed(saved.segment, octets: saved.octets, at: tip.hour)
            file = turned.file
            spool.pendingRoots.append(.root(turned.root))
            leftover = nil
        }
        turned = nil
        needsCut = false
        spool.flushRoots(in: folder, files)
    }

    private mutating func undo() {
        tip = saved
        turned = nil
        if let path = leftover, (try? files.remove(path)) != nil { leftover = nil }
        if needsCut, (try? file.truncate(to: tip.octets)) != nil { needsCut = false }
    }

    private static func blocked(by error: DiagnosedError) -> DiagnosedError {
        .blocked(
            "the audit trail can not be written: \(error.summary)", expected: error.expected, found: error.found,
            fix: error.hint ?? "look after the disk of the audit folder; requests are answered again by themselves")
    }

    /// Deletes what may go; see `TrailSpool.prune`.
    mutating func prune(now: Timestamp, retention: Int64) {
        spool.prune(
            in: folder, files, trail: trail, current: tip, limit: quota.limit,
            oldestHour: TrailTip.hour(of: now.adding(seconds: -retention)))
    }

    mutating func addSuccession(_ jws: String) { spool.pendingRoots.append(.succession(jws)) }

    mutating func setPosition(_ position: Int64?) { tip.position = position ?? tip.position }
    mutating func setStore(_ store: StoreCounters?) { tip.store = store }
}
