import Synchronization
import WireText

/// A token bucket: `rate` per second, at most `burst` at once. Time comes from the caller.
struct TokenBucket: Sendable {
    private var rate: Double
    private var burst: Double
    private var level: Double
    private var last: Timestamp

    init(rate: Double, burst: Int, now: Timestamp) {
        self.rate = rate
        self.burst = Double(burst)
        level = Double(burst)
        last = now
    }

    mutating func take(_ count: Int = 1, now: Timestamp) -> Bool {
        if now > last {
            level = min(burst, level + rate * Double(now.milliseconds - last.milliseconds) / 1000)
            last = now
        } else if now < last {
            last = now
        }
        guard level >= Double(count) else { return false }
        level -= Double(count)
        return true
    }

    /// Under another rate than before, when the policy has changed; what was used up stays used up.
    mutating func take(_ count: Int, rate: Double, burst: Int, now: Timestamp) -> Bool {
        if self.rate != rate || self.burst != Double(burst) {
            level = max(0, level + Double(burst) - self.burst)
            (self.rate, self.burst) = (rate, Double(burst))
        }
        return take(count, now: now)
    }

    var isFull: Bool { level >= burst }
}

/// Budgets that are asked before any costly operation: session openings, resets over all and per source.
///
/// The name of a source comes from the core and is not trusted: it only spreads the damage, the total protects.
final class RequestBudgets: Sendable {
    private struct State {
        var openings: TokenBucket
        var resets: TokenBucket
        var sources: [String: TokenBucket] = [:]
    }

    private let policy: KMSPolicy
    private let state: Mutex<State>

    init(policy: KMSPolicy, now: Timestamp) {
        self.policy = policy
        state = Mutex(
            State(
                openings: TokenBucket(
                    rate: Double(policy.sessionOpeningsPerSecond), burst: policy.sessionOpeningsPerSecond * 2, now: now),
                resets: TokenBucket(rate: Double(policy.resetsPerSecond), burst: policy.resetsPerSecond * 2, now: now)))
    }

    func takeOpening(now: Timestamp) -> Bool { state.withLock { $0.openings.take(now: now) } }

    func takeReset(source: String, now: Timestamp) -> Bool {
        state.withLock { state in
            if state.sources.count >= 10_000 { state.sources = state.sources.filter { !$0.value.isFull } }
            if state.sources.count >= 10_000 { state.sources.removeAll() }
            let fresh = TokenBucket(
                rate: Double(policy.resetsPerSourceAndSecond), burst: policy.resetsPerSourceAndSecond * 4, now: now)
            guard state.sources[source, default: fresh].take(now: now) else { return false }
            return state.resets.take(now: now)
        }
    }
}
