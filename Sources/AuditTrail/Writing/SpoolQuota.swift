/// Who may still write when space runs short.
///
/// Releases and changes may fill the spool to its limit, other decisions stop a reserve earlier, and refusals that are
/// only noted have a quota for each segment, so that nobody fills the spool by being refused.
struct SpoolQuota: Sendable {
    enum Share: Sendable {
        /// Releases, changes, freezes: up to the limit.
        case reserved
        /// Refusals that somebody waits for: up to the limit without the reserve.
        case ordinary
        /// Refusals that are noted: as `ordinary`, and within the quota of the segment.
        case refusal
        /// The trail's own records, without which the others prove nothing: always.
        case own
    }

    let limit: Int
    let reserve: Int
    let refusalsPerSegment: Int

    /// - Parameter hours: how many segments the retention keeps; together their refusals take at most a fifth.
    init(limit: Int, hours: Int64) {
        self.limit = limit
        reserve = limit / 10
        refusalsPerSegment = max(4 << 10, limit / 5 / max(1, Int(clamping: hours)))
    }

    func admits(_ share: Share, octets: Int, used: Int, refusals: Int) -> Bool {
        switch share {
        case .own: true
        case .reserved: used + octets <= limit
        case .ordinary: used + octets <= limit - reserve
        case .refusal: used + octets <= limit - reserve && refusals + octets <= refusalsPerSegment
        }
    }
}
