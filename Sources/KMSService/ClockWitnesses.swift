import WireText

/// Whether this node's clock is wrong, by two witnesses, of which neither alone is believed.
///
/// Tokens and requests are judged by time: a node whose clock is wrong refuses good ones and takes old ones, while the
/// others would answer right. Rules:
///
/// 1. The core says its time when a link is established, the database with each renewal of the lease.
/// 2. The clock is wrong when both are away from it by more than a minute, and within a minute of each other. So neither
///    a core nor a database whose own clock is wrong, or that lies, stops a node that the other one agrees with.
/// 3. Before a core has said its time the database alone decides: such a node answers nobody yet.
/// 4. What the core said is carried on by a clock that does not jump: a jump of this node's clock shows at the next renewal.
struct ClockWitnesses {
    /// In milliseconds; what tokens and requests are given.
    static let most: Int64 = 60_000

    /// Milliseconds of the wall clock and of one that neither jumps nor stops, read together.
    struct Reading {
        var wall: Int64
        var boot: Int64
    }

    /// The core's time less that of the clock that does not jump.
    private var core: Int64?

    /// A link was established: the core's clock was ahead of this node's by so much when the node's showed `at`.
    mutating func heard(core offset: Int64, at moment: Timestamp, now: Reading) {
        core = moment.milliseconds + offset - (now.boot - (now.wall - moment.milliseconds))
    }

    /// By how many milliseconds this node's clock is ahead; nil when it is not known to be wrong.
    func error(database: Timestamp, now: Reading) -> Int64? {
        let ahead = now.wall - database.milliseconds
        guard abs(ahead) > Self.most else { return nil }
        guard let core else { return ahead }
        let aheadOfCore = now.wall - (core + now.boot)
        return abs(aheadOfCore) > Self.most && abs(aheadOfCore - ahead) <= Self.most ? ahead : nil
    }
}
