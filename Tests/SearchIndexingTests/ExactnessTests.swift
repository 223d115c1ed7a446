import SearchIndexing
import SearchProtocol
import TestServers
import TestVectors
import Testing
import TextAnalysis

@Suite("Exactness", .serialized)
struct ExactnessTests {
    /// Queries made of the messages themselves, so that most have hits, and some that have none.
    private static func queries(
        of messages: [ChatMessage], count: Int, seed: UInt64
    ) -> [SearchQuery] {
        var random = SeededGenerator(seed: seed)
        var queries: [SearchQuery] = [
            .word("xyzzyplugh"), .all([.word("ubuntu"), .not(.word("server"))]),
            .any([.word("thank"), .phrase("you can")]), .word("the"), .all([.word("the"), .word("kernel")]),
            .prefix("kern"), .wildcard("in*all"), .fuzzy("instlal"), .word("ssh-server"), .word("京"), .phrase("です"),
        ]
        func words(_ message: ChatMessage) -> [String] {
            message.text.split { $0.isWhitespace }.map(String.init).filter { !$0.isEmpty }
        }
        while queries.count < count + 11 {
            guard let message = messages.randomElement(using: &random),
                let other = messages.randomElement(using: &random)
            else { break }
            let (own, others) = (words(message), words(other))
            guard let word = own.randomElement(using: &random), let second = others.randomElement(using: &random) else {
                continue
            }
            let start = Int.random(in: 0..<own.count, using: &random)
            let pair = own[start..<min(start + Int.random(in: 2...3, using: &random), own.count)].joined(separator: " ")
            let characters = Array(message.text)
            let from = Int.random(in: 0..<characters.count, using: &random)
            let piece = String(characters[from..<min(from + Int.random(in: 1...4, using: &random), characters.count)])
            switch Int.random(in: 0..<8, using: &random) {
            case 0: queries.append(.word(word))
            case 1: queries.append(.all([.word(word), .word(own.randomElement(using: &random) ?? word)]))
            case 2: queries.append(.any([.word(word), .all([.word(second), .word(word)])]))
            case 3: queries.append(.phrase(pair))
            case 4: queries.append(.all([.word(word), .not(.word(second))]))
            case 5: queries.append(.prefix(String(word.prefix(4))))
            case 6: queries.append(message.language == "ja" ? .phrase(piece) : .fuzzy(word))
            default: queries.append(.any([.phrase(pair), .word(second)]))
            }
        }
        return queries.filter(\.isBounded)
    }

    @Test(
        "A search finds what reading every message finds, in every profile",
        arguments: SearchProfile.allCases, ChatCorpus.allCases)
    func exactness(_ profile: SearchProfile, _ corpus: ChatCorpus) throws {
        guard corpus.isAvailable else { return }
        let isLong = LongTests.areWanted
        let messages = try corpus.messages(rooms: isLong ? .max : 24, ofRoom: isLong ? .max : 60)
        let languages = corpus == .english ? LanguageSet.english : LanguageSet(languages: [.english, .german])
        let world = try SearchWorld(profile: profile, languages: languages, corpus: messages)
        let rooms = world.epochs.keys.sorted()
        var total = 0, candidates = 0
        for query in Self.queries(of: messages, count: isLong ? 60 : 40, seed: 11) {
            for count in [10, 50, rooms.count] where count <= rooms.count {
                let some = Array(rooms.prefix(count))
                let read = world.read(query, rooms: some)
                let searched = try world.search(query, rooms: some)
                if searched.found != read, Self.isCapped(query) {
                    // More words match than a query may name: what is found is right, and the plan says it is not all.
                    #expect(searched.found.isSubset(of: read))
                    continue
                }
                #expect(
                    searched.found == read,
                    "\(profile.name), \(count) rooms, \(query): \(searched.found.symmetricDifference(read).prefix(3))")
                total += read.count
                candidates += searched.candidates
            }
        }
        #expect(total > 100, "the queries find too little to prove anything")
        print(
            "exactness \(corpus.rawValue) \(profile.name): \(messages.count) messages, \(total) hits of \(candidates) candidates"
        )
    }

    private static func isCapped(_ query: SearchQuery) -> Bool {
        switch query {
        case .prefix, .wildcard, .fuzzy: true
        case .all(let parts), .any(let parts): parts.contains(where: isCapped)
        case .not(let part): isCapped(part)
        default: false
        }
    }
}
