import Diagnostics
import Stemming

/// Makes of a message the terms that it is found by: frozen, versioned, the same octets on every machine.
///
/// The rules stand in docs/search.md, part Analyser. Keeps words with their terms, numbers and stems that it has seen, so that
/// a word costs one look into a table; for one thread at a time, one per worker.
///
/// ```swift
/// let analyser = try TextAnalyser()
/// analyser.index(SearchableText("servers are down"), languages: .english)
/// for number in analyser.termNumbers { … analyser.term(number) … }
/// ```
package final class TextAnalyser {
    /// The number of this analyser in the index format, and its name where keys are derived.
    package static let number: UInt16 = 1
    package static let name = "hds-text-1"

    package struct Limits: Sendable {
        /// Of the message's own text; what is over is not analysed.
        package var textOctets = 16 << 10
        /// Of the text of all its files.
        package var fileOctets = 64 << 10
        package var terms = 1024
        package init() {}
    }

    private let limits: Limits
    private let stemmers: [Language: SnowballStemmer]
    private var scanner = TextScanner()
    private var state: AnalysisState

    /// The terms of the message that was indexed last, each once.
    package var termNumbers: [Int32] { state.termNumbers }
    /// Its words and grams, each once, for the vocabulary.
    package var wordNumbers: [Int32] { state.wordNumbers }
    package private(set) var excess = AnalysisExcess()
    /// Grows when numbers given before lose their meaning.
    package var generation: Int { state.generation }

    /// Throws `analyser-changed` if the stemmers are not those that the index is made with.
    package init(limits: Limits = Limits()) throws {
        self.limits = limits
        var stemmers: [Language: SnowballStemmer] = [:]
        for language in Language.allCases {
            guard let stemmer = SnowballStemmer(algorithm: language.algorithm) else {
                throw DiagnosedError(
                    .analyserChanged, fault: .internal, "libstemmer has no stemmer for a language",
                    expected: language.algorithm, hint: "install the release again")
            }
            stemmers[language] = stemmer
        }
        self.stemmers = stemmers
        state = AnalysisState(stemmers: stemmers)
        try GoldenWords.check(fingerprint())
    }

    /// Of the golden words, as `GoldenWords.expected` says it.
    package func fingerprint() -> UInt64 {
        GoldenWords.fingerprint { language, word in stemmers[language]?.stem(word) ?? [] }
    }

    // MARK: Indexing

    /// Sets `termNumbers`, `wordNumbers` and `excess` to those of this message.
    package func index(_ message: SearchableText, languages: LanguageSet) {
        excess = AnalysisExcess()
        state.begin(languages, recordsUnits: false)
        var text = message.text
        text.withUTF8 { scan($0, limit: limits.textOctets) }
        if !message.fileNames.isEmpty || !message.fileTexts.isEmpty { indexFiles(of: message) }
        if termNumbers.count > limits.terms {
            excess.terms = termNumbers.count - limits.terms
            state.termNumbers.removeLast(excess.terms)
        }
    }

    /// The octets of a term: valid as long as `generation` stays.
    package func term(_ number: Int32) -> ArraySlice<UInt8> { state.terms[Int(number)] }
    /// The octets of a word or gram without its kind: valid as long as `generation` stays.
    package func word(_ number: Int32) -> ArraySlice<UInt8> { state.words[Int(number)] }

    private func indexFiles(of message: SearchableText) {
        for name in message.fileNames {
            var name = name
            state.addGap()
            name.withUTF8 { text in
                let points = UTF8Text.decode(text)
                state.add(Term(.fileName, UTF8Text.encode(CaseFolding.fold(points.prefix(255)))))
                state.isFileName = true
                scan(text, limit: limits.textOctets)
                state.isFileName = false
            }
        }
        var left = limits.fileOctets
        for text in message.fileTexts {
            var text = text
            state.addGap()
            text.withUTF8 { octets in
                scan(octets, limit: left)
                left = max(0, left - octets.count)
            }
        }
    }

    private func scan(_ text: UnsafeBufferPointer<UInt8>, limit: Int) {
        var count = text.count
        if count > limit {
            count = limit
            // Not within a character.
            while count > 0, text[count] & 0xC0 == 0x80 { count -= 1 }
            excess.octets += text.count - count
        }
        scanner.scan(UnsafeBufferPointer(rebasing: text[..<count]), to: &state)
    }

    // MARK: Reading

    /// Terms and units of a message: for refinement and for queries. The same terms as `index` finds.
    package func analyse(_ message: SearchableText, languages: LanguageSet) -> AnalysedText {
        excess = AnalysisExcess()
        state.begin(languages, recordsUnits: true)
        var text = message.text
        text.withUTF8 { scan($0, limit: limits.textOctets) }
        indexFiles(of: message)
        excess.terms = max(0, termNumbers.count - limits.terms)
        let found = termNumbers.prefix(limits.terms).map { Term(octets: Array(term($0))) }
        return AnalysedText(terms: found, units: state.units, excess: excess)
    }

    /// The terms of one word (or gram) as a message has them; none for a stop word.
    package func terms(ofWord word: [UInt8], languages: LanguageSet) -> [Term] {
        state.makeTerms(word, languages)
    }

    /// What the text means as a whole, if it is an address, a host, a mention or a hashtag.
    package static func special(_ text: String) -> Term? {
        SpecialScanner.scan(text.unicodeScalars.map(\.value)).first.map {
            Term($0.termClass, $0.octets)
        }
    }

    /// Folded as words are.
    package static func folded(_ text: String) -> [UInt8] {
        UTF8Text.encode(
            CaseFolding.fold(text.unicodeScalars.lazy.map(\.value)).map { $0 == 0x2019 ? 0x27 : $0 })
    }

    /// How many characters a gram has where this one is written; nil where words are.
    package static func gramLength(at point: UInt32) -> Int? {
        switch Script.of(point) {
        case .cjk: 2
        case .thai: 3
        default: nil
        }
    }
}
