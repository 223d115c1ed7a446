import Diagnostics
import KMSClient
import SearchProtocol
import ServiceRuntime
import Synchronization
import TestServers
import Testing

@testable import CoreLink
@testable import IndexerService

/// Several indexers of an organisation, one after another and side by side, over a core that may lie.
@Suite("Several indexers")
struct IndexRunTests {
    @Test("a deletion in a room that this indexer never saw takes away what another one stored, and for good")
    func foreignDeletion() async throws {
        let world = IndexWorld()
        let message = try world.say("about zeppelins", in: "a")
        let first = try IndexWorld.Indexer(world, "first")
        try await first.read()
        let second = try IndexWorld.Indexer(world, "second")
        #expect(try await second.find("zeppelins", in: ["a"]).found == [message])
        let told = world.core.feed().count
        try world.say("", in: "a", verb: "delete", of: message)
        try await second.read(from: told)
        #expect(world.core.entries.map(\.body) == [.tombstone])
        #expect(second.outcomes[.deleted] == 1)
        // What the first one still had to store comes late.
        try await first.run.take([world.core.feed()[0]])
        #expect(world.core.entries.map(\.body) == [.tombstone])
        #expect(try await second.find("zeppelins", in: ["a"]).found.isEmpty)
    }

    @Test("a core that puts another space's message into a room is not believed by an indexer that is new to both")
    func rebound() async throws {
        let world = IndexWorld()
        try world.say("ours", in: "a")
        let first = try IndexWorld.Indexer(world, "first")
        try await first.read()
        let told = world.core.feed().count
        // Named as a resource of the room, then a message of that resource, and only then a genuine one.
        try world.core.say("theirs", in: "a", key: world.key("b"))
        let genuine = try world.say("ours again", in: "a")
        let second = try IndexWorld.Indexer(world, "second")
        let lie = #"{"type":"resource","conversation":"a","kmsResourceObjectUrl":"\#(IndexWorld.resource("b"))"}"#
        try await second.run.take([.init(cursor: 9, octets: Array(lie.utf8))])
        try await second.read(from: told)
        #expect(second.outcomes[.quarantined] == 1 && second.outcomes[.indexed] == 1)
        #expect(try await second.find("again", in: ["a"]).found == [genuine])
        #expect(world.core.entries.count == 2, "nothing of the other space's stands in the room")
    }

    @Test(
        "an epoch ends when it is full, counted over restarts and over indexers; a core that hides entries changes little"
    )
    func fill() async throws {
        let world = IndexWorld()
        let resource = IndexWorld.resource("a")
        func say(_ count: Int) throws -> Int {
            let told = world.core.feed().count
            for number in 0..<count { try world.say("word\(number)", in: "a") }
            return told
        }
        var told = try say(5)
        try await IndexWorld.Indexer(world, "first", messagesPerEpoch: 10).read(from: told)
        told = try say(4)
        try await IndexWorld.Indexer(world, "first", messagesPerEpoch: 10).read(from: told)
        #expect(world.kms.epochs(of: resource) == 1, "9 after a restart")
        told = try say(1)
        try await IndexWorld.Indexer(world, "second", messagesPerEpoch: 10).read(from: told)
        #expect(world.kms.epochs(of: resource) == 2, "10, by another one")
        world.core.hidesCensus.withLock { $0 = true }
        for _ in 0..<2 {
            told = try say(5)
            try await IndexWorld.Indexer(world, "second", messagesPerEpoch: 10).read(from: told)
        }
        #expect(world.kms.epochs(of: resource) == 3, "by its own count")
    }

    @Test("who reads the feed learns words from it, and looks at what was said only when a turn begins")
    func turns() async throws {
        let world = IndexWorld()
        try world.say("xylophone", in: "a")
        let indexer = try IndexWorld.Indexer(world, "one")
        await indexer.walk.round(turn: 1)
        var looked = world.core.calls("history")
        var told = world.core.feed().count
        try world.say("xylograph", in: "a")
        try await indexer.read(from: told)
        await indexer.walk.round(turn: 1)
        #expect(world.core.calls("history") == looked, "it was in the feed")
        // Meanwhile another one has read, and this one's turn comes again.
        try world.say("xylocarp", in: "a")
        told = world.core.feed().count
        try world.say("xylotomy", in: "a")
        try await indexer.read(from: told)
        await indexer.walk.round(turn: 2)
        #expect(world.core.calls("history") == looked + 1)
        looked += 1
        await indexer.walk.round(turn: 2)
        #expect(world.core.calls("history") == looked)
        let stranger = try IndexWorld.Indexer(world, "two")
        try await stranger.read()
        #expect(try await indexer.find("xylo*", in: ["a"]).found.count == 4)
    }

    @Test("a search in 1,000 rooms asks the KMS one thing when the keys are at hand")
    func warm() async throws {
        let world = IndexWorld()
        let rooms = (0..<1_000).map { "room-\($0)" }
        for room in rooms { try world.say("a partition of a server", in: room) }
        let indexer = try IndexWorld.Indexer(world, "one")
        try await indexer.read()
        for _ in 0..<2 {
            _ = world.kms.takeCalls()
            #expect(try await indexer.find("partition server", in: rooms).found.count == 200)
        }
        #expect(world.kms.takeCalls() == ["retrieveMemberships"])
    }

    @Test(
        "an indexer learns the words that another one has indexed, and later only what is new",
        arguments: [false, true])
    func words(reads: Bool) async throws {
        let world = IndexWorld()
        let rooms = (0..<3).map { "room-\($0)" }
        for number in 0..<20 {
            for room in rooms { try world.say("xylo\(["phone", "graph", "carp", "tomy"][number % 4])", in: room) }
        }
        try await IndexWorld.Indexer(world, "first").read()
        let second = try IndexWorld.Indexer(world, "second")
        #expect(try await second.find("xylo*", in: rooms).found.isEmpty, "it knows no word")
        await second.walk.round(reads: reads)
        #expect(try await second.find("xylo*", in: rooms).found.count == 60)
        let before = world.core.calls("history")
        await second.walk.round(reads: reads)
        #expect(world.core.calls("history") == before, "nothing is new")
        // Edits count, deleted ones do not, and what is said goes on with the first.
        let told = world.core.feed().count
        let edited = try world.say("a saxophone", in: rooms[1])
        try world.say("a sousaphone", in: rooms[1], verb: "edit", of: edited)
        let gone = try world.say("a vibraphone", in: rooms[1])
        try world.say("a marimbaphone", in: rooms[1], verb: "edit", of: gone)
        try world.say("", in: rooms[1], verb: "delete", of: gone)
        try await IndexWorld.Indexer(world, "first").read(from: told)
        let restarted = try IndexWorld.Indexer(world, "second")
        await restarted.walk.round(reads: reads)
        #expect(world.core.calls("history") == before + 1)
        #expect(try await restarted.find("sousa*", in: rooms).found == [edited])
        #expect(try await restarted.find("marimba*", in: rooms).found.isEmpty)
    }
}

/// What happens to an index that is made anew while it is in use.
@Suite("Indexing anew")
struct IndexWalkTests {
    private static let rooms = (0..<5).map { "room-\($0)" }
    private static let words = ["alpha", "bravo", "carol", "delta"]

    /// Texts of messages as they are at the end, by id.
    private struct Script {
        var texts: [String: String] = [:]
        let world: IndexWorld

        mutating func go(_ steps: Int, _ random: inout SeededGenerator) throws {
            for _ in 0..<steps {
                let room = IndexWalkTests.rooms.randomElement(using: &random)!
                let text = (0..<2).map { _ in IndexWalkTests.words.randomElement(using: &random)! }.joined(
                    separator: " ")
                let own = texts.keys.filter { $0.hasPrefix(room + "-") }.sorted().randomElement(using: &random)
                switch (Int.random(in: 0..<6, using: &random), own) {
                case (0, let message?):
                    try world.say(text, in: room, verb: "edit", of: message)
                    texts[message] = text
                case (1, let message?):
                    try world.say("", in: room, verb: "delete", of: message)
                    texts[message] = nil
                default: texts[try world.say(text, in: room)] = text
                }
            }
        }

        func expected(_ word: String) -> Set<String> { Set(texts.filter { $0.value.contains(word) }.keys) }
    }

    private func room(_ message: String) -> String { String(message.prefix(6)) }

    @Test(
        "killed at any call and started again, it loses and doubles nothing; rooms that are not done are named",
        arguments: [UInt64](1...8))
    func anew(_ seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let world = IndexWorld()
        var script = Script(world: world)
        try script.go(60, &random)
        try await IndexWorld.Indexer(world, "one", profile: .list).read()
        var told = world.core.feed().count
        var kills = 0
        while true {
            let indexer = try IndexWorld.Indexer(world, "one", profile: .padded)
            guard indexer.progress.pendingFormat != nil else { break }
            // Before its turn, in between, and while people go on.
            for word in Self.words {
                let (found, behind) = try await indexer.find(word, in: Self.rooms)
                #expect(Set(found).count == found.count, "seed \(seed): nothing twice")
                let expected = script.expected(word)
                #expect(Set(found).isSubset(of: expected), "seed \(seed)")
                #expect(
                    expected.subtracting(found).allSatisfy { behind.contains(room($0)) },
                    "seed \(seed): what is not found is in a room that is named")
            }
            world.cutter.cut(after: Int.random(in: 1...25, using: &random))
            await indexer.walk.round(reads: true)
            world.cutter.cut(after: nil)
            kills += 1
            try #require(kills < 200)
            try script.go(2, &random)
            let reader = try IndexWorld.Indexer(world, "one", profile: .padded)
            try await reader.read(from: told)
            told = world.core.feed().count
        }
        #expect(kills > 2)
        let indexer = try IndexWorld.Indexer(world, "one", profile: .padded)
        for word in Self.words {
            let (found, behind) = try await indexer.find(word, in: Self.rooms)
            #expect(found.count == Set(found).count && Set(found) == script.expected(word), "seed \(seed)")
            #expect(behind.isEmpty)
        }
        let living = world.core.entries.filter { $0.body != .tombstone }
        #expect(living.allSatisfy { $0.profile == .padded } && living.count == script.texts.count)
    }

    @Test(
        "a core that claims what can not be stops a walk with an error, and does not let it go round for ever",
        arguments: [
            SearchCall.Reply.rooms([.init(id: "b", last: 1), .init(id: "a", last: 1)]),
            .rooms([.init(id: "a", last: .max), .init(id: "b", last: .max)]), .rooms([.init(id: "", last: 1)]),
            .history([], next: 1), .history([[1]], next: .max - 1), .history([Array("{}".utf8)], next: 0),
            .census([.init(epoch: .max, entries: .max)]), .stored,
        ])
    func lies(_ reply: SearchCall.Reply) async throws {
        let world = IndexWorld()
        for _ in 0..<10 { try world.say("alpha", in: "room-1") }
        world.core.lie.withLock {
            $0 = { call in
                switch (call, reply) {
                case (.rooms, .rooms), (.history, .history), (.census, .census), (.rooms, .stored): reply
                default: nil
                }
            }
        }
        let indexer = try IndexWorld.Indexer(world, "one", messagesPerEpoch: 5)
        try await indexer.read()
        await indexer.walk.round(reads: true)
        if case .census = reply { return }
        #expect(indexer.progress.look().state == .warn)
        world.core.lie.withLock { $0 = nil }
        await indexer.walk.round(reads: true)
        #expect(indexer.progress.look() == .ok("nothing is to be done"))
    }

    @Test("a room that the KMS has under another space does not stop a walk")
    func foreignRoom() async throws {
        let world = IndexWorld()
        for room in ["room-1", "room-2"] { try world.say("alpha", in: room) }
        try await IndexWorld.Indexer(world, "one", profile: .list).read()
        _ = try await world.kms.perform(.createSearchKey(resource: IndexWorld.resource("room-9"), room: "room-0"))
        try world.say("alpha", in: "room-0")
        let indexer = try IndexWorld.Indexer(world, "one", profile: .padded)
        await indexer.walk.round(reads: true)
        #expect(indexer.progress.look() == .ok("nothing is to be done"))
        #expect(try await indexer.find("alpha", in: ["room-1", "room-2"]).found.count == 2)
    }

    @Test("who does not read the feed makes nothing anew")
    func notItsTurn() async throws {
        let world = IndexWorld()
        try world.say("alpha", in: "room-1")
        try await IndexWorld.Indexer(world, "one", profile: .list).read()
        let indexer = try IndexWorld.Indexer(world, "one", profile: .salted)
        await indexer.walk.round(reads: false)
        #expect(indexer.progress.isBehind("room-1") && indexer.progress.look().state == .warn)
        await indexer.walk.round(reads: true)
        #expect(!indexer.progress.isBehind("room-1") && indexer.progress.look() == .ok("nothing is to be done"))
        #expect(try await indexer.find("alpha", in: ["room-1"]).found.count == 1)
    }

    @Test("many epochs become one, also when killed at any call, and a search asks for few", arguments: [UInt64](1...6))
    func compaction(_ seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let world = IndexWorld()
        var script = Script(world: world)
        var told = 0
        for _ in 0..<20 {
            try script.go(8, &random)
            // Each time after a start, as time goes by.
            try await IndexWorld.Indexer(world, "one").read(from: told)
            told = world.core.feed().count
            for room in Self.rooms { world.kms.begin(epochs: 1, of: IndexWorld.resource(room)) }
        }
        let before = try await IndexWorld.Indexer(world, "one").find("alpha", in: Self.rooms)
        #expect(!before.behind.isEmpty, "more epochs than a search looks at")
        var kills = 0
        while true {
            let indexer = try IndexWorld.Indexer(world, "one")
            world.cutter.cut(after: Int.random(in: 1...30, using: &random))
            await indexer.walk.round(reads: true)
            world.cutter.cut(after: nil)
            kills += 1
            try #require(kills < 200)
            if try indexer.store.setting("compaction") != nil { break }
        }
        #expect(kills > 2)
        // Another one, which has not done it, finds the same once it has looked.
        for name in ["one", "two"] {
            let indexer = try IndexWorld.Indexer(world, name)
            await indexer.walk.round(reads: true)
            for word in Self.words {
                let (found, behind) = try await indexer.find(word, in: Self.rooms)
                #expect(found.count == Set(found).count && Set(found) == script.expected(word), "seed \(seed) \(name)")
                #expect(behind.isEmpty, "seed \(seed) \(name)")
            }
        }
        for room in Self.rooms {
            let epochs = Set(world.core.entries.filter { $0.room == room && $0.body != .tombstone }.map(\.epoch))
            #expect(epochs.count <= IndexWalk.mostEpochs, "\(epochs)")
        }
    }
}

extension IndexWalk {
    fileprivate func round(reads: Bool) async { await round(turn: reads ? 1 : nil) }
}
