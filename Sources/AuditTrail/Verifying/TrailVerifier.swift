package import Cryptography
import Diagnostics
import JOSESignature
import WireText

/// The offline verification of a trail's folder: every link, head, root, number and segment; the first break is thrown.
///
/// Memory is bounded by the number of roots and witnessed heads.
package struct TrailVerifier {
    let folder: TrailFolder
    let trust: AttestationTrust
    private let witnesses: [String]
    private let authorities: [Certificate]

    /// - Parameter authorities: roots of the time-stamping authorities whose stamps stand in the witnesses' files.
    package init(
        folder: String, trust: AttestationTrust, witnesses: [String] = [], authorities: [Certificate] = []
    ) {
        self.folder = TrailFolder(path: folder)
        self.trust = trust
        self.witnesses = witnesses
        self.authorities = authorities
    }

    package func verify() throws -> VerificationReport {
        let segments = try folder.segments()
        guard let firstSegment = segments.first else {
            throw DiagnosedError(
                .auditSegmentMissing, fault: .client, "\(folder.path) holds no segment of an audit trail",
                hint: "name the folder with the files NODE.NUMBER.audit")
        }
        let roots = try RootChain(RootsFile(path: folder.rootsPath), node: firstSegment.node, trust: trust)
        var walker = try Self.walker(from: firstSegment, roots, isStrict: true)
        let heads = try witnessHeads(firstSegment, roots, trust: walker.trust)
        var torn = 0
        for segment in segments {
            guard torn == 0 else { throw tornInside(segment, torn) }
            torn = try Self.walk(segment, in: folder, &walker) { seq, chain in
                for head in heads { try Self.compare(head, seq, chain) }
            } root: { last, digest in
                if let kept = roots.root(endingAt: last), kept.digest != digest {
                    throw DiagnosedError(
                        .auditRootInvalid, fault: .client, "the root is not the one that the file of roots has")
                }
            }
        }
        var report = VerificationReport()
        try closeRoots(roots, walker, &report)
        report.node = walker.node
        report.trail = walker.trail ?? ""
        report.first = firstSegment.first
        report.last = walker.seq
        report.segments = segments.count
        report.tornOctets = torn
        report.key = walker.key ?? ""
        try close(heads, walker, &report)
        return report
    }

    /// The state in which a walk begins at a segment: at the genesis, or behind the root of the segment before.
    static func walker(
        from segment: SegmentName, _ roots: RootChain, isStrict: Bool
    ) throws(DiagnosedError) -> ChainWalker {
        if segment.first == 1 { return ChainWalker(node: segment.node, trust: roots.trust, isStrict: isStrict) }
        guard let root = roots.root(endingAt: segment.first - 1) else {
            throw DiagnosedError(
                .auditSegmentMissing, fault: .client, "records before \(segment.first) are gone without a root",
                expected: "a root that ends with record \(segment.first - 1)",
                found: roots.roots.last.map { "roots up to record \($0.statement.last)" } ?? "no roots")
        }
        return ChainWalker(after: root, node: segment.node, trust: roots.trust, isStrict: isStrict)
    }

    /// Walks one segment; answers how many octets stand behind its last line feed.
    static func walk(
        _ segment: SegmentName, in folder: TrailFolder, _ walker: inout ChainWalker,
        each: (Int64, [UInt8]) throws -> Void = { _, _ in }, root: (Int64, [UInt8]) throws -> Void = { _, _ in }
    ) throws -> Int {
        var number = 0
        do {
            try walker.begin(segment)
            let reader = try LineReader(folder.path(of: segment))
            while let line = try reader.next() {
                number += 1
                try walker.take(line)
                if number == 1, walker.seq > 1 { try root(walker.seq - 1, walker.previousRoot) }
                try each(walker.seq, walker.chain)
            }
            return reader.rest.count
        } catch let error as DiagnosedError {
            throw error.at("\(segment)" + (number > 0 ? " line \(number)" : ""))
        }
    }

    private func tornInside(_ next: SegmentName, _ octets: Int) -> DiagnosedError {
        DiagnosedError(
            .auditLineMalformed, fault: .client, "the segment before \(next) ends in the middle of a line",
            expected: "a line feed", found: "\(octets) octets behind the last one")
    }

    private static func compare(_ heads: WitnessHeads, _ seq: Int64, _ chain: [UInt8]) throws(DiagnosedError) {
        guard let witnessed = heads.chains[seq], witnessed != chain else { return }
        throw DiagnosedError(
            .auditWitnessContradicts, fault: .client, "record \(seq) is not the one that \(heads.path) witnessed",
            expected: "chain \(Hexadecimal.encode(witnessed))", found: Hexadecimal.encode(chain))
    }

    private func witnessHeads(
        _ first: SegmentName, _ roots: RootChain, trust: AttestationTrust
    ) throws -> [WitnessHeads] {
        guard !witnesses.isEmpty else { return [] }
        var trust = trust
        // Keys that took over after the last root: their successions stand in the records.
        let trail = try Self.trailID(in: folder, &trust)
        return try witnesses.map {
            try WitnessHeads($0, node: first.node, trail: trail, trust: trust, authorities: authorities)
        }
    }

    /// The trail's id, before anything is verified; learns every succession on the way.
    private static func trailID(in folder: TrailFolder, _ trust: inout AttestationTrust) throws -> String {
        var trail = ""
        for segment in try folder.segments().suffix(2) {
            let reader = try LineReader(folder.path(of: segment))
            while let line = try reader.next() {
                guard let header = LineHeader(line) else { break }
                guard header.kind == .start || header.kind == .key || header.kind == .root,
                    let stored = try? StoredRecord(line: line)
                else { continue }
                switch header.kind {
                case .start: trail = stored.record.own.trail ?? trail
                case .key: _ = try? trust.accept(succession: stored.record.own.jws ?? "")
                default:
                    guard let payload = try? trust.verify(stored.record.own.jws ?? "", as: .root).payload,
                        let statement = try? RootStatement(payload)
                    else { continue }
                    trail = statement.trail
                }
            }
        }
        return trail
    }

    /// A root that stands in the file and not yet in a segment seals the last segment, or shows that one is missing.
    private func closeRoots(_ roots: RootChain, _ walker: ChainWalker, _ report: inout VerificationReport) throws {
        report.roots = max(roots.roots.count, walker.rootCount)
        report.sealedThrough = (walker.unsealedFrom ?? walker.seq + 1) - 1
        report.sealedAt = walker.head?.time
        report.unsealedSince = walker.unsealedSince
        guard let last = roots.roots.last, last.statement.last >= walker.seq else { return }
        guard last.statement.last == walker.seq else {
            throw DiagnosedError(
                .auditSegmentMissing, fault: .client, "the trail ends before what its roots cover",
                expected: "records up to \(last.statement.last)", found: "records up to \(walker.seq)",
                hint: "the last segments were taken away or put back from an older copy")
        }
        try walker.check(last.statement)
        (report.sealedThrough, report.sealedAt, report.unsealedSince) = (walker.seq, last.statement.time, nil)
    }

    private func close(_ witnesses: [WitnessHeads], _ walker: ChainWalker, _ report: inout VerificationReport) throws {
        for heads in witnesses {
            if let newest = heads.newest, newest.trail != report.trail {
                throw DiagnosedError(
                    .auditWitnessContradicts, fault: .client, "\(heads.path) knows a newer trail of this node",
                    expected: "trail \(newest.trail.quotedForError)", found: report.trail.quotedForError,
                    hint: "an old folder was put back, or the name of another one given")
            }
            report.unreadableWitnessLines += heads.unreadable
            report.add(stampsOf: heads)
            guard let highest = heads.highest else { continue }
            guard highest.seq <= walker.seq else {
                throw DiagnosedError(
                    .auditWitnessContradicts, fault: .client, "the trail ends before what \(heads.path) witnessed",
                    expected: "record \(highest.seq), witnessed at \(highest.time)",
                    found: "records up to \(walker.seq)",
                    hint: "the end was cut off, or an older copy of the folder was put back")
            }
            guard highest.seq >= report.witnessedThrough ?? 0 else { continue }
            (report.witnessedThrough, report.witnessedAt) = (highest.seq, highest.time)
            if highest.seq > report.sealedThrough {
                (report.sealedThrough, report.sealedAt) = (highest.seq, highest.time)
            }
            if report.unsealed == 0 { report.unsealedSince = nil }
        }
        if report.witnessedThrough == nil, !witnesses.isEmpty { report.witnessedThrough = 0 }
    }
}
