package import WireText

/// How often something may be tried: so many attempts at once, then one per interval, for each key apart.
///
/// A pure state machine (generic cell rate algorithm): one instant per key, the time at which its bucket is empty
/// again. Memory is bounded: at `capacity` keys the idle ones are forgotten, and if that is not enough, the half that is
/// nearest to idle, so that who floods with invented names does not free the names he attacks.
package struct AttemptLimiter: Sendable {
    package struct Rate: Sendable, Equatable {
        /// Attempts that may come at once; 0 switches the limit off.
        package let burst: Int64
        /// Milliseconds until one more is free.
        package let interval: Int64

        package init(burst: Int64, intervalSeconds: Int64) {
            self.burst = burst
            self.interval = intervalSeconds * 1000
        }
    }

    package let rate: Rate
    private let capacity: Int
    private var emptyAt: [String: Int64] = [:]

    package init(rate: Rate, capacity: Int = 20_000) {
        self.rate = rate
        self.capacity = capacity
    }

    package var count: Int { emptyAt.count }

    /// Takes one attempt. Returns nil when it is allowed, else the seconds to wait (at least 1); a refused attempt
    /// costs nothing.
    package mutating func take(_ key: String, now: Timestamp) -> Int64? {
        guard rate.burst > 0 else { return nil }
        let next = max(emptyAt[key] ?? 0, now.milliseconds) + rate.interval
        let excess = next - now.milliseconds - rate.burst * rate.interval
        guard excess <= 0 else { return (excess + 999) / 1000 }
        if emptyAt.count >= capacity, emptyAt[key] == nil { shrink(now: now) }
        emptyAt[key] = next
        return nil
    }

    /// Gives an attempt back that turned out to be right.
    package mutating func giveBack(_ key: String, now: Timestamp) {
        guard let instant = emptyAt[key] else { return }
        let earlier = instant - rate.interval
        emptyAt[key] = earlier > now.milliseconds ? earlier : nil
    }

    private mutating func shrink(now: Timestamp) {
        emptyAt = emptyAt.filter { $0.value > now.milliseconds }
        guard emptyAt.count >= capacity else { return }
        let middle = emptyAt.values.sorted()[emptyAt.count / 2]
        emptyAt = emptyAt.filter { $0.value > middle }
    }
}
