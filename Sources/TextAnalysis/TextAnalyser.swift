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
    private var scanner = TextScanner()
    private var stemmers: [Language: SnowballStemmer] = [:]
    private var stopWords: [Language: Set<[UInt8]>] = [:]

    /// Words by their octets and the languages: what terms they have.
    private var words = OctetTable()
    private var termsOfWord: [(start: Int32, count: Int32)] = []
    private var wordTerms: [Int32] = []
    private var terms = OctetTable()
    /// In which message a term, or a word, was last seen.
    private var seenTerms: [UInt32] = []
    private var seenWords: [UInt32] = []
    private var message: UInt32 = 0
    private var languages: LanguageSet = []
    private var isFileName = false
    private var recordsUnits = false
    private var endsWithRun = false

    /// The terms of the message that was indexed last, each once.
    package private(set) var termNumbers: [Int32] = []
    /// Its words and grams, each once, for the vocabulary.
    package private(set) var wordNumbers: [Int32] = []
    package private(set) var excess = AnalysisExcess()
    /// Grows when numbers given before lose their meaning.
    package private(set) var generation = 0
    private var units: [TextUnit] = []

    /// Throws `analyser-changed` if the stemmers are not those that the index is made with.
    package init(limits: Limits = Limits()) throws {
        self.limits = limits
        for language in Language.allCases {
            guard let stemmer = SnowballStemmer(algorithm: language.algorithm) else {
                throw DiagnosedError(
                    .analyserChanged, fault: .internal, "libstemmer has no stemmer for a language",
                    expected: language.algorithm, hint: "install the release again")
            }
            stemmers[language] = stemmer
            stopWords[language] = StopWords.list(of: language)
        }
        try GoldenWords.check(fingerprint())
    }

    /// Of the golden words, as `GoldenWords.expected` says it.
    package func fingerprint() -> UInt64 {
        GoldenWords.fingerprint { language, word in stemmers[language]?.stem(word) ?? [] }
    }

    // MARK: Indexing

    /// Sets `termNumbers`, `wordNumbers` and `excess` to those of this message.
    package func index(_ message: SearchableText, languages: LanguageSet) {
        begin(languages)
        var text = message.text
        text.withUTF8 { scan($0, limit: limits.textOctets) }
        if !message.fileNames.isEmpty || !message.fileTexts.isEmpty { indexFiles(of: message) }
        if termNumbers.count > limits.terms {
            excess.terms = termNumbers.count - limits.terms
            termNumbers.removeLast(excess.terms)
        }
    }

    /// The octets of a term: valid as long as `generation` stays.
    package func term(_ number: Int32) -> ArraySlice<UInt8> { terms[Int(number)] }
    /// The octets of a word or gram without its kind: valid as long as `generation` stays.
    package func word(_ number: Int32) -> ArraySlice<UInt8> { words[Int(number)] }

    private func begin(_ languages: LanguageSet) {
        if words.count > 1 << 17 || terms.count > 1 << 18 { forget() }
        message &+= 1
        if message == 0 {
            // All marks of 4 billion messages ago would look fresh.
            seenTerms = Array(repeating: 0, count: seenTerms.count)
            seenWords = Array(repeating: 0, count: seenWords.count)
            message = 1
        }
        self.languages = languages
        termNumbers.removeAll(keepingCapacity: true)
        wordNumbers.removeAll(keepingCapacity: true)
        excess = AnalysisExcess()
        isFileName = false
        recordsUnits = false
        endsWithRun = false
        units.removeAll(keepingCapacity: true)
    }

    private func forget() {
        words.removeAll()
        terms.removeAll()
        termsOfWord.removeAll(keepingCapacity: true)
        wordTerms.removeAll(keepingCapacity: true)
        seenTerms.removeAll(keepingCapacity: true)
        seenWords.removeAll(keepingCapacity: true)
        generation += 1
    }

    private func indexFiles(of message: SearchableText) {
        for name in message.fileNames {
            var name = name
            addGap()
            name.withUTF8 { text in
                let points = UTF8Text.decode(text)
                add(Term(.fileName, UTF8Text.encode(CaseFolding.fold(points.prefix(255)))))
                isFileName = true
                scan(text, limit: limits.textOctets)
                isFileName = false
            }
        }
        var left = limits.fileOctets
        for text in message.fileTexts {
            var text = text
            addGap()
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
        scanner.scan(UnsafeBufferPointer(rebasing: text[..<count]), to: self)
    }

    // MARK: Reading

    /// Terms and units of a message: for refinement and for queries. The same terms as `index` finds.
    package func analyse(_ message: SearchableText, languages: LanguageSet) -> AnalysedText {
        begin(languages)
        recordsUnits = true
        var text = message.text
        text.withUTF8 { scan($0, limit: limits.textOctets) }
        indexFiles(of: message)
        excess.terms = max(0, termNumbers.count - limits.terms)
        let found = termNumbers.prefix(limits.terms).map { Term(octets: Array(term($0))) }
        return AnalysedText(terms: found, units: units, excess: excess)
    }

    /// The terms of one word (or gram) as a message has them; none for a stop word.
    package func terms(ofWord word: [UInt8], languages: LanguageSet) -> [Term] {
        makeTerms(word, languages)
    }

    /// What the text means as a whole, if it is an address, a host, a mention or a hashtag.
    package static func special(_ text: String) -> Term? {
        SpecialScanner.scan(text.unicodeScalars.map(\.value)).first.map { Term($0.termClass, $0.octets) }
    }

    /// Folded as words are.
    package static func folded(_ text: String) -> [UInt8] {
        UTF8Text.encode(CaseFolding.fold(text.unicodeScalars.lazy.map(\.value)).map { $0 == 0x2019 ? 0x27 : $0 })
    }

    /// How many characters a gram has where this one is written; nil where words are.
    package static func gramLength(at point: UInt32) -> Int? {
        switch Script.of(point) {
        case .cjk: 2
        case .thai: 3
        default: nil
        }
    }

    // MARK: Terms

    private func makeTerms(_ word: [UInt8], _ languages: LanguageSet) -> [Term] {
        let points = word.withUnsafeBufferPointer(UTF8Text.decode)
        guard let script = points.first.map(Script.of) else { return [] }
        if script == .cjk || script == .thai { return [Term(.gram, word)] }
        let hasDigit = points.contains { (0x30...0x39).contains($0) }
        let suiting = hasDigit ? [] : languages.languages.filter { $0.script == Self.script(of: points) }
        if suiting.isEmpty { return [Term(.surface, word)] }
        return suiting.compactMap { language in
            let bare = Elision.remove(from: word, language)
            guard stopWords[language]?.contains(bare) != true, let stemmer = stemmers[language] else { return nil }
            let stem = stemmer.stem(bare)
            return Term(.stem, language: language.code, stem.isEmpty ? bare : stem)
        }
    }

    /// Of the first letter: `'` and marks may stand before it.
    private static func script(of points: [UInt32]) -> Script {
        points.lazy.filter { $0 > 0x40 }.map(Script.of).first ?? .other
    }

    private func add(_ term: Term) {
        let number = self.number(of: term)
        if seenTerms[Int(number)] != message {
            seenTerms[Int(number)] = message
            termNumbers.append(number)
        }
    }

    private func number(of term: Term) -> Int32 {
        let (number, isNew) = term.octets.withUnsafeBufferPointer { terms.number(of: $0) }
        if isNew { seenTerms.append(0) }
        return Int32(number)
    }

    private func addWord(_ octets: UnsafeBufferPointer<UInt8>) {
        let (number, isNew) = words.number(of: octets, seed: UInt64(languages.rawValue))
        if isNew {
            let start = wordTerms.count
            for term in makeTerms(Array(octets), languages) { wordTerms.append(self.number(of: term)) }
            termsOfWord.append((Int32(start), Int32(wordTerms.count - start)))
            seenWords.append(0)
        }
        guard seenWords[number] != message else { return }
        seenWords[number] = message
        wordNumbers.append(Int32(number))
        let (start, count) = termsOfWord[number]
        for index in Int(start)..<Int(start + count) {
            let term = wordTerms[index]
            if seenTerms[Int(term)] != message {
                seenTerms[Int(term)] = message
                termNumbers.append(term)
            }
        }
    }

    private func addGap() {
        if recordsUnits, !units.isEmpty { units.append(.gap) }
        endsWithRun = false
    }
}

extension TextAnalyser: ScanSink {
    func word(_ octets: UnsafeBufferPointer<UInt8>) {
        addWord(octets)
        if isFileName { add(Term(.fileName, octets)) }
        endsWithRun = false
        if recordsUnits { units.append(.word(Array(octets))) }
    }

    func run(_ points: [UInt32], _ script: Script) {
        let length = script == .cjk ? 2 : 3
        for start in 0...max(0, points.count - length) {
            let gram = UTF8Text.encode(points[start..<min(start + length, points.count)])
            gram.withUnsafeBufferPointer(addWord)
            if isFileName { add(Term(.fileName, gram)) }
        }
        guard recordsUnits else { return }
        if endsWithRun { units.append(.gap) }
        units.append(contentsOf: points.map(TextUnit.character))
        endsWithRun = true
    }

    func special(_ finding: SpecialScanner.Finding) {
        add(Term(finding.termClass, finding.octets))
    }
}

/// Articles and pronouns that French and Italian write together with what follows: `l'homme` is found as `homme`.
enum Elision {
    private static let french: Set<String> = [
        "l", "d", "j", "m", "t", "s", "c", "n", "qu", "jusqu", "lorsqu", "puisqu", "quoiqu",
    ]
    private static let italian: Set<String> = [
        "l", "un", "d", "c", "s", "dell", "all", "nell", "sull", "dall", "quell", "quest",
    ]

    static func remove(from word: [UInt8], _ language: Language) -> [UInt8] {
        guard language == .french || language == .italian, let quote = word.firstIndex(of: 0x27),
            quote + 1 < word.count
        else { return word }
        let prefixes = language == .french ? french : italian
        return prefixes.contains(String(decoding: word[..<quote], as: UTF8.self)) ? Array(word[(quote + 1)...]) : word
    }
}
