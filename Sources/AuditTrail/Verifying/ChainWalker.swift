import Cryptography
import Diagnostics
import JOSESignature
import WireText

/// Follows a trail record by record and holds each against the chain, its numbers and what was signed about it.
///
/// A pure state machine: lines in, the first break out. Used by the offline verification for everything and at the
/// start of a service for the last segment.
struct ChainWalker: Sendable {
    let node: String
    var trust: AttestationTrust
    /// Parses every record strictly; else only those that carry statements.
    let isStrict: Bool
    private(set) var trail: String?
    /// The last record taken.
    private(set) var seq: Int64 = 0
    private(set) var chain: [UInt8] = []
    /// Of the segment in which the walker is.
    private(set) var tree = MerkleTree()
    private(set) var segmentFirst: Int64 = 1
    private(set) var segmentTime: Timestamp?
    private(set) var refusalOctets = 0
    /// Which key signs here.
    private(set) var key: String?
    /// SHA-256 of the newest root's JWS, or the genesis.
    private(set) var previousRoot: [UInt8] = []
    private(set) var rootCount = 0
    /// Taken on the way, in order.
    private(set) var successions: [String] = []
    private(set) var head: HeadStatement?
    private(set) var position: Int64?
    /// The first record that no head or root covers yet.
    private(set) var unsealedFrom: Int64?
    private(set) var unsealedSince: Timestamp?
    private var isAtSegmentStart = true
    /// The segment before the first one is gone, so its root is taken from the file of roots.
    private var knowsSegmentBefore = true

    /// From the first record of a trail.
    init(node: String, trust: AttestationTrust, isStrict: Bool) {
        self.node = node
        self.trust = trust
        self.isStrict = isStrict
    }

    /// From the first record behind a root whose segment is gone.
    init(after root: RootChain.Root, node: String, trust: AttestationTrust, isStrict: Bool) {
        self.init(node: node, trust: trust, isStrict: isStrict)
        trail = root.statement.trail
        seq = root.statement.last
        chain = root.statement.chain
        key = root.key
        previousRoot = root.digest
        knowsSegmentBefore = false
    }

    mutating func begin(_ segment: SegmentName) throws(DiagnosedError) {
        guard segment.node == node else {
            throw Break.foreign("a segment of another node", expected: node, found: segment.node)
        }
        guard segment.first == seq + 1 else {
            throw DiagnosedError(
                .auditSegmentMissing, fault: .client, "a segment is missing, or one is out of its place",
                expected: "one whose first record is \(seq + 1)", found: "\(segment.first)")
        }
        isAtSegmentStart = true
    }

    mutating func take(_ line: [UInt8]) throws {
        guard let header = LineHeader(line) else {
            throw DiagnosedError(
                .auditLineMalformed, fault: .client, "a line is no record", expected: "record \(seq + 1)",
                found: String(decoding: line.prefix(40), as: UTF8.self).quotedForError)
        }
        guard header.seq == seq + 1 else {
            throw DiagnosedError(
                .auditSequenceBroken, fault: .client, "a record is missing, doubled or out of order",
                expected: "record \(seq + 1)", found: "record \(header.seq)")
        }
        let stored = isStrict || header.kind.carriesStatement ? try StoredRecord(line: line) : nil
        if seq == 0 { try beginTrail(stored) }
        let leaf = header.leaf
        let next = TrailHash.chain(chain, leaf: leaf)
        guard next == header.chain else {
            throw DiagnosedError(
                .auditChainBroken, fault: .client,
                "record \(header.seq) does not continue the chain: it or a record before it was changed",
                expected: "chain \(Hexadecimal.encode(next))", found: Hexadecimal.encode(header.chain))
        }
        if let stored { try judge(stored) }
        try checkSegmentStart(header)
        if isAtSegmentStart {
            tree = MerkleTree()
            segmentFirst = header.seq
            segmentTime = header.time
            refusalOctets = 0
            isAtSegmentStart = false
            knowsSegmentBefore = true
        }
        tree.append(leaf)
        if Self.isRefusal(header, line) { refusalOctets += line.count + 1 }
        if header.kind != .head, unsealedFrom == nil {
            unsealedFrom = header.seq
            unsealedSince = header.time
        }
        seq = header.seq
        chain = next
    }

    private static let clientError = Array(",\"status\":4".utf8)

    /// Without parsing: inside of a text the quotes would be escaped.
    private static func isRefusal(_ header: LineHeader, _ line: [UInt8]) -> Bool {
        header.kind == .refusals || (header.kind == .decision && ByteSearch.contains(line, clientError))
    }

    private mutating func beginTrail(_ stored: StoredRecord?) throws(DiagnosedError) {
        guard let stored, stored.record.kind == .start, let trail = stored.record.own.trail else {
            throw Break.foreign("the first record is not the start of a trail", expected: "kind start", found: nil)
        }
        self.trail = trail
        chain = TrailHash.genesis(node: node, trail: trail)
        previousRoot = chain
        key = stored.record.own.key
    }

    private func checkSegmentStart(_ header: LineHeader) throws(DiagnosedError) {
        guard header.kind == .root ? !isAtSegmentStart || header.seq == 1 : isAtSegmentStart && header.seq > 1 else {
            return
        }
        throw DiagnosedError(
            .auditRootInvalid, fault: .client, "a root stands first in each segment but the first, and nowhere else",
            found: "kind \(header.kind.rawValue) in record \(header.seq)")
    }

    private mutating func judge(_ stored: StoredRecord) throws {
        guard stored.node == node else {
            throw Break.foreign("a record of another node", expected: node, found: stored.node.quotedForError)
        }
        let own = stored.record.own
        switch stored.record.kind {
        case .head: try judgeHead(own)
        case .root: try judgeRoot(own)
        case .key:
            let (from, to) = try trust.accept(succession: own.jws ?? "")
            guard from == key else { throw wrongKey(from) }
            key = to
            successions.append(own.jws ?? "")
        case .start:
            guard own.trail == trail else {
                throw Break.foreign("a start of another trail", expected: trail, found: own.trail?.quotedForError)
            }
            guard let key, own.key == key else { throw wrongKey(own.key ?? "none") }
            guard trust.believes(key) else { throw wrongKey(key) }
        case .gap: _ = try verify(own, as: .gap)
        default: break
        }
    }

    private mutating func judgeHead(_ own: AuditRecord.Own) throws {
        let statement = try HeadStatement(try verify(own, as: .head))
        let expected = HeadStatement(
            node: node, trail: trail ?? "", seq: seq, chain: chain, position: own.position, store: statement.store,
            time: statement.time)
        guard statement == expected else {
            throw DiagnosedError(
                .auditHeadInvalid, fault: .client, "a head is about something else than the records before it",
                expected: "record \(seq), chain \(Hexadecimal.encode(chain))",
                found: "record \(statement.seq), chain \(Hexadecimal.encode(statement.chain))")
        }
        head = statement
        position = statement.position ?? position
        (unsealedFrom, unsealedSince) = (nil, nil)
    }

    private mutating func judgeRoot(_ own: AuditRecord.Own) throws {
        let jws = own.jws ?? ""
        let statement = try RootStatement(try verify(own, as: .root))
        let digest = SHA256.hash(Array(jws.utf8))
        if knowsSegmentBefore {
            try check(statement)
        } else {
            guard digest == previousRoot else {
                throw DiagnosedError(
                    .auditRootInvalid, fault: .client, "the root is not the one that the file of roots has")
            }
        }
        if digest != previousRoot { rootCount += 1 }
        previousRoot = digest
        (unsealedFrom, unsealedSince) = (nil, nil)
    }

    /// Whether the root is the one of the segment that ends here.
    func check(_ statement: RootStatement) throws(DiagnosedError) {
        let expected = RootStatement(
            node: node, trail: trail ?? "", first: segmentFirst, last: seq, count: tree.count, root: tree.root,
            chain: chain, previous: previousRoot, time: statement.time)
        guard statement == expected else {
            throw DiagnosedError(
                .auditRootInvalid, fault: .client, "a root is about something else than the segment before it",
                expected: "records \(segmentFirst) to \(seq), root \(Hexadecimal.encode(expected.root))",
                found: "records \(statement.first) to \(statement.last), root \(Hexadecimal.encode(statement.root))")
        }
    }

    private func verify(_ own: AuditRecord.Own, as type: StatementType) throws -> [UInt8] {
        let verified = try trust.verify(own.jws ?? "", as: type)
        guard verified.key == key else { throw wrongKey(verified.key) }
        return verified.payload
    }

    private func wrongKey(_ found: String) -> DiagnosedError {
        DiagnosedError(
            .attestationKeyUnknown, fault: .client, "another key than the one that signs here was used",
            expected: key, found: found.quotedForError)
    }
}

extension AuditRecord.Kind {
    /// Kinds that say something about the chain itself.
    fileprivate var carriesStatement: Bool {
        switch self {
        case .head, .root, .key, .start, .gap: true
        case .decision, .refusals, .policy, .freeze, .erasure, .consent, .lookup, .stop, .cut: false
        }
    }
}

enum Break {
    static func foreign(_ summary: String, expected: String?, found: String?) -> DiagnosedError {
        DiagnosedError(.auditTrailForeign, fault: .client, summary, expected: expected, found: found)
    }
}

extension DiagnosedError {
    /// The same error with the place in front.
    func at(_ place: String) -> DiagnosedError {
        DiagnosedError(
            code, fault: fault, "\(place): \(summary)", expected: expected, found: found, hint: hint)
    }
}
