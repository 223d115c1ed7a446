import Diagnostics
import LinkProtocol

/// How far a subscription has come, as a pure state machine: what may be sent, what is acknowledged.
///
/// A reader gets at most the items that it gave credit for, and at most `maximumOctets` that it has not acknowledged, but
/// always one: so neither side holds more than that of a slow reader.
struct FeedSender: Sendable {
    static let maximumOctets = 2 << 20
    static let maximumCredit = 4096

    private var sent: UInt64
    private(set) var acknowledged: UInt64
    private var credit: Int
    /// Sent and not acknowledged: the cursor and the size of each.
    private var open: [(cursor: UInt64, octets: Int)] = []
    private var openOctets = 0

    init(after cursor: UInt64, credit: UInt32) {
        sent = cursor
        acknowledged = cursor
        self.credit = min(Int(credit), Self.maximumCredit)
    }

    var unacknowledged: Int { open.count }

    /// What may be sent now: items after a cursor, at most so many, together at most so many octets but at least one item.
    var room: (after: UInt64, items: Int, octets: Int)? {
        guard credit > 0, open.isEmpty || openOctets < Self.maximumOctets else { return nil }
        return (sent, min(credit, 256), Self.maximumOctets - openOctets)
    }

    /// Whether one more of that size may follow.
    func mayTake(_ octets: Int) -> Bool {
        credit > 0 && (open.isEmpty || openOctets + octets <= Self.maximumOctets)
    }

    mutating func noteSent(_ cursor: UInt64, octets: Int) {
        sent = cursor
        credit -= 1
        open.append((cursor, octets))
        openOctets += octets
    }

    mutating func grant(_ count: UInt32) { credit = min(credit + Int(count), Self.maximumCredit) }

    /// False for a cursor that is known already; throws for one that was not sent.
    mutating func acknowledge(_ cursor: UInt64) throws(DiagnosedError) -> Bool {
        guard cursor <= sent else {
            throw DiagnosedError(
                .linkViolation, fault: .peer, "an item of a feed was acknowledged that was not sent",
                expected: "at most cursor \(sent)", found: "\(cursor)")
        }
        guard cursor > acknowledged else { return false }
        acknowledged = cursor
        let settled = open.prefix { $0.cursor <= cursor }
        openOctets -= settled.reduce(0) { $0 + $1.octets }
        open.removeFirst(settled.count)
        return true
    }
}
