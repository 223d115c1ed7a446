import CoreLink
import Cryptography
import Diagnostics
import KMSClient
import LinkProtocol
import LinkedService
import SearchIndexing
import SearchProtocol
import ServiceLifecycle
package import ServiceRuntime
import Synchronization
import TextAnalysis
import TextExtraction
import WireText

/// Puts the search indexer together from its configuration: link, KMS, feed, index, questions.
package enum IndexerAssembly {
    package static let identity = ServiceIdentity(name: "hds-indexer", version: Release.version)

    package static func start(
        _ configuration: IndexerConfiguration, _ context: ServiceContext
    ) async throws -> ServicePlan<IndexerConfiguration> {
        let now = Timestamp.now()
        let linked = try LinkedService(configuration, context, now: now)
        let pinned = KMSKeyInForce(try configuration.kms.staticKey())
        let store = try SealedStore(path: configuration.index.database.path)
        let pendingFormat = try pendingFormat(configuration.index, store)
        let walked = WalkProgress(
            context.health, pendingFormat: pendingFormat,
            upTo: try store.walk(IndexWalk.Kind.anew.rawValue).flatMap { $0.note == pendingFormat ? $0.room : nil }
                ?? "")
        let kms = try linked.caller(configuration, pinned)
        let search = CoreSearch(linked.links)
        let keys = SpaceKeys(kms, profile: configuration.index.profile, languages: configuration.index.languages)
        let workshop = try IndexWorkshop(store: store)
        let checks = IndexerChecks(context.health)
        let consents = ConsentHealth(context.health, .indexConsent)
        let consent = Consent(kms) { state in
            consents.report(state)
            guard case .refused = state else { return }
            await keys.forget()
            await workshop.forget()
        }
        let files = FileTexts(
            search: search, store: store, extractor: extractor(configuration.index.files),
            count: { [metrics = context.metrics] in metrics.counter(.indexFiles, [$0.name]).increment() })
        checks.look(at: configuration.index.files)
        let desk = try QuestionDesk(
            consent: consent, keys: keys, kms: kms, search: search, store: store, files: files,
            isBehind: { walked.isBehind($0) })
        let settings = LinkSettings(
            configuration, version: identity.version,
            destination: { [organisation = configuration.organisation] in "indexer://\(organisation)" })
        let questions = Questions(desk, linked.links, metrics: context.metrics)
        let link = linked.link(configuration, settings) { questions.take($0) }
        let progress = IndexProgress(context.health, metrics: context.metrics)
        let outcomes = Dictionary(
            uniqueKeysWithValues: IndexRun.Outcome.allCases.map {
                ($0, context.metrics.counter(.indexMessages, [$0.rawValue]))
            })
        let run = IndexRun(
            consent: consent, keys: keys, workshop: workshop, store: store, search: search, files: files,
            messagesPerEpoch: configuration.index.messagesPerEpoch
        ) { outcomes[$0]?.increment() }
        let reader = FeedReader(
            link, feed: "conversations", batch: configuration.index.batch,
            window: UInt32(configuration.index.batch * 2), state: { progress.take($0) }
        ) { items in
            try await run.take(items)
            progress.done(items.count)
        }
        let walk = IndexWalk(
            consent: consent, keys: keys, workshop: workshop, store: store, search: search, run: run, progress: walked)
        let control = try configuration.control.map { section in
            try IndexerControl(
                section, node: configuration.node, organisation: configuration.organisation,
                LeakReporter(
                    consent: consent, keys: keys, store: store, search: search, files: files,
                    profile: configuration.index.profile))
        }
        checks.watch(store, file: configuration.index.database)
        return ServicePlan(
            services: [
                Recurring(every: .seconds(1)) {
                    // Before there is a link the KMS can not be asked.
                    if link.state.phase == .open { await consent.renewIfDue() }
                    await keys.sweep()
                },
                Recurring(every: .seconds(10)) {
                    if link.state.phase == .open { await walk.round(turn: progress.turn) }
                }, questions, reader, link,
            ] + (control.map { [$0] } ?? []),
            selfTest: { try await canary(store) },
            reload: { new in
                let fresh = try linked.prepare(new, now: .now())
                let key = try new.kms.staticKey()
                try await linked.renew(link, settings, with: fresh) { _ in }
                pinned.use(key)
            }, reloadable: LinkedService.reloadable(IndexerConfiguration.self) + ["kms.certificate"],
            finish: { try? store.close() })
    }

    private static func extractor(_ section: FilesSection) -> TextExtractor? {
        guard section.areRead else { return nil }
        var limits = ExtractionLimits()
        limits.documentSize = section.largestMegabytes << 20
        // What the analyser takes of a message's files.
        limits.textSize = 64 << 10
        // The feed waits meanwhile.
        limits.seconds = 5
        return TextExtractor(program: section.reader, limits: limits)
    }

    /// Entries are found by what they were made with. Another analyser, which comes with a release, has everything indexed anew;
    /// another profile or other languages only when the configuration says so, for it may be a slip.
    ///
    /// - Returns: the format to make everything anew in; nil when the index has it.
    private static func pendingFormat(_ section: IndexSection, _ store: SealedStore) throws -> String? {
        let chosen = "\(section.profile.name) \(section.languageCodes.sorted().joined(separator: ","))"
        let format = "\(chosen) analyser \(TextAnalyser.number)"
        let before = try store.first("format", format)
        guard before != format else { return nil }
        guard section.mayIndexAnew || before.hasPrefix(chosen + " analyser ") else {
            throw DiagnosedError(
                "index-format", fault: .configuration, "the index was made with another profile, languages or analyser",
                expected: before, found: format,
                hint:
                    "put index.profile and index.languages back, or set index.index-anew to have everything indexed anew"
            )
        }
        return format
    }

    /// A word through analyser, keys and entry, and the database: no message of a customer is touched.
    private static func canary(_ store: SealedStore) async throws {
        try store.check()
        let epoch = IndexEpoch(
            room: "canary", epoch: 1, profile: .list, languages: .english,
            keys: try SearchKeys(searchKey: try .random()))
        let entry = try EntryBuilder(analyser: try TextAnalyser()).entry(
            for: IndexedMessage(
                id: "canary", sequence: 1, content: SearchableText("canary"), ciphertextDigest: SHA256.hash([])),
            in: epoch)
        guard epoch.keys.isAuthentic(entry), try SearchEntry(decoding: entry.encode()) == entry else {
            throw DiagnosedError("canary", fault: .internal, "an entry is not what it was made of")
        }
    }
}

/// Searches that came over the link, each answered when its turn comes; what waits at a stop is declined, for another indexer.
final class Questions: Service {
    private let desk: QuestionDesk
    private let links: LinkHolder
    private let metrics: MetricRegistry
    private let incoming: AsyncStream<LinkDelivery>
    private let sink: AsyncStream<LinkDelivery>.Continuation
    /// The core sends more elsewhere, or tells its client to try again.
    private static let mostWaiting = 200

    init(_ desk: QuestionDesk, _ links: LinkHolder, metrics: MetricRegistry) {
        self.desk = desk
        self.links = links
        self.metrics = metrics
        (incoming, sink) = AsyncStream.makeStream(
            of: LinkDelivery.self, bufferingPolicy: .bufferingOldest(Self.mostWaiting))
    }

    func take(_ delivery: LinkDelivery) {
        switch sink.yield(delivery) {
        case .enqueued: break
        default: links.link?.decline(delivery, reason: "too many searches wait")
        }
    }

    func run() async throws {
        await withGracefulShutdownHandler {
            for await delivery in incoming {
                let answer = await desk.answer(delivery.text)
                metrics.counter(.indexQueries, ["\(answer.status)"]).increment()
                links.link?.answer(delivery, text: answer.encode())
            }
        } onGracefulShutdown: {
            self.sink.finish()
        }
    }
}
