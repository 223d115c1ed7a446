package import TextAnalysis

/// A query in the terms of one analyser and one set of languages: what the index is asked, and what decides on a message.
///
/// One value does both, so that the index can only ask for more than the decision lets through. Stop words ask for nothing
/// and decide nothing, but stand in phrases.
package struct CompiledQuery: Sendable {
    indirect enum Node: Sendable {
        /// Nothing that the index knows, such as a stop word.
        case ignored
        /// At least one term of each clause, and these units next to each other if there are any.
        case terms(clauses: [[Term]], adjacent: [TextUnit])
        /// A word that matches; the units are those of short runs, which are looked for as they are.
        case pattern(WordPattern, adjacent: [TextUnit])
        case all([Node])
        case any([Node])
        case not(Node)
    }

    let root: Node
    package let languages: LanguageSet

    package init(_ query: SearchQuery, languages: LanguageSet, analyser: TextAnalyser) {
        self.languages = languages
        root = Compiler(languages: languages, analyser: analyser).node(query)
    }

    /// Whether the message, read in plain, is what the query means.
    package func matches(_ text: AnalysedText, analyser: TextAnalyser) -> Bool {
        decide(root, text, analyser) ?? false
    }

    /// Nil: decides nothing.
    private func decide(_ node: Node, _ text: AnalysedText, _ analyser: TextAnalyser) -> Bool? {
        switch node {
        case .ignored: return nil
        case .terms(let clauses, let adjacent):
            guard clauses.allSatisfy({ $0.contains(where: text.termSet.contains) }) else { return false }
            return adjacent.isEmpty || Self.contains(text.units, adjacent)
        case .pattern(.containing, let adjacent): return Self.contains(text.units, adjacent)
        case .pattern(let pattern, _):
            return text.units.contains { unit in
                guard case .word(let word) = unit, pattern.matches(word) else { return false }
                return analyser.terms(ofWord: word, languages: languages).contains(where: text.termSet.contains)
            }
        case .all(let parts):
            let decisions = parts.compactMap { decide($0, text, analyser) }
            return decisions.isEmpty ? nil : decisions.allSatisfy { $0 }
        case .any(let parts):
            let decisions = parts.compactMap { decide($0, text, analyser) }
            return decisions.isEmpty ? nil : decisions.contains(true)
        case .not(let part): return decide(part, text, analyser).map { !$0 }
        }
    }

    private static func contains(_ units: [TextUnit], _ wanted: [TextUnit]) -> Bool {
        guard let first = wanted.first, wanted.count <= units.count else { return wanted.isEmpty }
        for start in 0...(units.count - wanted.count) where units[start] == first {
            if units[start..<(start + wanted.count)].elementsEqual(wanted) { return true }
        }
        return false
    }

    /// The terms that a message was found by, for ranking.
    package func matchedTerms(in text: AnalysedText) -> Set<Term> {
        var found: Set<Term> = []
        func collect(_ node: Node) {
            switch node {
            case .ignored, .not, .pattern: break
            case .terms(let clauses, _): found.formUnion(clauses.joined().filter(text.termSet.contains))
            case .all(let parts), .any(let parts): parts.forEach(collect)
            }
        }
        collect(root)
        return found
    }
}

private struct Compiler {
    let languages: LanguageSet
    let analyser: TextAnalyser

    func node(_ query: SearchQuery) -> CompiledQuery.Node {
        switch query {
        case .word(let text):
            if let special = TextAnalyser.special(text) { return .terms(clauses: [[special]], adjacent: []) }
            return units(text, isPhrase: false)
        case .phrase(let text): return units(text, isPhrase: true)
        case .prefix(let text): return pattern(text) { .prefix($0) }
        case .wildcard(let text): return pattern(text) { .wildcard($0) }
        case .fuzzy(let text):
            let count = text.unicodeScalars.count
            return count < 3 ? units(text, isPhrase: false) : pattern(text) { .fuzzy($0, distance: count < 6 ? 1 : 2) }
        case .fileName(let text): return fileName(text)
        case .all(let parts): return .all(parts.map(node))
        case .any(let parts): return .any(parts.map(node))
        case .not(let part): return .not(node(part))
        }
    }

    private func units(_ text: String, isPhrase: Bool) -> CompiledQuery.Node {
        let units = analyser.analyse(SearchableText(text), languages: languages).units
        let clauses = self.clauses(of: units)
        if units.count == 1, case .word = units[0], !isPhrase {
            return clauses.isEmpty ? .ignored : .terms(clauses: clauses, adjacent: [])
        }
        if !clauses.isEmpty { return .terms(clauses: clauses, adjacent: units) }
        // A run that is shorter than a gram: any gram with it.
        func point(_ unit: TextUnit) -> UInt32? { if case .character(let point) = unit { point } else { nil } }
        let run = units.drop { point($0) == nil }.prefix { point($0) != nil }.compactMap(point)
        return run.isEmpty ? .ignored : .pattern(.containing(Self.octets(run)), adjacent: units)
    }

    /// What the index has of these units: of each word its terms, of each run its grams.
    private func clauses(of units: [TextUnit]) -> [[Term]] {
        var clauses: [[Term]] = []
        var run: [UInt32] = []
        func endRun() {
            guard let first = run.first, let length = TextAnalyser.gramLength(at: first) else { return }
            defer { run = [] }
            guard run.count >= length else { return }
            for start in 0...(run.count - length) {
                clauses.append([Term(.gram, Self.octets(Array(run[start..<(start + length)])))])
            }
        }
        for unit in units {
            switch unit {
            case .character(let point): run.append(point)
            case .gap: endRun()
            case .word(let word):
                endRun()
                let terms = analyser.terms(ofWord: word, languages: languages)
                if !terms.isEmpty { clauses.append(terms) }
            }
        }
        endRun()
        var seen: Set<[Term]> = []
        return clauses.filter { seen.insert($0).inserted }
    }

    private func pattern(_ text: String, _ make: ([UInt8]) -> WordPattern) -> CompiledQuery.Node {
        guard let first = text.unicodeScalars.first(where: { $0 != "*" && $0 != "?" }) else { return .ignored }
        if TextAnalyser.gramLength(at: first.value) != nil {
            // Parts of runs are found by their grams anyhow.
            return units(String(text.filter { $0 != "*" && $0 != "?" }), isPhrase: false)
        }
        let folded = TextAnalyser.folded(text)
        return folded.isEmpty ? .ignored : .pattern(make(folded), adjacent: [])
    }

    private func fileName(_ text: String) -> CompiledQuery.Node {
        let units = analyser.analyse(SearchableText("", fileNames: [text]), languages: languages)
        let whole = Term(.fileName, TextAnalyser.folded(text))
        let parts = units.terms.filter { $0.termClass == .fileName && $0 != whole }
        let clauses = parts.isEmpty ? [[whole]] : parts.map { [$0] }
        return .terms(clauses: clauses, adjacent: [])
    }

    private static func octets(_ points: [UInt32]) -> [UInt8] {
        var text = ""
        text.unicodeScalars.append(contentsOf: points.compactMap(Unicode.Scalar.init))
        return Array(text.utf8)
    }
}
