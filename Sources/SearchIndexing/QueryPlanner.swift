internal import Cryptography
import Diagnostics
package import SearchProtocol
package import TextAnalysis

/// What the search service is asked for a query, and what the answer will lack.
package struct SearchPlan: Sendable {
    package enum Note: Hashable, Sendable {
        /// The query has nothing that an index knows: stop words, or only what a message must not have.
        case asksNothing
        /// So many words of the room match the pattern that only some were looked for.
        case expansionCapped(room: String)
        /// A room has more epochs that meet the time than a query may have: the oldest were left out.
        case epochsLeftOut(room: String, count: Int)
    }

    /// One question for each part of what has to be asked; usually one.
    package let lookups: [SearchLookup]
    package let notes: Set<Note>
    /// For the decision on what comes back, by the languages of an epoch.
    package let compiled: [LanguageSet: CompiledQuery]

    package func compiled(for epoch: IndexEpoch) -> CompiledQuery? { compiled[epoch.languages] }
}

/// Makes lookups of queries: words x rooms x epochs as tokens, in random order.
///
/// What the service is asked always covers what is wanted; `CompiledQuery.matches` on the message decides. For one thread at
/// a time, as its analyser.
package struct QueryPlanner {
    package struct Limits: Sendable {
        /// Epochs of a room in one query; a room that has more is due for compaction.
        package var epochsOfRoom = 16
        /// Words that a pattern may stand for.
        package var expansion = 64
        package init() {}
    }

    private let analyser: TextAnalyser
    private let vocabulary: (any SearchVocabulary)?
    private let limits: Limits

    package init(analyser: TextAnalyser, vocabulary: (any SearchVocabulary)?, limits: Limits = Limits()) {
        self.analyser = analyser
        self.vocabulary = vocabulary
        self.limits = limits
    }

    /// - Parameter epochs: those that the asker may search and that meet the time, in any order.
    package func plan(
        _ query: SearchQuery, in epochs: [IndexEpoch], published: ClosedRange<Int64> = .min ... .max, limit: Int,
        using random: inout some RandomNumberGenerator
    ) throws -> SearchPlan {
        var notes: Set<SearchPlan.Note> = []
        var compiled: [LanguageSet: CompiledQuery] = [:]
        var shared: [LanguageSet: Asked] = [:]
        var weighed: [LanguageSet: [[(term: Term, variants: Int)]]] = [:]
        var cells: [SearchLookup.Cell] = []
        for epoch in capped(epochs, &notes) {
            let own: CompiledQuery
            if let known = compiled[epoch.languages] {
                own = known
            } else {
                own = CompiledQuery(query, languages: epoch.languages, analyser: analyser)
                compiled[epoch.languages] = own
            }
            let asked: Asked
            if let known = shared[epoch.languages] {
                asked = known
            } else {
                var isCapped = false
                var usesVocabulary = false
                asked = try self.asked(own.root, own.languages, epoch.room, &usesVocabulary, &isCapped)
                if isCapped { notes.insert(.expansionCapped(room: epoch.room)) }
                if !usesVocabulary { shared[epoch.languages] = asked }
            }
            guard case .clauses(let clauses) = asked else {
                if case .never = asked {} else { notes.insert(.asksNothing) }
                continue
            }
            // What is the same for all rooms is worked out once.
            let terms =
                weighed[epoch.languages]
                ?? clauses.map { $0.map { ($0, VariantTable.count(of: $0.octets[...])) } }
            weighed[epoch.languages] = shared[epoch.languages] == nil ? nil : terms
            try Self.addCells(of: terms, epoch, to: &cells, using: &random)
        }
        cells.shuffle(using: &random)
        return SearchPlan(
            lookups: try Self.lookups(cells, published: published, limit: limit), notes: notes, compiled: compiled)
    }

    private func capped(_ epochs: [IndexEpoch], _ notes: inout Set<SearchPlan.Note>) -> [IndexEpoch] {
        guard epochs.count > limits.epochsOfRoom else { return epochs }
        var byRoom: [String: [IndexEpoch]] = [:]
        for epoch in epochs { byRoom[epoch.room, default: []].append(epoch) }
        for (room, own) in byRoom where own.count > limits.epochsOfRoom {
            notes.insert(.epochsLeftOut(room: room, count: own.count - limits.epochsOfRoom))
            byRoom[room] = Array(own.sorted { $0.epoch > $1.epoch }.prefix(limits.epochsOfRoom))
        }
        return byRoom.values.flatMap { $0 }
    }

    // MARK: From a query to clauses

    /// What the index is asked for a part of a query: each clause has to be met by one of its terms.
    private enum Asked {
        /// The part says nothing: it is left out.
        case nothing
        /// The index can not tell: every message may be meant.
        case anything
        /// No message of the room can be meant.
        case never
        case clauses([[Term]])
    }

    private func asked(
        _ node: CompiledQuery.Node, _ languages: LanguageSet, _ room: String, _ usesVocabulary: inout Bool,
        _ isCapped: inout Bool
    ) throws -> Asked {
        switch node {
        case .ignored: return .nothing
        case .not: return .anything
        case .terms(let clauses, _): return .clauses(clauses)
        case .pattern(let pattern, _):
            usesVocabulary = true
            guard let vocabulary else { return .never }
            let matches = try vocabulary.words(of: room, matching: pattern, limit: limits.expansion)
            if !matches.isComplete { isCapped = true }
            let terms = Set(matches.words.flatMap { analyser.terms(ofWord: $0, languages: languages) }).sorted()
            return terms.isEmpty ? .never : .clauses([terms])
        case .all(let parts):
            var clauses: [[Term]] = []
            var isAnything = false
            for part in parts {
                switch try asked(part, languages, room, &usesVocabulary, &isCapped) {
                case .nothing: break
                case .anything: isAnything = true
                case .never: return .never
                case .clauses(let own): clauses += own
                }
            }
            return clauses.isEmpty ? (isAnything ? .anything : .nothing) : .clauses(clauses)
        case .any(let parts):
            var alternatives: [[[Term]]] = []
            var isNever = false
            for part in parts {
                switch try asked(part, languages, room, &usesVocabulary, &isCapped) {
                case .nothing: break
                case .anything: return .anything
                case .never: isNever = true
                case .clauses(let own): alternatives.append(own)
                }
            }
            guard let first = alternatives.first else { return isNever ? .never : .nothing }
            return .clauses(alternatives.dropFirst().reduce(first, Self.either))
        }
    }

    /// (a1 and a2) or (b1 and b2) is every ai or bj; where that are too many, some of them, which asks for more.
    private static func either(_ left: [[Term]], _ right: [[Term]]) -> [[Term]] {
        func union(_ one: [Term], _ other: [Term]) -> [Term] { Set(one).union(other).sorted() }
        if left.count * right.count <= 8 { return left.flatMap { one in right.map { union(one, $0) } } }
        let pairs = zip(left.sorted { $0.count < $1.count }, right.sorted { $0.count < $1.count })
        return pairs.prefix(8).map(union)
    }

    // MARK: From clauses to tokens

    private static func addCells(
        of clauses: [[(term: Term, variants: Int)]], _ epoch: IndexEpoch, to cells: inout [SearchLookup.Cell],
        using random: inout some RandomNumberGenerator
    ) throws(DiagnosedError) {
        let most = SearchLookup.maximumTokensOfGroup
        var groups: [[SearchToken]] = []
        groups.reserveCapacity(clauses.count)
        for clause in clauses {
            var group: [SearchToken] = []
            for (term, variants) in clause {
                for variant in 0..<(epoch.profile == .padded ? variants : 1) {
                    group.append(epoch.keys.token(of: term.octets, variant: variant))
                }
            }
            group.sort()
            groups.append(group)
        }
        // Without a group more is asked for, and never less; one group has to stay.
        let small = groups.filter { $0.count <= most }
        if !small.isEmpty {
            var chosen = Array(small.prefix(SearchLookup.maximumGroups))
            chosen.shuffle(using: &random)
            cells.append(
                try SearchLookup.Cell(room: epoch.room, epoch: epoch.epoch, profile: epoch.profile, groups: chosen))
            return
        }
        guard let large = groups.first else { return }
        for start in stride(from: 0, to: large.count, by: most) {
            let part = Array(large[start..<min(start + most, large.count)])
            cells.append(
                try SearchLookup.Cell(room: epoch.room, epoch: epoch.epoch, profile: epoch.profile, groups: [part]))
        }
    }

    private static func lookups(
        _ cells: [SearchLookup.Cell], published: ClosedRange<Int64>, limit: Int
    ) throws -> [SearchLookup] {
        var lookups: [SearchLookup] = []
        var current: [SearchLookup.Cell] = []
        var octets = 0
        func close() throws {
            guard !current.isEmpty else { return }
            lookups.append(
                try SearchLookup(
                    id: try RandomBytes.bytes(SearchLookup.idByteCount), limit: limit, published: published,
                    cells: current))
            current = []
            octets = 0
        }
        for cell in cells {
            let size = cell.groups.reduce(8 + cell.room.utf8.count) { $0 + 2 + $1.count * cell.profile.tokenByteCount }
            if current.count == SearchLookup.maximumCells || octets + size > SearchLookup.maximumBytes - 512 {
                try close()
            }
            current.append(cell)
            octets += size
        }
        try close()
        return lookups
    }
}
