import KMSProtocol
import Synchronization
import WireText

/// What one user, device or service may ask of the KMS in a time, so that nobody takes the KMS from the others.
///
/// Rules:
/// 1. Requests of a user, and of a device, per minute; more are answered 429 and judged anew when sent again. A service
///    has a budget of its own, whatever devices it has.
/// 2. Deletions by a user per hour, or per day where the signed policy says so: a stolen session must not be able to empty
///    a company (rule 13). A space counts with its keys; one that has more than the limit needs all of it.
/// 3. Sessions that a device opens per hour, where the signed policy limits them.
///
/// The numbers are those of the policy by which the request is judged: another policy counts at once.
/// On this node only, in memory, bounded: what is not remembered any more starts with a full budget.
final class CallerBudgets: Sendable {
    private static let capacity = 50_000

    private struct State {
        var users: [String: TokenBucket] = [:]
        var devices: [String: TokenBucket] = [:]
        var services: [String: TokenBucket] = [:]
        var deletions: [String: TokenBucket] = [:]
        var openings: [String: TokenBucket] = [:]
    }

    private let state = Mutex(State())

    func takeRequest(_ caller: Caller, now: Timestamp) throws(KMSFailure) {
        let policy = caller.snapshot.values
        if case .service = caller.capacity { return try takeServiceRequest(caller, policy, now) }
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

    private func takeServiceRequest(_ caller: Caller, _ policy: KMSPolicy, _ now: Timestamp) throws(KMSFailure) {
        let isTaken = state.withLock {
            Self.take(&$0.services, caller.tokenUser, perMinute: policy.requestsPerServiceAndMinute, now)
        }
        guard isTaken else { throw Self.tooMany("service \(caller.tokenUser)", "too-many-of-service") }
    }

    /// A device may open that many sessions within an hour.
    func takeOpening(device: String, _ policy: KMSPolicy, now: Timestamp) throws(KMSFailure) {
        guard let limit = policy.openingsPerDeviceAndHour else { return }
        let isTaken = state.withLock { Self.take(&$0.openings, device, limit, within: 3600, now) }
        guard isTaken else {
            throw KMSFailure(
                KMSStatus.tooManyRequests,
                "device \(device) has opened \(limit) sessions within an hour, which is the most allowed",
                rule: "too-many-openings-of-device")
        }
    }

    func takeDeletion(_ caller: Caller, keys: Int, now: Timestamp) throws(KMSFailure) {
        let policy = caller.snapshot.values
        // The whole of the time at once, then the rest as the time goes by.
        let (limit, seconds, time) =
            policy.deletionsPerUserAndDay.map { ($0, 86_400.0, "a day") }
            ?? (policy.deletionsPerUserAndHour, 3600.0, "an hour")
        let isTaken = state.withLock {
            Self.take(&$0.deletions, caller.tokenUser, limit, within: seconds, count: max(1, min(1 + keys, limit)), now)
        }
        guard isTaken else {
            throw KMSFailure(
                KMSStatus.tooManyRequests,
                "user \(caller.tokenUser) may delete \(limit) keys and spaces within \(time), and this is more",
                rule: Self.massDeletion)
        }
    }

    static let massDeletion = "mass-deletion"

    private static func take(
        _ table: inout [String: TokenBucket], _ name: String, perMinute: Int, _ now: Timestamp
    ) -> Bool {
        take(&table, name, perMinute, within: 60, now)
    }

    private static func take(
        _ table: inout [String: TokenBucket], _ name: String, _ limit: Int, within seconds: Double, count: Int = 1,
        _ now: Timestamp
    ) -> Bool {
        if table.count >= capacity { prune(&table) }
        let rate = Double(limit) / seconds
        return table[name, default: TokenBucket(rate: rate, burst: limit, now: now)]
            .take(count, rate: rate, burst: limit, now: now)
    }

    private static func prune(_ table: inout [String: TokenBucket]) {
        table = table.filter { !$0.value.isFull }
        if table.count >= capacity { table = [:] }
    }

    private static func tooMany(_ who: String, _ rule: String) -> KMSFailure {
        KMSFailure(KMSStatus.tooManyRequests, "\(who) asks too often; wait and ask again", rule: rule)
    }
}
