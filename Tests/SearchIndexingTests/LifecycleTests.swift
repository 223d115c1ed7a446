import SearchIndexing
import SearchMatching
import SearchProtocol
import TestServers
import Testing
import TextAnalysis

@Suite("Lifecycle of entries")
struct LifecycleTests {
    /// What happens to a room's messages, as entries that the indexer makes of it.
    private struct History {
        var items: [SearchUpload.Item] = []
        /// The text that must be found at the end, by message; nil for one that is gone.
        var texts: [String: String?] = [:]
    }

    private static let words = ["alpha", "bravo", "carol", "delta", "echoes", "foxtrot"]

    /// Messages, edits, deletes and expiries of a room with several epochs, in the order in which they happen.
    private static func history(
        _ profile: SearchProfile, _ epochs: [IndexEpoch], _ random: inout SeededGenerator
    ) throws -> History {
        let builder = EntryBuilder(analyser: try TextAnalyser())
        var history = History()
        var versions: [String: UInt64] = [:]
        for step in 0..<40 {
            let epoch = epochs[min(step * epochs.count / 40, epochs.count - 1)]
            let id = "m\(Int.random(in: 0..<12, using: &random))"
            let text = (0..<3).compactMap { _ in words.randomElement(using: &random) }.joined(separator: " ")
            // What was deleted is not edited any more.
            if case .some(.none) = history.texts[id] { continue }
            let version = versions[id, default: 0] + 1
            versions[id] = version
            if version > 1, Int.random(in: 0..<4, using: &random) == 0 {
                history.items.append(.entry(try builder.tombstone(message: id, sequence: version, in: epoch)))
                history.texts[id] = .some(nil)
            } else {
                let message = EntryTests.message(text, id: id, sequence: version)
                history.items.append(.entry(try builder.entry(for: message, in: epoch)))
                history.texts[id] = text
            }
        }
        return history
    }

    private static func epochs(_ profile: SearchProfile, _ count: UInt32 = 3) throws -> [IndexEpoch] {
        try (1...count).map { try SearchWorld.epoch("room", $0, profile, .english) }
    }

    private static func found(
        _ word: String, in store: inout MemorySearchStore, _ epochs: [IndexEpoch], _ random: inout SeededGenerator
    ) throws -> Set<String> {
        let planner = QueryPlanner(analyser: try TextAnalyser(), vocabulary: nil)
        let plan = try planner.plan(.word(word), in: epochs, limit: 1000, using: &random)
        var messages: [String] = []
        for lookup in plan.lookups { messages += try store.hits(for: lookup).hits.map(\.message) }
        #expect(Set(messages).count == messages.count, "a message is found twice")
        return Set(messages)
    }

    @Test(
        "Edits, deletes, late, repeated and reordered entries leave the last word of each message",
        arguments: SearchProfile.allCases, [UInt64](1...(6)))
    func anyOrder(_ profile: SearchProfile, _ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let epochs = try Self.epochs(profile)
        let history = try Self.history(profile, epochs, &random)
        for _ in 0..<3 {
            // Some come twice, all in any order.
            let repeated = history.items.filter { _ in Bool.random(using: &random) }
            let items = (history.items + repeated).shuffled(using: &random)
            var store = MemorySearchStore { _, _ in 0 }
            for item in items { store.apply(try SearchUpload([item])) }
            for word in Self.words {
                let wanted = history.texts.compactMap { id, text in
                    text?.split(separator: " ").contains(Substring(word)) == true ? id : nil
                }
                let found = try Self.found(word, in: &store, epochs, &random)
                #expect(found == Set(wanted), "seed \(seed), \(profile.name), \(word)")
            }
            let gone = store.entries.filter { $0.body == .tombstone }.map(\.message)
            #expect(Set(gone) == Set(history.texts.filter { $0.value == nil }.keys))
        }
    }

    @Test(
        "Compaction that is broken off anywhere and done again loses and doubles nothing",
        arguments: SearchProfile.allCases, [UInt64](1...4))
    func compaction(_ profile: SearchProfile, _ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let epochs = try Self.epochs(profile, 4)
        let history = try Self.history(profile, Array(epochs.dropLast()), &random)
        let builder = EntryBuilder(analyser: try TextAnalyser())
        var store = MemorySearchStore { _, _ in 0 }
        for item in history.items { store.apply(try SearchUpload([item])) }
        let target = epochs[3]
        // Delete, then upload anew, mixed: each message that lives moves into the last epoch.
        var steps: [SearchUpload.Item] = []
        for entry in store.entries where entry.body != .tombstone {
            guard case .some(.some(let text)) = history.texts[entry.message] else { continue }
            let moved = EntryTests.message(text, id: entry.message, sequence: entry.sequence)
            steps.append(.withdrawal(room: "room", message: entry.message, epoch: entry.epoch))
            steps.append(.entry(try builder.entry(for: moved, in: target)))
        }
        let uploads = steps.filter { if case .entry = $0 { true } else { false } }
        // Killed at a random step, then from the start again, as a cursor that was not kept would do.
        for step in steps.prefix(Int.random(in: 0...steps.count, using: &random)) {
            store.apply(try SearchUpload([step]))
        }
        for step in steps { store.apply(try SearchUpload([step])) }
        for word in Self.words {
            let wanted = history.texts.compactMap { id, text in
                text?.split(separator: " ").contains(Substring(word)) == true ? id : nil
            }
            #expect(try Self.found(word, in: &store, [target], &random) == Set(wanted), "seed \(seed)")
            #expect(try Self.found(word, in: &store, epochs, &random) == Set(wanted), "seed \(seed)")
        }
        #expect(store.entries.count { $0.body != .tombstone } == uploads.count)
    }

    @Test("A room whose key is refused is not asked for, and the others are")
    func refusedRoom() throws {
        var random = SeededGenerator(seed: 3)
        let open = try SearchWorld.epoch("open", 1, .padded, .english)
        let planner = QueryPlanner(analyser: try TextAnalyser(), vocabulary: nil)
        let plan = try planner.plan(.word("alpha"), in: [open], limit: 10, using: &random)
        #expect(plan.lookups.flatMap(\.cells).map(\.room) == ["open"])
    }
}
