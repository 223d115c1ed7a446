import Cryptography
package import Diagnostics
package import HTTPServer
import LinkProtocol
import NIOCore
package import ServiceLifecycle
import Synchronization
import WebSocketChannel
package import WireText

/// The reference cloud core: what the appliance and its clients need from the cloud, for demonstration, tests and
/// drills (docs/core-api.md, docs/link-protocol.md).
///
/// It relays and stores strings that it has no key to. There is no code in it that decrypts: it imports no module
/// that could, and a test of the imports says so. In the threat model it is the hostile part.
package final class CloudCore: Service {
    let services: CoreServices
    let links: LinkEndpoint
    let eventSockets: EventEndpoint
    private let tokens: CloudTokens
    private let linkKey: LinkKey

    /// How long the wrapped answer to a step is kept for a client that asks again.
    private static let answerSeconds: Int64 = 3_600

    /// Opens database and files. `clock` counts milliseconds and never jumps, for everything that expires; `wall` is
    /// the time on the wire.
    package init(
        configuration: CloudCoreConfiguration, recorder: (any EventRecorder)? = nil,
        metrics: MetricRegistry = MetricRegistry(), hostile: HostileRelay? = nil,
        clock: @escaping @Sendable () -> Int64 = { KernelClock.monotonicMilliseconds() },
        wall: @escaping @Sendable () -> Timestamp = { .now() }
    ) throws {
        let feeds = LateFeeds()
        let store = try CloudStore(path: configuration.databasePath) { feeds.wake($0) }
        let files = try FileStore(directory: configuration.filesPath)
        let search = SearchService(
            index: try SearchIndex(path: configuration.searchPath), wall: wall, store: store, files: files)
        let events = EventHub(clock: clock, wall: wall)
        let linkKey = LinkKey(configuration.linkKey)
        self.linkKey = linkKey
        // Answers of an earlier run must not meet strings of this one, so ids start at the time.
        let relay = RelayHub(
            relay: Relay(
                limits: Self.limits(configuration), firstID: UInt64(max(0, Timestamp.now().milliseconds)) << 20,
                callable: configuration.callable, admissions: configuration.admissions,
                sign: { hello, welcome in linkKey.sign(hello, welcome) }),
            hostile: hostile, clock: clock, wall: wall
        ) { device, text in
            events.push(.kmsMessage(String(decoding: text, as: UTF8.self), wall: wall()), to: device)
        }
        let hub = FeedHub(store: store, relay: relay, wall: wall)
        feeds.set(hub)
        tokens = CloudTokens(
            organisations: configuration.organisations, believesAll: hostile != nil, wall: wall)
        services = CoreServices(
            configuration: configuration, urls: CoreURLs(base: configuration.publicURL), store: store, files: files,
            relay: relay, feeds: hub, search: search,
            calendar: CalendarService(store: store, events: events, wall: wall),
            words: ClientWords(events: events, wall: wall), events: events,
            webhooks: WebhookSender(store: store, settings: configuration.webhooks, wall: wall), devices: DeviceCache(),
            tokens: tokens, wall: wall
        )
        links = LinkEndpoint(services: services, recorder: recorder)
        eventSockets = EventEndpoint(services: services)
        publish(metrics)
    }

    private static func limits(_ configuration: CloudCoreConfiguration) -> Relay.Limits {
        var limits = Relay.Limits()
        limits.heartbeatSeconds = configuration.heartbeatSeconds
        return limits
    }

    /// Takes over what may change while the core runs: by what authorization services are judged and the core's accounts
    /// there, and what signs welcomes. The rest of the configuration counts from the next start.
    package func renew(_ configuration: CloudCoreConfiguration) {
        tokens.renew(configuration.organisations)
        linkKey.replace(configuration.linkKey)
    }

    /// Takes up what earlier runs have stored. To be called once, before the first request.
    package func prepare() async throws {
        for organisation in services.configuration.organisations {
            if let details = try await services.store.details(of: organisation.kmsCluster) {
                services.relay.setDetails(details, of: organisation.kmsCluster)
            }
            if let epoch = try await services.store.epoch(of: organisation.kmsCluster) {
                services.relay.setEpoch(epoch, of: organisation.kmsCluster)
            }
            if let list = try await services.store.nodeList(of: organisation.kmsCluster) {
                services.relay.setNodeList(list, of: organisation.kmsCluster)
            }
        }
    }

    /// The server of all routes and sockets. Limits of bodies are the core's own.
    package func server(_ configuration: WebServerConfiguration) -> WebServer {
        var configuration = configuration
        configuration.maximumBody = EncryptionRoutes.maximumBodyBytes
        configuration.largeBodies = ["/files/": Int(FileStore.maximumFileBytes)]
        let seconds = services.configuration.heartbeatSeconds
        let heartbeat = WebSocketHeartbeat(interval: .seconds(seconds), deadline: .seconds(3 * seconds))
        let link = WebSocketRoute(
            CoreURLs.linkPath,
            limits: WebSocketLimits(
                maximumFrameBytes: LinkFrame.maximumBytes, maximumMessageBytes: LinkFrame.maximumBytes,
                heartbeat: heartbeat)
        ) { [links] request in
            do {
                let grant = try await links.grant(authorization: request.header("authorization"))
                let nonce = try RandomBytes.bytes(LinkEndpoint.nonceBytes)
                return .accept(headers: [(LinkEndpoint.nonceField, Base64URL.encode(nonce))]) {
                    await links.serve($0, grant: grant, nonce: nonce)
                }
            } catch {
                return Self.refusal(error)
            }
        }
        let events = WebSocketRoute(
            CoreURLs.eventsPath + "*",
            limits: WebSocketLimits(
                maximumFrameBytes: EventFrame.maximumBytes, maximumMessageBytes: EventFrame.maximumBytes)
        ) { [eventSockets] request in
            let id = request.path.dropFirst(CoreURLs.eventsPath.count).lowercased()
            guard UUIDText.isValid(id) else { return .refuse(404, message: "there is no such event socket") }
            return .accept { await eventSockets.serve($0, device: id) }
        }
        return WebServer(
            configuration: configuration, router: CoreRouter(services: services).router(), webSockets: [link, events])
    }

    /// Stands behind the server: a stop reaches it first, and it holds the links open for a moment, so that requests
    /// that wait for a KMS get their answers.
    package var forwardDrain: any Service { ForwardDrain(relay: services.relay) }

    private static func refusal(_ error: any Error) -> UpgradeDecision {
        guard let refusal = error as? Refusal else { return .refuse(500, message: "the core failed") }
        var answer = UpgradeRefusal(status: refusal.status.rawValue, message: refusal.message)
        if refusal.status == .unauthorized { answer.headers.append(("WWW-Authenticate", "Bearer")) }
        if let seconds = refusal.retryAfterSeconds { answer.headers.append(("Retry-After", "\(seconds)")) }
        return .refuse(answer)
    }

    /// What was edited or deleted is told as it was for so long, also by a feed that goes back for ever.
    private static let changedSeconds: Int64 = 30 * 86_400

    /// What was under way when a meeting was deleted has arrived by then.
    private static let deletedMeetingSeconds: Int64 = 86_400
    /// Connectors tell of each of their users once a day.
    private static let silentCalendarSeconds: Int64 = 30 * 86_400
    /// A yearly meeting keeps its room.
    private static let unusedRoomSeconds: Int64 = 400 * 86_400

    /// Keeps time for the relay and the event sockets until graceful shutdown. Has to outlive the web server.
    package func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var round: Int64 = 0
            try? await self.services.search.sweep()
            while !Task.isCancelled {
                try await Task.sleep(for: .milliseconds(250))
                self.services.relay.tick()
                self.services.events.tick()
                await self.services.webhooks.tick()
                round += 1
                if round % 240 == 0 {
                    try? await self.services.search.sweep()
                    try? await self.services.store.forgetAnswers(
                        before: self.services.wall().adding(seconds: -Self.answerSeconds))
                    try? await self.services.store.forgetWebhooks(endedBefore: self.services.wall())
                    if let life = self.services.configuration.messageSeconds {
                        await self.services.expire(before: self.services.wall().adding(seconds: -life))
                    }
                    try? await self.services.store.forgetChanged(
                        before: self.services.wall().adding(seconds: -Self.changedSeconds))
                    try? await self.services.store.forgetMeetings(
                        deletedBefore: self.services.wall().adding(seconds: -Self.deletedMeetingSeconds),
                        unusedSince: self.services.wall().adding(seconds: -Self.unusedRoomSeconds))
                    await self.services.calendar.forgetSilent(for: Self.silentCalendarSeconds)
                    if let life = self.services.configuration.feedSeconds {
                        try? await self.services.store.forgetFeedItems(
                            before: self.services.wall().adding(seconds: -life))
                    }
                }
            }
        }
    }

    /// After the web server has ended.
    package func close() async {
        await tokens.close()
        await services.webhooks.close()
        await services.feeds.close()
        try? services.search.index.close()
        try? services.store.close()
    }

    /// Links that are open, by organisation, for health.
    package var openLinks: [(organisation: String, count: Int)] {
        services.configuration.organisations.map { ($0.id, services.relay.openLinkCount(of: $0.kmsCluster)) }
    }

    /// The nodes that are linked, by organisation.
    package var linkedNodes: [(organisation: String, nodes: [LinkedNode])] {
        services.configuration.organisations.map { ($0.id, services.relay.nodes(of: $0.kmsCluster)) }
    }

    /// Nodes that were refused for an epoch that is over, by organisation.
    package var supersededNodes: [(organisation: String, node: String, epoch: Int64)] {
        services.configuration.organisations.compactMap { organisation in
            services.relay.superseded(of: organisation.kmsCluster).map { (organisation.id, $0.node, $0.epoch) }
        }
    }

    /// A proof that the database answers, for health and the watchdog.
    package func check() async throws { try await services.store.check() }

    private func publish(_ metrics: MetricRegistry) {
        let services = services
        metrics.read(.coreLinks) {
            Double(
                services.configuration.organisations.reduce(0) { $0 + services.relay.openLinkCount(of: $1.kmsCluster) })
        }
        metrics.read(.coreEventSockets) { Double(services.events.socketCount) }
        let outcomes: [(String, @Sendable (Relay.Counts) -> Int)] = [
            ("delivered", \.delivered), ("answered", \.answered), ("declined", \.declined), ("dropped", \.dropped),
            ("expired", \.expired),
            ("redelivered", \.redelivered), ("late", \.late), ("refused", \.refused), ("cancelled", \.cancelled),
            ("call-refused", \.callsRefused),
        ]
        for (outcome, count) in outcomes {
            metrics.read(.coreDeliveries, [outcome]) { Double(count(services.relay.counts)) }
        }
    }
}

/// The feeds, which need the store that tells them what was logged.
private final class LateFeeds: Sendable {
    private let hub = Mutex<FeedHub?>(nil)
    func set(_ hub: FeedHub) { self.hub.withLock { $0 = hub } }
    func wake(_ organisation: String) { hub.withLock { $0 }?.wake(organisation) }
}

/// What signs welcomes, as it is at the moment.
private final class LinkKey: Sendable {
    private let key: Mutex<PrivateKey?>

    init(_ key: PrivateKey?) { self.key = Mutex(key) }

    func replace(_ new: PrivateKey?) { key.withLock { $0 = new } }

    func sign(_ hello: LinkHello, _ welcome: LinkWelcome) -> [UInt8]? {
        guard let key = key.withLock({ $0 }), let octets = welcome.signedOctets(for: hello) else { return nil }
        return try? key.sign(octets, algorithm: .es256)
    }
}

private struct ForwardDrain: Service {
    static let deadline = Duration.seconds(3)
    let relay: RelayHub

    func run() async throws {
        try? await gracefulShutdown()
        relay.stopForwarding()
        let end = ContinuousClock.now + Self.deadline
        while relay.waitingCallers > 0, ContinuousClock.now < end { try await Task.sleep(for: .milliseconds(10)) }
    }
}
