import CoreLink
import Cryptography
import DatabaseConfiguration
import Diagnostics
import EDiscoveryCollection
import FoundationEssentials
import HTTPClient
import HTTPServer
import KMSClient
import KMSProtocol
import LinkProtocol
import LinkedService
import ServiceLifecycle
package import ServiceRuntime
import Synchronization
import TLSChannel
import WireText

/// Puts the eDiscovery worker together from its configuration: link, KMS, feed, mirror, officers' commands.
package enum EDiscoveryAssembly {
    package static let identity = ServiceIdentity(name: "hds-ediscovery", version: Release.version)
    private static let storeCheck = HealthCheck("store", "the worker's database", gate: .required)

    package static func start(
        _ configuration: EDiscoveryConfiguration, _ context: ServiceContext
    ) async throws -> ServicePlan<EDiscoveryConfiguration> {
        let linked = try LinkedService(configuration, context, now: Timestamp.now())
        let pinned = KMSKeyInForce(try configuration.kms.staticKey())
        let directory = try configuration.mirror.directory.map { place in
            guard let data = FileManager.default.contents(atPath: place.path) else {
                throw DiagnosedError(
                    "directory", fault: .configuration, "the directory of people can not be read", found: place.path)
            }
            return try Directory([UInt8](data))
        }
        let mirror =
            try configuration.mirror.postgresql.map { section in
                Mirror(
                    try PostgreSQLMirror(
                        section.settings(
                            context.credentials, application: "\(identity.name)/\(configuration.node)")))
            } ?? Mirror(path: configuration.mirror.database.path)
        let kms = try linked.caller(configuration, pinned)
        let health = context.health
        let watch = WorkWatch(WorkWatch.collecting, .ediscoveryStuck, fine: "reports are worked at", health)
        let exports = WorkWatch(WorkWatch.exports, .ediscoveryStuck, fine: "exports are made", health)
        let upkeep = WorkWatch(WorkWatch.upkeep, .ediscoveryUpkeep, fine: "files and removals are done", health)
        let checks = ConsentHealth(health, .ediscoveryConsent)
        let consent = Consent(kms) { checks.report($0) }
        let core = CoreContent(links: linked.links)
        let vault = try FileVault(
            folder: configuration.mirror.folder, largest: configuration.mirror.largestFile << 20)
        try vault.sweep { try mirror.unknownFiles($0) }
        let fetching = FileFetching(mirror: mirror, vault: vault, core: core)
        let recorder = context.events
        let commands = OfficerCommands(
            mirror: mirror, directory: directory ?? Directory(), exportFolder: configuration.exports?.folder.path,
            noted: { action, outcome, chain in
                recorder.record(
                    .ediscoveryAction,
                    [
                        .action: Loggable(reviewed: action), .status: Loggable(reviewed: outcome),
                        .digest: Loggable(reviewed: Hexadecimal.encode(chain)),
                    ])
            })
        let sessions = OfficerSessions()
        let desk = OfficerDesk(
            consent: consent, kms: kms, commands: commands, console: configuration.console.map { (sessions, $0.base) })
        let console = try configuration.console.map { section in
            try ConsoleServer(
                sessions: sessions, api: ConsoleAPI(commands: commands, consent: consent, kms: kms, sessions: sessions),
                base: section.base
            ).server(section, context)
        }
        let destroyer = Destroyer(
            consent: consent, mirror: mirror, vault: vault, core: core,
            sign: { digest in
                guard case .signature(let jws) = try await kms.perform(.createSignature(digest: digest), on: nil).body
                else { throw DiagnosedError(.kmsMismatch, fault: .peer, "the KMS gave no signature") }
                return jws
            })
        let holds = HoldKeeper(consent: consent, kms: kms, mirror: mirror)
        let inspector = try configuration.dlp.map { section in
            let scanner = try section.scanner.map { scanner in
                HTTPScanner(
                    client: WebClient(trust: try scanner.ca.map { TLSTrust(roots: try $0.certificates()) }),
                    url: scanner.url.text)
            }
            return Inspector(
                rules: section.rules, scanner: scanner, scannerActions: section.scanner?.actions ?? [],
                consent: consent, kms: kms, mirror: mirror,
                found: { rule, hits in
                    recorder.record(
                        .ediscoveryFinding, [.rule: Loggable(reviewed: rule), .count: Loggable(reviewed: "\(hits)")])
                }, counted: { [metrics = context.metrics] in metrics.counter(.ediscoveryInspected, [$0]).increment() })
        }
        let collected = CollectedFiles(mirror: mirror, vault: vault, fetching: fetching)
        let exporter = try configuration.exports.map {
            try Exporter(
                $0, consent: consent, kms: kms, mirror: mirror, directory: directory ?? Directory(), files: collected)
        }
        let archiver = try configuration.archive.map {
            try Archiver(
                $0, consent: consent, kms: kms, mirror: mirror, directory: directory ?? Directory(), files: collected,
                scratch: configuration.mirror.folder + "-journal")
        }
        let items = context.metrics.counter(.ediscoveryItems)
        let collector = Collector(
            consent: consent, mirror: mirror, kms: kms, directory: directory ?? Directory(),
            files: collected, report: { watch.take($0) },
            counted: { count in for _ in 0..<count { items.increment() } })
        let settings = LinkSettings(
            configuration, version: identity.version,
            destination: { [organisation = configuration.organisation] in "ediscovery://\(organisation)" })
        let incoming = Commands(desk, linked.links, metrics: context.metrics)
        let link = linked.link(configuration, settings) { incoming.take($0) }
        let behind = context.metrics.gauge(.ediscoveryBehind)
        // The feed has one reader at a time, and the core one cursor for all: each mirror goes on behind its own end.
        let again = LateReader()
        // Workers that share their rows go on where the last batch was acknowledged, whoever took it.
        let reader = FeedReader(
            link, feed: "conversations", batch: configuration.mirror.batch,
            window: UInt32(configuration.mirror.batch * 2), kept: { mirror.isShared ? nil : try? mirror.cursor() },
            state: { state in
                mirror.turn(state != .waiting)
                if case .reading(let count) = state { behind.set(Double(count)) }
                incoming.read(state)
                // What the core has forgotten is missing: the gaps are counted in reports.
                if case .refused(.cursorGone, let span) = state {
                    again.start(from: .after(span.oldest - 1), gone: true)
                }
                if case .refused(.cursorBeyond, _) = state { again.start(from: .after(0)) }
            }
        ) { batch in
            let key = try await consent.sealingKey()
            // The rows may come from a backup: then the core has acknowledged more than they have.
            if mirror.isShared, let first = batch.first, let kept = try mirror.cursor(), first.cursor > kept + 1,
                !again.isGone(first.cursor)
            {
                again.start(from: .after(kept))
                throw DiagnosedError(
                    .mirror, fault: .store, "the shared database is behind what was acknowledged",
                    hint: "this passes by itself: the feed is read again from there")
            }
            let placed = batch.compactMap { item in FeedEntry(item.octets).map { (entry: $0, octets: item.octets) } }
            try mirror.add(
                placed, cursor: batch.last?.cursor ?? 0, followsCore: configuration.mirror.followsCore, under: key)
        }
        again.set(reader)
        health.probe(storeCheck, every: .seconds(15)) {
            do {
                try mirror.check()
                return .ok("reading and durable writing work")
            } catch {
                return .fail(error)
            }
        }
        return ServicePlan(
            services: [
                Recurring(every: .seconds(1)) {
                    // Before there is a link the KMS can not be asked.
                    if link.state.phase == .open { await consent.renewIfDue() }
                },
                Recurring(every: .seconds(1)) {
                    if mirror.isOurs { await collector.work() } else { watch.take(nil) }
                },
                Recurring(every: .seconds(2)) {
                    guard mirror.isOurs else { return exports.take(nil) }
                    if let exporter { await exports.attempt([{ try await exporter.work() }]) }
                },
                Recurring(every: .seconds(600)) {
                    // What another worker has destroyed, or this one before it ended.
                    if mirror.isShared { try? vault.sweep(isStart: false) { try mirror.unknownFiles($0) } }
                },
                Recurring(every: .seconds(2)) {
                    guard mirror.isOurs else { return upkeep.take(nil) }
                    guard link.state.phase == .open else { return }
                    // What is in the way of one stops no other.
                    await upkeep.attempt([
                        { try await holds.work() }, { try await destroyer.work() },
                        { while try await fetching.work() {} },
                        { while let inspector, try await inspector.work() {} },
                        { while let archiver, try await archiver.work() {} },
                    ])
                }, incoming, reader,
            ] + [console].compactMap { $0 } + [link],
            selfTest: { try mirror.check() },
            reload: { new in
                let fresh = try linked.prepare(new, now: .now())
                let key = try new.kms.staticKey()
                let shown = try new.console?.tls.map { try WebServer.tls($0.replacement(context.credentials)) }
                try await linked.renew(link, settings, with: fresh) { _ in }
                pinned.use(key)
                if let console, let shown { console.use(shown) }
            }, reloadable: LinkedService.reloadable(EDiscoveryConfiguration.self) + ["kms.certificate", "console.tls"],
            finish: { try? mirror.close() })
    }
}

/// The reader, for what is told of it before it is made.
private final class LateReader: Sendable {
    private let reader = Mutex<FeedReader?>(nil)
    /// The first place that the core still has, when it does not have what was asked for.
    private let oldest = Mutex<UInt64?>(nil)

    func set(_ made: FeedReader) { reader.withLock { $0 = made } }

    func start(from start: LinkFeedStart, gone: Bool = false) {
        if gone, case .after(let place) = start { oldest.withLock { $0 = place + 1 } }
        reader.withLock { $0 }?.start(from: start)
    }

    func isGone(_ first: UInt64) -> Bool { oldest.withLock { $0 } == first }
}

/// Commands that came over the link, each answered when its turn comes. A worker that waits for its turn at the feed declines
/// them: the one that reads has the mirror and the reports.
final class Commands: Service {
    private let isWaiting = Mutex(true)
    private let desk: OfficerDesk
    private let links: LinkHolder
    private let metrics: MetricRegistry
    private let incoming: AsyncStream<LinkDelivery>
    private let sink: AsyncStream<LinkDelivery>.Continuation
    private static let mostWaiting = 50

    init(_ desk: OfficerDesk, _ links: LinkHolder, metrics: MetricRegistry) {
        self.desk = desk
        self.links = links
        self.metrics = metrics
        (incoming, sink) = AsyncStream.makeStream(
            of: LinkDelivery.self, bufferingPolicy: .bufferingOldest(Self.mostWaiting))
    }

    func read(_ state: FeedReader.State) { isWaiting.withLock { $0 = state == .waiting } }

    func take(_ delivery: LinkDelivery) {
        guard !isWaiting.withLock({ $0 }) else {
            links.link?.decline(delivery, reason: "another worker reads the feed")
            return
        }
        switch sink.yield(delivery) {
        case .enqueued: break
        default: links.link?.decline(delivery, reason: "too many commands wait")
        }
    }

    func run() async throws {
        await withGracefulShutdownHandler {
            for await delivery in incoming {
                let answer = await desk.answer(delivery.text)
                metrics.counter(.ediscoveryCommands, ["\(answer.status)"]).increment()
                links.link?.answer(delivery, text: answer.encoded())
            }
        } onGracefulShutdown: {
            self.sink.finish()
        }
    }
}
