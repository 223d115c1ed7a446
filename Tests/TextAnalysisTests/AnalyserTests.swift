import TestServers
import TestVectors
import Testing

@testable import TextAnalysis

@Suite("Analyser")
struct AnalyserTests {
    /// Terms as `class:language:text`.
    private static func readable(_ terms: [Term]) -> [String] {
        terms.map { term in
            String(decoding: term.octets, as: UTF8.self).replacing("\u{1F}", with: ":")
        }
    }

    private static func terms(_ text: String, _ languages: LanguageSet = .english) throws -> [String] {
        readable(try TextAnalyser().analyse(SearchableText(text), languages: languages).terms)
    }

    @Test(
        "Texts have these terms, in this order",
        arguments: [
            ("The servers are running", ["s:en:server", "s:en:run"]),
            ("don't WON'T", ["s:en:don't", "s:en:won't"]),
            ("don\u{2019}t", ["s:en:don't"]),
            ("eth0 2.6.32", ["w::eth0", "w::2", "w::6", "w::32"]),
            ("1,000 apples", ["w::1,000", "s:en:appl"]),
            (
                "foo_bar re:start a/c ssh-server",
                [
                    "s:en:foo", "s:en:bar", "s:en:re", "s:en:start", "s:en:c", "s:en:ssh", "s:en:server",
                ]
            ),
            (
                "ping @Bob.Smith, #Release-2!",
                [
                    "m::bob.smith", "h::release-2", "s:en:ping", "s:en:bob", "s:en:smith", "s:en:releas", "w::2",
                ]
            ),
            (
                "mail Bob@Example.org.",
                [
                    "w::bob@example.org", "w::example.org", "s:en:mail", "s:en:bob", "s:en:exampl", "s:en:org",
                ]
            ),
            (
                "(http://www.Example.com/a-b?c)",
                [
                    "w::http://www.example.com/a-b?c", "w::www.example.com", "w::example.com", "s:en:http", "s:en:www",
                    "s:en:exampl", "s:en:com", "s:en:b", "s:en:c",
                ]
            ),
            (
                "see docs.example.com/x",
                [
                    "w::docs.example.com", "w::example.com", "s:en:see", "s:en:doc", "s:en:exampl", "s:en:com",
                    "s:en:x",
                ]
            ),
            ("user@host", ["s:en:user", "s:en:host"]),
            ("東京都庁", ["c::東京", "c::京都", "c::都庁"]),
            ("水", ["c::水"]),
            ("サーバーで 2024年", ["c::サー", "c::ーバ", "c::バー", "c::ーで", "w::2024", "c::年"]),
            ("한국어 LG전자", ["c::한국", "c::국어", "s:en:lg", "c::전자"]),
            ("สวัสดี", ["c::สวั", "c::วัส", "c::ัสด", "c::สดี"]),
            ("👍🏽 👩‍👩‍👧", ["w::👍🏽", "w::👩👩👧"]),
            ("Привет мир", ["w::привет", "w::мир"]),
            ("naïve Zürich", ["s:en:naïv", "s:en:zürich"]),
            ("@", []), ("...", []), ("", []), ("\u{0}\u{1F}", []),
        ])
    func vectors(_ text: String, _ wanted: [String]) throws {
        #expect(try Self.terms(text) == wanted)
    }

    @Test("A word has a stem of every language of the room that is written so")
    func languages() throws {
        #expect(
            try Self.terms("Häuser die", LanguageSet(languages: [.english, .german]))
                == ["s:en:häuser", "s:de:haus", "s:en:die"])
        let mixed = try Self.terms("книгами books", LanguageSet(languages: [.english, .russian]))
        #expect(mixed == ["s:ru:книг", "s:en:book"])
        #expect(try Self.terms("l'homme", LanguageSet(languages: [.french])) == ["s:fr:homm"])
        #expect(try Self.terms("dell'università", LanguageSet(languages: [.italian])) == ["s:it:univers"])
        #expect(try Self.terms("words", []) == ["w::words"])
        #expect(LanguageSet(codes: ["en", "xx"]) == nil)
        #expect(LanguageSet(codes: ["de", "en"])?.languages == [.english, .german])
    }

    @Test("Names of files are found as such and as words; their text as words")
    func files() throws {
        let analyser = try TextAnalyser()
        let text = SearchableText("see", fileNames: ["Annual_Report.pdf"], fileTexts: ["revenues"])
        #expect(
            Self.readable(analyser.analyse(text, languages: .english).terms) == [
                "s:en:see", "f::annual_report.pdf", "s:en:annual", "f::annual", "s:en:report", "f::report", "s:en:pdf",
                "f::pdf", "s:en:revenu",
            ])
    }

    @Test("The short way for ASCII and the long way find the same", arguments: [1, 2, 3])
    func shortWay(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let alphabet = Array("abzAZ09 _'-.,;:/@#\"()\n\t+?www.http://".utf8)
        let generated = (0..<3000).map { _ in
            (0..<Int.random(in: 0...24, using: &random)).compactMap { _ in alphabet.randomElement(using: &random) }
        }
        for text in generated { try Self.compare(text, "seed \(seed)") }
    }

    @Test("On real messages, too", .enabled(if: ChatCorpus.english.isAvailable))
    func shortWayOnMessages() throws {
        let messages = try ChatCorpus.english.messages(rooms: LongTests.areWanted ? 173 : 20, ofRoom: 100)
        for message in messages { try Self.compare(Array(message.text.utf8), message.id) }
    }

    private static func compare(_ text: [UInt8], _ name: String) throws {
        guard text.allSatisfy({ $0 < 0x80 }) else { return }
        var (short, long) = (Recorder(), Recorder())
        var scanner = TextScanner()
        text.withUnsafeBufferPointer {
            scanner.scan($0, to: &short)
            TextScanner.scanAny($0, to: &long)
        }
        #expect(short.found == long.found, "\(name): \(String(decoding: text, as: UTF8.self))")
    }

    private struct Recorder: ScanSink {
        var found: [String] = []
        mutating func word(_ octets: UnsafeBufferPointer<UInt8>) {
            found.append(String(decoding: octets, as: UTF8.self))
        }
        mutating func run(_ points: [UInt32], _ script: Script) { found.append("\(script) \(points)") }
        mutating func special(_ finding: SpecialScanner.Finding) { found.append("\(finding)") }
    }

    @Test("Indexing and reading find the same terms, whatever was read before", arguments: ChatCorpus.allCases)
    func sameTerms(_ corpus: ChatCorpus) throws {
        guard corpus.isAvailable else { return }
        let (one, other) = (try TextAnalyser(), try TextAnalyser())
        let languages = LanguageSet(languages: [.english, .german])
        for message in try corpus.messages(rooms: 5, ofRoom: 100) {
            let text = SearchableText(message.text)
            one.index(text, languages: languages)
            let indexed = one.termNumbers.map { Term(octets: Array(one.term($0))) }
            #expect(indexed == other.analyse(text, languages: languages).terms)
        }
    }

    @Test("What is over a limit is left out and counted")
    func limits() throws {
        let analyser = try TextAnalyser()
        let long = String(repeating: "word ", count: 4000) + "needle"
        let read = analyser.analyse(SearchableText(long), languages: .english)
        #expect(read.excess == AnalysisExcess(octets: 20_006 - 16_384))
        #expect(Self.readable(read.terms) == ["s:en:word"])
        let many = (0..<1500).map { "x\($0)" }.joined(separator: " ")
        analyser.index(SearchableText(many), languages: .english)
        #expect(analyser.termNumbers.count == 1024)
        #expect(analyser.excess == AnalysisExcess(terms: 476))
        analyser.index(SearchableText("fits"), languages: .english)
        #expect(analyser.excess.isEmpty)
        // A character is not cut in two.
        let umlauts = String(repeating: "ä", count: 9000)
        #expect(Self.readable(analyser.analyse(SearchableText("a" + umlauts), languages: .english).terms).count == 1)
    }

    @Test("Any octets are analysed without a trap", arguments: [7, 8])
    func anyOctets(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let analyser = try TextAnalyser()
        for _ in 0..<500 {
            let scalars = (0..<Int.random(in: 0...40, using: &random)).compactMap { _ -> Unicode.Scalar? in
                let shift = UInt32.random(in: 0...14, using: &random)
                return Unicode.Scalar(UInt32.random(in: 0...0x10FFFF, using: &random) >> shift)
            }
            var text = ""
            text.unicodeScalars.append(contentsOf: scalars)
            let read = analyser.analyse(SearchableText(text), languages: LanguageSet(languages: Language.allCases))
            analyser.index(SearchableText(text), languages: LanguageSet(languages: Language.allCases))
            #expect(analyser.termNumbers.count == read.terms.count, "seed \(seed): \(scalars)")
        }
    }

    @Test("Numbers of terms are told apart when the analyser has forgotten")
    func forgetting() throws {
        let analyser = try TextAnalyser()
        let first = analyser.generation
        for block in 0..<150 {
            let text = (0..<1000).map { "w\(block)x\($0)" }.joined(separator: " ")
            analyser.index(SearchableText(text), languages: .english)
        }
        #expect(analyser.generation > first)
        analyser.index(SearchableText("servers"), languages: .english)
        let found = analyser.termNumbers.map { Term(octets: Array(analyser.term($0))) }
        #expect(Self.readable(found) == ["s:en:server"])
    }
}
