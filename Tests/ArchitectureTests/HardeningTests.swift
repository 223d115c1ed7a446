import Testing

/// The claims of docs/hardening.md: what it names as a test is one.
@Suite("The list of hardening")
struct HardeningTests {
    @Test("Every suite and every test that docs/hardening.md names exists")
    func names() throws {
        let page = try #require(try Repository.files(below: "docs", endings: ["hardening.md"]).first)
        let present = Present(in: try Repository.files(below: "Tests", endings: [".swift"]).map(\.text))
        let missing = Self.claims(of: page.text).filter { !present.keeps($0) }
        #expect(missing.map(\.text) == [], "docs/hardening.md names tests that are not there")
    }

    @Test("A suite and a test that are not there are found")
    func control() {
        let claims = Self.claims(of: "text\n| a | `GoneTests`: \"it holds\"; `readable` |\n")
        #expect(claims.map(\.text) == ["GoneTests", "it holds"])
        let near = Present(in: ["struct GoneTestsOfOthers {\n    @Test(\"it holds on\")"])
        #expect(claims.map(near.keeps) == [false, false])
        let there = Present(in: ["struct GoneTests {\n    @Test(\"it holds\")"])
        #expect(claims.map(there.keeps) == [true, true])
    }

    /// Something that a line of the table names.
    struct Claim {
        let text: String
        let isSuite: Bool
    }

    /// The names of types and the texts in quotes of all sources.
    struct Present {
        private var types: Set<Substring> = []
        private var texts: Set<Substring> = []

        init(in sources: [String]) {
            for source in sources {
                for line in source.split(whereSeparator: \.isNewline) {
                    texts.formUnion(line.split(separator: "\""))
                    let words = line.split(separator: " ")
                    for (word, next) in zip(words, words.dropFirst()) where word == "struct" || word == "class" {
                        types.insert(next)
                    }
                }
            }
        }

        func keeps(_ claim: Claim) -> Bool { (claim.isSuite ? types : texts).contains(claim.text[...]) }
    }

    /// In the lines of tables: backticked names that end in Tests, and what stands in quotes.
    static func claims(of page: String) -> [Claim] {
        page.split(separator: "\n").filter { $0.hasPrefix("|") }.flatMap { line in
            between("`", in: line).filter { $0.hasSuffix("Tests") }.map { Claim(text: $0, isSuite: true) }
                + between("\"", in: line).map { Claim(text: $0, isSuite: false) }
        }
    }

    private static func between(_ mark: Character, in line: Substring) -> [String] {
        line.split(separator: mark, omittingEmptySubsequences: false).enumerated()
            .filter { $0.offset % 2 == 1 }.map { String($0.element) }
    }
}
