import CoreLink
import GRDB
import Glibc
import LinkProtocol
import SearchProtocol
import Synchronization
import TestServers
import Testing
import WireText

@testable import CloudCore

/// The search service over real links and HTTP: docs/link-protocol.md and docs/core-api.md, Search.
@Suite("Search service of the core")
struct SearchServiceTests {
    /// An indexer that answers questions as the test says, and calls the core.
    private final class Indexer: Sendable {
        let link: CoreLink
        private let running: RunningService
        private let states: AsyncStream<LinkState>
        private let shared: Shared
        var questions: [SearchQuestion] { shared.asked.withLock { $0 } }

        /// What the closures of the link need.
        private final class Shared: Sendable {
            let asked = Mutex<[SearchQuestion]>([])
            let link = Mutex<CoreLink?>(nil)
        }

        init(
            _ bench: CoreBench, organisation: String = "acme", issuer: TestIssuer? = nil, service: String = "indexer",
            scopes: String = "", answer: @escaping @Sendable (SearchQuestion) -> SearchAnswer = { _ in SearchAnswer() }
        ) throws {
            let issuer = issuer ?? bench.issuer
            let (states, sink) = AsyncStream.makeStream(of: LinkState.self)
            self.states = states
            let shared = Shared()
            self.shared = shared
            let link = CoreLink(
                configuration: CoreLinkConfiguration(
                    url: "wss://localhost:\(bench.port)/link/v1", trust: bench.trust, node: "i1", service: service,
                    organisation: organisation, version: "1.0.0", destination: "\(service)://\(organisation)",
                    details: { "{}" }, token: { try issuer.serviceToken(scope: "link:\(service)\(scopes)") }),
                handler: { delivery in
                    guard let question = try? SearchQuestion(decoding: delivery.text) else { return }
                    shared.asked.withLock { $0.append(question) }
                    shared.link.withLock { $0 }?.answer(delivery, text: answer(question).encode())
                }, state: { sink.yield($0) })
            self.link = link
            shared.link.withLock { $0 = link }
            running = RunningService([link])
        }

        func open() async throws -> Indexer {
            for await state in states where state.phase == .open { return self }
            throw CancellationError()
        }

        func call(_ call: SearchCall) async throws -> SearchCall.Reply {
            try SearchCall.Reply(decoding: await octets(call.encode()))
        }

        func octets(_ text: [UInt8], to destination: String = SearchCall.destination) async throws -> [UInt8] {
            switch await link.call(destination, text: text, within: .seconds(20)) {
            case .answered(let octets): return octets
            case .refused(let reason): throw Refused(reason: reason)
            }
        }

        struct Refused: Error, Equatable {
            let reason: LinkCallRefusal
        }

        func stop() async { await running.stop() }
    }

    private static func entry(
        _ room: String, _ message: String, tokens: [UInt64], sequence: UInt64 = 1
    ) throws -> SearchUpload.Item {
        .entry(
            try SearchEntry(
                profile: .list, analyser: AnalyserID(rawValue: 1), room: room, epoch: 1, message: message,
                sequence: sequence, body: .tokens(tokens), mac: [UInt8](repeating: 0, count: 16)))
    }

    private static func lookup(_ room: String, _ token: UInt64) throws -> SearchLookup {
        try SearchLookup(
            id: [UInt8](repeating: 9, count: 16), limit: 20,
            cells: [.init(room: room, epoch: 1, profile: .list, groups: [[SearchToken(high: token, low: 0)]])])
    }

    private static func found(_ indexer: Indexer, _ room: String, _ token: UInt64) async throws -> [SearchHits.Hit] {
        let lookup = try lookup(room, token)
        guard case .hits(let octets) = try await indexer.call(.lookup(lookup)) else { return [] }
        return try SearchHits(decoding: octets, to: lookup).hits
    }

    private struct Room {
        let kms: TestKMSLink
        let alice: TestUser
        let bob: TestUser
        let id: String
        var messages: [String] = []

        init(_ bench: CoreBench, posting texts: [String] = ["one", "two", "three"]) async throws {
            kms = try await bench.kms()
            alice = try await bench.signIn(.alice)
            bob = try await bench.signIn(.bob)
            id = try await bench.createConversation(alice, with: [bob])
            let named = try await bench.send(
                "PUT", "/conversations/\(id)/resource", token: alice.token,
                json: #"{"kmsResourceObjectUrl":"\#(TestTexts.resource)"}"#)
            try #require(named.status == 200)
            for text in texts {
                let answer = try await bench.send(
                    "POST", "/conversations/\(id)/activities", token: alice.token, json: TestTexts.post(text))
                messages.append(try #require(answer.json["id"]?.string))
            }
        }
    }

    private static let words = """
        "query":"\(TestTexts.content("words"))","searchEncryptionKeyUrl":"\(TestTexts.key)"
        """

    @Test("an indexer's entries are found by its tokens, dated by the core, and by no other organisation's indexer")
    func uploadAndLookUp() async throws {
        try await CoreBench.run { bench in
            let room = try await Room(bench)
            let indexer = try await Indexer(bench).open()
            let upload = try SearchUpload(
                room.messages.enumerated().map { try Self.entry(room.id, $1, tokens: [1, UInt64(10 + $0)]) })
            #expect(try await indexer.call(.upload(upload)) == .stored)
            #expect(try await indexer.call(.upload(upload)) == .stored, "again, without effect")
            let hits = try await Self.found(indexer, room.id, 1)
            #expect(Set(hits.map(\.message)) == Set(room.messages))
            #expect(hits.allSatisfy { $0.published > 1_700_000_000_000 })
            #expect(try await Self.found(indexer, room.id, 11).map(\.message) == [room.messages[1]])
            let stranger = try await Indexer(bench, organisation: "other", issuer: bench.foreign).open()
            #expect(try await Self.found(stranger, room.id, 1).isEmpty)
            await stranger.stop()
            guard case .refused = try SearchCall.Reply(decoding: await indexer.octets([9, 9, 9])) else {
                Issue.record("nonsense was taken")
                return
            }
            // It outlasts a restart of the core.
            await indexer.stop()
            await bench.stopCore()
            try await bench.start()
            let again = try await Indexer(bench).open()
            #expect(try await Self.found(again, room.id, 1).count == 3)
            await again.stop()
            await room.kms.stop()
        }
    }

    @Test("workers call the KMS of their own organisation; calendar connectors not the search service")
    func callable() async throws {
        try await CoreBench.run { bench in
            let kms = try await bench.kms { "answer to \($0)" }
            let indexer = try await Indexer(bench).open()
            let answer = try await indexer.octets(Array("hello".utf8), to: RelayBench.destination)
            #expect(String(decoding: answer, as: UTF8.self) == "answer to hello")
            let discovery = try await Indexer(bench, service: "ediscovery").open()
            let calendar = try await Indexer(bench, service: "calendar").open()
            _ = try await discovery.octets(Array("hello".utf8), to: RelayBench.destination)
            for (caller, destination) in [
                (calendar, SearchCall.destination), (indexer, CoreBench.foreignCluster), (indexer, "indexer://acme"),
            ] {
                await #expect(throws: Indexer.Refused(reason: .unknownDestination)) {
                    _ = try await caller.octets([1], to: destination)
                }
            }
            await discovery.stop()
            await calendar.stop()
            await indexer.stop()
            await kms.stop()
        }
    }

    @Test(
        "an eDiscovery worker reads files and, by its account's scope, has messages deleted; it neither uploads nor searches"
    )
    func discovery() async throws {
        try await CoreBench.run { bench in
            let room = try await Room(bench)
            let shared = try await bench.upload([7, 8], as: room.alice)
            let path = "/conversations/\(room.id)/activities"
            #expect(
                try await bench.send("POST", path, token: room.alice.token, json: TestTexts.share(shared)).status == 201
            )
            let id = String(try #require(shared.split(separator: "/").last))
            let reader = try await Indexer(bench, service: "ediscovery").open()
            let part = SearchCall.file(.init(room: room.id, file: id, offset: 1))
            #expect(try await reader.call(part) == .part([8], size: 2))
            let message = SearchCall.remove(.init(room: room.id, id: room.messages[1]))
            for call in [message, .lookup(try Self.lookup(room.id, 1)), .messages([])] {
                guard case .refused = try await reader.call(call) else {
                    Issue.record("\(call) was taken")
                    continue
                }
            }
            let indexer = try await Indexer(bench, scopes: " content:remove").open()
            guard case .refused = try await indexer.call(message) else { throw CancellationError() }
            await reader.stop()

            let worker = try await Indexer(bench, service: "ediscovery", scopes: " content:remove").open()
            for _ in 0..<2 { #expect(try await worker.call(message) == .stored, "twice as once") }
            let page = try await bench.send("GET", path, token: room.bob.token)
            #expect(
                page.json["items"]?.elements?.compactMap { $0["verb"]?.string } == [
                    "post", "tombstone", "post", "share",
                ])
            #expect(try await bench.fed().contains { String(decoding: $0, as: UTF8.self).contains("\"expired\"") })
            let foreign = SearchCall.remove(.init(room: UUIDText.random(), id: room.messages[0]))
            #expect(try await worker.call(foreign) == .stored)
            #expect(try await bench.send("GET", path, token: room.bob.token).text == page.text)
            await worker.stop()
            await indexer.stop()
            await room.kms.stop()
        }
    }

    @Test(
        "a deleted message goes from the conversation and the index, at once and for good; only its author deletes it")
    func deletion() async throws {
        try await CoreBench.run { bench in
            let room = try await Room(bench)
            let indexer = try await Indexer(bench).open()
            let upload = try SearchUpload(room.messages.map { try Self.entry(room.id, $0, tokens: [1]) })
            #expect(try await indexer.call(.upload(upload)) == .stored)
            func delete(_ message: String, _ user: TestUser) async throws -> CoreBench.Answer {
                try await bench.send(
                    "POST", "/conversations/\(room.id)/activities", token: user.token,
                    json: #"{"verb":"delete","object":{"objectType":"activity","id":"\#(message)"}}"#)
            }
            #expect(try await delete(room.messages[1], room.bob).status == 403)
            #expect(try await delete(room.id, room.alice).status == 404)
            let deleted = try await delete(room.messages[1], room.alice)
            #expect(deleted.status == 201 && deleted.json["object"]?["id"]?.string == room.messages[1])
            #expect(try await delete(room.messages[1], room.alice).status == 201, "again, without effect")
            #expect(
                Set(try await Self.found(indexer, room.id, 1).map(\.message)) == [room.messages[0], room.messages[2]])
            #expect(try await indexer.call(.upload(upload)) == .stored, "a late index")
            #expect(try await Self.found(indexer, room.id, 1).count == 2)
            let page = try await bench.send(
                "GET", "/conversations/\(room.id)/activities", token: room.bob.token)
            let verbs = page.json["items"]?.elements?.compactMap { $0["verb"]?.string }
            #expect(verbs == ["post", "tombstone", "post", "delete", "delete"])
            #expect(!page.text.contains(TestTexts.content("two")), "what was said is gone")
            await indexer.stop()
            await room.kms.stop()
        }
    }

    @Test(
        "an edited message has its new text in its old place, by its author alone; deleted, nothing of any text is left"
    )
    func edits() async throws {
        try await CoreBench.run { bench in
            let room = try await Room(bench)
            func edit(_ message: String, _ user: TestUser, _ text: String) async throws -> CoreBench.Answer {
                try await bench.send(
                    "POST", "/conversations/\(room.id)/activities", token: user.token,
                    json: #"{"verb":"edit","encryptionKeyUrl":"\#(TestTexts.key)","object":{"#
                        + #""objectType":"comment","id":"\#(message)","displayName":"\#(TestTexts.content(text))"}}"#)
            }
            func page() async throws -> CoreBench.Answer {
                try await bench.send("GET", "/conversations/\(room.id)/activities", token: room.bob.token)
            }
            let message = room.messages[1]
            #expect(try await edit(message, room.bob, "his").status == 403)
            #expect(try await edit(room.id, room.alice, "none").status == 404)
            let first = try await edit(message, room.alice, "second thought")
            #expect(first.status == 201 && first.json["object"]?["id"]?.string == message)
            #expect(first.json["sequence"]?.integer == 4 && first.json["verb"]?.string == "edit")
            #expect(try await edit(message, room.alice, "third thought").status == 201)
            let plain = try await bench.send(
                "POST", "/conversations/\(room.id)/activities", token: room.alice.token,
                json:
                    #"{"verb":"edit","encryptionKeyUrl":"\#(TestTexts.key)","object":{"id":"\#(message)","displayName":"clear"}}"#
            )
            #expect(plain.status == 400, "what a client forgot to encrypt")
            let shown = try await page().json["items"]?.elements?[1]
            #expect(shown?["object"]?["displayName"]?.string == TestTexts.content("third thought"))
            #expect(shown?["sequence"]?.integer == 2 && shown?["verb"]?.string == "post" && shown?["edited"] != nil)
            #expect(try await !page().text.contains(TestTexts.content("two")))

            let gone = try await bench.send(
                "POST", "/conversations/\(room.id)/activities", token: room.alice.token,
                json: #"{"verb":"delete","object":{"objectType":"activity","id":"\#(message)"}}"#)
            #expect(gone.status == 201)
            #expect(try await edit(message, room.alice, "after all").status == 409)
            let last = try await page()
            #expect(
                last.json["items"]?.elements?.compactMap { $0["verb"]?.string }
                    == ["post", "tombstone", "post", "edit", "edit", "delete"])
            for text in ["two", "second thought", "third thought"] {
                #expect(!last.text.contains(TestTexts.content(text)), "\(text)")
            }
            // Who reads the feed only now learns what who was there learned: each as it was when it was said.
            let fed = try await bench.fed().compactMap { try? JSONDocument($0).root["activity"] }
            let told = fed.map { activity in
                ["one", "two", "three", "second thought", "third thought"].first {
                    activity["object"]?["displayName"]?.string == TestTexts.content($0)
                }
            }
            #expect(
                told.suffix(6) == ["one", "two", "three", "second thought", "third thought", nil], "\(told)")
            #expect(fed.allSatisfy { $0["edited"] == nil && $0["verb"]?.string != "tombstone" })
            // It goes with the items of the feed.
            let store = try #require(bench.core).services.store
            try await store.forgetFeedItems(before: Timestamp.now().adding(seconds: 1))
            let kept = try await store.pool.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM feedBefore") }
            #expect(kept == 0)
            await room.kms.stop()
        }
    }

    @Test(
        "messages whose time is over go with texts, edits, files and entries, and the feed tells of each; others stay")
    func retention() async throws {
        try await CoreBench.run { bench in
            let room = try await Room(bench)
            let indexer = try await Indexer(bench).open()
            let upload = try SearchUpload(room.messages.map { try Self.entry(room.id, $0, tokens: [1]) })
            #expect(try await indexer.call(.upload(upload)) == .stored)
            let path = "/conversations/\(room.id)/activities"
            let shared = try await bench.upload([7], as: room.alice)
            for _ in 0..<2 {
                let share = TestTexts.share(shared)
                #expect(try await bench.send("POST", path, token: room.alice.token, json: share).status == 201)
            }
            let services = try #require(bench.core).services
            let after = Timestamp.now().adding(milliseconds: 5)
            await services.expire(before: after.adding(seconds: -3600))
            #expect(try await Self.found(indexer, room.id, 1).count == 3, "nothing is that old")
            while Timestamp.now() <= after { await Task.yield() }
            let late = try await bench.send("POST", path, token: room.alice.token, json: TestTexts.post("late"))
            #expect(late.status == 201)

            #expect(try await bench.send("GET", shared, token: room.bob.token).body == [7])
            let edit =
                #"{"verb":"edit","encryptionKeyUrl":"\#(TestTexts.key)","object":{"objectType":"comment","#
                + #""id":"\#(room.messages[1])","displayName":"\#(TestTexts.content("late edit"))"}}"#
            #expect(try await bench.send("POST", path, token: room.alice.token, json: edit).status == 201)
            let own = #"{"verb":"delete","object":{"objectType":"activity","id":"\#(room.messages[2])"}}"#
            #expect(try await bench.send("POST", path, token: room.alice.token, json: own).status == 201)
            await services.expire(before: after)
            let page = try await bench.send("GET", path, token: room.bob.token)
            let verbs = page.json["items"]?.elements?.compactMap { $0["verb"]?.string }
            #expect(
                verbs == ["tombstone", "tombstone", "tombstone", "tombstone", "tombstone", "post", "edit", "delete"])
            #expect(!page.text.contains(TestTexts.content("two")) && page.text.contains(TestTexts.content("late")))
            #expect(try await Self.found(indexer, room.id, 1).isEmpty)
            #expect(try await bench.send("GET", shared, token: room.alice.token).status == 404)
            let id = try #require(shared.split(separator: "/").last.flatMap { FileID($0) })
            #expect(access(services.files.path(of: id), F_OK) != 0, "its octets are gone")
            let items = try await services.store.feedItems(of: "acme", after: 0, limit: 100, octets: 1 << 20)
            let told = items.map { String(decoding: $0.octets, as: UTF8.self) }.filter { $0.contains("\"expired\"") }
            #expect(told.count == 4 && told[0].contains(room.messages[0]))
            // Nor of what its author had deleted himself.
            for text in ["two", "three", "late edit"] {
                let encrypted = TestTexts.content(text)
                #expect(try await !bench.fed().contains { String(decoding: $0, as: UTF8.self).contains(encrypted) })
            }
            await services.expire(before: after)
            #expect(
                try await services.store.feedItems(of: "acme", after: 0, limit: 100, octets: 1 << 20).count
                    == items.count,
                "again, without effect")
            await indexer.stop()
            await room.kms.stop()
        }
    }

    @Test(
        "a core that ends behind a deletion takes entry and octets away when it is back; a file shared twice stays once"
    )
    func leftovers() async throws {
        try await CoreBench.run { bench in
            let room = try await Room(bench)
            let indexer = try await Indexer(bench).open()
            let path = "/conversations/\(room.id)/activities"
            let shared = try await bench.upload([7], as: room.alice)
            var shares: [String] = []
            for _ in 0..<2 {
                let made = try await bench.send(
                    "POST", path, token: room.alice.token, json: TestTexts.share(shared))
                shares.append(try #require(made.json["id"]?.string))
            }
            let entries = try (room.messages + shares).map { try Self.entry(room.id, $0, tokens: [1]) }
            #expect(try await indexer.call(.upload(try SearchUpload(entries))) == .stored)
            await indexer.stop()
            let file = try #require(shared.split(separator: "/").last.flatMap { FileID($0) })
            // As far as the transaction, and no step further.
            func remove(_ message: String) async throws {
                let store = try #require(bench.core).services.store
                _ = try await store.remove(message, in: room.id, of: "acme", now: .now())
            }
            try await remove(room.messages[0])
            try await remove(shares[0])
            await bench.stopCore()
            try await bench.start()
            let services = try #require(bench.core).services
            try await services.search.sweep()
            let again = try await Indexer(bench).open()
            #expect(try await Self.found(again, room.id, 1).count == 3)
            #expect(access(services.files.path(of: file), F_OK) == 0, "it is shared still")
            try await remove(shares[1])
            #expect(access(services.files.path(of: file), F_OK) == 0)
            try await services.search.sweep()
            #expect(access(services.files.path(of: file), F_OK) != 0)
            #expect(try await services.store.leftovers().isEmpty)
            await again.stop()
            await room.kms.stop()
        }
    }

    @Test("an indexer walks through rooms and what was said, page by page, of its own organisation alone")
    func histories() async throws {
        try await CoreBench.run { bench in
            let room = try await Room(bench)
            let second = try await bench.createConversation(room.alice, with: [room.bob])
            let indexer = try await Indexer(bench).open()
            let path = "/conversations/\(room.id)/activities"
            func change(_ json: String) async throws {
                #expect(try await bench.send("POST", path, token: room.alice.token, json: json).status == 201)
            }
            try await change(
                #"{"verb":"edit","encryptionKeyUrl":"\#(TestTexts.key)","object":{"objectType":"comment","#
                    + #""id":"\#(room.messages[0])","displayName":"\#(TestTexts.content("new"))"}}"#)
            try await change(#"{"verb":"delete","object":{"objectType":"activity","id":"\#(room.messages[1])"}}"#)
            let both = [SearchCall.Room(id: room.id, last: 4), .init(id: second, last: 0)].sorted { $0.id < $1.id }
            #expect(try await indexer.call(.rooms(after: nil, limit: 10)) == .rooms(both))
            #expect(try await indexer.call(.rooms(after: nil, limit: 1)) == .rooms([both[0]]))
            #expect(try await indexer.call(.rooms(after: both[0].id, limit: 10)) == .rooms([both[1]]))
            func history(_ indexer: Indexer, after: UInt64, _ limit: Int) async throws -> ([String], UInt64?) {
                guard
                    case .history(let octets, let next) = try await indexer.call(
                        .history(room: room.id, after: after, limit: limit))
                else { throw CancellationError() }
                let texts = try octets.map { try JSONDocument($0).root["object"]?["displayName"]?.string ?? "" }
                return (texts, next)
            }
            let (first, next) = try await history(indexer, after: 0, 2)
            #expect(first == [TestTexts.content("new"), TestTexts.content("three")] && next == 3)
            let (rest, end) = try await history(indexer, after: 3, 2)
            #expect(rest == [TestTexts.content("new")] && end == nil, "the edit, and nothing of what was deleted")

            let upload = try SearchUpload([
                Self.entry(room.id, room.messages[0], tokens: [1]), Self.entry(room.id, room.messages[2], tokens: [1]),
                .burial(room: room.id, message: "unknown", sequence: 9),
            ])
            #expect(try await indexer.call(.upload(upload)) == .stored)
            #expect(try await indexer.call(.census(room: room.id)) == .census([.init(epoch: 1, entries: 2)]))
            guard case .entry(let kept)? = upload.items.first else { throw CancellationError() }
            let wanted = [room.messages[0], "unknown", room.messages[1]].map {
                SearchCall.Message(room: room.id, id: $0)
            }
            #expect(try await indexer.call(.entries(wanted)) == .messages([kept.encode(), nil, nil]))
            let burial = SearchUpload.Item.burial(room: room.id, message: room.messages[0], sequence: 9)
            #expect(try await indexer.call(.upload(SearchUpload([burial]))) == .stored)
            #expect(try await indexer.call(.upload(upload)) == .stored, "a late index")
            #expect(try await Self.found(indexer, room.id, 1).map(\.message) == [room.messages[2]])

            let stranger = try await Indexer(bench, organisation: "other", issuer: bench.foreign).open()
            #expect(try await stranger.call(.rooms(after: nil, limit: 10)) == .rooms([]))
            #expect(try await stranger.call(.census(room: room.id)) == .census([]))
            #expect(try await stranger.call(.entries(wanted)) == .messages([nil, nil, nil]))
            #expect(try await history(stranger, after: 0, 10) == ([], nil))
            let discovery = try await Indexer(bench, service: "ediscovery").open()
            for call in [SearchCall.rooms(after: nil, limit: 1), .census(room: room.id)] {
                guard case .refused = try await discovery.call(call) else {
                    Issue.record("\(call) was taken")
                    continue
                }
            }
            await discovery.stop()
            await stranger.stop()
            await indexer.stop()
            await room.kms.stop()
        }
    }

    @Test("a sealed query goes to the indexer with the person's rooms, and its messages come back as they are")
    func query() async throws {
        try await CoreBench.run { bench in
            let room = try await Room(bench)
            let messages = room.messages
            let foreign = SearchAnswer.Item(room: UUIDText.random(), message: messages[0])
            let indexer = try await Indexer(bench) { question in
                SearchAnswer(
                    items: [
                        .init(room: room.id, message: messages[2]), foreign, .init(room: room.id, message: messages[0]),
                    ],
                    leftOut: question.limit == 1 ? [.init(room: room.id, reason: .behind)] : [])
            }.open()
            let answer = try await bench.send("POST", "/search", token: room.bob.token, json: "{\(Self.words)}")
            #expect(answer.status == 200, "\(answer.text)")
            #expect(
                answer.json["items"]?.elements?.compactMap { $0["id"]?.string } == [messages[2], messages[0]],
                "in the order of the indexer, and nothing of another conversation")
            #expect(
                answer.json["items"]?.elements?[0]["object"]?["displayName"]?.string == TestTexts.content("three"))
            #expect(answer.json["items"]?.elements?[0]["encryptionKeyUrl"]?.string == TestTexts.key)
            let question = try #require(indexer.questions.first)
            #expect(question.user == room.bob.id && question.limit == 20 && question.types.isEmpty)
            #expect(question.query == TestTexts.content("words") && question.keyURI == TestTexts.key)
            #expect(question.rooms == [.init(id: room.id, resource: TestTexts.resource)])
            let partial = try await bench.send(
                "POST", "/search", token: room.bob.token,
                json: #"{\#(Self.words),"limit":1,"type":["comment"],"sharedIn":"\#(room.id)"}"#)
            #expect(partial.json["items"]?.elements?.count == 1 && partial.json["partial"]?.boolean == true)
            #expect(partial.json["leftOut"]?.elements?[0]["reason"]?.string == "behind")
            for limit in ["0", "-5", "1000"] {
                _ = try await bench.send(
                    "POST", "/search", token: room.bob.token, json: "{\(Self.words),\"limit\":\(limit)}")
            }
            #expect(indexer.questions.map(\.limit) == [20, 1, 20, 20, 100])
            // Who is in no conversation is asked for all the same: the answer must not tell how many there are.
            let carol = try await bench.signIn(
                TestPerson(id: "cccccccc-0000-4000-8000-000000000004", email: "carol@acme.example.com"))
            _ = try await bench.send("POST", "/search", token: carol.token, json: "{\(Self.words)}")
            #expect(indexer.questions.last?.rooms.isEmpty == true)
            #expect(
                try await bench.send(
                    "POST", "/search", token: carol.token, json: #"{\#(Self.words),"sharedIn":"\#(room.id)"}"#
                ).status == 404)
            await indexer.stop()
            await room.kms.stop()
        }
    }

    @Test("without words the newest messages of one conversation are listed; without an indexer a query is refused")
    func listing() async throws {
        try await CoreBench.run { bench in
            let room = try await Room(bench)
            let listed = try await bench.send(
                "POST", "/search", token: room.bob.token,
                json: #"{"sharedIn":"\#(room.id)","type":["comment"],"limit":2}"#)
            #expect(
                listed.json["items"]?.elements?.compactMap { $0["id"]?.string } == [room.messages[2], room.messages[1]])
            let none = try await bench.send("POST", "/search", token: room.bob.token, json: "{\(Self.words)}")
            #expect(none.status == 503 && none.text.contains("no search indexer"))
            for json in [
                "{}", #"{"sharedIn":"\#(room.id)"}"#,
                #"{"query":"clear words","searchEncryptionKeyUrl":"\#(TestTexts.key)"}"#,
                #"{"query":"\#(TestTexts.content("x"))"}"#, #"{"sharedIn":"nonsense","type":["comment"]}"#,
            ] {
                #expect(
                    try await bench.send("POST", "/search", token: room.bob.token, json: json).status == 400, "\(json)")
            }
            let refusing = try await Indexer(bench) { _ in SearchAnswer(status: 409, reason: "asked before") }.open()
            let refused = try await bench.send("POST", "/search", token: room.bob.token, json: "{\(Self.words)}")
            #expect(refused.status == 409 && refused.text.contains("asked before"))
            await refusing.stop()
            await room.kms.stop()
        }
    }
}

extension CoreBench {
    /// All that the feed of the organisation tells to who begins to read now.
    fileprivate func fed() async throws -> [[UInt8]] {
        try await #require(core).services.store.feedItems(of: "acme", after: 0, limit: 1000, octets: 4 << 20)
            .map(\.octets)
    }
}
