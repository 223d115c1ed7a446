import CoreLink
import Diagnostics
import GRDB
import LinkProtocol
import Synchronization
import TLSChannel
import TestServers
import Testing
import WireText

@testable import CloudCore

/// Feeds over real links to a real core: docs/link-protocol.md.
@Suite("Feed of an organisation")
struct FeedTests {
    @Test("an indexer gets every event of its organisation once, in order, and only its own organisation's")
    func everything() async throws {
        try await CoreBench.run { bench in
            let people = try await FeedPeople(bench)
            let reader = try FeedNode(bench, "i1")
            try await people.talk(20)
            let items = try await reader.items(23)
            #expect(items.map(\.cursor) == Array(1...23))
            let first = try items[0].json()
            #expect(first["type"]?.string == "conversation")
            #expect(first["conversation"]?["id"]?.string == people.id)
            #expect(
                first["conversation"]?["participants"]?.elements?.compactMap { $0["id"]?.string }
                    == [TestPerson.alice.id, TestPerson.bob.id])
            #expect(try items[1].json()["kmsResourceObjectUrl"]?.string == TestTexts.resource)
            #expect(try items[2].json()["activity"]?["verb"]?.string == "updateKey")
            let sequences = try items[2...].map { try $0.json()["activity"]?["sequence"]?.integer }
            #expect(sequences == (1...21).map { Int64($0) })
            await reader.stop()
            await people.stop()

            // Another organisation's indexer is at the same core and sees nothing of it.
            let stranger = try FeedNode(bench, "x1", organisation: "other", issuer: bench.foreign)
            try await stranger.wait { $0 == .reading(behind: 0) }
            #expect(stranger.handled.isEmpty)
            await stranger.stop()
        }
    }

    @Test("what is not acknowledged comes again after a new link and after a restart of the core; what is, does not")
    func resumes() async throws {
        try await CoreBench.run { bench in
            let people = try await FeedPeople(bench)
            try await people.talk(10)
            // The handler fails at the sixth item: it and all behind it stay unacknowledged.
            let failing = try FeedNode(bench, "i1") { item in
                guard item.cursor < 6 else { throw DiagnosedError("full", fault: .store, "the index is full") }
            }
            try await failing.wait { if case .failing(6, _) = $0 { true } else { false } }
            #expect(failing.handled == Array(1...5))
            await failing.stop()

            await bench.stopCore()
            try await bench.start()
            let next = try FeedNode(bench, "i1")
            let items = try await next.items(8)
            #expect(items.map(\.cursor) == Array(6...13))
            await next.stop()
            await people.stop()
            let idle = try FeedNode(bench, "i1")
            try await idle.wait { $0 == .reading(behind: 0) }
            #expect(idle.handled.isEmpty)
            await idle.stop()
        }
    }

    @Test(
        "however a connection is cut, nothing is missing and the order holds", .timeLimit(.minutes(5)),
        arguments: 0..<4)
    func cutAnywhere(part: Int) async throws {
        try await CoreBench.run { bench in
            let people = try await FeedPeople(bench)
            try await people.talk(30)
            await people.stop()
            let relay = try await FaultRelay(to: bench.port)
            // Behind the handshake and the first items, which come as one record; then in the middle of whatever goes on.
            relay.set(.cutAfter(10_000 + part * 1_300))
            let reader = try FeedNode(bench, "i1", port: relay.port, window: 8)
            // Each link brings the reader some items further, until it has all.
            let items = try await reader.items(upTo: 33)
            var seen: UInt64 = 0
            for item in items {
                #expect(item.cursor <= seen + 1, "a gap before \(item.cursor)")
                seen = max(seen, item.cursor)
            }
            #expect(Set(items.map(\.cursor)) == Set(1...33))
            #expect(relay.accepted > 1, "it was cut")
            await reader.stop()
            await relay.close()
        }
    }

    @Test("a slow reader is sent no more than its credit, and the core's log waits for it")
    func slow() async throws {
        try await CoreBench.run { bench in
            let people = try await FeedPeople(bench)
            let gate = Gate()
            let reader = try FeedNode(bench, "i1", window: 4) { _ in await gate.pass() }
            try await reader.wait { if case .reading = $0 { true } else { false } }
            try await people.talk(40)
            await people.stop()
            // One is with the handler, three wait in memory: the core has sent no fifth.
            let sent = try await eventuallySent(bench, 4)
            #expect(sent == 4)
            gate.open()
            #expect(try await reader.items(43).map(\.cursor) == Array(1...43))
            await reader.stop()
        }
    }

    @Test("the second node of a service waits and goes on where the first one stopped")
    func takesOver() async throws {
        try await CoreBench.run { bench in
            let people = try await FeedPeople(bench)
            let first = try FeedNode(bench, "i1")
            try await first.wait { if case .reading = $0 { true } else { false } }
            let second = try FeedNode(bench, "i2")
            try await second.waitUntilOpen()
            try await people.talk(5)
            _ = try await first.items(8)
            #expect(second.handled.isEmpty, "one node reads at a time")
            await first.cancel()
            try await people.talk(3)
            await people.stop()
            let rest = try await second.items(upTo: 11)
            #expect(rest.map(\.cursor).allSatisfy { $0 >= 1 } && rest.last?.cursor == 11)
            #expect(Set(first.handled).union(second.handled) == Set(1...11))
            await second.stop()
        }
    }

    @Test("services do not disturb each other: each has its own acknowledged cursor, and may start over")
    func separate() async throws {
        try await CoreBench.run { bench in
            let people = try await FeedPeople(bench)
            try await people.talk(3)
            await people.stop()
            let indexer = try FeedNode(bench, "i1")
            _ = try await indexer.items(6)
            let discovery = try FeedNode(bench, "e1", service: "ediscovery")
            #expect(try await discovery.items(6).map(\.cursor) == Array(1...6))
            await discovery.stop()
            indexer.reader.start(from: .after(2))
            #expect(try await indexer.items(10).suffix(4).map(\.cursor) == Array(3...6))
            await indexer.stop()
        }
    }

    @Test("a cursor beyond the log, one before its beginning, and what a token does not allow are told by name")
    func refusals() async throws {
        try await CoreBench.run { bench in
            let people = try await FeedPeople(bench)
            try await people.talk(3)
            await people.stop()
            let beyond = try FeedNode(bench, "i1", from: .after(99))
            let refused = try await beyond.wait { if case .refused = $0 { true } else { false } }
            #expect(refused == .refused(.cursorBeyond, LinkFeedSpan(acknowledged: 0, oldest: 1, last: 6)))
            beyond.reader.start(from: .after(5))
            #expect(try await beyond.items(1).map(\.cursor) == [6])
            await beyond.stop()

            try await bench.core?.services.store.forgetFeedItems(before: Timestamp.now().adding(seconds: 60))
            let gone = try FeedNode(bench, "c1", service: "calendar")
            let forgotten = try await gone.wait { if case .refused = $0 { true } else { false } }
            #expect(forgotten == .refused(.cursorGone, LinkFeedSpan(acknowledged: 0, oldest: 7, last: 6)))
            gone.reader.start(from: .after(6))
            try await gone.wait { $0 == .reading(behind: 0) }
            await gone.stop()

            // Without the scope the core offers no feed; a KMS gets none, whatever its token says.
            let bare = try FeedNode(bench, "i3", scope: "link:indexer")
            try await bare.wait { if case .refused(.notOffered, _) = $0 { true } else { false } }
            await bare.stop()
            let kms = try FeedNode(bench, "k1", service: "kms", scope: "link:kms feed:conversations")
            try await kms.wait { if case .refused(.notOffered, _) = $0 { true } else { false } }
            await kms.stop()
            for (service, scope) in [
                ("indexer", "link:kms"), ("indexer", "link:indexer link:kms"), ("kms", "link:indexer"),
            ] {
                let wrong = try FeedNode(bench, "w1", service: service, scope: scope)
                let state = try await wrong.waitUntilRefused()
                #expect(state.lastError?.code.rawValue == "link-not-allowed", "\(service) with \(scope)")
                await wrong.stop()
            }
        }
    }

    @Test("conversations of before the log are in it, each from its beginning")
    func backfill() async throws {
        let folder = TemporaryFolder()
        let path = folder.path + "/core.sqlite"
        let store = try CloudStore(path: path)
        let (alice, bob) = (UserKey(organisation: "acme", user: "a"), UserKey(organisation: "acme", user: "b"))
        for user in [alice, bob] {
            try await store.register(
                DeviceRecord(id: "d\(user.user)", owner: user, name: "n", type: "t", created: .now()),
                email: "\(user.user)@x", name: user.user)
        }
        let now = Timestamp.now()
        let made = try await store.create(
            .init(id: "c1", creator: alice, displayName: "n", encryptionKeyURL: "k", others: ["b"]), kmsAnswer: "x",
            now: now
        ).0
        var draft = ActivityDraft(conversation: made.id, actor: alice, verb: .post, objectJSON: "{}")
        draft.encryptionKeyURL = "k"
        _ = try await store.append(draft, id: "m1", url: "u", kmsAnswer: nil, now: now) { _, _ in }
        let live = try await store.feedItems(of: "acme", after: 0, limit: 10, octets: 1 << 20)
        #expect(live.count == 2)
        // As a core of before: without the log.
        try await store.pool.write { db in
            try db.execute(
                sql: """
                    DROP TABLE feedLog; DROP TABLE feedEnd; DROP TABLE feedReader;
                    DELETE FROM grdb_migrations WHERE identifier = 'feeds';
                    """)
        }
        try store.close()
        let again = try CloudStore(path: path)
        let items = try await again.feedItems(of: "acme", after: 0, limit: 10, octets: 1 << 20)
        #expect(items.map(\.cursor) == [1, 2])
        #expect(items[1] == live[1])
        let (old, new) = (try JSONDocument(items[0].octets).root, try JSONDocument(live[0].octets).root)
        for member in ["id", "creator", "displayName", "encryptionKeyUrl", "published"] {
            #expect(old["conversation"]?[member]?.string == new["conversation"]?[member]?.string, "\(member)")
        }
        #expect(old["conversation"]?["participants"]?.elements?.compactMap { $0["id"]?.string } == ["a", "b"])
        // The log goes on behind what it was filled with.
        _ = try await again.append(draft, id: "m2", url: "u", kmsAnswer: nil, now: now) { _, _ in }
        #expect(try await again.feedItems(of: "acme", after: 2, limit: 10, octets: 1).map(\.cursor) == [3])
        try again.close()
    }

    @Test("an acknowledgement of what was not sent ends the link")
    func forgedAcknowledgement() throws {
        var sender = FeedSender(after: 5, credit: 2)
        sender.noteSent(6, octets: 10)
        let (isNew, isNewAgain) = (try sender.acknowledge(6), try sender.acknowledge(6))
        #expect(isNew && !isNewAgain)
        #expect(throws: DiagnosedError.self) { try sender.acknowledge(7) }
        #expect(sender.room?.items == 1 && sender.room?.after == 6)
    }

    @Test("one item is sent however long it is, and no second one before it is acknowledged")
    func octets() throws {
        var sender = FeedSender(after: 0, credit: 10)
        #expect(sender.mayTake(FeedSender.maximumOctets + 1))
        sender.noteSent(1, octets: FeedSender.maximumOctets + 1)
        #expect(sender.room == nil && !sender.mayTake(1))
        _ = try sender.acknowledge(1)
        #expect(sender.mayTake(FeedSender.maximumOctets) && sender.room?.items == 9)
    }

    /// How many items the core has sent and not got acknowledged, once it has sent so many.
    private func eventuallySent(_ bench: CoreBench, _ count: Int) async throws -> Int {
        let deadline = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < deadline {
            let sent = bench.core?.services.feeds.unacknowledged ?? 0
            if sent >= count { break }
            try await Task.sleep(for: .milliseconds(20))
        }
        // Whatever else would come has had its turn.
        for _ in 0..<1000 { await Task.yield() }
        return bench.core?.services.feeds.unacknowledged ?? 0
    }
}

/// Two people with a conversation that has a KRO and one activity of a member, and whatever they say.
private struct FeedPeople {
    let bench: CoreBench
    let alice: TestUser
    let kms: TestKMSLink
    let id: String

    init(_ bench: CoreBench) async throws {
        self.bench = bench
        kms = try await bench.kms()
        alice = try await bench.signIn(.alice)
        let bob = try await bench.signIn(.bob)
        id = try await bench.createConversation(alice, with: [bob])
        let named = try await bench.send(
            "PUT", "/conversations/\(id)/resource", token: alice.token,
            json: #"{"kmsResourceObjectUrl":"\#(TestTexts.resource)"}"#)
        try #require(named.status == 200, "\(named.text)")
        try await say(TestTexts.updateKey())
    }

    func talk(_ count: Int) async throws { for number in 0..<count { try await say(TestTexts.post("text \(number)")) } }

    private func say(_ json: String) async throws {
        let answer = try await bench.send("POST", "/conversations/\(id)/activities", token: alice.token, json: json)
        try #require(answer.status == 201, "\(answer.text)")
    }

    func stop() async { await kms.stop() }
}

private final class Gate: Sendable {
    private let state = Mutex<(isOpen: Bool, waiting: [CheckedContinuation<Void, Never>])>((false, []))

    func pass() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                if !state.isOpen { state.waiting.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }

    func open() {
        let waiting = state.withLock { state in
            state.isOpen = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }
}

/// A node of a service that follows the feed; what it has dealt with can be waited for.
private final class FeedNode: Sendable {
    let reader: FeedReader
    private let running: RunningService
    private let handledItems = Handled()
    private let came: AsyncStream<Void>
    private let states: AsyncStream<FeedReader.State>
    private let links: AsyncStream<LinkState>

    init(
        _ bench: CoreBench, _ node: String, organisation: String = "acme", issuer: TestIssuer? = nil,
        service: String = "indexer", scope: String? = nil, from: LinkFeedStart = .acknowledged, port: Int? = nil,
        window: UInt32 = 64, handler: @escaping @Sendable (FeedReader.Item) async throws -> Void = { _ in }
    ) throws {
        let issuer = issuer ?? bench.issuer
        let scope = scope ?? "link:\(service) feed:conversations"
        let destination = service == "kms" ? RelayBench.destination : "\(service)://\(organisation)"
        let details = service == "kms" ? #"{"kmsCluster":"\#(destination)","rsaPublicKey":"{}"}"# : "{}"
        let (links, linkSink) = AsyncStream.makeStream(of: LinkState.self)
        let (states, stateSink) = AsyncStream.makeStream(of: FeedReader.State.self)
        let (came, cameSink) = AsyncStream.makeStream(of: Void.self)
        (self.links, self.states, self.came) = (links, states, came)
        let link = CoreLink(
            configuration: CoreLinkConfiguration(
                url: "wss://localhost:\(port ?? bench.port)/link/v1", trust: bench.trust, node: node, service: service,
                organisation: organisation, version: "1.0.0", destination: destination,
                backoff: .init(shortest: .milliseconds(1), longest: .milliseconds(20), unmended: .seconds(60)),
                details: { details }, token: { try issuer.serviceToken(scope: scope) }),
            handler: { _ in }, state: { linkSink.yield($0) })
        let items = handledItems
        reader = FeedReader(
            link, feed: "conversations", from: from, window: window,
            pauses: .init(shortest: .milliseconds(1), longest: .milliseconds(20)), state: { stateSink.yield($0) }
        ) { item in
            try await handler(item)
            items.append(item)
            cameSink.yield()
        }
        running = RunningService([link, reader])
    }

    private final class Handled: Sendable {
        private let items = Mutex<[FeedReader.Item]>([])
        func append(_ item: FeedReader.Item) { items.withLock { $0.append(item) } }
        var all: [FeedReader.Item] { items.withLock { $0 } }
    }

    var handled: [UInt64] { handledItems.all.map(\.cursor) }

    /// The first items that were dealt with, when there are so many.
    func items(_ count: Int) async throws -> [FeedReader.Item] {
        for await _ in came where handledItems.all.count >= count { return handledItems.all }
        throw CancellationError()
    }

    /// All that were dealt with, when that one was.
    func items(upTo cursor: UInt64) async throws -> [FeedReader.Item] {
        if handledItems.all.contains(where: { $0.cursor == cursor }) { return handledItems.all }
        for await _ in came where handledItems.all.contains(where: { $0.cursor == cursor }) { return handledItems.all }
        throw CancellationError()
    }

    @discardableResult
    func wait(for fits: @Sendable (FeedReader.State) -> Bool) async throws -> FeedReader.State {
        for await state in states where fits(state) { return state }
        throw CancellationError()
    }

    func waitUntilOpen() async throws {
        for await state in links where state.phase == .open { return }
        throw CancellationError()
    }

    func waitUntilRefused() async throws -> LinkState {
        for await state in links where state.phase == .waiting { return state }
        throw CancellationError()
    }

    func stop() async { await running.stop() }
    func cancel() async { await running.cancel() }
}

extension FeedReader.Item {
    fileprivate func json() throws -> JSONNode { try JSONDocument(octets).root }
}
