import CalendarBackend
import CalendarProtocol
import CoreLink
import DatabaseConfiguration
import Diagnostics
import HTTPClient
import LinkProtocol
import LinkedService
import ServiceLifecycle
package import ServiceRuntime
import Synchronization
import WireText

/// Puts the calendar connector together from its configuration: link, KMS, store, backends, rounds, commands.
package enum CalendarAssembly {
    package static let identity = ServiceIdentity(name: "hds-calendar", version: Release.version)
    static let storeCheck = HealthCheck("store", "the connector's database", gate: .required)

    package static func start(
        _ configuration: CalendarServiceConfiguration, _ context: ServiceContext
    ) async throws -> ServicePlan<CalendarServiceConfiguration> {
        let linked = try LinkedService(configuration, context, now: Timestamp.now())
        let pinned = KMSKeyInForce(try configuration.kms.staticKey())
        let users = try UsersInForce(configuration.users, backends: configuration.backends.map(\.id))
        let settings = try MeetingSettings(configuration.meetings, configuration.rounds)
        let store = try await open(configuration, context)
        let kms = try linked.caller(configuration, pinned)
        let health = context.health
        let watch = CalendarWatch(health)
        let keys = CalendarKeys(kms)
        let consents = ConsentHealth(health, .calendarConsent)
        let consent = ServiceConsent(kms) { state in
            if case .refused = state { await keys.forget() }
            consents.report(state)
        }
        let route = linked.network.route(through: linked.material.current.proxy)
        var backends: [String: BackendAccess] = [:]
        for section in configuration.backends {
            backends[section.id] = try BackendAccess(
                section, credentials: context.credentials, route: route, users: { users.list }
            ) { watch.accounts($0) }
        }
        let parts = ConnectorParts(
            store: store, consent: consent, keys: keys, users: users, backends: backends, settings: settings,
            accounts: AccountCache(), turns: UserTurns(), outbox: OutboxFlags(),
            instruments: CalendarInstruments(context.metrics), now: { .now() })
        let held = HeldShares(store, node: configuration.node, outbox: parts.outbox)
        let connector = Connector(
            parts, held, interval: configuration.rounds.interval, quick: configuration.rounds.quickInterval,
            concurrent: configuration.rounds.concurrent)
        let recorder = context.events
        let sender = EventSender(parts: parts, held: held, core: CoreCalendar(linked.links)) { reason in
            recorder.record(.calendarEventRefused, [.reason: Loggable(reviewed: reason.quotedForError)])
        }
        let incoming = CalendarCommands(CommandDesk(parts: parts, held: held), held, linked.links)
        let linkSettings = LinkSettings(
            configuration, version: identity.version,
            destination: { [organisation = configuration.organisation] in "calendar://\(organisation)" })
        let link = linked.link(configuration, linkSettings) { incoming.take($0) }
        health.probe(storeCheck, every: .seconds(15)) {
            do {
                try await store.check()
                return .ok("reading and durable writing work")
            } catch {
                return .fail(Connector.diagnosed(error))
            }
        }
        let control = try configuration.control.map {
            try CalendarControl(
                $0, node: configuration.node, organisation: configuration.organisation, connector,
                identity: identity)
        }
        let metrics = context.metrics
        let expirations = configuration.backends.flatMap { backend in
            backend.accounts.compactMap { account in account.expires.map { (backend.id, $0) } }
        }
        return ServicePlan(
            services: [
                Recurring(every: .seconds(1)) {
                    // Before there is a link the KMS can not be asked.
                    if link.state.phase == .open { await consent.renewIfDue() }
                    await keys.purge()
                },
                Recurring(every: HeldShares.pause) { await held.beat() },
                Recurring(every: .milliseconds(300)) {
                    guard link.state.phase == .open else { return }
                    do {
                        try await sender.work()
                        watch.core(nil)
                    } catch {
                        watch.core(Connector.diagnosed(error))
                        try? await Task.sleep(for: .seconds(2))
                    }
                },
                Recurring(every: .seconds(10)) {
                    watch.users { try users.refresh() }
                    watch.rounds(
                        connector.summary(), beat: held.trouble, interval: configuration.rounds.interval, metrics)
                    watch.expirations(expirations, now: .now())
                }, Recurring(every: .seconds(300)) { await connector.sweep() }, incoming, connector,
                CalendarNotices(connector),
            ] + [control].compactMap { $0 } + [link],
            selfTest: { try await store.check() },
            reload: { new in
                let fresh = try linked.prepare(new, now: .now())
                let key = try new.kms.staticKey()
                try await linked.renew(link, linkSettings, with: fresh) { _ in }
                pinned.use(key)
                _ = try users.refresh()
            }, reloadable: LinkedService.reloadable(CalendarServiceConfiguration.self) + ["kms.certificate"],
            finish: {
                for access in parts.backends.values { await access.backend.close() }
                await store.close()
            })
    }

    private static func open(
        _ configuration: CalendarServiceConfiguration, _ context: ServiceContext
    ) async throws -> any CalendarStore {
        switch configuration.store.backend {
        case .sqlite(let file): try SQLiteCalendarStore(path: file.path)
        case .postgresql(let section):
            try await PostgreSQLCalendarStore(
                section.settings(context.credentials, application: "hds-calendar/\(configuration.node)"))
        }
    }
}

/// Commands that came over the link, several at once; those of one user take their turn. A node that has not the user declines, for
/// the core to ask another.
final class CalendarCommands: Service {
    private let desk: CommandDesk
    private let held: HeldShares
    private let links: LinkHolder
    private let incoming: AsyncStream<LinkDelivery>
    private let sink: AsyncStream<LinkDelivery>.Continuation
    private static let mostWaiting = 200
    private static let atOnce = 16
    /// So that one user's long round does not take all places.
    private static let mostOfOne = 3
    private let waiting = Mutex<[String: Int]>([:])

    init(_ desk: CommandDesk, _ held: HeldShares, _ links: LinkHolder) {
        self.desk = desk
        self.held = held
        self.links = links
        (incoming, sink) = AsyncStream.makeStream(
            of: LinkDelivery.self, bufferingPolicy: .bufferingOldest(Self.mostWaiting))
    }

    func take(_ delivery: LinkDelivery) {
        let user = CommandDesk.user(of: delivery.text) ?? ""
        guard user.isEmpty || held.holding(of: user) != nil else {
            links.link?.decline(delivery, reason: "another connector has this user")
            return
        }
        let isAllowed = waiting.withLock { waiting in
            guard waiting[user, default: 0] < Self.mostOfOne else { return false }
            waiting[user, default: 0] += 1
            return true
        }
        guard isAllowed else {
            links.link?.decline(delivery, reason: "too many commands of this user wait")
            return
        }
        switch sink.yield(delivery) {
        case .enqueued: break
        default:
            done(user)
            links.link?.decline(delivery, reason: "too many commands wait")
        }
    }

    func run() async throws {
        await withGracefulShutdownHandler {
            await withDiscardingTaskGroup { group in
                let room = Room(Self.atOnce)
                for await delivery in incoming {
                    await room.enter()
                    group.addTask {
                        let answer = await self.desk.answer(delivery.text)
                        self.links.link?.answer(delivery, text: answer.encoded())
                        self.done(CommandDesk.user(of: delivery.text) ?? "")
                        await room.leave()
                    }
                }
            }
        } onGracefulShutdown: {
            self.sink.finish()
        }
    }

    private func done(_ user: String) {
        waiting.withLock { waiting in
            waiting[user, default: 1] -= 1
            if waiting[user] == 0 { waiting[user] = nil }
        }
    }

    /// So many at once.
    private actor Room {
        private var free: Int
        private var waiting: CheckedContinuation<Void, Never>?
        init(_ count: Int) { free = count }
        func enter() async {
            if free == 0 { await withCheckedContinuation { waiting = $0 } } else { free -= 1 }
        }
        func leave() {
            if let waiting {
                self.waiting = nil
                waiting.resume()
            } else {
                free += 1
            }
        }
    }
}
