import Diagnostics
import WireText

/// One node's trail as the source of a transparency report: verified, then read, with what is missing said.
struct TrailReading {
    private let reader: TrailReader
    private let query: AuditQuery
    private let verified: VerificationReport?
    private let witnesses: Int
    private var gaps: [String] = []
    let node: String

    init(
        _ folder: String, trust: AttestationTrust, witnesses: [String], from: Timestamp, to: Timestamp
    ) throws {
        let trail = TrailFolder(path: folder)
        guard let first = try trail.segments().first else {
            throw DiagnosedError(
                .auditSegmentMissing, fault: .client, "\(folder) holds no segment of an audit trail",
                hint: "name the folder with the files NODE.NUMBER.audit")
        }
        node = first.node
        reader = TrailReader(folder: folder)
        self.witnesses = witnesses.count
        var query = AuditQuery()
        (query.since, query.until) = (from, to)
        self.query = query
        do {
            verified = try TrailVerifier(folder: folder, trust: trust, witnesses: witnesses).verify()
        } catch let error as DiagnosedError {
            verified = nil
            gaps.append("the trail does not hold (\(error.code.rawValue)): nothing of it is proven")
        }
        try lookAtEnds(trail, first)
    }

    /// What is before the first record and behind the last one can not be counted.
    private mutating func lookAtEnds(_ trail: TrailFolder, _ first: SegmentName) throws {
        let begin = try trail.firstHeader(of: first)?.time
        if let from = query.since, let begin, begin > from {
            gaps.append(
                first.first > 1
                    ? "records before \(begin) were deleted from the trail" : "the trail begins only at \(begin)")
        }
        var last = AuditQuery()
        (last.newestFirst, last.limit) = (true, 1)
        if let end = try reader.records(last).first?.record.time, let to = query.until, end < to {
            gaps.append("the trail ends at \(end), before the period does")
        }
    }

    /// From all records, also of other times and of refused requests.
    func learnServices(_ figures: inout ReleaseFigures) throws {
        var query = AuditQuery()
        query.kind = .decision
        try reader.forEach(query) { figures.learn($0.record) }
    }

    /// Counts what is proven; where nothing is, all of it, and the source says that it does not hold.
    mutating func count(into figures: inout ReleaseFigures) throws -> TransparencyReport.Source {
        var (counted, unproven): (Int64, Int64) = (0, 0)
        var highest: Int64 = 0
        var found: [String] = []
        try reader.forEach(query) { stored in
            highest = max(highest, stored.seq)
            guard verified.map({ stored.seq <= $0.sealedThrough }) ?? true else {
                unproven += 1
                return
            }
            counted += 1
            switch stored.record.kind {
            case .gap: found.append("records before \(stored.record.time) are lost, as a signed gap record says")
            case .cut: found.append("a torn end was cut off at \(stored.record.time)")
            default: if ReleaseFigures.isRelease(stored.record) { try figures.add(stored.record) }
            }
        }
        gaps += found.prefix(100)
        if let verified, verified.witnessedThrough ?? 0 < min(highest, verified.sealedThrough), witnesses > 0 {
            gaps.append("no witness has seen the records behind \(verified.witnessedThrough ?? 0)")
        }
        return TransparencyReport.Source(
            node: node, trail: verified?.trail ?? "", firstRecord: verified?.first ?? 0,
            lastRecord: verified?.last ?? 0, counted: counted, unproven: unproven, isVerified: verified != nil,
            isWitnessed: (verified?.witnessedThrough ?? 0) > 0, gaps: gaps)
    }
}
