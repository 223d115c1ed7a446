import Diagnostics
import LinkedService
import ServiceRuntime
import Synchronization
import WireText

/// How the connector stands, as checks, alarms and gauges. Any thread.
final class CalendarWatch: Sendable {
    static let calendars = HealthCheck("calendars", "rounds over the users' calendars")
    static let coreCheck = HealthCheck("core-events", "events for the calendar service of the core")
    static let usersCheck = HealthCheck("users", "the list of users")
    static let accountsCheck = HealthCheck("accounts", "the accounts at the calendar systems")

    private let health: HealthRegistry
    private struct State {
        var refused: [String: String] = [:]
        var users = 0
        var userTrouble: DiagnosedError?
    }
    private let state = Mutex(State())
    /// Accounts are told of so many days before they end.
    static let warning: Int64 = 14

    init(_ health: HealthRegistry) {
        self.health = health
        for check in [Self.calendars, Self.coreCheck, Self.usersCheck, Self.accountsCheck] { health.declare(check) }
    }

    func core(_ trouble: DiagnosedError?) {
        health.report(
            Self.coreCheck,
            trouble.map { .warn(Loggable($0), fix: "nothing is lost, events wait in the connector's database") }
                ?? .ok("the core has all events"))
    }

    func users(_ refresh: () throws -> Bool) {
        do {
            _ = try refresh()
            health.report(Self.usersCheck, .ok("the list of users is in force"))
        } catch {
            health.report(
                Self.usersCheck,
                .warn(
                    Loggable(Connector.diagnosed(error)),
                    fix: "mend the file; the list as it was before is in force until then"))
        }
    }

    /// An account was refused, or works again.
    func accounts(_ access: BackendAccess) {
        let refusals = access.refusals
        let text = refusals.sorted().map { "account \($0 + 1)" }.joined(separator: ", ")
        state.withLock {
            $0.refused[access.id] =
                refusals.isEmpty
                ? nil
                : "\(access.id): \(text) refused, "
                    + (refusals.count < access.accounts
                        ? "account \(access.current + 1) is used" : "there is no other")
        }
        judgeAccounts()
    }

    private func judgeAccounts() {
        let (refused, users, trouble) = state.withLock { ($0.refused, $0.users, $0.userTrouble) }
        var texts = refused.sorted { $0.key < $1.key }.map(\.value)
        if users > 0 {
            texts.append("\(users) users can not be signed in" + (trouble.map { ": \($0.summary)" } ?? ""))
        }
        guard !texts.isEmpty else {
            health.alarms.clear(.calendarAccount, "all accounts are taken")
            return health.report(Self.accountsCheck, .ok("all accounts are taken"))
        }
        let text = Loggable(reviewed: texts.joined(separator: "; "))
        health.alarms.raise(.calendarAccount, text)
        health.report(
            Self.accountsCheck,
            .warn(text, fix: "hdsctl calendar users tells which, hdsctl calendar why USER what to do"))
    }

    func rounds(
        _ summary: Connector.Summary, beat: DiagnosedError?, interval: Duration, _ metrics: MetricRegistry
    ) {
        for (name, count) in [("ok", summary.fine), ("pending", summary.waiting), ("error", summary.troubled)] {
            metrics.gauge(.calendarUsers, [name]).set(Double(count))
        }
        metrics.gauge(.calendarLag).set(Double(summary.lag))
        state.withLock { ($0.users, $0.userTrouble) = (summary.refusedCredentials, summary.example) }
        judgeAccounts()
        if summary.tooLarge > 0 {
            health.alarms.raise(
                .calendarLimit,
                Loggable(
                    reviewed: "\(summary.tooLarge) users" + (summary.example.map { ", such as: \($0.summary)" } ?? "")))
        } else {
            health.alarms.clear(.calendarLimit, "all calendars are within their bounds")
        }
        if let beat {
            return health.report(
                Self.calendars, .warn(Loggable(beat), fix: "no calendar is read until the database answers"))
        }
        let limit = max(300, interval.components.seconds * 10)
        guard summary.lag <= limit else {
            let text = Loggable(
                reviewed:
                    "a user has waited for \(summary.lag) s, \(summary.troubled) of \(summary.users) users have trouble"
                    + (summary.example.map { ": \($0.summary)" } ?? ""))
            health.alarms.raise(.calendarLag, text)
            return health.report(
                Self.calendars, .warn(text, fix: "hdsctl calendar users tells who, hdsctl calendar why USER what to do")
            )
        }
        health.alarms.clear(.calendarLag, "all calendars are looked at in time")
        health.report(
            Self.calendars,
            .ok("\(reviewed: "\(summary.fine)") of \(reviewed: "\(summary.users)") users of this node are up to date"))
    }

    /// Accounts whose end is known.
    func expirations(_ accounts: [(backend: String, day: Timestamp)], now: Timestamp) {
        let near = accounts.filter { $0.day.seconds - now.seconds < Self.warning * 86_400 }
        guard let first = near.min(by: { $0.day < $1.day }) else {
            return health.alarms.clear(.calendarExpiry, "no account ends soon")
        }
        health.alarms.raise(
            .calendarExpiry, Loggable(reviewed: "an account of \(first.backend) ends at \(first.day.iso8601)"))
    }
}
