import CalendarBackend
import CalendarTranslation
import Diagnostics
import GraphClient
import HTTPClient
import Testing
import WireText

/// Against the fake Graph on a real socket.
@Suite("Microsoft Graph as a calendar backend")
struct GraphClientTests {
    static func series(_ more: [String] = []) -> [UInt8] {
        let lines =
            [
                "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//example//test//EN", "BEGIN:VEVENT",
                "UID:series@example.com",
                "DTSTAMP:20260101T000000Z", "DTSTART;TZID=W. Europe Standard Time:20270105T100000",
                "DTEND;TZID=W. Europe Standard Time:20270105T110000", "SUMMARY:Weekly", "LOCATION:Room 4",
                "RRULE:FREQ=WEEKLY;BYDAY=TU;WKST=MO;COUNT=20", "ORGANIZER:mailto:alice@example.com",
                "ATTENDEE;CN=Bob:mailto:bob@example.com", "END:VEVENT",
            ] + more + ["END:VCALENDAR", ""]
        return Array(lines.joined(separator: "\r\n").utf8)
    }

    private func edited(_ object: CalendarObject, _ old: String, _ new: String) -> [UInt8] {
        Array(String(decoding: object.octets, as: UTF8.self).replacing(old, with: new, maxReplacements: 1).utf8)
    }

    @Test("A write sends what changed and nothing else, and no acceptance is lost")
    func patch() async throws {
        let ground = try await GraphGround()
        let shared = ground.ground()
        let href = try await shared.add(
            "x.ics", TestEvent(more: ["ATTENDEE:mailto:bob@example.com", "DESCRIPTION:Hello"]))
        // Bob accepts; the event has things that no field knows.
        ground.server.change { state in
            guard let id = state.events.keys.first, var event = state.events[id] else { return }
            event["attendees"] = [
                [
                    "type": "required", "emailAddress": ["name": "Bob", "address": "Bob@Example.com"],
                    "status": ["response": "accepted", "time": "2026-12-01T00:00:00Z"], "proposedNewTime": ["x": "y"],
                ]
            ]
            event["body"] = ["contentType": "html", "content": "<html><body><p>Hello <b>all</b></p></body></html>"]
            FakeGraph.store(event, &state)
        }
        let object = try await shared.read(href)
        #expect(object.text.contains("PARTSTAT=ACCEPTED") && object.text.contains("DESCRIPTION:Hello all"))
        let etag = try #require(object.etag)
        let octets = edited(object, "DESCRIPTION:Hello all", "DESCRIPTION:Hello all\\nJoin: https://meet.example.com/1")
        #expect(try await ground.client.put(octets, at: href, in: ground.calendar, .match(etag)) == .written)
        let patches = ground.server.change { $0.patches }
        #expect(
            patches == [
                [
                    "body": [
                        "contentType": "html",
                        "content":
                            "<html><body><p>Hello <b>all</b><br>Join: https://meet.example.com/1</p></body></html>",
                    ]
                ]
            ])
        let after = try await shared.read(href)
        #expect(after.text.contains("PARTSTAT=ACCEPTED") && after.text.contains("Hello all\\nJoin"))
        // From the stale copy nothing is written.
        #expect(try await ground.client.put(octets, at: href, in: ground.calendar, .match(etag)) == .conflict)
        // Another attendee: who was there keeps what came with him.
        let fresh = try #require(after.etag)
        let more = edited(after, "END:VEVENT", "ATTENDEE;CN=Eve:mailto:eve@example.com\r\nEND:VEVENT")
        #expect(try await ground.client.put(more, at: href, in: ground.calendar, .match(fresh)) == .written)
        let sent = try #require(ground.server.change { $0.patches.last })
        #expect(sent.members.keys.sorted() == ["attendees"] && sent["attendees"]?.list.count == 2)
        #expect(sent["attendees"]?.list.first?["proposedNewTime"] != nil)
        #expect(try await shared.read(href).text.contains("PARTSTAT=ACCEPTED"))
    }

    @Test("A write that somebody else was before is a conflict, told by the service")
    func race() async throws {
        let ground = try await GraphGround()
        let shared = ground.ground()
        let href = try await shared.add("a.ics", TestEvent())
        let object = try await shared.read(href)
        let etag = try #require(object.etag)
        // The read before the write is answered as of before.
        let stale = ground.server.change { WebResponse.json(200, $0.events.values.first ?? [:]) }
        ground.server.change { state in
            guard var event = state.events.values.first else { return }
            event["location"] = ["displayName": "Elsewhere"]
            FakeGraph.store(event, &state)
            state.faults.next = [stale]
        }
        let octets = edited(object, "SUMMARY:Planning", "SUMMARY:Other")
        #expect(try await ground.client.put(octets, at: href, in: ground.calendar, .match(etag)) == .conflict)
        ground.server.change { $0.faults.next = [stale] }
        #expect(try await ground.client.delete(href, in: ground.calendar, ifMatch: etag) == .conflict)
        #expect(try await shared.read(href).text.contains("LOCATION:Elsewhere"))
        #expect(ground.server.change { $0.patches.isEmpty })
    }

    @Test("A text that says the same sends nothing")
    func same() async throws {
        let ground = try await GraphGround()
        let outcome = try await ground.client.put(
            Array(TranslationTests.rich.utf8), at: ground.client.newHref(in: ground.calendar), in: ground.calendar,
            .create)
        guard case .created(let href) = outcome else { throw CalendarError.notFound("\(outcome)") }
        let object = try await ground.ground().read(href)
        #expect(object.text.contains("DTSTART;TZID=Europe/Berlin:20270105T100000"))
        #expect(object.text.contains("RRULE:FREQ=WEEKLY;BYDAY=TU,TH;WKST=MO;COUNT=20"))
        #expect(object.text.contains("EXDATE;TZID=Europe/Berlin:20270107T100000"))
        #expect(object.text.contains("RECURRENCE-ID;TZID=Europe/Berlin:20270112T100000"))
        #expect(object.text.contains("SUMMARY:Later that day") && object.text.contains("CLASS:PRIVATE"))
        #expect(object.text.contains("X-OWN;X-PARAM=\"a:b\":kept \\, as it is") && object.text.contains("ACTION:AUDIO"))
        let count = ground.server.change { $0.patches.count }
        let etag = try #require(object.etag)
        #expect(try await ground.client.put(object.octets, at: href, in: ground.calendar, .match(etag)) == .written)
        #expect(ground.server.change { $0.patches.count } == count)
    }

    @Test("Details of one occurrence go into that occurrence, and a cancelled one is an EXDATE")
    func occurrence() async throws {
        let ground = try await GraphGround()
        let outcome = try await ground.client.put(
            Self.series(), at: ground.client.newHref(in: ground.calendar), in: ground.calendar, .create)
        guard case .created(let href) = outcome else { throw CalendarError.notFound("\(outcome)") }
        let object = try await ground.ground().read(href)
        let etag = try #require(object.etag)
        let exception = [
            "BEGIN:VEVENT", "UID:series@example.com", "DTSTAMP:20260101T000000Z",
            "RECURRENCE-ID;TZID=W. Europe Standard Time:20270330T100000",
            "DTSTART;TZID=W. Europe Standard Time:20270330T100000",
            "DTEND;TZID=W. Europe Standard Time:20270330T110000",
            "SUMMARY:Weekly", "LOCATION:Room 4", "DESCRIPTION:Join here", "ORGANIZER:mailto:alice@example.com",
            "ATTENDEE;CN=Bob:mailto:bob@example.com", "END:VEVENT",
        ]
        let uid = object.text.split(separator: "\r\n").first { $0.hasPrefix("UID:") } ?? ""
        let text = String(decoding: object.octets, as: UTF8.self)
            .replacing(
                "SUMMARY:Weekly\r\n", with: "SUMMARY:Weekly\r\nEXDATE;TZID=W. Europe Standard Time:20270112T100000\r\n"
            )
            .replacing("END:VCALENDAR", with: (exception + ["END:VCALENDAR"]).joined(separator: "\r\n"))
            .replacing("UID:series@example.com", with: uid)
        let created = ground.server.change { $0.patches.count }
        let written = try await ground.client.put(Array(text.utf8), at: href, in: ground.calendar, .match(etag))
        #expect(written == .written)
        let patches = ground.server.change { Array($0.patches[created...]) }
        // After the change of clocks: found by its own time in UTC.
        #expect(patches.map { $0.members.keys.sorted() } == [["body"]])
        let after = try await ground.ground().read(href)
        #expect(after.text.contains("RECURRENCE-ID;TZID=W. Europe Standard Time:20270330T100000"))
        #expect(after.text.contains("DESCRIPTION:Join here"))
        #expect(after.text.contains("EXDATE;TZID=W. Europe Standard Time:20270112T100000"))
        #expect(after.etag != etag)
        // It does not come back by leaving it out.
        let back = String(decoding: after.octets, as: UTF8.self)
            .replacing("EXDATE;TZID=W. Europe Standard Time:20270112T100000\r\n", with: "")
        let fresh = try #require(after.etag)
        await #expect(throws: CalendarError.objectRefused("")) {
            try await ground.client.put(Array(back.utf8), at: href, in: ground.calendar, .match(fresh))
        }
    }

    @Test("A series is told once, and again when an occurrence changed")
    func seriesChanges() async throws {
        let ground = try await GraphGround()
        let shared = ground.ground()
        guard
            case .created(let href) = try await ground.client.put(
                Self.series(), at: shared.href("n.ics"), in: ground.calendar, .create)
        else { return }
        let all = try await shared.changes(since: nil)
        #expect(all.changed.map(\.href) == [href])
        #expect(try await ground.client.members(of: ground.calendar) == all.changed)
        ground.server.change { state in
            guard let id = state.events.keys.first, let event = state.events[id] else { return }
            state.series[id]?.cancelled.insert("2027-01-19")
            FakeGraph.store(event, &state)
        }
        let next = try await shared.changes(since: all.token)
        #expect(next.changed.map(\.href) == [href] && next.removed.isEmpty)
        #expect(try await shared.read(href).text.contains("EXDATE"))
    }

    @Test("What only left the window is not taken for deleted")
    func window() async throws {
        let ground = try await GraphGround()
        let shared = ground.ground()
        let stays = try await shared.add("a.ics", TestEvent())
        let gone = try await shared.add("b.ics", TestEvent())
        let all = try await shared.changes(since: nil)
        let object = try await shared.read(stays)
        let later = TestEvent(start: "20300105T100000Z", end: "20300105T110000Z").octets
        let etag = try #require(object.etag)
        let text = String(decoding: later, as: UTF8.self)
        #expect(try await ground.client.put(Array(text.utf8), at: stays, in: ground.calendar, .match(etag)) == .written)
        let other = try #require(try await shared.read(gone).etag)
        #expect(try await ground.client.delete(gone, in: ground.calendar, ifMatch: other) == .deleted)
        let next = try await shared.changes(since: all.token)
        #expect(next.changed.map(\.href) == [stays] && next.removed == [gone])
    }

    @Test("A token that ended, one of another place and one whose window passed ask for a full resync")
    func resync() async throws {
        let ground = try await GraphGround()
        let token = try await ground.ground().changes(since: nil).token
        ground.server.change { $0.forgotten = 100 }
        #expect(try await ground.client.changes(in: ground.calendar, since: token) == .fullResyncNeeded(.tokenRefused))
        ground.server.change { state in
            state.faults.next = [.json(400, ["error": ["code": "resyncRequired"]])]
        }
        #expect(try await ground.client.changes(in: ground.calendar, since: token) == .fullResyncNeeded(.tokenRefused))
        let foreign = SyncToken((token?.text ?? "").replacing("127.0.0.1", with: "evil.example.com"))
        #expect(
            try await ground.client.changes(in: ground.calendar, since: foreign) == .fullResyncNeeded(.tokenRefused))
        let requests = ground.server.proxy.requests.count
        let late = try await GraphGround {
            $0.now = { Timestamp(iso8601: "2028-12-20T00:00:00Z") ?? Timestamp(seconds: 0) }
        }
        #expect(
            try await late.client.changes(
                in: late.calendar,
                since: SyncToken(
                    (token?.text ?? "").replacing(ground.server.origin, with: late.server.origin)))
                == .fullResyncNeeded(.windowMoved))
        #expect(ground.server.proxy.requests.count == requests)
    }

    @Test("A link out of Graph is not followed")
    func links() async throws {
        let ground = try await GraphGround()
        ground.server.change { state in
            state.faults.next = [.json(200, ["value": [], "@odata.nextLink": "https://evil.example.com/v1.0/x"])]
        }
        await #expect(throws: CalendarError.violation("")) { try await ground.client.members(of: ground.calendar) }
    }

    @Test("A name of another's calendar leads to no other mailbox")
    func mailboxes() async throws {
        let ground = try await GraphGround()
        let href = CalendarHref(ground.calendar.href.text.replacing("alice", with: "bob"))
        _ = try await ground.client.members(of: CalendarReference(user: BackendGround.alice, href: href))
        #expect(ground.server.proxy.requests.allSatisfy { $0.path.hasPrefix("/v1.0/users/alice%40example.com/") })
        let none = CalendarReference(user: BackendGround.alice, href: CalendarHref("/users/alice/../bob/calendars/x/"))
        await #expect(throws: CalendarError.notFound("")) { try await ground.client.members(of: none) }
    }

    @Test("429 stops all requests for as long as it says")
    func pace() async throws {
        let clock = SkippingClock()
        let ground = try await GraphGround(clock: clock)
        ground.server.change { state in
            state.faults.next = [.json(429, ["error": ["code": "ApplicationThrottled"]], [("Retry-After", "7")])]
        }
        await #expect(throws: CalendarError.rateLimited(.seconds(7), "")) {
            try await ground.client.members(of: ground.calendar)
        }
        _ = try await ground.client.members(of: ground.calendar)
        #expect(clock.sleeps == [.seconds(7)])
    }

    @Test(
        "Statuses are told as what they mean",
        arguments: [
            (403, "ErrorAccessDenied", CalendarError.forbidden("")), (503, "x", .serverAway("")),
            (500, "x", .serverAway("")),
            (507, "x", .quotaExceeded), (404, "ErrorItemNotFound", .notFound("")), (418, "x", .violation("")),
        ])
    func statuses(_ status: Int, _ code: String, _ error: CalendarError) async throws {
        let ground = try await GraphGround()
        ground.server.change { state in
            state.faults.next = [.json(status, ["error": ["code": .string(code)]])]
        }
        await #expect(throws: error) { try await ground.client.members(of: ground.calendar) }
    }

    @Test("Answers that are no JSON, or another page, are errors")
    func garbage() async throws {
        let ground = try await GraphGround()
        for body in ["<html>", "{\"value\": [", "{\"value\": [], \"value\": []}", String(repeating: "[", count: 100)] {
            ground.server.change { $0.faults.next = [WebResponse(status: 200, body: Array(body.utf8))] }
            await #expect(throws: CalendarError.violation("")) { try await ground.client.members(of: ground.calendar) }
        }
    }

    @Test("A request that is sent twice makes one event")
    func twice() async throws {
        let ground = try await GraphGround()
        let event = TestEvent()
        try await ground.ground().add("a.ics", event)
        // The server behind the name does not find it yet, but knows the transaction.
        ground.server.change { state in
            state.faults.next = [.json(200, ["value": []]), .json(200, ["value": []])]
        }
        let outcome = try await ground.client.put(
            event.octets, at: ground.client.newHref(in: ground.calendar), in: ground.calendar, .create)
        #expect(outcome == .uidInUse(nil))
        #expect(ground.server.change { $0.events.count } == 1)
    }

    @Test("An attendee's own answer is given by the action for it")
    func answer() async throws {
        let ground = try await GraphGround()
        let shared = ground.ground()
        let href = try await shared.add("a.ics", TestEvent(more: ["ATTENDEE:mailto:alice@example.com"]))
        ground.server.change { state in
            guard let id = state.events.keys.first, var event = state.events[id] else { return }
            event["isOrganizer"] = false
            event["responseStatus"] = ["response": "notResponded"]
            event["organizer"] = ["emailAddress": ["address": "bob@example.com"]]
            FakeGraph.store(event, &state)
        }
        let object = try await shared.read(href)
        let etag = try #require(object.etag)
        let octets = edited(object, "PARTSTAT=NEEDS-ACTION", "PARTSTAT=ACCEPTED")
        _ = try await ground.client.put(octets, at: href, in: ground.calendar, .match(etag))
        #expect(ground.server.change { $0.replies } == ["accept"] && ground.server.change { $0.patches.isEmpty })
        #expect(try await shared.read(href).text.contains("PARTSTAT=ACCEPTED"))
    }

    @Test("All-day events, unknown zones and private ones are told as they are")
    func kinds() async throws {
        let ground = try await GraphGround()
        let shared = ground.ground()
        let allDay = [
            "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x//y//EN", "BEGIN:VEVENT", "UID:day@example.com",
            "DTSTAMP:20260101T000000Z", "DTSTART;VALUE=DATE:20270105", "DTEND;VALUE=DATE:20270107", "SUMMARY:Away",
            "X-MICROSOFT-CDO-BUSYSTATUS:OOF", "END:VEVENT", "END:VCALENDAR", "",
        ].joined(separator: "\r\n")
        guard
            case .created(let href) = try await ground.client.put(
                Array(allDay.utf8), at: shared.href("d.ics"), in: ground.calendar, .create)
        else { return }
        let text = try await shared.read(href).text
        #expect(text.contains("DTSTART;VALUE=DATE:20270105") && text.contains("DTEND;VALUE=DATE:20270107"))
        #expect(text.contains("BUSYSTATUS:OOF"))
        ground.server.change { state in
            guard let id = state.events.keys.first, var event = state.events[id] else { return }
            event = event.merged([
                "isAllDay": false, "originalStartTimeZone": "tzone://Microsoft/Custom", "sensitivity": "personal",
            ])
            FakeGraph.store(event, &state)
        }
        let changed = try await shared.read(href).text
        #expect(changed.contains("DTSTART:20270105T000000Z") && changed.contains("CLASS:PRIVATE"))
        ground.server.change { state in
            guard let id = state.events.keys.first, var event = state.events[id] else { return }
            event["recurrence"] = [
                "pattern": ["type": "daily", "interval": .integer(1)],
                "range": ["type": "noEnd", "recurrenceTimeZone": "tzone://Microsoft/Custom"],
            ]
            FakeGraph.store(event, &state)
        }
        await #expect(throws: CalendarError.violation("")) { try await ground.client.object(href, in: ground.calendar) }
    }

    @Test(
        "Floating times, unknown zones and two rules are refused before anything is sent",
        arguments: [
            ("DTSTART:20270105T100000Z", "DTSTART:20270105T100000"),
            ("DTSTART:20270105T100000Z", "DTSTART;TZID=Nowhere:20270105T100000"),
            ("SUMMARY:", "RRULE:FREQ=DAILY\r\nRRULE:FREQ=WEEKLY\r\nSUMMARY:"),
            ("SUMMARY:", "RRULE:FREQ=HOURLY\r\nSUMMARY:"),
            ("SUMMARY:", "RDATE:20270106T100000Z\r\nSUMMARY:"),
        ])
    func refused(_ edit: (String, String)) async throws {
        let ground = try await GraphGround()
        let text = String(decoding: TestEvent().octets, as: UTF8.self).replacing(edit.0, with: edit.1)
        await #expect(throws: CalendarError.objectRefused("")) {
            try await ground.client.put(
                Array(text.utf8), at: ground.client.newHref(in: ground.calendar), in: ground.calendar, .create)
        }
        #expect(ground.server.change { $0.events.isEmpty })
    }

    @Test("Automatic replies with dates are an absence")
    func away() async throws {
        let ground = try await GraphGround()
        let account = try await ground.client.discover(BackendGround.alice)
        #expect(try await ground.client.availability(of: account) == nil)
        ground.server.change { state in
            state.automaticReplies = [
                "status": "scheduled",
                "scheduledStartDateTime": ["dateTime": "2027-01-05T08:00:00.0000000", "timeZone": "UTC"],
                "scheduledEndDateTime": [
                    "dateTime": "2027-01-09T18:00:00.0000000", "timeZone": "W. Europe Standard Time",
                ],
            ]
        }
        let octets = try #require(try await ground.client.availability(of: account))
        let text = String(decoding: octets, as: UTF8.self)
        #expect(text.contains("DTSTART:20270105T080000Z") && text.contains("DTEND:20270109T170000Z"))
    }
}
