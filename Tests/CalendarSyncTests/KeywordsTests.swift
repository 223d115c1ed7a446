import CalendarSync
import Testing

@Suite("Keywords")
struct KeywordsTests {
    @Test(
        "A keyword stands alone, in any case of letters, with a modifier or not",
        arguments: [
            ("@webex", Trigger.Action.personalRoom), ("@Webex", .personalRoom), ("Room 4; @meet:space", .space),
            ("@MEET", .space), ("(@meet)", .space), ("@meet.", .space), ("@meet, room 4", .space),
            ("@meet:myroom", .personalRoom), ("@webex:SPACE", .space), ("@meet:what", .space), ("x\t@meet\tx", .space),
            ("bob@webex.com @meet", .space), ("会議室、@meet", .space),
        ])
    func found(_ location: String, _ action: Trigger.Action) {
        #expect(Samples.keywords.trigger(location: location, notes: nil) == Trigger(.keyword, action))
    }

    @Test(
        "Part of a word or of an address is no keyword",
        arguments: [
            "bob@webex.com", "@webex.com", "bob@webex", "@meeting", "@meet-up", "@meet2", "meet", "@", "", "@@meet",
            "x.@meet", "o'@meet", "@meet@host", "https://a/@meet", "@meet\u{301}",
        ])
    func notFound(_ location: String) {
        #expect(Samples.keywords.trigger(location: location, notes: nil) == nil)
    }

    @Test("A keyword in the notes is none: only the location asks")
    func notes() {
        #expect(Samples.keywords.trigger(location: nil, notes: "@meet") == nil)
    }

    @Test(
        "An address of a supported host asks, in the location and in the notes",
        arguments: [
            "https://meet.example.com/room/1", "see <https://alice.meet.example.com:443/x>",
            "sip:room@meet.example.com",
            "SIPS:1@MEET.example.com;transport=tls",
        ])
    func addresses(_ text: String) {
        #expect(Samples.keywords.trigger(location: text, notes: nil)?.kind == .videoAddress)
        #expect(Samples.keywords.trigger(location: nil, notes: text)?.action == .givenAddress)
    }

    @Test(
        "Another host asks nothing, however it is dressed",
        arguments: [
            "https://meet.example.com.evil.org/", "https://evil.org/meet.example.com",
            "https://meet.example.com@evil.org/",
            "https://notmeet.example.com/", "bob@meet.example.com", "http://meet.example.com/", "sip:meet.example.com",
            "https://evil.org\\@meet.example.com/",
        ])
    func otherHosts(_ text: String) {
        #expect(Samples.keywords.trigger(location: text, notes: text) == nil)
    }

    @Test("Keywords are configured")
    func configured() {
        let own = Keywords(["@Zoomless": .space], modifiers: [:])
        #expect(own.trigger(location: "@zoomless", notes: nil)?.action == .space)
        #expect(own.trigger(location: "@meet", notes: nil) == nil)
    }
}
