import Synchronization
import WireText

/// What somebody does more of than the policy calls usual: reported, never refused.
package enum Anomaly: String, Sendable, CaseIterable {
    /// Keys read within an hour.
    case keyReads
    /// Spaces within an hour, of which something was read.
    case spaces
    /// Requests refused within an hour, because they may not or because there is no such thing.
    case refusals
    /// Devices within a day that this node has not seen of the user on the days before.
    case newDevices
    /// Keys and spaces deleted: the one that was refused for it.
    case deletions

    fileprivate var isByDay: Bool { self == .newDevices }
}

/// Counts per user what the policy has an opinion on; answers once an hour or day when it is more than usual.
///
/// Rules:
/// 1. People are counted, services are not: they do as much as their consent and their rate let them.
/// 2. The numbers are those of the policy by which the request is judged; what it has no number for is not counted.
/// 3. An hour and a day are those of UTC. What was told is not told again in the same one.
///
/// On this node only, in memory, bounded: what is not remembered any more is counted anew.
final class UnusualBehaviour: Sendable {
    struct Found: Sendable, Equatable {
        let anomaly: Anomaly
        let count: Int
    }

    private struct Counted {
        /// Number of the hour or day.
        var time: Int64
        var count = 0
        var isTold = false
        /// Hashes of the different things that were counted.
        var seen: Set<Int> = []
    }

    private struct Subject: Hashable {
        let user: String
        let anomaly: Anomaly
    }

    private struct State {
        var counted: [Subject: Counted] = [:]
        /// Devices of earlier days, as hashes of user and device.
        var devices: Set<Int> = []
        var seen = 0
    }

    private let capacity: Int
    private let state = Mutex(State())

    /// - Parameter capacity: how many users, and how many different things of all users, are remembered.
    init(capacity: Int = 200_000) { self.capacity = capacity }

    func noteRead(_ caller: Caller, keys: Int, space: String?, now: Timestamp) -> [Found] {
        guard Self.isPerson(caller) else { return [] }
        let values = caller.snapshot.values
        let (user, hour) = (caller.tokenUser, now.seconds / 3600)
        return state.withLock { state in
            var found: [Found?] = []
            if keys > 0 {
                found.append(count(.keyReads, user, by: keys, hour, usual: values.keyReadsPerUserAndHour, &state))
            }
            if let space, let usual = values.spacesPerUserAndHour {
                found.append(count(.spaces, user, different: space, hour, usual: usual, &state))
            }
            return found.compactMap { $0 }
        }
    }

    /// A refusal of somebody who is known.
    func noteRefusal(user: String, _ values: KMSPolicy, now: Timestamp) -> Found? {
        guard let usual = values.refusalsPerUserAndHour else { return nil }
        return state.withLock { count(.refusals, user, by: 1, now.seconds / 3600, usual: usual, &$0) }
    }

    /// A session that was opened.
    func noteDevice(_ device: String, of user: String, _ values: KMSPolicy, now: Timestamp) -> Found? {
        guard let usual = values.newDevicesPerUserAndDay else { return nil }
        let day = now.seconds / 86_400
        return state.withLock { state in
            let subject = Subject(user: user, anomaly: .newDevices)
            if let before = state.counted[subject], before.time < day {
                // Those of an earlier day are known now.
                if state.devices.count + before.seen.count > capacity { state.devices = [] }
                state.devices.formUnion(before.seen)
                state.seen -= before.seen.count
                state.counted[subject] = Counted(time: day)
            }
            guard !state.devices.contains(Self.hash(user, device)) else { return nil }
            return count(.newDevices, user, different: device, day, usual: usual, &state)
        }
    }

    /// A deletion that was refused because there were too many; news once an hour.
    func noteMassDeletion(user: String, _ values: KMSPolicy, now: Timestamp) -> Found? {
        let limit = values.deletionsPerUserAndDay ?? values.deletionsPerUserAndHour
        return state.withLock { count(.deletions, user, by: 1, now.seconds / 3600, usual: 0, &$0) }
            .map { _ in Found(anomaly: .deletions, count: limit) }
    }

    private static func isPerson(_ caller: Caller) -> Bool {
        switch caller.capacity {
        case .user, .officer: true
        case .service, .anonymous, .partner: false
        }
    }

    private func count(
        _ anomaly: Anomaly, _ user: String, by number: Int = 1, different thing: String? = nil, _ time: Int64,
        usual: Int, _ state: inout State
    ) -> Found? {
        let subject = Subject(user: user, anomaly: anomaly)
        if state.counted.count >= capacity { makeRoom(anomaly, time, &state) }
        var entry = state.counted[subject] ?? Counted(time: time)
        if entry.time != time {
            state.seen -= entry.seen.count
            entry = Counted(time: time)
        }
        if let thing {
            // Past the number nothing more has to be told apart.
            guard entry.seen.count <= usual, entry.seen.insert(Self.hash(user, thing)).inserted else { return nil }
            state.seen += 1
            if state.seen > capacity { makeRoom(anomaly, time, &state) }
        }
        entry.count += number
        let isNews = entry.count > usual && !entry.isTold
        if isNews { entry.isTold = true }
        state.counted[subject] = entry
        return isNews ? Found(anomaly: anomaly, count: entry.count) : nil
    }

    private func makeRoom(_ anomaly: Anomaly, _ time: Int64, _ state: inout State) {
        // Hours and days are numbers of different size: only those of the same kind can be compared.
        state.counted = state.counted.filter { $0.key.anomaly.isByDay != anomaly.isByDay || $0.value.time >= time }
        state.seen = state.counted.values.reduce(0) { $0 + $1.seen.count }
        if state.counted.count >= capacity || state.seen > capacity { (state.counted, state.seen) = ([:], 0) }
    }

    private static func hash(_ user: String, _ thing: String) -> Int {
        var hasher = Hasher()
        hasher.combine(user)
        hasher.combine(thing)
        return hasher.finalize()
    }
}
