import CalendarBackend
import CalendarTime
import CalendarTranslation
import ICalendar
import TestServers
import Testing
import WireText

@Suite("Translation of calendar objects")
struct TranslationTests {
    static let rich = """
        BEGIN:VCALENDAR
        VERSION:2.0
        PRODID:-//example//test//EN
        BEGIN:VEVENT
        UID:rich-1@example.com
        DTSTAMP:20260101T000000Z
        DTSTART;TZID=Europe/Berlin:20270105T100000
        DTEND;TZID=Europe/Berlin:20270105T113000
        SUMMARY:Plan\\, with comma\\; and 'quotes'
        DESCRIPTION:One\\nTwo äöü 🙂
        LOCATION:Room 4\\; @meet
        RRULE:FREQ=WEEKLY;BYDAY=TU,TH;WKST=MO;COUNT=20
        EXDATE;TZID=Europe/Berlin:20270107T100000
        CLASS:PRIVATE
        PRIORITY:1
        CATEGORIES:Work,Big\\, bigger
        TRANSP:OPAQUE
        X-MICROSOFT-CDO-BUSYSTATUS:OOF
        ORGANIZER;CN=Alice:mailto:alice@example.com
        ATTENDEE;CN="O'Neil, Bob";ROLE=OPT-PARTICIPANT;PARTSTAT=ACCEPTED:mailto:bob+x@example.com
        X-OWN;X-PARAM="a:b":kept \\, as it is
        BEGIN:VALARM
        ACTION:DISPLAY
        DESCRIPTION:Soon
        TRIGGER:-PT10M
        END:VALARM
        BEGIN:VALARM
        ACTION:AUDIO
        TRIGGER;VALUE=DATE-TIME:20270105T080000Z
        END:VALARM
        END:VEVENT
        BEGIN:VEVENT
        UID:rich-1@example.com
        DTSTAMP:20260101T000000Z
        RECURRENCE-ID:20270112T090000Z
        DTSTART;TZID=Europe/Berlin:20270112T140000
        DTEND;TZID=Europe/Berlin:20270112T150000
        SUMMARY:Later that day
        END:VEVENT
        END:VCALENDAR

        """.replacing("\n", with: "\r\n")

    @Test("What is written of fields reads as the same fields")
    func roundTrip() throws {
        let series = try EventSeries(parsing: Array(Self.rich.utf8))
        #expect(series.main.summary == "Plan, with comma; and 'quotes'")
        #expect(series.main.busy == .away && series.main.reminder == 10 && series.main.importance == .high)
        #expect(series.main.categories == ["Work", "Big, bigger"])
        #expect(series.main.attendees.first?.answer == .accepted)
        #expect(series.main.rest.first == "X-OWN;X-PARAM=\"a:b\":kept \\, as it is")
        #expect(series.main.rest.contains("BEGIN:VALARM") && series.exceptions.count == 1)
        let again = try EventSeries(parsing: series.octets)
        #expect(again == series)
        #expect(again.main.differences(from: series.main).isEmpty)
    }

    @Test("Each edit of a text is one field that differs")
    func differences() throws {
        let base = try EventSeries(parsing: Array(Self.rich.utf8)).main
        let edits: [(String, String, Set<EventFields.Field>)] = [
            ("SUMMARY:Plan", "SUMMARY:Other", [.summary]), ("DESCRIPTION:One", "DESCRIPTION:Zero", [.description]),
            ("Room 4", "Room 5", [.location]), ("X-OWN;", "X-ELSE;", [.rest]), ("-PT10M", "-PT15M", [.reminder]),
            ("CLASS:PRIVATE", "CLASS:PUBLIC", [.sensitivity]), ("COUNT=20", "COUNT=21", [.rules]),
            ("PARTSTAT=ACCEPTED", "PARTSTAT=NEEDS-ACTION", []), ("bob+x@", "BOB+X@", []),
            ("bob+x@", "bob@", [.attendees]),
            ("T113000", "T120000", [.time]), ("BUSYSTATUS:OOF", "BUSYSTATUS:FREE", [.busy]),
        ]
        for (old, new, fields) in edits {
            let text = Self.rich.replacing(old, with: new, maxReplacements: 1)
            let edited = try EventSeries(parsing: Array(text.utf8)).main
            #expect(edited.differences(from: base) == fields, "\(old) -> \(new)")
        }
    }

    @Test(
        "What is no event, or two, is refused",
        arguments: [
            ("BEGIN:VEVENT\r\nUID:rich", "BEGIN:VTODO\r\nUID:rich"), ("UID:rich-1@", "UID:other@"),
            ("RECURRENCE-ID:20270112T090000Z\r\n", ""), ("DTSTART;TZID=Europe/Berlin:20270105T100000\r\n", ""),
            ("DTSTART;TZID=Europe/Berlin:20270105T100000", "DTSTART:20271301T000000Z"),
        ])
    func refused(_ edit: (String, String)) {
        let text = Self.rich.replacing(edit.0, with: edit.1, maxReplacements: 1)
        #expect(throws: CalendarError.objectRefused("")) { try EventSeries(parsing: Array(text.utf8)) }
    }

    @Test(
        "Kept lines that would leave their event are passed over",
        arguments: [
            "END:VEVENT\nBEGIN:VEVENT\nUID:evil", "X-A:1\r\nEND:VEVENT", "BEGIN:VALARM", "END:VALARM", "UID:other",
            "DTSTART:20270101T000000Z", " X-A:1", "X-A", "BEGIN:VALARM\nEND:VEVENT",
        ])
    func unsound(_ text: String) { #expect(RestLines.lines(text).isEmpty) }

    @Test("Kept lines come back as they were")
    func sound() {
        let lines = ["X-A;P=\"x:y\":1", "BEGIN:VALARM", "TRIGGER:-PT5M", "END:VALARM", "URL:https://example.com/"]
        #expect(RestLines.lines(RestLines.text(lines)) == lines)
        #expect(RestLines.lines(String(repeating: "X-A:1\n", count: 10_000)).isEmpty)
    }
}

@Suite("Patterns of series")
struct RulePatternTests {
    static let rules = [
        "FREQ=DAILY", "FREQ=DAILY;INTERVAL=3;COUNT=7", "FREQ=WEEKLY;BYDAY=MO,WE,FR;WKST=SU;INTERVAL=2",
        "FREQ=WEEKLY", "FREQ=WEEKLY;UNTIL=20270601T080000Z", "FREQ=MONTHLY", "FREQ=MONTHLY;BYMONTHDAY=15;INTERVAL=2",
        "FREQ=MONTHLY;BYMONTHDAY=-1", "FREQ=MONTHLY;BYMONTHDAY=28,29,30;BYSETPOS=-1", "FREQ=MONTHLY;BYDAY=2TU",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "FREQ=MONTHLY;BYDAY=-1FR", "FREQ=YEARLY",
        "FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=10;COUNT=3",
        "FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR", "FREQ=DAILY;UNTIL=20270301T085959Z", "FREQ=DAILY;UNTIL=20270301",
    ]

    @Test("A rule and the rule of its pattern have the same days", arguments: rules)
    func sameDays(_ rule: String) throws {
        let start = try CalendarMoment(
            ContentLine("DTSTART", [.init("TZID", ["W. Europe Standard Time"])], value: "20270105T100000"))
        let pattern = try RulePattern(rule: rule, start: start)
        let told = try pattern.rule(start: start)
        #expect(try RulePattern(rule: told, start: start) == pattern)
        #expect(try days(rule, start) == days(told, start), "\(rule) -> \(told)")
    }

    @Test(
        "A rule that these calendars do not know is refused, and not rounded",
        arguments: [
            "FREQ=HOURLY", "FREQ=MONTHLY;BYMONTHDAY=31", "FREQ=MONTHLY;BYMONTHDAY=1,15", "FREQ=YEARLY;BYYEARDAY=100",
            "FREQ=MONTHLY;BYDAY=1MO,3MO", "FREQ=YEARLY;BYWEEKNO=20", "FREQ=MONTHLY;BYDAY=-2FR", "FREQ=WEEKLY;BYMONTH=1",
            "FREQ=DAILY;INTERVAL=2;BYDAY=MO", "FREQ=MONTHLY;BYDAY=MO", "FREQ=DAILY;BYHOUR=9,10",
            "FREQ=DAILY;COUNT=5000",
        ])
    func refused(_ rule: String) throws {
        let start = CalendarMoment.utc(LocalTime(seconds: 1_800_000_000))
        #expect(throws: CalendarError.objectRefused("")) { try RulePattern(rule: rule, start: start) }
    }

    private func days(_ rule: String, _ start: CalendarMoment) throws -> [Instant] {
        let (parameters, value) = start.written
        let lines = [try ContentLine("DTSTART", parameters, value: value), try ContentLine("RRULE", value: rule)]
        let empty = try CalendarDocument(parsing: Array("BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n".utf8))
        let schedule = try EventSchedule(lines, in: empty, zones: .system, userZone: .utc)
        let first = schedule.zone.instant(of: start.local)
        return try schedule.occurrences(in: first..<first.advanced(by: 900 * 86_400), limit: 1000).list.map(\.start)
    }
}

@Suite("Descriptions in HTML")
struct HTMLTextTests {
    @Test(
        "Text is read out of HTML",
        arguments: [
            ("<p>One</p><p>Two</p>", "One\nTwo"), ("a<br>b<br/>c", "a\nb\nc"),
            ("<b>a</b>&amp;&lt;&#65;&#x42;", "a&<AB"),
            ("<html><head><style>p{}</style><title>t</title></head><body>x</body></html>", "x"),
            ("<div>a</div>\r\n<div>b</div>\r\n", "a\nb"), ("a\r\n   b", "a b"), ("&nbsp;x&nbsp;&nbsp;y", " x  y"),
            ("<!-- <p>no</p> -->yes", "yes"), ("<script>if (a<b) {}</script>z", "z"), ("plain", "plain"), ("", ""),
            ("a < b", "a"), ("&unknown; &", "&unknown; &"), ("<p>a", "a"), ("<p", ""),
        ])
    func plain(_ pair: (String, String)) { #expect(HTMLText.plain(pair.0) == pair.1) }

    @Test("A changed text leaves the HTML around the change")
    func replacing() {
        let html = "<html><body><p>Hello <b>world</b>, <a href=\"x\">see</a></p><p>Bye</p></body></html>"
        #expect(HTMLText.plain(html) == "Hello world, see\nBye")
        #expect(HTMLText.replacing(html, by: "Hello world, see\nBye") == html)
        let more = HTMLText.replacing(html, by: "Hello world, see\nBye\n-- join --\nhttps://x/?a&b")
        #expect(more == html.replacing("Bye", with: "Bye<br>-- join --<br>https://x/?a&amp;b"))
        #expect(HTMLText.replacing(more, by: "Hello world, see\nBye").contains("<b>world</b>, <a href=\"x\">see</a>"))
        #expect(HTMLText.plain(HTMLText.replacing(more, by: "Hello world, see\nBye")) == "Hello world, see\nBye")
        #expect(HTMLText.replacing(html, by: "Hello moon, see\nBye") == html.replacing("world", with: "moon"))
    }

    @Test("Whatever the HTML, the text that was wanted can be read afterwards")
    func random() {
        var generator = SeededGenerator(seed: 20_261_128)
        let pieces = [
            "<p>", "</p>", "<br>", "a", " ", "b ", "&amp;", "<b>", "</b>", "\r\n", "é", "<div>", "</div>", "<",
            "&nbsp;", "🙂",
        ]
        let words = ["x", " y", "\n", "<z>", "&", "é", "  ", "-=-", "🙂"]
        for _ in 0..<3000 {
            let html = (0..<Int.random(in: 0..<14, using: &generator)).map { _ in
                pieces.randomElement(using: &generator) ?? ""
            }.joined()
            var text = HTMLText.plain(html)
            let at = text.index(text.startIndex, offsetBy: Int.random(in: 0...text.count, using: &generator))
            text.insert(contentsOf: words.randomElement(using: &generator) ?? "", at: at)
            let trimmed = String(text.reversed().drop { $0 == "\n" || $0 == " " }.reversed())
            let read = HTMLText.plain(HTMLText.replacing(html, by: text))
            // Spaces at the ends of lines are not kept.
            let lines = { (text: String) in
                text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
                    String(line.reversed().drop { $0 == " " }.reversed())
                }
            }
            #expect(lines(read) == lines(trimmed), "\(html.debugDescription) \(text.debugDescription)")
        }
    }
}
