import Cryptography
import SearchIndexing
import SearchMatching
import SearchProtocol
import SecretMemory
import TestServers
import TestVectors
import TextAnalysis

/// An organisation in memory: messages, their entries in a store, and both ways to search.
final class SearchWorld {
    struct Message {
        let room: String
        let id: String
        let published: Int64
        let text: AnalysedText
    }

    let analyser: TextAnalyser
    let builder: EntryBuilder
    let languages: LanguageSet
    private(set) var epochs: [String: IndexEpoch] = [:]
    private(set) var messages: [String: [Message]] = [:]
    private var vocabulary = MemoryVocabulary()
    private var store: MemorySearchStore
    private var random = SeededGenerator(seed: 1)
    private final class Times { var published: [String: Int64] = [:] }
    private let times = Times()

    init(profile: SearchProfile, languages: LanguageSet, corpus: [ChatMessage]) throws {
        let times = times
        store = MemorySearchStore { _, message in times.published[message] }
        analyser = try TextAnalyser()
        builder = EntryBuilder(analyser: try TextAnalyser())
        self.languages = languages
        var items: [SearchUpload.Item] = []
        for message in corpus {
            let epoch = try epochs[message.room] ?? Self.epoch(message.room, 1, profile, languages)
            epochs[message.room] = epoch
            times.published[message.id] = message.published
            items.append(.entry(try builder.entry(for: Self.indexed(message), in: epoch)))
            builder.forEachWord { vocabulary.add($0, to: message.room) }
            messages[message.room, default: []].append(
                Message(
                    room: message.room, id: message.id, published: message.published,
                    text: analyser.analyse(SearchableText(message.text), languages: languages)))
        }
        for start in stride(from: 0, to: items.count, by: 5000) {
            // Through the wire, as in life.
            let upload = try SearchUpload(Array(items[start..<min(start + 5000, items.count)]))
            store.apply(try SearchUpload(decoding: upload.encode()))
        }
    }

    static func epoch(
        _ room: String, _ number: UInt32, _ profile: SearchProfile, _ languages: LanguageSet
    ) throws -> IndexEpoch {
        IndexEpoch(
            room: room, epoch: number, profile: profile, languages: languages, keys: try keys("\(room)/\(number)"))
    }

    static func keys(_ name: String) throws -> SearchKeys {
        try SearchKeys(searchKey: SymmetricKey(copying: SHA256.hash(Array(name.utf8))))
    }

    static func indexed(_ message: ChatMessage) -> IndexedMessage {
        IndexedMessage(
            id: message.id, sequence: 1, content: SearchableText(message.text),
            ciphertextDigest: SHA256.hash(Array("sealed \(message.id)".utf8)))
    }

    /// Through tokens, lookups, pages and refinement.
    func search(_ query: SearchQuery, rooms: [String], limit: Int = 500) throws -> (found: Set<String>, candidates: Int)
    {
        let planner = QueryPlanner(analyser: analyser, vocabulary: vocabulary)
        let plan = try planner.plan(query, in: rooms.compactMap { epochs[$0] }, limit: limit, using: &random)
        var found: Set<String> = []
        var candidates = 0
        for first in plan.lookups {
            var lookup = first
            while true {
                let asked = try SearchLookup(decoding: lookup.encode())
                let hits = try SearchHits(decoding: store.hits(for: asked).encode(), to: lookup)
                candidates += hits.hits.count
                for hit in hits.hits {
                    let room = lookup.cells[hit.cell].room
                    guard let text = self.text(of: hit.message, in: room), let compiled = plan.compiled[languages]
                    else {
                        continue
                    }
                    if compiled.matches(text, analyser: analyser) { found.insert(hit.message) }
                }
                if hits.next.isEmpty { break }
                lookup = try lookup.page(after: hits.next, id: try RandomBytes.bytes(16))
            }
        }
        return (found, candidates)
    }

    private var byID: [String: AnalysedText] = [:]

    private func text(of message: String, in room: String) -> AnalysedText? {
        if byID.isEmpty { for all in messages.values { for one in all { byID[one.id] = one.text } } }
        return byID[message]
    }

    /// Reads every message of the rooms.
    func read(_ query: SearchQuery, rooms: [String]) -> Set<String> {
        let engine = PlainEngine(analyser: analyser, languages: languages)
        return Set(
            rooms.flatMap { messages[$0] ?? [] }.filter { engine.decide(query, $0.text) ?? false }.map(\.id))
    }
}

/// What a query means, said once more on plain messages and without anything of the index.
struct PlainEngine {
    let analyser: TextAnalyser
    let languages: LanguageSet

    func decide(_ query: SearchQuery, _ text: AnalysedText) -> Bool? {
        switch query {
        case .all(let parts):
            let known = parts.compactMap { decide($0, text) }
            return known.isEmpty ? nil : !known.contains(false)
        case .any(let parts):
            let known = parts.compactMap { decide($0, text) }
            return known.isEmpty ? nil : known.contains(true)
        case .not(let part): return decide(part, text).map { !$0 }
        case .word(let word):
            if let special = TextAnalyser.special(word) { return text.terms.contains(special) }
            let asked = analyser.analyse(SearchableText(word), languages: languages)
            if asked.units.count == 1, case .word = asked.units[0] {
                return asked.terms.isEmpty ? nil : asked.terms.contains(where: text.terms.contains)
            }
            return adjacent(asked, text)
        case .phrase(let words): return adjacent(analyser.analyse(SearchableText(words), languages: languages), text)
        case .prefix(let written), .wildcard(let written), .fuzzy(let written):
            let bare = written.filter { $0 != "*" && $0 != "?" }
            if bare.unicodeScalars.first.flatMap({ TextAnalyser.gramLength(at: $0.value) }) != nil {
                return decide(.word(bare), text)
            }
            return decidePattern(query, text)
        case .fileName: return nil
        }
    }

    private func decidePattern(_ query: SearchQuery, _ text: AnalysedText) -> Bool? {
        switch query {
        case .prefix(let start):
            let start = TextAnalyser.folded(start)
            return hasWord(text) { $0.starts(with: start) }
        case .wildcard(let pattern):
            return hasWord(text) { WordPattern.wildcard(TextAnalyser.folded(pattern)).matches($0) }
        case .fuzzy(let word):
            if word.unicodeScalars.count < 3 { return decide(.word(word), text) }
            let distance = word.unicodeScalars.count < 6 ? 1 : 2
            return hasWord(text) { WordPattern.fuzzy(TextAnalyser.folded(word), distance: distance).matches($0) }
        default: return nil
        }
    }

    private func adjacent(_ asked: AnalysedText, _ text: AnalysedText) -> Bool? {
        let hasCharacters = asked.units.contains { if case .character = $0 { true } else { false } }
        if asked.terms.isEmpty || asked.units.isEmpty { return nil }
        if !hasCharacters, asked.terms.allSatisfy({ $0.termClass != .stem && $0.termClass != .surface }) { return nil }
        let (units, wanted) = (text.units, asked.units)
        guard units.count >= wanted.count else { return false }
        return (0...(units.count - wanted.count)).contains { start in
            wanted.indices.allSatisfy { units[start + $0] == wanted[$0] }
        }
    }

    /// Stop words are in no index.
    private func hasWord(_ text: AnalysedText, _ isMeant: ([UInt8]) -> Bool) -> Bool {
        text.units.contains { unit in
            guard case .word(let word) = unit else { return false }
            return isMeant(word) && !analyser.terms(ofWord: word, languages: languages).isEmpty
        }
    }
}
