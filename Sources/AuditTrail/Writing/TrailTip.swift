import Cryptography
import WireText

/// The end of a trail: everything that the next record needs, as a value, so that a failed batch is undone by copying.
struct TrailTip: Sendable {
    var seq: Int64 = 0
    var chain: [UInt8]
    /// Over the records of the present segment.
    var tree = MerkleTree()
    var segment: SegmentName
    /// Of the present segment.
    var octets = 0
    var refusalOctets = 0
    /// Hours since 1970 of the segment's first record.
    var hour: Int64
    /// SHA-256 of the newest root's JWS, or the genesis.
    var previousRoot: [UInt8]
    var position: Int64?
    /// As in the newest head.
    var store: StoreCounters?
    var unsealedFrom: Int64?
    var unsealedSince: Timestamp?

    var sealedThrough: Int64 { (unsealedFrom ?? seq + 1) - 1 }

    static func hour(of time: Timestamp) -> Int64 { Int64((Double(time.milliseconds) / 3_600_000).rounded(.down)) }

    /// Of a trail that has no record yet.
    init(node: String, trail: String, at time: Timestamp) {
        chain = TrailHash.genesis(node: node, trail: trail)
        previousRoot = chain
        segment = SegmentName(node: node, first: 1)
        hour = Self.hour(of: time)
    }

    /// Where a walk over the last segment ended.
    init(_ walker: ChainWalker, octets: Int, position: Int64?, store: StoreCounters?) {
        seq = walker.seq
        chain = walker.chain
        tree = walker.tree
        segment = SegmentName(node: walker.node, first: walker.segmentFirst)
        self.octets = octets
        refusalOctets = walker.refusalOctets
        hour = walker.segmentTime.map(Self.hour) ?? 0
        previousRoot = walker.previousRoot
        self.position = position
        self.store = store
        unsealedFrom = walker.unsealedFrom
        unsealedSince = walker.unsealedSince
    }

    mutating func advance(_ body: RecordBody, leaf: [UInt8], chain: [UInt8], octets: Int) {
        seq += 1
        self.chain = chain
        tree.append(leaf)
        self.octets += octets
        if body.share == .refusal { refusalOctets += octets }
        switch body.kind {
        case .head: (unsealedFrom, unsealedSince) = (nil, nil)
        default:
            guard unsealedFrom == nil else { return }
            (unsealedFrom, unsealedSince) = (seq, body.time)
        }
    }

    /// The next record begins a segment of its own.
    mutating func turn(digest: [UInt8], at time: Timestamp) {
        tree = MerkleTree()
        segment = SegmentName(node: segment.node, first: seq + 1)
        octets = 0
        refusalOctets = 0
        hour = Self.hour(of: time)
        previousRoot = digest
        (unsealedFrom, unsealedSince) = (nil, nil)
    }
}
