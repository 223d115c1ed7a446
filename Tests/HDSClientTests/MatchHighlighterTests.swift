import HDSClient
import Testing

@Suite("What stands out in what a search found")
struct MatchHighlighterTests {
    private func marked(_ query: String, _ text: String) -> String {
        MatchHighlighter(query).parts(text).map { $0.isMatch ? "[\($0.text)]" : $0.text }.joined()
    }

    @Test("words, their forms, beginnings and parts of scripts without spaces; and no filters or operators")
    func matches() {
        #expect(marked("partition", "How many Partitions, partition?") == "How many [Partitions], [partition]?")
        #expect(marked("install*", "installing it") == "[installing] it")
        #expect(marked("cat", "category of cats") == "category of [cats]")
        #expect(
            marked("-draft OR budget from:alice@example.com", "draft budget from alice") == "draft [budget] from alice")
        #expect(marked("\"third quarter\"", "the third quarter") == "the [third] [quarter]")
        #expect(marked("会議", "明日会議です") == "明日[会議]です")
        #expect(marked("", "nothing") == "nothing")
        #expect(MatchHighlighter("x").parts("").isEmpty)
    }

    @Test("the parts put together are the text", arguments: ["", "a b  c", "naïve 🇩🇪 text-with_marks", "ﬁne ﬁnish"])
    func whole(_ text: String) {
        #expect(MatchHighlighter("b fine text").parts(text).map(\.text).joined() == text)
    }
}
