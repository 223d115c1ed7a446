import CalendarBackend
import CalendarSync
import CalendarTime
import CalendarTranslation
import CalendarTransport
import Diagnostics
import ICalendar
import TestServers
import Testing
import WireText

@testable import CalendarService

/// The connector's own way of writing, through every backend.
@Suite("Join details through calendar backends")
struct JoinDetailsTests {
    private static let keywords = Keywords(videoHosts: ["meet.example.com"])
    private static let merge = JoinMerge(
        user: .init(
            id: "alice", addresses: ["alice@example.com"],
            zone: ZoneCatalogue.system.rules(named: "Europe/Berlin") ?? .utc),
        keywords: keywords, zones: .system)

    private static func edit(
        _ uid: String, recurrenceID: String? = nil, isThere: Bool = true,
        url: String = "https://join.example.com/1?a=b&c"
    ) -> JoinEdit {
        JoinEdit(
            uid: uid, recurrenceID: recurrenceID,
            meetingID: Meeting.id(user: "alice", uid: uid, recurrenceID: recurrenceID),
            details: isThere ? JoinDetails(url: url, pin: "12<34>") : nil, template: JoinTemplate(languages: ["de"]),
            revision: "r1")
    }

    private static func series(_ name: String) -> [UInt8] {
        let lines = [
            "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//example//test//EN", "BEGIN:VEVENT", "UID:\(name)@example.com",
            "DTSTAMP:20260101T000000Z", "DTSTART;TZID=Europe/Berlin:20270302T100000",
            "DTEND;TZID=Europe/Berlin:20270302T110000", "SUMMARY:Weekly\\, as ever", "LOCATION:Room 4\\; @meet",
            "DESCRIPTION:Bring & <read> it\\n\\nBye", "RRULE:FREQ=WEEKLY;BYDAY=TU;WKST=MO;COUNT=20",
            "ORGANIZER:mailto:alice@example.com", "ATTENDEE;CN=Bob:mailto:bob@example.com", "X-KEEP:1", "END:VEVENT",
            "BEGIN:VTIMEZONE", "TZID:Europe/Berlin", "BEGIN:STANDARD", "DTSTART:19701025T030000",
            "RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU", "TZOFFSETFROM:+0200", "TZOFFSETTO:+0100", "END:STANDARD",
            "BEGIN:DAYLIGHT", "DTSTART:19700329T020000", "RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU", "TZOFFSETFROM:+0100",
            "TZOFFSETTO:+0200", "END:DAYLIGHT", "END:VTIMEZONE", "END:VCALENDAR", "",
        ]
        return Array(lines.joined(separator: "\r\n").utf8)
    }

    @Test(
        "Details of a series, and others of one occurrence, are written once and taken out again",
        arguments: BackendKind.allCases)
    func details(_ kind: BackendKind) async throws {
        try await kind.withGround { ground in
            let made = try await ground.backend.put(
                Self.series(UUIDText.random()), at: ground.href("one.ics"), in: ground.calendar, .create)
            var href = ground.href("one.ics")
            if case .created(let chosen) = made { href = chosen }
            let before = try EventSeries(parsing: try await ground.read(href).octets)
            let writer = WriteBack(
                store: BackendObjects(backend: ground.backend, calendar: ground.calendar), merge: Self.merge
            ) { _ in await Task.yield() }
            func put(_ edit: JoinEdit) async throws -> WriteBack.Result {
                try await writer.put(edit, at: href.text, base: nil)
            }
            #expect(try await put(Self.edit(before.uid)) == .written(tries: 1))
            #expect(try await put(Self.edit(before.uid)) == .unchanged)
            var text = try await ground.read(href).text
            #expect(text.ranges(of: "https://join.example.com/1?a=b&c").count == 2, "\(text)")
            #expect(text.contains("12<34>") && text.contains("Bring & <read> it\\n\\nBye\\n-=-=-"))
            #expect(text.contains("X-KEEP:1") && text.contains("RRULE:FREQ=WEEKLY"))

            // After the change of clocks.
            let one = Self.edit(before.uid, recurrenceID: "20270330T080000Z", url: "https://join.example.com/other")
            #expect(try await put(one) == .written(tries: 1))
            #expect(try await put(one) == .unchanged)
            #expect(try await put(Self.edit(before.uid)) == .unchanged)
            text = try await ground.read(href).text
            #expect(text.ranges(of: "https://join.example.com/other").count == 2, "\(text)")
            #expect(text.ranges(of: "https://join.example.com/1?a=b&c").count == 2)

            #expect(try await put(Self.edit(before.uid, isThere: false)) == .written(tries: 1))
            let after = try EventSeries(parsing: try await ground.read(href).octets)
            #expect(after.main.differences(from: before.main).isEmpty)
            #expect(after.exceptions.count == 1)
            #expect(after.exceptions.values.first?.description.contains("https://join.example.com/other") == true)
        }
    }

    @Test(
        "While attendees accept and two connectors write, no acceptance is lost", arguments: BackendKind.played,
        [1, 2, 3])
    func acceptances(_ kind: BackendKind, _ seed: UInt64) async throws {
        let service = try await PlayedService.make(kind)
        let (client, calendar) = (service.client, service.calendar)
        let attendees = (0..<12).map { "p\($0)@example.com" }
        let made = try await client.put(
            TestEvent(more: ["LOCATION:@meet"] + attendees.map { "ATTENDEE:mailto:\($0)" }).octets,
            at: client.newHref(in: calendar), in: calendar, .create)
        guard case .created(let href) = made else { return }
        let uid = try EventSeries(parsing: try #require(try await client.object(href, in: calendar)).octets).uid
        let writer = WriteBack(store: BackendObjects(backend: client, calendar: calendar), merge: Self.merge) { _ in
            await Task.yield()
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<2 {
                group.addTask {
                    for round in 0..<6 {
                        let edit = Self.edit(uid, url: "https://join.example.com/\(number)/\(round)")
                        do {
                            _ = try await writer.put(edit, at: href.text, base: nil)
                        } catch let error as DiagnosedError where error.code == "calendar-write-contended" {
                            // The next round of a connector tries again.
                        }
                    }
                }
            }
            group.addTask {
                var generator = SeededGenerator(seed: seed)
                for attendee in attendees.shuffled(using: &generator) {
                    service.accept(attendee)
                    for _ in 0..<Int.random(in: 0..<40, using: &generator) { await Task.yield() }
                }
            }
            try await group.waitForAll()
        }
        _ = try await writer.put(Self.edit(uid), at: href.text, base: nil)
        let series = try EventSeries(parsing: try #require(try await client.object(href, in: calendar)).octets)
        #expect(attendees.allSatisfy { series.main.answer(of: $0) == .accepted }, "seed \(seed)")
        #expect(series.main.description.ranges(of: "https://join.example.com/").count == 1)
    }
}
