import CalendarBackend
import Testing

@Suite("Hrefs and tokens")
struct CalendarHrefTests {
    @Test(
        "Ways to write the same octets are one href",
        arguments: [
            ("/a/b%40c.ics", "/a/b@c.ics"), ("/a/%7euser/", "/a/~user/"), ("/a/x%2by", "/a/x+y"), ("/é", "/%c3%a9"),
            ("/a/it's", "/a/it%27s"), ("/a/%41", "/a/A"),
        ])
    func same(_ one: String, _ other: String) {
        #expect(CalendarHref(one) == CalendarHref(other))
        #expect(CalendarHref(one).hashValue == CalendarHref(other).hashValue)
        #expect(CalendarHref(one).text == one, "what is sent is the form that came")
    }

    @Test(
        "Other octets are another href",
        arguments: [("/a%2Fb", "/a/b"), ("/a", "/A"), ("/a", "/a/"), ("/%2541", "/%41"), ("/a%4", "/a%254x")])
    func other(_ one: String, _ other: String) {
        #expect(CalendarHref(one) != CalendarHref(other))
    }

    @Test("A token moves back only where tokens count")
    func tokens() {
        #expect(SyncToken("http://s/ns/sync/9").isBefore(SyncToken("http://s/ns/sync/10")))
        #expect(!SyncToken("http://s/ns/sync/10").isBefore(SyncToken("http://s/ns/sync/9")))
        #expect(!SyncToken("http://s/ns/sync/9").isBefore(SyncToken("http://s/ns/sync/9")))
        #expect(!SyncToken("abc1").isBefore(SyncToken("abd2")), "digests are in no order")
        #expect(!SyncToken("").isBefore(SyncToken("1")))
        #expect(SyncToken("99999999999999999999998").isBefore(SyncToken("99999999999999999999999")))
    }
}
