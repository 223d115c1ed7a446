import Diagnostics
import ICalendar
import TestServers
import Testing

@testable import CalendarTime

@Suite("Event schedule")
struct EventScheduleTests {
    private static func schedule(_ lines: [String], userZone: String = "America/New_York") throws -> EventSchedule {
        let all =
            ["BEGIN:VCALENDAR"] + ZoneRulesTests.outlook + ["BEGIN:VEVENT"] + lines + ["END:VEVENT", "END:VCALENDAR"]
        let document = try CalendarDocument(parsing: Array(all.map { $0 + "\r\n" }.joined().utf8))
        let event = try #require(document.components.last { $0.name == "VEVENT" })
        let user = try #require(ZoneCatalogue.system.rules(named: userZone))
        return try EventSchedule(document.properties(of: event), in: document, zones: .system, userZone: user)
    }

    private static func occurrences(
        _ lines: [String], _ low: String = "20260101", _ high: String = "20270101", limit: Int = 50
    ) throws -> [String] {
        let low = Instant(seconds: try CalendarMoment.parse(low[...], zone: nil).local.seconds)
        let high = Instant(seconds: try CalendarMoment.parse(high[...], zone: nil).local.seconds)
        return try schedule(lines).occurrences(in: low..<high, limit: limit).list.map { "\($0.start)/\($0.end)" }
    }

    @Test(
        "Start and end are instants in the zone that is meant",
        arguments: [
            (["DTSTART:20260102T090000Z", "DTEND:20260102T100000Z"], "2026-01-02T09:00:00Z/2026-01-02T10:00:00Z"),
            (
                ["DTSTART;TZID=Europe/Berlin:20260702T090000", "DURATION:PT90M"],
                "2026-07-02T07:00:00Z/2026-07-02T08:30:00Z"
            ),
            (
                ["DTSTART;TZID=W. Europe Standard Time:20260702T090000", "DTEND;TZID=Asia/Tokyo:20260702T170000"],
                "2026-07-02T07:00:00Z/2026-07-02T08:00:00Z"
            ),
            (
                ["DTSTART;TZID=Customized Time Zone:20260702T090000", "DURATION:PT1H"],
                "2026-07-02T07:00:00Z/2026-07-02T08:00:00Z"
            ),
            (["DTSTART:20260702T090000", "DURATION:PT1H"], "2026-07-02T13:00:00Z/2026-07-02T14:00:00Z"),
            (["DTSTART;VALUE=DATE:20260308"], "2026-03-08T05:00:00Z/2026-03-09T04:00:00Z"),
            (
                ["DTSTART;VALUE=DATE:20260308", "DTEND;VALUE=DATE:20260310"],
                "2026-03-08T05:00:00Z/2026-03-10T04:00:00Z"
            ),
            (["DTSTART;TZID=Europe/Berlin:20260329T023000"], "2026-03-29T01:30:00Z/2026-03-29T01:30:00Z"),
            (["DTSTART;TZID=Europe/Berlin:20261025T023000"], "2026-10-25T00:30:00Z/2026-10-25T00:30:00Z"),
            (
                ["DTSTART;TZID=Europe/Berlin:20260328T120000", "DURATION:P1D"],
                "2026-03-28T11:00:00Z/2026-03-29T10:00:00Z"
            ),
            (
                ["DTSTART;TZID=Europe/Berlin:20260328T120000", "DURATION:PT24H"],
                "2026-03-28T11:00:00Z/2026-03-29T11:00:00Z"
            ),
        ])
    func instants(_ lines: [String], _ expected: String) throws {
        #expect(try Self.occurrences(lines) == [expected])
    }

    @Test("A series keeps its time on the clock when summer begins")
    func summer() throws {
        let lines = ["DTSTART;TZID=Europe/Berlin:20000103T090000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY"]
        #expect(
            try Self.occurrences(lines, "20260320", "20260401") == [
                "2026-03-23T08:00:00Z/2026-03-23T09:00:00Z", "2026-03-30T07:00:00Z/2026-03-30T08:00:00Z",
            ])
    }

    @Test("RDATE adds, EXDATE takes out, in any zone, and UNTIL in UTC ends the series on its clock")
    func set() throws {
        let lines = [
            "DTSTART;TZID=Europe/Berlin:20260105T090000", "DURATION:PT1H", "RRULE:FREQ=DAILY;UNTIL=20260108T080000Z",
            "EXDATE:20260106T080000Z", "RDATE;TZID=Asia/Tokyo:20260120T180000", "EXDATE;VALUE=DATE:20260107",
        ]
        #expect(
            try Self.occurrences(lines).map { String($0.prefix(20)) } == [
                "2026-01-05T08:00:00Z", "2026-01-08T08:00:00Z", "2026-01-20T09:00:00Z",
            ])
        let cut = try Self.occurrences(["DTSTART:20260101T090000Z", "RRULE:FREQ=DAILY"], limit: 3)
        #expect(cut.count == 3)
    }

    @Test("What lasts into the window belongs to it, what ends as it begins does not")
    func edges() throws {
        let lines = ["DTSTART:20251231T230000Z", "DTEND:20260101T000000Z"]
        #expect(try Self.occurrences(lines) == [])
        #expect(try Self.occurrences(["DTSTART:20251231T230000Z", "DTEND:20260101T000100Z"]).count == 1)
        #expect(try Self.occurrences(["DTSTART:20260101T000000Z"]).count == 1)
        #expect(try Self.occurrences(["DTSTART:20270101T000000Z"]) == [])
    }

    @Test(
        "An event whose times can not be told is an error and never another time",
        arguments: [
            [], ["DTSTART:2026"], ["DTSTART;TZID=Nowhere:20260101T090000"], ["DTSTART:20260230T090000Z"],
            ["DTSTART:20260101T090000Z", "DTEND:20260101T080000Z"], ["DTSTART:20260101T090000Z", "DURATION:-PT1H"],
            ["DTSTART:20260101T090000Z", "DTEND;VALUE=DATE:20260102"],
            ["DTSTART:20260101T090000Z", "DURATION:P99999999999D"],
            ["DTSTART:20260101T090000Z", "RRULE:FREQ=SECONDLY"], ["DTSTART:20260101T090000Z", "EXRULE:FREQ=DAILY"],
            ["DTSTART:20260101T090000Z", "DURATION:P" + String(repeating: "99999999W", count: 100_000)],
            ["DTSTART:20260101T090000Z", "DURATION:PT" + String(repeating: "99999999H", count: 1000)],
            ["DTSTART:20260101T090000Z"]
                + (0..<4).map { _ in "RDATE:" + Array(repeating: "20260101", count: 4999).joined(separator: ",") },
            ["DTSTART:20260101T250000Z"], ["DTSTART:20260101T090000Z", "EXDATE:never"],
        ])
    func refused(_ lines: [String]) {
        #expect(throws: DiagnosedError.self) { try Self.schedule(lines) }
    }
}
