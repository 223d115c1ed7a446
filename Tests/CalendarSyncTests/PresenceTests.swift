import CalendarSync
import CalendarTime
import ICalendar
import Testing

@Suite("Out of office and free-busy")
struct PresenceTests {
    private static func absences(_ text: String) throws -> [String] {
        try OutOfOffice(user: Samples.alice, zones: .system)
            .absences(in: [Samples.document(text)], window: Samples.window()).absences.map { "\($0.start)/\($0.end)" }
    }

    private static let days = ["UID:1", "DTSTART;VALUE=DATE:20260105", "DTEND;VALUE=DATE:20260108"]
    private static let span = "2026-01-04T23:00:00Z/2026-01-07T23:00:00Z"

    @Test(
        "All-day events of vacation, and those marked so, are absences",
        arguments: [
            "SUMMARY:Vacation", "SUMMARY:Urlaub - Italien", "CATEGORIES:Home,OUT OF OFFICE", "SUMMARY:休暇",
            "X-MICROSOFT-CDO-BUSYSTATUS:OOF",
        ])
    func vacation(_ line: String) throws {
        #expect(try Self.absences(Samples.text(Self.days + [line])) == [Self.span])
    }

    @Test(
        "Other events are none",
        arguments: [
            ["SUMMARY:Vacation planning"], ["SUMMARY:Vacationer"], ["SUMMARY:Vacation", "STATUS:CANCELLED"],
            ["SUMMARY:Vacation", "TRANSP:TRANSPARENT"], ["SUMMARY:Vacation", "ORGANIZER:mailto:bob@example.org"],
        ])
    func others(_ lines: [String]) throws {
        #expect(try Self.absences(Samples.text(Self.days + lines)) == [])
    }

    @Test("A VAVAILABILITY with an end and nothing available inside is an absence; spans that touch are one")
    func availability() throws {
        func text(_ inside: [String], _ end: String = "DTEND:20260110T120000Z") -> String {
            (["BEGIN:VCALENDAR", "BEGIN:VAVAILABILITY", "DTSTART:20260109T120000Z", end] + inside
                + ["END:VAVAILABILITY"]).map { $0 + "\r\n" }.joined()
        }
        #expect(try Self.absences(text([]) + "END:VCALENDAR\r\n") == ["2026-01-09T12:00:00Z/2026-01-10T12:00:00Z"])
        let hours = ["BEGIN:AVAILABLE", "DTSTART:20260109T120000Z", "DURATION:PT1H", "END:AVAILABLE"]
        #expect(try Self.absences(text(hours) + "END:VCALENDAR\r\n") == [])
        #expect(try Self.absences(text(["BUSYTYPE:BUSY-TENTATIVE"]) + "END:VCALENDAR\r\n") == [])
        #expect(try Self.absences(text([], "X-A:1") + "END:VCALENDAR\r\n") == [], "without an end it is working hours")
        let next = [
            "BEGIN:VEVENT", "UID:2", "DTSTART;VALUE=DATE:20260110", "SUMMARY:Vacation", "END:VEVENT", "END:VCALENDAR",
        ]
        #expect(
            try Self.absences(text([]) + next.map { $0 + "\r\n" }.joined()) == [
                "2026-01-09T12:00:00Z/2026-01-10T23:00:00Z"
            ])
    }

    @Test("Busy spans are joined, the stronger counts, and transparent and cancelled meetings are free")
    func busy() throws {
        func event(_ uid: Int, _ start: String, _ end: String, _ more: String...) -> [String] {
            ["UID:\(uid)", "DTSTART:20260105T\(start)00Z", "DTEND:20260105T\(end)00Z"] + more
        }
        let text = Samples.text(
            event(1, "0900", "1000"), event(2, "0930", "1100", "CLASS:PRIVATE"),
            event(3, "1030", "1200", "STATUS:TENTATIVE"),
            event(4, "1300", "1400", "TRANSP:TRANSPARENT"), event(5, "1500", "1600", "STATUS:CANCELLED"),
            event(6, "1700", "1700"), event(7, "1145", "1150", "X-MICROSOFT-CDO-BUSYSTATUS:OOF"))
        let spans = FreeBusy(of: try Samples.meetings(text).meetings, in: try Samples.window()).spans
        #expect(
            spans.map { "\("\($0.start)".dropFirst(11).prefix(5))-\("\($0.end)".dropFirst(11).prefix(5)) \($0.busy)" }
                == [
                    "09:00-11:00 busy", "11:00-11:45 tentative", "11:45-11:50 outOfOffice", "11:50-12:00 tentative",
                ])
    }

    @Test("The window is a day back and a week on unless configured otherwise, and bounded")
    func window() throws {
        let range = MeetingWindow().range(at: try Samples.instant("20260110T120000Z"))
        #expect("\(range.lowerBound) \(range.upperBound)" == "2026-01-09T12:00:00Z 2026-01-17T12:00:00Z")
        #expect(MeetingWindow(pastDays: -5, futureDays: .max) == MeetingWindow(pastDays: 0, futureDays: 400))
    }

    @Test(
        "The text of the details is in the first known language, with header and footer",
        arguments: JoinTemplate.languages)
    func languages(_ language: String) {
        let details = JoinDetails(
            url: "https://j.example/1", sip: "1@j.example", phone: "+49 1", pin: "9", spaceTitle: "T")
        let text = JoinTemplate(languages: ["xx", "\(language)-ZZ"], header: "H", footer: "F").text(details)
        for part in ["H\n\n", "https://j.example/1", "1@j.example", "+49 1", ": 9", ": T", "\n\nF"] {
            #expect(text.contains(part), "\(part)")
        }
        #expect(language == "en" || text != JoinTemplate(languages: [], header: "H", footer: "F").text(details))
    }
}
