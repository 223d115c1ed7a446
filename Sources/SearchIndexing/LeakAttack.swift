internal import Cryptography
internal import Glibc
package import SearchProtocol
package import TextAnalysis

/// A message with its entry and what the entry hides: what the leak report is measured on.
package struct LeakSample: Sendable {
    /// Samples with the same keys are searched by the same tokens.
    package let epoch: IndexEpoch
    package let entry: SearchEntry
    package let terms: [Term]

    package init(epoch: IndexEpoch, entry: SearchEntry, terms: [Term]) {
        self.epoch = epoch
        self.entry = entry
        self.terms = terms
    }
}

/// What an attacker could say about messages that he does not know, with what he had.
package struct LeakFigure: Equatable, Sendable {
    /// Of the organisation's messages he knows so many, word for word, drawn at random.
    package let knownMessages: Int
    package let unknownMessages: Int
    /// He has seen so many queries: each one word, in all rooms at once.
    package let queries: Int
    /// Terms of unknown messages, each once a message.
    package let occurrences: Int
    /// Of these, those that he named right, and tokens that he named wrong.
    package let right: Int
    package let wrong: Int

    /// The part of the words of unknown messages that he can name.
    package var share: Double { occurrences == 0 ? 0 : Double(right) / Double(occurrences) }

    /// Attacker, knowledge, queries and outcome in one line.
    package func description(profile: String) -> String {
        let percent = Double(Int(share * 10_000 + 0.5)) / 100
        return "\(profile): who owns the search service, knows \(knownMessages) of "
            + "\(knownMessages + unknownMessages) messages and has seen \(queries) queries names \(percent) % of the "
            + "words of the others (\(right) right, \(wrong) wrong of \(occurrences))"
    }
}

/// A known-document attack on stored entries: the attacker owns the search service and knows some messages word for word.
///
/// He knows the analyser, the stop words and the table of variants, for all of that is public. In which of his known messages
/// a token stands tells which of their words it may be; the likeliest word is its name, and the name counts in all messages
/// that he does not know. A lookup shows him more: which tokens are variants of one word, and which tokens of different rooms
/// mean the same word; and for `salted` it brings the only tokens he ever sees. He uses all of it.
package struct LeakAttack {
    private let samples: [LeakSample]
    /// Numbers of the terms of each sample.
    private let termsOfSample: [[Int32]]
    private let terms: [Term]
    private let variants: [Int]
    private let scopeOfSample: [Int]
    private let scopes: [IndexEpoch]
    /// How many samples each scope has.
    private let sizes: [Int]
    private let isSalted: Bool
    private let hasVariants: Bool

    /// The samples have one profile.
    package init(_ samples: [LeakSample]) {
        self.samples = samples
        var numbers: [Term: Int32] = [:]
        var terms: [Term] = []
        var scopeNumbers: [ObjectIdentifier: Int] = [:]
        var scopes: [IndexEpoch] = []
        var scopeOfSample: [Int] = []
        termsOfSample = samples.map { sample in
            sample.terms.map { term in
                if let number = numbers[term] { return number }
                let number = Int32(terms.count)
                numbers[term] = number
                terms.append(term)
                return number
            }
        }
        for sample in samples {
            let id = ObjectIdentifier(sample.epoch.keys)
            if scopeNumbers[id] == nil {
                scopeNumbers[id] = scopes.count
                scopes.append(sample.epoch)
            }
            scopeOfSample.append(scopeNumbers[id] ?? 0)
        }
        self.terms = terms
        self.scopes = scopes
        self.scopeOfSample = scopeOfSample
        var sizes = [Int](repeating: 0, count: scopes.count)
        for scope in scopeOfSample { sizes[scope] += 1 }
        self.sizes = sizes
        isSalted = samples.first?.epoch.profile == .salted
        hasVariants = samples.first?.epoch.profile == .padded
        let padded = hasVariants
        variants = terms.map { padded ? VariantTable.count(of: $0.octets[...]) : 1 }
    }

    /// - Parameter share: of the messages that he knows, such as 0.01.
    package func run(known share: Double, queries: Int, seed: UInt64) -> LeakFigure {
        var random = DrawGenerator(seed: seed)
        let order = samples.indices.shuffled(using: &random)
        let count = Int((Double(samples.count) * share).rounded())
        let known = Set(order.prefix(count))
        // What people search is as frequent as what they write.
        let asked = (0..<queries).compactMap { _ -> Int32? in
            samples.indices.randomElement(using: &random).flatMap { termsOfSample[$0].randomElement(using: &random) }
        }
        var classes = isSalted ? [] : atRest()
        let revealed = Set(asked)
        if !revealed.isEmpty { classes = isSalted ? scanned(revealed) : linked(classes, revealed) }
        return judge(classes, known: known, queries: queries)
    }

    // MARK: What he sees

    /// Tokens that he knows to mean the same, and the messages that have one.
    private struct TokenClass {
        /// Nil: of all rooms, because a lookup linked them.
        let scope: Int?
        let isWhole: Bool
        var samples: [Int]
        /// What he tries to find out; nil is padding.
        let truth: Int32?
    }

    private struct ScopedToken: Hashable {
        let scope: Int
        let token: UInt64
    }

    private func atRest() -> [TokenClass] {
        var postings: [ScopedToken: [Int]] = [:]
        for (index, sample) in samples.enumerated() {
            guard case .tokens(let tokens) = sample.entry.body else { continue }
            for token in tokens {
                postings[ScopedToken(scope: scopeOfSample[index], token: token), default: []].append(index)
            }
        }
        let truth = truths()
        return postings.map { key, found in
            TokenClass(scope: key.scope, isWhole: !hasVariants, samples: found, truth: truth[key])
        }
    }

    /// Not his knowledge: what his answers are held against.
    private func truths() -> [ScopedToken: Int32] {
        var truth: [ScopedToken: Int32] = [:]
        var seen: Set<UInt64> = []
        for index in samples.indices {
            let scope = scopeOfSample[index]
            for term in termsOfSample[index] where seen.insert(UInt64(scope) << 32 | UInt64(term)).inserted {
                for variant in 0..<variants[Int(term)] {
                    let token = scopes[scope].keys.token(of: terms[Int(term)].octets, variant: variant)
                    truth[ScopedToken(scope: scope, token: token.high)] = term
                }
            }
        }
        return truth
    }

    /// The classes of words that were asked for are one class each, over all rooms and variants.
    private func linked(_ classes: [TokenClass], _ asked: Set<Int32>) -> [TokenClass] {
        var rest: [TokenClass] = []
        var whole: [Int32: Set<Int>] = [:]
        for one in classes {
            if let truth = one.truth, asked.contains(truth) {
                whole[truth, default: []].formUnion(one.samples)
            } else {
                rest.append(one)
            }
        }
        return rest + whole.map { TokenClass(scope: nil, isWhole: true, samples: $1.sorted(), truth: $0) }
    }

    /// With the tokens of a lookup he can do what the service does: try them on every salt.
    private func scanned(_ asked: Set<Int32>) -> [TokenClass] {
        var byScope: [[Int]] = Array(repeating: [], count: scopes.count)
        for index in samples.indices { byScope[scopeOfSample[index]].append(index) }
        let salts = byScope.map { scope in
            scope.flatMap { index -> [UInt8] in
                guard case .codewords(let salt, _) = samples[index].entry.body else { return [] }
                return salt
            }
        }
        var prf = CodewordPRF()
        return asked.sorted().map { term in
            var found: [Int] = []
            for scope in scopes.indices {
                let token = scopes[scope].keys.token(of: terms[Int(term)].octets)
                prf.rekey(high: token.high, low: token.low)
                prf.codewords(for: salts[scope]) { position, codeword in
                    let index = byScope[scope][position]
                    guard case .codewords(_, let codewords) = samples[index].entry.body else { return }
                    if codewords.contains(codeword) { found.append(index) }
                }
            }
            return TokenClass(scope: nil, isWhole: true, samples: found, truth: term)
        }
    }

    // MARK: What he concludes

    /// Where each term stands in the messages he knows: by room, and in all.
    private struct Knowledge {
        var inScope: [UInt64: Set<Int>] = [:]
        var overall: [Int32: Set<Int>] = [:]
    }

    private func judge(_ classes: [TokenClass], known: Set<Int>, queries: Int) -> LeakFigure {
        var knowledge = Knowledge()
        for index in known {
            for term in termsOfSample[index] {
                knowledge.inScope[UInt64(scopeOfSample[index]) << 32 | UInt64(term), default: []].insert(index)
                knowledge.overall[term, default: []].insert(index)
            }
        }
        var right = 0, wrong = 0
        for one in classes {
            guard let name = self.name(of: one, known, knowledge) else { continue }
            if name == one.truth {
                // A false hit of 24 bits is no word of the message.
                right += one.samples.count { !known.contains($0) && termsOfSample[$0].contains(name) }
            } else {
                wrong += one.samples.count { !known.contains($0) }
            }
        }
        let unknown = samples.indices.lazy.filter { !known.contains($0) }
        return LeakFigure(
            knownMessages: known.count, unknownMessages: samples.count - known.count, queries: queries,
            occurrences: unknown.reduce(0) { $0 + termsOfSample[$1].count }, right: right, wrong: wrong)
    }

    /// The likeliest word, if he knows a message with one of the tokens.
    private func name(of one: TokenClass, _ known: Set<Int>, _ knowledge: Knowledge) -> Int32? {
        let seen = one.samples.filter(known.contains)
        guard let shortest = seen.min(by: { termsOfSample[$0].count < termsOfSample[$1].count }) else { return nil }
        var best: (term: Int32, score: Double, prior: Int)?
        for term in termsOfSample[shortest] {
            let places =
                one.scope.map { knowledge.inScope[UInt64($0) << 32 | UInt64(term)] ?? [] }
                ?? knowledge.overall[term] ?? []
            guard places.count >= seen.count, seen.allSatisfy(places.contains) else { continue }
            let share = one.isWhole ? 1 : 1 / Double(variants[Int(term)])
            let others = Double(places.count - seen.count)
            // Every message with the word has this one of its variants with the same chance.
            guard share < 1 || others == 0 else { continue }
            let chance = share < 1 ? Double(seen.count) * log(share) + others * log(1 - share) : 0
            // How often the token stands in all messages, against how often the word stands in those he knows (Poisson).
            let prior = knowledge.overall[term]?.count ?? 0
            let size = one.scope.map { sizes[$0] } ?? samples.count
            let expected = Double(size) * share * (Double(prior) + 0.5) / (Double(known.count) + 1)
            let score = chance + Double(one.samples.count) * log(expected) - expected
            if let found = best, (score, prior, term) <= (found.score, found.prior, found.term) { continue }
            best = (term, score, prior)
        }
        return best?.term
    }
}

/// SplitMix64: the same numbers for the same seed, so that a figure can be had again.
struct DrawGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}
