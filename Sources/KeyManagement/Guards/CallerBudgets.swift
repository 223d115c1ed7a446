import KMSProtocol
import Synchronization
import WireText

/// What one user, device or service may ask of the KMS in a time, so that nobody takes the KMS from the others.
///
/// Rules:
/// 1. Requests of a user, and of a device, per minute; more are answered 429 and judged anew when sent again.
/// 2. Deletions of resources by a user per hour: a stolen session must not be able to empty a company (rule 13).
/// 3. Keys that a user reads per hour are counted; past the policy's number somebody is told, nothing is refused.
///
/// On this node only, in memory, bounded: what is not remembered any more starts with a full budget.
final class CallerBudgets: Sendable {
    private static let capacity = 50_000

    private struct State {
        var users: [String: TokenBucket] = [:]
        var devices: [String: TokenBucket] = [:]
        var deletions: [String: TokenBucket] = [:]
        var reads: [String: (hour: Int64, count: Int, isTold: Bool)] = [:]
    }

    private let policy: KMSPolicy
    private let state = Mutex(State())

    init(policy: KMSPolicy) { self.policy = policy }

    func takeRequest(_ caller: Caller, now: Timestamp) throws(KMSFailure) {
        let failure = state.withLock { state -> KMSFailure? in
            guard Self.take(&state.users, caller.tokenUser, perMinute: policy.requestsPerUserAndMinute, now) else {
                return Self.tooMany("user \(caller.tokenUser)", "too-many-of-user")
            }
            guard Self.take(&state.devices, caller.clientID, perMinute: policy.requestsPerDeviceAndMinute, now) else {
                return Self.tooMany("device \(caller.clientID)", "too-many-of-device")
            }
            return nil
        }
        if let failure { throw failure }
    }

    func takeDeletion(_ caller: Caller, now: Timestamp) throws(KMSFailure) {
        let isTaken = state.withLock { state in
            if state.deletions.count >= Self.capacity { Self.prune(&state.deletions) }
            // The whole of an hour at once, then the rest as the hour goes by.
            let fresh = TokenBucket(
                rate: Double(policy.deletionsPerUserAndHour) / 3600, burst: policy.deletionsPerUserAndHour, now: now)
            return state.deletions[caller.tokenUser, default: fresh].take(now: now)
        }
        guard isTaken else {
            throw KMSFailure(
                KMSStatus.tooManyRequests,
                "user \(caller.tokenUser) has deleted \(policy.deletionsPerUserAndHour) resources within an hour, "
                    + "which is the most allowed", rule: "mass-deletion")
        }
    }

    /// Counts keys read; the number when it passes the policy's for the first time in this hour.
    func noteReads(_ caller: Caller, keys: Int, now: Timestamp) -> Int? {
        guard keys > 0 else { return nil }
        let hour = now.seconds / 3600
        return state.withLock { state in
            if state.reads.count >= Self.capacity {
                state.reads = state.reads.filter { $0.value.hour == hour }
                if state.reads.count >= Self.capacity { state.reads = [:] }
            }
            var entry = state.reads[caller.tokenUser] ?? (hour, 0, false)
            if entry.hour != hour { entry = (hour, 0, false) }
            entry.count += keys
            let isNews = entry.count > policy.keyReadsPerUserAndHour && !entry.isTold
            if isNews { entry.isTold = true }
            state.reads[caller.tokenUser] = entry
            return isNews ? entry.count : nil
        }
    }

    private static func take(
        _ table: inout [String: TokenBucket], _ name: String, perMinute: Int, _ now: Timestamp
    ) -> Bool {
        if table.count >= capacity { prune(&table) }
        return table[name, default: TokenBucket(rate: Double(perMinute) / 60, burst: perMinute, now: now)]
            .take(now: now)
    }

    private static func prune(_ table: inout [String: TokenBucket]) {
        table = table.filter { !$0.value.isFull }
        if table.count >= capacity { table = [:] }
    }

    private static func tooMany(_ who: String, _ rule: String) -> KMSFailure {
        KMSFailure(KMSStatus.tooManyRequests, "\(who) asks too often; wait and ask again", rule: rule)
    }
}
