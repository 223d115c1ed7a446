import SearchIndexing
import SearchProtocol
import TestServers
import Testing
import TextAnalysis

@Suite("Queries")
struct QueryTests {
    @Test(
        "What people type has a meaning",
        arguments: [
            ("budget", .word("budget")),
            ("budget report", .all([.word("budget"), .word("report")])),
            ("a AND b OR c", .any([.all([.word("a"), .word("b")]), .word("c")])),
            ("\"third quarter\" -draft", .all([.phrase("third quarter"), .not(.word("draft"))])),
            ("“third quarter”", .phrase("third quarter")),
            ("fore* w?rd c*t hous~", .all([.prefix("fore"), .wildcard("w?rd"), .wildcard("c*t"), .fuzzy("hous")])),
            ("(a OR b) c", .all([.any([.word("a"), .word("b")]), .word("c")])),
            ("what?", .word("what?")),
            ("file:report.pdf", .fileName("report.pdf")),
            ("NOT x y", .all([.not(.word("x")), .word("y")])),
            ("ssh-server", .word("ssh-server")),
            ("\"unclosed words", .phrase("unclosed words")),
            (") a (", .word("a")),
            ("http://x.org", .word("http://x.org")),
        ] as [(String, SearchQuery)])
    func parse(_ text: String, _ wanted: SearchQuery) {
        #expect(SearchQuery.parse(text).query == wanted)
    }

    @Test(
        "Filters stand beside the words",
        arguments: [("from:bob in:sales after:2026-01-01 before:2026-02-01 type:file x")])
    func filters(_ text: String) {
        let parsed = SearchQuery.parse(text)
        #expect(parsed.from == ["bob"] && parsed.rooms == ["sales"] && parsed.types == ["file"])
        #expect(parsed.after == "2026-01-01" && parsed.before == "2026-02-01" && parsed.query == .word("x"))
        #expect(SearchQuery.parse("from:bob").query == nil)
    }

    @Test("Any text is read without a trap, and nothing is nested without end", arguments: [1, 2])
    func anyText(_ seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let alphabet = Array("ab\"()-*?~: ORAND“”\u{0}ä")
        for _ in 0..<2000 {
            let text = String(
                (0..<Int.random(in: 0...60, using: &random)).compactMap { _ in alphabet.randomElement(using: &random) })
            _ = SearchQuery.parse(text)
        }
        _ = SearchQuery.parse(String(repeating: "(", count: 10_000))
        _ = SearchQuery.parse(String(repeating: "-", count: 10_000) + "a")
    }

    private static func matches(_ query: SearchQuery, _ text: SearchableText, _ languages: LanguageSet = .english)
        throws
        -> Bool
    {
        let analyser = try TextAnalyser()
        let compiled = CompiledQuery(query, languages: languages, analyser: analyser)
        return compiled.matches(analyser.analyse(text, languages: languages), analyser: analyser)
    }

    @Test("Words are found in any form, phrases as written, parts by what they are part of")
    func decisions() throws {
        let text = SearchableText("The mail-servers of Zürich were running at @ops, see docs.example.com/x_y")
        for query: SearchQuery in [
            .word("server"), .word("SERVERS"), .word("run"), .phrase("mail servers"), .phrase("servers of zürich"),
            .word("mail-servers"), .prefix("serv"), .wildcard("z?rich"), .fuzzy("servres"), .word("@ops"), .word("ops"),
            .word("example.com"), .word("x_y"), .all([.word("the"), .word("mail")]),
            .any([.word("nothing"), .word("mail")]), .all([.word("mail"), .not(.word("post"))]), .phrase("at ops"),
        ] { #expect(try Self.matches(query, text), "\(query)") }
        for query: SearchQuery in [
            .word("mailer-daemon"), .phrase("servers zürich"), .word("server-mail"), .prefix("rvers"),
            .wildcard("z?ch"),
            .word("#ops"), .word("@mail"), .word("the"), .not(.word("mail")), .all([.word("mail"), .word("post")]),
            .phrase("the"), .prefix("th"), .word(""), .word("..."),
        ] { #expect(try !Self.matches(query, text), "\(query)") }
    }

    @Test("Japanese, Chinese, Korean and Thai are found by any piece of them")
    func pieces() throws {
        let text = SearchableText("昨日、東京都庁のサーバーが落ちた。 한국어 검색 สวัสดีครับ")
        for piece in ["東京", "京都庁", "サーバー", "庁", "が落ち", "국어", "검색", "สวัส", "ดีค", "น"].dropLast() {
            #expect(try Self.matches(.word(piece), text), "\(piece)")
        }
        for piece in ["東都", "庁サ", "昨日東京", "어검", "น"] { #expect(try !Self.matches(.word(piece), text), "\(piece)") }
        #expect(try Self.matches(.phrase("昨日、東京"), text))
    }

    @Test("Names of files are found by file:, and by words")
    func files() throws {
        let text = SearchableText("see", fileNames: ["Annual_Report.pdf"], fileTexts: ["revenue grew"])
        for query: SearchQuery in [
            .fileName("report"), .fileName("annual_report.pdf"), .fileName("Annual_Report.pdf"), .word("reports"),
            .word("revenue"), .phrase("revenue grew"),
        ] { #expect(try Self.matches(query, text), "\(query)") }
        #expect(try !Self.matches(.fileName("revenue"), text))
        #expect(try !Self.matches(.phrase("pdf revenue"), text), "texts are apart")
    }

    @Test(
        "Patterns take the words they should",
        arguments: [
            (.prefix(Array("ser".utf8)), "server", true), (.prefix(Array("ser".utf8)), "eser", false),
            (.wildcard(Array("s*r".utf8)), "server", true), (.wildcard(Array("s*r".utf8)), "servers", false),
            (.wildcard(Array("*v?r*".utf8)), "servers", true), (.wildcard(Array("???".utf8)), "für", true),
            (.fuzzy(Array("server".utf8), distance: 1), "sever", true),
            (.fuzzy(Array("server".utf8), distance: 1), "sevrer", true),
            (.fuzzy(Array("server".utf8), distance: 1), "svrer", false),
            (.fuzzy(Array("server".utf8), distance: 2), "swrver", true),
            (.containing(Array("京".utf8)), "東京", true), (.containing(Array("京".utf8)), "東都", false),
            (.prefix(Array("東".utf8)), "東京", false), (.containing(Array("a".utf8)), "abc", false),
        ] as [(WordPattern, String, Bool)])
    func patterns(_ pattern: WordPattern, _ word: String, _ wanted: Bool) {
        #expect(pattern.matches(Array(word.utf8)) == wanted)
    }

    // MARK: Plans

    private static func plan(
        _ query: SearchQuery, _ epochs: [IndexEpoch], vocabulary: MemoryVocabulary? = nil,
        limits: QueryPlanner.Limits = .init()
    ) throws -> SearchPlan {
        var random = SeededGenerator(seed: 5)
        let planner = QueryPlanner(analyser: try TextAnalyser(), vocabulary: vocabulary, limits: limits)
        return try planner.plan(query, in: epochs, limit: 20, using: &random)
    }

    @Test("A query is words x rooms x epochs in one lookup, in no order that tells anything")
    func fanOut() throws {
        let epochs = try (0..<50).flatMap { room in
            try (1...2).map { try SearchWorld.epoch("r\(room)", UInt32($0), .list, .english) }
        }
        let plan = try Self.plan(.all([.word("budget"), .word("report")]), epochs)
        #expect(plan.lookups.count == 1 && plan.notes.isEmpty)
        let cells = plan.lookups[0].cells
        #expect(cells.count == 100 && cells.allSatisfy { $0.groups.map(\.count) == [1, 1] })
        #expect(cells.map(\.room) != epochs.map(\.room))
        // The word that comes first is not told by its place.
        let budget = epochs.map { $0.keys.token(of: Term(.stem, language: "en", Array("budget".utf8)).octets).high }
        let first = cells.count { budget.contains($0.groups[0][0].high) }
        #expect((10...90).contains(first))
        let tokens = cells.flatMap { $0.groups.joined() }
        #expect(Set(tokens).count == 200)
    }

    @Test("A frequent word of a padded room is asked for with all its variants")
    func variants() throws {
        let plan = try Self.plan(.word("just"), [try SearchWorld.epoch("r", 1, .padded, .english)])
        #expect(plan.lookups[0].cells[0].groups.map(\.count) == [8])
        let listed = try Self.plan(.word("just"), [try SearchWorld.epoch("r", 1, .list, .english)])
        #expect(listed.lookups[0].cells[0].groups.map(\.count) == [1])
    }

    @Test("Epochs beyond the sixteen newest are left out, and the plan says so")
    func epochCap() throws {
        let epochs = try (1...20).map { try SearchWorld.epoch("r", UInt32($0), .list, .english) }
        let plan = try Self.plan(.word("budget"), epochs.shuffled())
        #expect(Set(plan.lookups[0].cells.map(\.epoch)) == Set(5...20))
        #expect(plan.notes == [.epochsLeftOut(room: "r", count: 4)])
    }

    @Test("Patterns become the words of the room, at most so many, and the plan says what is left out")
    func expansion() throws {
        var vocabulary = MemoryVocabulary()
        for index in 0..<100 { vocabulary.add(Array("server\(index)x".utf8), to: "r") }
        vocabulary.add(Array("servant".utf8), to: "r")
        vocabulary.add(Array("servant".utf8), to: "other")
        let epoch = try SearchWorld.epoch("r", 1, .list, .english)
        let other = try SearchWorld.epoch("other", 1, .list, .english)
        let empty = try SearchWorld.epoch("empty", 1, .list, .english)
        let few = try Self.plan(.prefix("serva"), [epoch, other, empty], vocabulary: vocabulary)
        #expect(Set(few.lookups[0].cells.map(\.room)) == ["r", "other"])
        #expect(few.notes.isEmpty)
        let many = try Self.plan(.prefix("serv"), [epoch, other], vocabulary: vocabulary)
        #expect(many.notes == [.expansionCapped(room: "r")])
        #expect(many.lookups[0].cells.first { $0.room == "r" }?.groups.map(\.count) == [64])
    }

    @Test("A query that an index can not answer asks for nothing, and says so")
    func asksNothing() throws {
        let epoch = try SearchWorld.epoch("r", 1, .list, .english)
        for query: SearchQuery in [
            .word("the"), .not(.word("x")), .phrase("of the"), .any([.word("x"), .not(.word("y"))]),
        ] {
            let plan = try Self.plan(query, [epoch])
            #expect(plan.lookups.isEmpty && plan.notes == [.asksNothing], "\(query)")
        }
    }

    @Test("What is asked for never misses what is meant, however a query is nested")
    func largeQueries() throws {
        let epoch = try SearchWorld.epoch("r", 1, .padded, .english)
        let sums = (0..<6).map { one in SearchQuery.all((0..<6).map { .word("w\(one)x\($0)") }) }
        let plan = try Self.plan(.any(sums), [epoch])
        let groups = try #require(plan.lookups.first?.cells.first?.groups)
        // Each of the six alternatives has a word in every group.
        for sum in 0..<6 {
            let own = Set((0..<6).map { epoch.keys.token(of: Term(.surface, Array("w\(sum)x\($0)".utf8)).octets).high })
            for group in groups { #expect(!own.isDisjoint(with: group.map(\.high))) }
        }
    }

    @Test("The newer day comes first, within it the rarer words")
    func ranking() {
        func term(_ word: String) -> Term { Term(.stem, language: "en", Array(word.utf8)) }
        let day: Int64 = 86_400_000
        let common = term("common"), rare = term("rare")
        var candidates = (0..<20).map {
            SearchRanking.Candidate(message: "c\($0)", published: 10 * day + Int64($0), matched: [common])
        }
        candidates.append(.init(message: "rare", published: 10 * day - 0, matched: [common, rare]))
        candidates.append(.init(message: "new", published: 11 * day, matched: [common]))
        candidates.append(.init(message: "old", published: -1, matched: [common, rare]))
        let order = SearchRanking.ordered(candidates.shuffled()).map(\.message)
        #expect(order.first == "new" && order[1] == "rare" && order[2] == "c19" && order.last == "old")
    }
}
