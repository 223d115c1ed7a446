import AuditTrail
import Diagnostics
import JOSESignature
import KeyManagement
import LinkedService
import ServiceLifecycle
import ServiceRuntime
import Synchronization
import WireText

/// Cuts off whom the authorization service lists as disabled: puts them on the durable list, ends their sessions, and says so.
///
/// The list comes with each poll of the revocations (every ten seconds), or at once when `hdsctl user disable` asks for it.
/// What other nodes of the store took is in force here within half a second. Sessions that could not be ended, as with a
/// store that is away, are ended with the next list; until then they are refused, not used.
final class DisabledKeeper: Service {
    struct Parts {
        let sessions: SessionTable
        let audit: DecisionAudit?
        let log: KMSRequestLog
        let metrics: MetricRegistry
        let events: any EventRecorder
    }

    let disabled: DisabledUsers
    /// The lists of all issuers, each followed by this.
    let polls: [RevocationPoll]
    private let take: Taking

    init(_ disabled: DisabledUsers, _ parts: Parts, polls: [RevocationPoll]) {
        self.disabled = disabled
        let take = Taking(disabled, parts)
        self.take = take
        self.polls = polls.map { poll in
            var poll = poll
            let issuer = poll.list.issuer
            poll.follow = { try await take($0.disabled, of: issuer) }
            return poll
        }
        parts.metrics.read(.disabledUsers) { Double(disabled.entries.count) }
    }

    func run() async throws {
        let (disabled, log) = (disabled, take.parts.log)
        let wasKnown = Mutex(true)
        await recurring(every: .milliseconds(DisabledUsers.refreshMilliseconds)) {
            do {
                try await disabled.refresh()
                wasKnown.withLock { $0 = true }
            } catch {
                let isNew = wasKnown.withLock { known in
                    defer { known = false }
                    return known
                }
                if isNew { log.failure(error, while: "reading who is disabled") }
            }
        }
    }

    /// What was done for a list, for the operator's report.
    struct Reading: Sendable {
        let issuer: String
        /// Why it could not be read or followed.
        let trouble: String?
    }

    /// Reads the lists of all customer-controlled issuers now.
    func read() async -> [Reading] {
        var readings: [Reading] = []
        for poll in polls where poll.isCustomerControlled {
            let problem = await poll.poll()
            readings.append(
                Reading(issuer: poll.list.issuer, trouble: problem.map { Loggable(error: $0).text }))
        }
        return readings
    }

    /// How many sessions of a user were ended since this process started.
    func sessionsEnded(of user: String) -> Int { take.ended.withLock { $0[user] ?? 0 } }

    /// Takes one list after the other, whoever brings it.
    private final class Taking: Sendable {
        let disabled: DisabledUsers
        let parts: Parts
        /// Whose sessions are still to be ended.
        let pending = Mutex<Set<String>>([])
        let ended = Mutex<[String: Int]>([:])
        private static let remembered = 1000

        init(_ disabled: DisabledUsers, _ parts: Parts) {
            (self.disabled, self.parts) = (disabled, parts)
        }

        func callAsFunction(_ list: [String: Timestamp], of issuer: String) async throws {
            let difference = try await disabled.apply(list, of: issuer)
            pending.withLock { $0.formUnion(difference.added) }
            for user in pending.withLock({ $0 }).sorted() {
                guard disabled.entry(of: user) != nil else {
                    _ = pending.withLock { $0.remove(user) }
                    continue
                }
                let count = try await parts.sessions.end(ofUser: user)
                _ = pending.withLock { $0.remove(user) }
                ended.withLock { ended in
                    if ended.count >= Self.remembered { ended = [:] }
                    ended[user] = count
                }
                try await note(user, "user-disable", "user-cut-off", issuer, "\(count) sessions ended")
                parts.events.record(
                    .userDisabled,
                    [.userID: parts.log.pseudonym(user), .count: "\(count)", .issuer: Loggable(reviewed: issuer)])
            }
            for user in difference.removed {
                try await note(user, "user-enable", "user-let-in", issuer, nil)
                parts.events.record(
                    .userEnabled, [.userID: parts.log.pseudonym(user), .issuer: Loggable(reviewed: issuer)])
            }
        }

        /// Who is cut off stays so when the trail takes nothing: this opens nothing.
        private func note(
            _ user: String, _ command: String, _ rule: String, _ issuer: String, _ result: String?
        ) async throws {
            var act = OfficeAct(.freeze, by: "issuer:\(issuer)", command: command, rule: rule)
            (act.user, act.result) = (user, result)
            _ = try await parts.audit?.keep(act, now: .now())
        }
    }
}
