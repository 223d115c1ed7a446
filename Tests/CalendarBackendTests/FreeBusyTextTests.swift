import CalendarBackend
import Testing

@testable import CalDAVClient

@Suite("Free-busy answers")
struct FreeBusyTextTests {
    private func read(_ lines: String...) throws -> [BusyPeriod] {
        let text = ["BEGIN:VCALENDAR", "BEGIN:VFREEBUSY"] + lines + ["END:VFREEBUSY", "END:VCALENDAR", ""]
        return try FreeBusyText.periods(
            Array(text.joined(separator: "\r\n").utf8), within: interval("20270101T000000Z", "20270201T000000Z"))
    }

    @Test("Periods of all forms and kinds are read in order; free ones and those of other times are not")
    func forms() throws {
        let periods = try read(
            "FREEBUSY;FBTYPE=BUSY-TENTATIVE:20270105T100000Z/PT1H30M",
            "FREEBUSY:20270103T100000Z/20270103T110000Z,20270104T000000Z/P1D",
            "FREEBUSY;FBTYPE=FREE:20270106T100000Z/PT1H", "FREEBUSY;FBTYPE=X-OTHER:20270107T100000Z/PT1S",
            "FREEBUSY;FBTYPE=BUSY-UNAVAILABLE:20260101T100000Z/PT1H")
        #expect(
            periods == [
                BusyPeriod(try interval("20270103T100000Z", "20270103T110000Z"), .busy),
                BusyPeriod(try interval("20270104T000000Z", "20270105T000000Z"), .busy),
                BusyPeriod(try interval("20270105T100000Z", "20270105T113000Z"), .tentative),
                BusyPeriod(try interval("20270107T100000Z", "20270107T100001Z"), .busy),
            ])
    }

    @Test(
        "A period that can not be read is an error, not free time",
        arguments: [
            "20270105T100000/PT1H", "20270105T100000Z", "20270105T100000Z/-PT1H", "20270105T100000Z/20270105T100000Z",
            "20270105T100000Z/P", "20270105T100000Z/P1H", "20270105T100000Z/PT1D", "20270105T100000Z/PT9999999999S",
            "x/y",
        ])
    func broken(_ period: String) {
        #expect(throws: CalendarError.violation("")) { try read("FREEBUSY:\(period)") }
    }
}
