import Diagnostics
import Stemming
import TestServers
import TestVectors
import Testing

@testable import TextAnalysis

@Suite("Stemmers")
struct StemmerTests {
    private static let vocabularies: [Language] = Language.allCases.filter { $0 != .arabic }

    @Test(
        "libstemmer stems the vocabularies of Snowball 2.2.0 as they say",
        .enabled(if: SharedData.isAvailable("snowball-2.2.0/english.tsv.gz")), arguments: vocabularies)
    func vocabulary(_ language: Language) throws {
        let stemmer = try #require(SnowballStemmer(algorithm: language.algorithm))
        let octets = try SharedData.unpacked("snowball-2.2.0/\(language.algorithm).tsv.gz")
        let lines = octets.split(separator: UInt8(ascii: "\n"))
        let step = LongTests.areWanted ? 1 : 8
        var mismatches: [String] = []
        for index in stride(from: 0, to: lines.count, by: step) {
            let fields = lines[index].split(separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false)
            try #require(fields.count == 2)
            if stemmer.stem(Array(fields[0])) != Array(fields[1]) {
                mismatches.append(String(decoding: lines[index], as: UTF8.self))
            }
        }
        #expect(mismatches.isEmpty, "\(mismatches.count): \(mismatches.prefix(5))")
        #expect(lines.count > 20_000)
    }

    @Test("Every language has its stemmer, and an unknown one has none")
    func algorithms() {
        for language in Language.allCases { #expect(SnowballStemmer(algorithm: language.algorithm) != nil) }
        #expect(SnowballStemmer(algorithm: "klingon") == nil)
        let codes = Language.allCases.map(\.code).joined(separator: " ")
        #expect(codes == "en de fr es it pt nl sv no da fi ru hu ro tr el ar hi")
    }

    @Test("The stemmers of this program are those that the index is made with")
    func fingerprint() throws {
        let analyser = try TextAnalyser()
        #expect(analyser.fingerprint() == GoldenWords.expected, "\(String(analyser.fingerprint(), radix: 16))")
    }

    @Test("Other stemmers are refused, and the error names both fingerprints")
    func drift() throws {
        let stemmer = try #require(SnowballStemmer(algorithm: "english"))
        // As if the Dutch stemmer had changed.
        let found = GoldenWords.fingerprint { language, word in
            language == .dutch ? stemmer.stem(word) : SnowballStemmer(algorithm: language.algorithm)?.stem(word) ?? []
        }
        let error = try #require(throws: DiagnosedError.self) { try GoldenWords.check(found) }
        #expect(error.code == .analyserChanged)
        #expect(error.description.contains(String(GoldenWords.expected, radix: 16)))
        #expect(error.description.contains(String(found, radix: 16)))
    }

    @Test("Golden words cover every language, and stems differ from words in each")
    func goldenWords() throws {
        let analyser = try TextAnalyser()
        for language in Language.allCases {
            let words = GoldenWords.words(of: language)
            #expect(words.count >= 8)
            let stemmed = words.filter { word in
                analyser.terms(ofWord: TextAnalyser.folded(word), languages: LanguageSet(languages: [language]))
                    .contains { Array($0.text) != Array(word.utf8) }
            }
            #expect(stemmed.count * 2 > words.count, "\(language): \(stemmed)")
        }
    }

    @Test("Stop words are few, folded and none of them a number")
    func stopWords() {
        #expect(StopWords.list(of: .english).count <= 40)
        for language in Language.allCases {
            for word in StopWords.list(of: language) {
                let text = String(decoding: word, as: UTF8.self)
                #expect(TextAnalyser.folded(text) == word)
            }
        }
    }
}
