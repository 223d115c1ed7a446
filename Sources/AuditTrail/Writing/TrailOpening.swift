import Cryptography
import Diagnostics
import Glibc
import JOSESignature
import WireText

/// Opens a folder for writing: makes a trail or takes up the one that is there, after looking at its end.
///
/// Blocks; runs on a thread of its own.
struct TrailOpening {
    let configuration: AuditTrailConfiguration
    let folder: TrailFolder
    private var trust: AttestationTrust
    private let now: Timestamp

    init(_ configuration: AuditTrailConfiguration) throws(DiagnosedError) {
        guard SegmentName.isNode(configuration.node) else {
            throw DiagnosedError(
                .auditFolder, fault: .configuration, "the node's name can not name the files of an audit trail",
                expected: "1 to 63 letters, digits, hyphens and underscores", found: configuration.node.quotedForError)
        }
        self.configuration = configuration
        folder = TrailFolder(path: configuration.folder)
        now = configuration.clock()
        trust = configuration.trust
        guard mkdir(folder.path, 0o700) == 0 || errno == EEXIST else {
            throw .auditFile("the folder can not be made", folder.path, errno: errno, fault: .configuration)
        }
        var status = stat()
        guard stat(folder.path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR, status.st_mode & 0o022 == 0 else {
            throw DiagnosedError(
                .auditFolder, fault: .configuration, "\(folder.path) is no folder, or others may write to it",
                expected: "a folder of mode 0700", found: "mode 0" + String(status.st_mode & 0o7777, radix: 8),
                hint: "chmod 700, and ask who may have changed the trail")
        }
    }

    /// The lock is taken by the caller before and held as long as the writer lives.
    mutating func open() throws -> TrailWriter {
        let torn = try removeUnbornSegments()
        try RootsRepair(folder: folder).cutTornLine()
        guard let last = try folder.segments().last else { return try create() }
        guard last.node == configuration.node else {
            throw DiagnosedError(
                .auditTrailForeign, fault: .configuration, "\(folder.path) holds the trail of another node",
                expected: configuration.node, found: last.node, hint: "name a folder of its own for each node")
        }
        try RootsRepair(folder: folder).addMissingRoot(of: last)
        return try resume(last, torn: torn)
    }

    // MARK: A trail that is there

    private mutating func resume(_ last: SegmentName, torn: Int) throws -> TrailWriter {
        let roots = try RootChain(RootsFile(path: folder.rootsPath), node: last.node, trust: trust)
        trust = roots.trust
        var walker = try TrailVerifier.walker(from: last, roots, isStrict: false)
        let heads = try newestWitnessed()
        let tail = try TailWalk(folder: folder, segment: last)
        let octets = try tail.walk(&walker) { seq, chain in
            for head in heads where head.seq == seq && head.chain != chain { throw rolledBack(head, seq) }
        }
        trust = walker.trust
        for head in heads { try compare(head, walker, last) }
        let cut = SmallFile.size(folder.path(of: last)) - octets
        let file = try configuration.fileSystem.openSegment(folder.path(of: last))
        if cut > 0 { try file.truncate(to: octets) }

        var spool = TrailSpool()
        let segments = try folder.segments()
        for (index, segment) in segments.dropLast().enumerated() {
            let next = try folder.firstHeader(of: segments[index + 1])?.time
            spool.closed(segment, octets: folder.size(of: segment), at: next.map(TrailTip.hour) ?? 0)
        }
        // The crash was between the key record and the file of roots.
        for jws in walker.successions where !roots.successions.contains(jws) {
            spool.pendingRoots.append(.succession(jws))
        }
        let tip = TrailTip(
            walker, octets: octets, position: try walker.position ?? earlierPosition(segments.dropLast()),
            store: try walker.head.map(\.store) ?? earlierHead(segments.dropLast())?.store)
        var writer = TrailWriter(configuration, trail: walker.trail ?? "", tip: tip, spool: spool, file: file)
        try begin(&writer, from: walker.key ?? "", cut: cut + torn)
        return writer
    }

    /// Key records where the key has changed, the cut, the start.
    private func begin(_ writer: inout TrailWriter, from key: String, cut: Int) throws {
        writer.beginBatch()
        var current = key
        for jws in configuration.successions where AttestationTrust.claimedKey(jws) == current {
            var trust = trust
            (_, current) = try trust.accept(succession: jws)
            var record = AuditRecord(.key, at: now)
            record.own.jws = jws
            record.own.key = current
            try writer.append(record)
            writer.addSuccession(jws)
        }
        guard current == configuration.key.fingerprint else {
            throw DiagnosedError(
                .attestationKeyUnknown, fault: .configuration,
                "the audit trail \(folder.path) was signed with another attestation key", expected: current,
                found: configuration.key.fingerprint,
                hint: "use that key, or hand over with hdsctl attestation-key succeed and configure what it prints")
        }
        if cut > 0 {
            var record = AuditRecord(.cut, at: now)
            record.own.count = Int64(cut)
            record.own.detail = "a torn end was cut off at the start"
            try writer.append(record)
        }
        if writer.turns(at: now) {
            // The old segment ends with what belongs to it; the start stands in the new one.
            if let failure = writer.commit() { throw failure }
            writer.beginBatch()
            writer.turn(at: now)
        }
        try appendStart(&writer)
        if let failure = writer.commit() { throw failure }
    }

    private func appendStart(_ writer: inout TrailWriter) throws(DiagnosedError) {
        var start = AuditRecord(.start, at: now)
        start.own.trail = writer.trail
        start.own.key = configuration.key.fingerprint
        try writer.append(start)
    }

    private func earlierPosition(_ segments: ArraySlice<SegmentName>) throws(DiagnosedError) -> Int64? {
        for segment in segments.reversed() {
            let reader = try BackwardLineReader(folder.path(of: segment))
            while let line = try reader.next() {
                guard LineHeader(line)?.kind == .head, let position = try StoredRecord(line: line).record.position
                else { continue }
                return position
            }
        }
        return nil
    }

    /// The newest head before the last segment; its signature was verified when it was written, and its chain goes on.
    private func earlierHead(_ segments: ArraySlice<SegmentName>) throws(DiagnosedError) -> HeadStatement? {
        for segment in segments.reversed() {
            let reader = try BackwardLineReader(folder.path(of: segment))
            while let line = try reader.next() {
                guard LineHeader(line)?.kind == .head, let jws = try StoredRecord(line: line).record.own.jws,
                    let payload = jws.split(separator: ".").dropFirst().first.flatMap({ Base64URL.decode(String($0)) })
                else { continue }
                return try HeadStatement(payload)
            }
        }
        return nil
    }

    // MARK: A new trail

    private func create() throws -> TrailWriter {
        let lost = try newestWitnessed().max { $0.time < $1.time }
        let roots = try RootsFile(path: folder.rootsPath).count()
        guard (lost == nil && roots == 0) || configuration.newTrailReason != nil else {
            throw DiagnosedError(
                .auditRolledBack, fault: .store, "\(folder.path) is empty although there was a trail",
                expected: lost.map { "trail \($0.trail) with records up to \($0.seq)" } ?? "the segments of its roots",
                found: "no segment",
                hint:
                    "put the folder back; if it is lost, start a new trail (audit.new-trail-reason), which records the "
                    + "gap")
        }
        if roots > 0 { try configuration.fileSystem.remove(folder.rootsPath) }
        let trail = UUIDText.random()
        let tip = TrailTip(node: configuration.node, trail: trail, at: now)
        var spool = TrailSpool()
        spool.pendingRoots = [.key(configuration.key.jwk)]
        spool.flushRoots(in: folder, configuration.fileSystem)
        let file = try configuration.fileSystem.openSegment(folder.path(of: tip.segment))
        var writer = TrailWriter(configuration, trail: trail, tip: tip, spool: spool, file: file)
        writer.beginBatch()
        try appendStart(&writer)
        if let lost {
            let gap = GapStatement(
                node: lost.node, trail: lost.trail, lastSeq: lost.seq, reason: configuration.newTrailReason ?? "",
                time: now)
            try writer.append(AuditRecord(gap: gap, key: configuration.key, at: now))
        }
        if let failure = writer.commit() { throw failure }
        try configuration.fileSystem.synchronizeFolder(folder.path)
        return writer
    }

    /// Segments whose first line was never finished: nothing in them was acknowledged.
    private func removeUnbornSegments() throws -> Int {
        var octets = 0
        while let last = try folder.segments().last {
            guard try folder.firstHeader(of: last) == nil else { break }
            octets += folder.size(of: last)
            try configuration.fileSystem.remove(folder.path(of: last))
        }
        return octets
    }

    // MARK: Witnesses

    private func newestWitnessed() throws -> [HeadStatement] {
        try configuration.witnessFiles.compactMap {
            try WitnessHeads.newest(in: $0, node: configuration.node, trust: trust)
        }
    }

    private func compare(_ head: HeadStatement, _ walker: ChainWalker, _ last: SegmentName) throws {
        guard head.trail == walker.trail else {
            throw DiagnosedError(
                .auditRolledBack, fault: .store, "a witness knows a newer trail of this node",
                expected: "trail \(head.trail.quotedForError)", found: walker.trail?.quotedForError,
                hint: "an old folder was put back")
        }
        guard head.seq <= walker.seq else { throw rolledBack(head, walker.seq) }
        guard head.seq < last.first, let segment = try folder.segments().last(where: { $0.first <= head.seq }) else {
            return
        }
        let reader = try LineReader(folder.path(of: segment))
        while let line = try reader.next() {
            guard let header = LineHeader(line), header.seq == head.seq else { continue }
            guard header.chain == head.chain else { throw rolledBack(head, walker.seq) }
            return
        }
    }

    private func rolledBack(_ head: HeadStatement, _ seq: Int64) -> DiagnosedError {
        DiagnosedError(
            .auditRolledBack, fault: .store, "the audit trail \(folder.path) is not the one that was witnessed",
            expected: "record \(head.seq) with the chain \(Hexadecimal.encode(head.chain)), witnessed at \(head.time)",
            found: "records up to \(seq)",
            hint: "the folder was put back or cut: put back its newest copy, or start a new trail "
                + "(audit.new-trail-reason)")
    }
}
