import SearchIndexing
import SearchProtocol
import TestServers
import TestVectors
import Testing
import TextAnalysis

@Suite("Leak", .serialized, .enabled(if: ChatCorpus.english.isAvailable))
struct LeakTests {
    /// Entries of real messages; with one organisation key all rooms share an epoch.
    private static func samples(
        _ messages: [ChatMessage], _ profile: SearchProfile, oneKey: Bool = false
    ) throws -> [LeakSample] {
        let builder = EntryBuilder(analyser: try TextAnalyser())
        let analyser = try TextAnalyser()
        var epochs: [String: IndexEpoch] = [:]
        let shared = try SearchWorld.keys("organisation")
        return try messages.map { message in
            let room = message.room
            let epoch =
                try epochs[room]
                ?? IndexEpoch(
                    room: room, epoch: 1, profile: profile, languages: .english,
                    keys: oneKey ? shared : try SearchWorld.keys(room))
            epochs[room] = epoch
            let terms = analyser.analyse(SearchableText(message.text), languages: .english).terms
            return LeakSample(
                epoch: epoch, entry: try builder.entry(for: SearchWorld.indexed(message), in: epoch), terms: terms)
        }
    }

    /// In full the gate of the whole corpus with 1 % known; in part fewer rooms, of which he knows more, so that the attack
    /// has as much to go on in each.
    @Test("A known-document attack works on one key for all, fails on padded and sees nothing of salted")
    func gate() throws {
        let isLong = LongTests.areWanted
        let messages = try ChatCorpus.english.messages(rooms: isLong ? .max : 30, ofRoom: isLong ? .max : 250)
        let known = isLong ? 0.01 : 0.05
        func figures(_ name: String, _ profile: SearchProfile, oneKey: Bool = false) throws -> [LeakFigure] {
            let attack = LeakAttack(try Self.samples(messages, profile, oneKey: oneKey))
            return [0, 100, 1000].map { queries in
                let figure = attack.run(known: known, queries: queries, seed: 42)
                print(figure.description(profile: name))
                return figure
            }
        }
        let control = try figures("list, one key for all", .list, oneKey: true)
        let list = try figures("list", .list)
        let padded = try figures("padded", .padded)
        let salted = try figures("salted", .salted)
        // The control: the attack is a real one.
        #expect(control[0].share >= (isLong ? 0.7 : 0.5))
        #expect(list[0].share < control[0].share)
        #expect(padded[0].share < list[0].share / 2)
        #expect(salted[0].right == 0 && salted[0].wrong == 0)
        // Queries tell him more, never less.
        for row in [list, padded, salted] {
            #expect(row[0].share <= row[1].share && row[1].share <= row[2].share)
            #expect(row.allSatisfy { $0.knownMessages + $0.unknownMessages == messages.count })
        }
        #expect(salted[2].share > 0)
    }

    @Test("Who knows nothing names nothing, and who knows all has nothing left to name")
    func ends() throws {
        let messages = try ChatCorpus.english.messages(rooms: 3, ofRoom: 50)
        for profile in SearchProfile.allCases {
            let attack = LeakAttack(try Self.samples(messages, profile))
            #expect(attack.run(known: 0, queries: 100, seed: 1).right == 0)
            let all = attack.run(known: 1, queries: 0, seed: 1)
            #expect(all.occurrences == 0 && all.share == 0)
        }
        let attack = LeakAttack(try Self.samples(messages, .list))
        #expect(attack.run(known: 0.3, queries: 10, seed: 7) == attack.run(known: 0.3, queries: 10, seed: 7))
    }
}
