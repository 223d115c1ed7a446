import CalendarBackend
import CalendarProtocol
import Diagnostics
import KMSClient
import ServiceLifecycle
import Synchronization
import WireText

/// Looks after all users of the shares that this node holds: each one's round when its time has come, so many at once.
final class Connector: Service {
    /// How it stands with one user, on this node.
    struct Standing: Sendable {
        var due: ContinuousClock.Instant
        var failures = 0
        var isRunning = false
        var lastSuccess: Timestamp?
        var trouble: DiagnosedError?
        var isCredential = false
        /// A change was told while a round ran, which may have looked before it.
        var isNoticed = false
        /// The user's calendars are over a bound.
        var isTooLarge = false
        /// All is to be told again in the next round.
        var isToBeRetold = false
        /// Looked at more often until then.
        var livelyUntil: ContinuousClock.Instant?
    }

    let parts: ConnectorParts
    let held: HeldShares
    private let interval: Duration
    private let quick: Duration
    private let most: Int
    private let standings = Mutex<[String: Standing]>([:])
    private static let longestPause = Duration.seconds(900)

    /// One change seldom comes alone.
    private static let liveliness = Duration.seconds(120)
    /// Between two rounds that notices bring about, however many come.
    private static let noticePause = Duration.seconds(1)

    init(
        _ parts: ConnectorParts, _ held: HeldShares, interval: Duration, quick: Duration = .seconds(5), concurrent: Int
    ) {
        self.quick = min(quick, interval)
        self.parts = parts
        self.held = held
        self.interval = interval
        most = concurrent
    }

    func run() async throws {
        let (due, sink) = AsyncStream.makeStream(of: Work.self)
        async let clock: Void = {
            try? await cancelWhenGracefulShutdown {
                while !Task.isCancelled {
                    for work in self.take() { sink.yield(work) }
                    try await Task.sleep(for: .milliseconds(200))
                }
            }
            sink.finish()
        }()
        // Rounds that run when the service stops come to their end.
        await withDiscardingTaskGroup { group in
            for await work in due {
                group.addTask {
                    switch work {
                    case .round(let user): await self.round(of: user)
                    case .leave(let id): await self.leave(id)
                    }
                }
            }
        }
        await clock
        await held.leave()
    }

    private enum Work: Sendable {
        case round(ConnectedUser)
        /// Who is not on the list any more.
        case leave(String)
    }

    /// Users whose time has come, as many as there is room for, the longest due first; and who left the list.
    private func take() -> [Work] {
        let users = parts.users.list.users
        let now = ContinuousClock.now
        return standings.withLock { standings in
            let gone = standings.filter { users[$0.key] == nil && !$0.value.isRunning }.keys
            for id in gone { standings[id] = nil }
            var room = most - standings.values.count { $0.isRunning }
            guard room > 0 else { return gone.map { .leave($0) } }
            var due: [(ContinuousClock.Instant, String)] = []
            for id in users.keys where held.holding(of: id) != nil {
                let standing = standings[id] ?? Standing(due: now)
                standings[id] = standing
                if !standing.isRunning, standing.due <= now { due.append((standing.due, id)) }
            }
            due.sort { $0.0 < $1.0 }
            var taken: [Work] = gone.map { .leave($0) }
            for (_, id) in due where room > 0 {
                guard let user = users[id] else { continue }
                standings[id]?.isRunning = true
                taken.append(.round(user))
                room -= 1
            }
            return taken
        }
    }

    // MARK: - Rounds

    private func round(of user: ConnectedUser) async {
        do {
            guard try await perform(user) != nil else { return rest(user.id) }
        } catch {
            // Told by perform.
        }
    }

    /// A round now; nil when this node has not the user.
    @discardableResult
    func perform(_ user: ConnectedUser, everything: Bool = false) async throws -> UserRound.Outcome? {
        let parts = parts
        let held = held
        do {
            let outcome = try await parts.turns.run(user.id) { () -> UserRound.Outcome? in
                guard let holding = held.holding(of: user.id) else { return nil }
                let everything = everything || self.isToBeRetold(user.id)
                let round = UserRound(parts: parts, user: user, holding: holding, everything: everything)
                return try await Self.within(parts.settings.bounds) { try await round.run() }
            }
            if let outcome { succeeded(user.id, outcome) }
            return outcome
        } catch is CancellationError {
            rest(user.id)
            throw CancellationError()
        } catch is UserRound.LostShare {
            rest(user.id)
            return nil
        } catch {
            await failed(user, error)
            throw error
        }
    }

    /// Ends a round that takes too long.
    static func within(
        _ bounds: UserBounds, _ round: @escaping @Sendable () async throws -> UserRound.Outcome
    ) async throws -> UserRound.Outcome {
        try await withThrowingTaskGroup(of: UserRound.Outcome?.self) { group in
            group.addTask { try await round() }
            group.addTask {
                try await Task.sleep(for: bounds.time)
                return nil
            }
            defer { group.cancelAll() }
            guard let first = try await group.next(), let outcome = first else { throw bounds.tookTooLong }
            return outcome
        }
    }

    private func isToBeRetold(_ id: String) -> Bool { standings.withLock { $0[id]?.isToBeRetold ?? false } }

    /// The core forgets the meetings of who is not looked after any more, and so does the database. Keys and counters stay, for who
    /// comes back.
    private func leave(_ id: String) async {
        let parts = parts
        let held = held
        try? await parts.turns.run(id) {
            guard let holding = held.holding(of: id), parts.users.list.users[id] == nil else { return }
            let state = try await parts.state()
            guard var known = try await state.user(id) else { return }
            var changes: [DocumentChange] = []
            for kind in [DocumentKind.calendar, .object, .event] {
                changes += try await parts.store.documents(of: id, kind: kind)
                    .map { .remove(DocumentPlace(owner: id, kind: kind, id: $0.id)) }
            }
            known.state = .off
            known.absence = nil
            (known.objects, known.octets, known.reminders, known.reminded) = (0, 0, [], [:])
            known.since = parts.now()
            changes.append(
                try state.append(
                    .status(userID: id, .off, code: nil, since: known.since, keyURI: known.keyURI), of: id, &known))
            if try await parts.store.write(changes + [try state.put(known, of: id)], under: holding) {
                parts.outbox.raise(holding.share)
            }
        }
    }

    /// Who left the list while nobody looked, or whose share came from another node since.
    func sweep() async {
        for holding in held.all {
            guard let known = try? await parts.store.documents(ofShare: holding.share, kind: .user, limit: 100_000)
            else {
                continue
            }
            for owner in known.map(\.owner) where parts.users.list.users[owner] == nil {
                guard let state = try? await parts.state().user(owner), state.state != .off else { continue }
                await leave(owner)
            }
        }
    }

    private func rest(_ id: String) {
        standings.withLock {
            $0[id]?.isRunning = false
            $0[id]?.due = .now + .seconds(1)
        }
    }

    private func succeeded(_ id: String, _ outcome: UserRound.Outcome) {
        parts.instruments.rounds("ok")
        let (long, short) = (spread(interval), spread(quick))
        let present = parts.now()
        standings.withLock { standings in
            var standing = standings[id] ?? Standing(due: .now)
            standing.isRunning = false
            standing.failures = 0
            standing.trouble = nil
            standing.isCredential = false
            standing.isTooLarge = false
            standing.lastSuccess = present
            let now = ContinuousClock.now
            if outcome.objects > 0 { standing.livelyUntil = now + Self.liveliness }
            let isLively = standing.livelyUntil.map { now < $0 } ?? false
            standing.due = now + (isLively ? short : long)
            if let next = outcome.next {
                standing.due = min(standing.due, now + .milliseconds(max(0, next.milliseconds - present.milliseconds)))
            }
            if standing.isNoticed || outcome.isToBeRetold { standing.due = min(standing.due, now + Self.noticePause) }
            (standing.isNoticed, standing.isToBeRetold) = (false, outcome.isToBeRetold)
            standings[id] = standing
        }
    }

    private func failed(_ user: ConnectedUser, _ error: any Error) async {
        let trouble = Self.diagnosed(error)
        let reason = (error as? CalendarError)?.reason
        parts.instruments.rounds(Self.outcome(reason))
        standings.withLock { standings in
            var standing = standings[user.id] ?? Standing(due: .now)
            standing.isRunning = false
            standing.failures += 1
            standing.trouble = trouble
            standing.isCredential = reason == .credentialsRefused
            var pause = interval * (1 << min(standing.failures - 1, 10))
            if case .rateLimited(let wait?) = reason { pause = max(pause, wait) }
            standing.isNoticed = false
            standing.isTooLarge = trouble.code == .calendarTooLarge
            if (error as? CalendarError)?.isTransient == false || standing.isTooLarge {
                pause = max(pause, interval * 4)
            }
            pause = spread(min(pause, Self.longestPause))
            standing.due = .now + pause
            standings[user.id] = standing
        }
        // What the KMS or the database is the reason of is everybody's, and is told by their checks.
        guard error is CalendarError || [.calendarUsers, .calendarTooLarge].contains(trouble.code) else { return }
        await note(trouble, of: user)
    }

    /// The user's own state, for the core, the client and operators.
    private func note(_ trouble: DiagnosedError, of user: ConnectedUser) async {
        let parts = parts
        let held = held
        try? await parts.turns.run(user.id) {
            guard let holding = held.holding(of: user.id) else { return }
            let state = try await parts.state()
            var known = try await state.user(user.id) ?? UserState()
            guard
                known.state != .error || known.code != trouble.code.rawValue || known.isSilent(at: parts.now())
            else { return }
            let isNew = known.state != .error || known.code != trouble.code.rawValue
            known.state = .error
            known.code = trouble.code.rawValue
            known.trouble = trouble.summary
            known.fix = trouble.hint
            if isNew { known.since = parts.now() }
            known.toldAt = parts.now()
            let event = try state.append(
                .status(
                    userID: user.id, .error, code: trouble.code.rawValue, since: known.since, keyURI: known.keyURI),
                of: user.id, &known)
            if try await parts.store.write([event, try state.put(known, of: user.id)], under: holding) {
                parts.outbox.raise(holding.share)
            }
        }
    }

    static func diagnosed(_ error: any Error) -> DiagnosedError {
        switch error {
        case let error as CalendarError: error.diagnosis
        case let error as DiagnosedError: error
        case let refusal as KMSRefusal: refusal.diagnosed
        default:
            DiagnosedError(.calendarStore, fault: .store, "the connector's database does not work", found: "\(error)")
        }
    }

    private static func outcome(_ reason: CalendarError.Reason?) -> String {
        switch reason {
        case .credentialsRefused: "credentials"
        case .rateLimited: "rate-limited"
        case .serverAway, .serverUnproven: "server-away"
        case nil: "own"
        default: "refused"
        }
    }

    /// A tenth more or less, so that users do not come in step.
    private func spread(_ pause: Duration) -> Duration { pause * Double.random(in: 0.9...1.1) }

    // MARK: - What others ask

    /// The round comes next, whatever its time was.
    func hurry(_ id: String) { standings.withLock { $0[id]?.due = .now } }

    /// The calendar system says that something changed: a round comes next, but for a user whose rounds fail, whom a notice shall
    /// not bring out of the pause.
    func noticed(_ id: String) {
        standings.withLock { standings in
            guard var standing = standings[id], standing.failures == 0 else { return }
            if standing.isRunning {
                standing.isNoticed = true
            } else {
                standing.due = min(standing.due, .now + Self.noticePause)
            }
            standings[id] = standing
        }
    }

    /// Users of a backend whose rounds go well on this node, in order.
    func settled(on backend: String) -> [ConnectedUser] {
        let users = parts.users.list.users
        let known = standings.withLock { standings in
            standings.filter { $0.value.lastSuccess != nil && $0.value.failures == 0 }.map(\.key)
        }
        return known.compactMap { users[$0] }
            .filter { $0.backend == backend && held.holding(of: $0.id) != nil }.sorted { $0.id < $1.id }
    }

    func standing(of id: String) -> Standing? { standings.withLock { $0[id] } }

    struct Summary: Sendable, Equatable {
        var users = 0
        var fine = 0
        var waiting = 0
        var troubled = 0
        var refusedCredentials = 0
        var tooLarge = 0
        /// Who waits longest for a round that ended well, in seconds.
        var lag: Int64 = 0
        var example: DiagnosedError?
    }

    /// Of the users of this node.
    func summary() -> Summary {
        let now = parts.now()
        let overdue = ContinuousClock.now
        return standings.withLock { standings in
            var summary = Summary()
            for (id, standing) in standings where held.holding(of: id) != nil {
                summary.users += 1
                if let trouble = standing.trouble {
                    summary.troubled += 1
                    if standing.isCredential { summary.refusedCredentials += 1 }
                    if standing.isTooLarge { summary.tooLarge += 1 }
                    summary.example = summary.example ?? trouble
                } else if standing.lastSuccess == nil {
                    summary.waiting += 1
                } else {
                    summary.fine += 1
                }
                // Whom the calendar system does not know waits for somebody to do something, and has an alarm of its own.
                guard !standing.isCredential, !standing.isTooLarge else { continue }
                if let last = standing.lastSuccess {
                    summary.lag = max(summary.lag, now.seconds - last.seconds)
                } else if standing.due < overdue {
                    summary.lag = max(summary.lag, (overdue - standing.due).components.seconds)
                }
            }
            return summary
        }
    }
}
