import Stemming

/// What an analyser has in hand: the words and terms it knows, and what it found of the message at hand.
///
/// One value, so that the way of a word from the scanner to its terms is not interrupted by checks of access.
struct AnalysisState {
    private let stemmers: [Language: SnowballStemmer]
    private let stopWords: [Language: Set<[UInt8]>]

    /// Words by their octets and the languages: what terms they have.
    private(set) var words = OctetTable()
    private var termsOfWord: [(start: Int32, count: Int32)] = []
    private var wordTerms: [Int32] = []
    private(set) var terms = OctetTable()
    /// In which message a term, or a word, was last seen.
    private var seenTerms: [UInt32] = []
    private var seenWords: [UInt32] = []
    private var message: UInt32 = 0
    private var languages: LanguageSet = []
    private var recordsUnits = false
    private var endsWithRun = false

    var isFileName = false
    var termNumbers: [Int32] = []
    private(set) var wordNumbers: [Int32] = []
    private(set) var units: [TextUnit] = []
    private(set) var generation = 0

    init(stemmers: [Language: SnowballStemmer]) {
        self.stemmers = stemmers
        stopWords = Dictionary(
            uniqueKeysWithValues: Language.allCases.map { ($0, StopWords.list(of: $0)) })
    }

    mutating func begin(_ languages: LanguageSet, recordsUnits: Bool) {
        if words.count > 1 << 17 || terms.count > 1 << 18 { forget() }
        message &+= 1
        if message == 0 {
            // All marks of 4 billion messages ago would look fresh.
            seenTerms = Array(repeating: 0, count: seenTerms.count)
            seenWords = Array(repeating: 0, count: seenWords.count)
            message = 1
        }
        self.languages = languages
        self.recordsUnits = recordsUnits
        termNumbers.removeAll(keepingCapacity: true)
        wordNumbers.removeAll(keepingCapacity: true)
        units.removeAll(keepingCapacity: recordsUnits)
        isFileName = false
        endsWithRun = false
    }

    private mutating func forget() {
        words.removeAll()
        terms.removeAll()
        termsOfWord.removeAll(keepingCapacity: true)
        wordTerms.removeAll(keepingCapacity: true)
        seenTerms.removeAll(keepingCapacity: true)
        seenWords.removeAll(keepingCapacity: true)
        generation += 1
    }

    mutating func addGap() {
        if recordsUnits, !units.isEmpty { units.append(.gap) }
        endsWithRun = false
    }

    mutating func add(_ term: Term) {
        let number = Int(self.number(of: term))
        if seenTerms[number] != message {
            seenTerms[number] = message
            termNumbers.append(Int32(number))
        }
    }

    private mutating func number(of term: Term) -> Int32 {
        let (number, isNew) = term.octets.withUnsafeBufferPointer { terms.number(of: $0) }
        if isNew { seenTerms.append(0) }
        return Int32(number)
    }

    private mutating func addWord(_ octets: UnsafeBufferPointer<UInt8>) {
        let (number, isNew) = words.number(of: octets, seed: UInt64(languages.rawValue))
        if isNew { learn(Array(octets)) }
        guard seenWords[number] != message else { return }
        seenWords[number] = message
        wordNumbers.append(Int32(number))
        let (start, count) = termsOfWord[number]
        for index in Int(start)..<Int(start + count) {
            let term = Int(wordTerms[index])
            if seenTerms[term] != message {
                seenTerms[term] = message
                termNumbers.append(Int32(term))
            }
        }
    }

    private mutating func learn(_ word: [UInt8]) {
        let start = wordTerms.count
        for term in makeTerms(word, languages) { wordTerms.append(number(of: term)) }
        termsOfWord.append((Int32(start), Int32(wordTerms.count - start)))
        seenWords.append(0)
    }

    func makeTerms(_ word: [UInt8], _ languages: LanguageSet) -> [Term] {
        let points = word.withUnsafeBufferPointer(UTF8Text.decode)
        guard let script = points.first.map(Script.of) else { return [] }
        if script == .cjk || script == .thai { return [Term(.gram, word)] }
        let hasDigit = points.contains { (0x30...0x39).contains($0) }
        let suiting =
            hasDigit ? [] : languages.languages.filter { $0.script == Self.script(of: points) }
        if suiting.isEmpty { return [Term(.surface, word)] }
        return suiting.compactMap { language in
            let bare = Elision.remove(from: word, language)
            guard stopWords[language]?.contains(bare) != true, let stemmer = stemmers[language] else {
                return nil
            }
            let stem = stemmer.stem(bare)
            return Term(.stem, language: language.code, stem.isEmpty ? bare : stem)
        }
    }

    /// Of the first letter: `'` and marks may stand before it.
    private static func script(of points: [UInt32]) -> Script {
        points.lazy.filter { $0 > 0x40 }.map(Script.of).first ?? .other
    }
}

extension AnalysisState: ScanSink {
    mutating func word(_ octets: UnsafeBufferPointer<UInt8>) {
        addWord(octets)
        if isFileName { add(Term(.fileName, octets)) }
        endsWithRun = false
        if recordsUnits { units.append(.word(Array(octets))) }
    }

    mutating func run(_ points: [UInt32], _ script: Script) {
        let length = script == .cjk ? 2 : 3
        for start in 0...max(0, points.count - length) {
            let gram = UTF8Text.encode(points[start..<min(start + length, points.count)])
            gram.withUnsafeBufferPointer { addWord($0) }
            if isFileName { add(Term(.fileName, gram)) }
        }
        guard recordsUnits else { return }
        if endsWithRun { units.append(.gap) }
        units.append(contentsOf: points.map(TextUnit.character))
        endsWithRun = true
    }

    mutating func special(_ finding: SpecialScanner.Finding) {
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
        return prefixes.contains(String(decoding: word[..<quote], as: UTF8.self))
            ? Array(word[(quote + 1)...]) : word
    }
}
