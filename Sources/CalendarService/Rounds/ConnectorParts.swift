import CalendarBackend
import CalendarSync
import CalendarTime
import Diagnostics
import LinkedService
import SecretMemory
import Synchronization
import WireText

/// What rounds and commands of all users share.
struct ConnectorParts: Sendable {
    let store: any CalendarStore
    let consent: ServiceConsent
    let keys: CalendarKeys
    let users: UsersInForce
    let backends: [String: BackendAccess]
    let settings: MeetingSettings
    let accounts: AccountCache
    let turns: UserTurns
    let outbox: OutboxFlags
    let instruments: CalendarInstruments
    let now: @Sendable () -> Timestamp

    func access(of user: ConnectedUser) throws -> BackendAccess {
        guard let access = backends[user.backend] else {
            throw DiagnosedError(
                .calendarUsers, fault: .configuration, "the user's backend is not configured", found: user.backend)
        }
        return access
    }

    func state() async throws -> SealedState { SealedState(store: store, key: try await consent.sealingKey()) }

    /// Whose calendar it is to those who read meetings.
    func meetingUser(_ user: ConnectedUser, _ account: CalendarAccount?) -> MeetingUser {
        let zone = ZoneCatalogue.system.rules(named: user.timeZone ?? settings.timeZone) ?? .utc
        return MeetingUser(id: user.id, addresses: user.addresses + (account?.addresses ?? []), zone: zone)
    }

    func reader(_ user: MeetingUser) -> MeetingReader {
        MeetingReader(user: user, keywords: settings.keywords, zones: .system)
    }

    func window() -> Range<Instant> { settings.window.range(at: Instant(seconds: Int(now().seconds))) }
}

/// What of the configuration says how meetings are read and written.
struct MeetingSettings: Sendable {
    let keywords: Keywords
    let joinHosts: JoinHosts
    let window: MeetingWindow
    let languages: [String]
    let timeZone: String
    let header: String?
    let footer: String?
    let auditSeconds: Int64
    /// Hosts of addresses that are rooms as they stand.
    let videoHosts: JoinHosts
    let bounds: UserBounds
    let samples: DriftSamples
    /// Seconds before a meeting without an alarm; 0: none.
    let reminderSeconds: Int

    /// What is usual, for meetings on one host.
    init(joinHosts: [String]) {
        keywords = Keywords()
        self.joinHosts = JoinHosts(joinHosts)
        window = MeetingWindow()
        languages = ["en"]
        timeZone = "UTC"
        (header, footer) = (nil, nil)
        auditSeconds = 86_400
        videoHosts = JoinHosts([])
        bounds = UserBounds(RoundsSection())
        samples = DriftSamples(interval: RoundsSection().sample.components.seconds)
        reminderSeconds = 300
    }

    init(_ section: MeetingsSection, _ rounds: RoundsSection) throws(DiagnosedError) {
        keywords = section.words
        joinHosts = JoinHosts(section.joinHosts)
        window = MeetingWindow(pastDays: section.pastDays, futureDays: section.futureDays)
        languages = section.languages
        timeZone = section.timeZone
        header = section.header
        footer = section.footer
        auditSeconds = rounds.audit.components.seconds
        videoHosts = JoinHosts(section.videoHosts)
        bounds = UserBounds(rounds)
        samples = DriftSamples(interval: rounds.sample.components.seconds)
        reminderSeconds = section.reminder * 60
        guard ZoneCatalogue.system.rules(named: section.timeZone) != nil else {
            throw DiagnosedError(
                "calendar-time-zone", fault: .configuration, "meetings.time-zone is not known on this machine",
                expected: "a name such as Europe/Berlin", found: section.timeZone,
                hint: "install the package tzdata, or correct the name")
        }
    }

    func template(for user: ConnectedUser) -> JoinTemplate {
        JoinTemplate(languages: user.languages + languages, header: header, footer: footer)
    }
}

/// In which shares something waits for the core. Any thread.
final class OutboxFlags: Sendable {
    private let shares = Mutex<Set<Int>>([])
    func raise(_ share: Int) { _ = shares.withLock { $0.insert(share) } }
    func lower(_ share: Int) { _ = shares.withLock { $0.remove(share) } }
    var raised: Set<Int> { shares.withLock { $0 } }
}

/// One piece of work for a user at a time, in the order in which they came.
actor UserTurns {
    private var waiting: [String: [CheckedContinuation<Void, Never>]] = [:]

    /// The work itself runs beside this actor, not on it.
    func run<Result: Sendable>(
        _ user: String, _ body: @Sendable @concurrent () async throws -> Result
    ) async rethrows -> Result {
        if waiting[user] == nil {
            waiting[user] = []
        } else {
            await withCheckedContinuation { waiting[user]?.append($0) }
        }
        defer { next(user) }
        return try await body()
    }

    private func next(_ user: String) {
        guard var line = waiting[user] else { return }
        if line.isEmpty {
            waiting[user] = nil
        } else {
            let first = line.removeFirst()
            waiting[user] = line
            first.resume()
        }
    }
}

/// What servers said of users' calendars, asked for again after an hour.
actor AccountCache {
    /// Of a user as the list said then: another address or backend is another account.
    private var held: [String: (user: ConnectedUser, account: CalendarAccount, until: Timestamp)] = [:]
    private static let freshness: Int64 = 3600

    func account(of user: ConnectedUser, at backend: any CalendarBackend, now: Timestamp) async throws
        -> CalendarAccount
    {
        if let held = held[user.id], held.user == user, now < held.until { return held.account }
        let account = try await backend.discover(BackendUser(id: user.id, address: user.address))
        if held.count > 100_000 { held = [:] }
        held[user.id] = (user, account, now.adding(seconds: Self.freshness))
        return account
    }

    func forget(_ user: String) { held[user] = nil }
}

/// Counters of the connector.
struct CalendarInstruments: Sendable {
    let rounds: @Sendable (_ outcome: String) -> Void
    let events: @Sendable (_ count: Int) -> Void
    let writes: @Sendable (_ outcome: String) -> Void
    let drift: @Sendable (_ what: String, _ count: Int) -> Void

    init(_ metrics: MetricRegistry) {
        rounds = { metrics.counter(.calendarRounds, [$0]).increment() }
        events = { count in for _ in 0..<count { metrics.counter(.calendarEvents).increment() } }
        writes = { metrics.counter(.calendarWrites, [$0]).increment() }
        drift = { what, count in for _ in 0..<count { metrics.counter(.calendarDrift, [what]).increment() } }
    }

    static let none = CalendarInstruments(MetricRegistry())
}
