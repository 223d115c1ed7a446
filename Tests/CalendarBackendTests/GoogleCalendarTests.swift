import CalendarBackend
import CalendarTranslation
import CalendarTransport
import Cryptography
import Diagnostics
import GoogleCalendarClient
import HTTPClient
import SecretMemory
import Testing
import WireText

/// Against the fake Google Calendar on a real socket.
@Suite("Google Calendar as a calendar backend")
struct GoogleCalendarTests {
    private func edited(_ object: CalendarObject, _ old: String, _ new: String) -> [UInt8] {
        Array(String(decoding: object.octets, as: UTF8.self).replacing(old, with: new, maxReplacements: 1).utf8)
    }

    private func create(_ octets: [UInt8], _ ground: GoogleGround) async throws -> CalendarHref {
        let outcome = try await ground.client.put(
            octets, at: ground.client.newHref(in: ground.calendar), in: ground.calendar, .create)
        guard case .created(let href) = outcome else { throw CalendarError.notFound("\(outcome)") }
        return href
    }

    @Test("A write sends what changed and nothing else, and no acceptance is lost")
    func patch() async throws {
        let ground = try await GoogleGround()
        let shared = ground.ground()
        let href = try await shared.add(
            "x.ics", TestEvent(more: ["ATTENDEE:mailto:bob@example.com", "DESCRIPTION:<b>Hello</b>"]))
        ground.server.change { state in
            guard let id = state.events.keys.first, var event = state.events[id] else { return }
            event["attendees"] = [
                [
                    "email": "Bob@Example.com", "responseStatus": "accepted", "comment": "on my way",
                    "additionalGuests": .integer(1),
                ]
            ]
            FakeGoogle.store(event, &state)
        }
        let object = try await shared.read(href)
        #expect(object.text.contains("PARTSTAT=ACCEPTED") && object.text.contains("DESCRIPTION:<b>Hello</b>"))
        #expect(object.text.contains("CONFERENCE;VALUE=URI;X-CALENDAR-SYSTEM=TRUE:https://meet.google.com/abc"))
        let etag = try #require(object.etag)
        let octets = edited(
            object, "<b>Hello</b>",
            "<b>Hello</b>\\nJoin\r\nCONFERENCE;VALUE=URI;X-HDS-MEETING=1:https://meet.example.com/1")
        #expect(try await ground.client.put(octets, at: href, in: ground.calendar, .match(etag)) == .written)
        let patch = try #require(ground.server.change { $0.patches.last })
        #expect(patch.members.keys.sorted() == ["description", "extendedProperties"])
        #expect(patch["description"] == "<b>Hello</b>\nJoin")
        let after = try await shared.read(href)
        #expect(after.text.contains("PARTSTAT=ACCEPTED") && after.text.contains("X-HDS-MEETING=1:https://meet"))
        #expect(try await ground.client.put(octets, at: href, in: ground.calendar, .match(etag)) == .conflict)
        let fresh = try #require(after.etag)
        let more = edited(after, "END:VEVENT", "ATTENDEE;CN=Eve:mailto:eve@example.com\r\nEND:VEVENT")
        #expect(try await ground.client.put(more, at: href, in: ground.calendar, .match(fresh)) == .written)
        let sent = try #require(ground.server.change { $0.patches.last })
        #expect(sent.members.keys.sorted() == ["attendees"])
        #expect(sent["attendees"]?.list.first?["comment"] == "on my way")
        #expect(sent["attendees"]?.list.first?["responseStatus"] == "accepted")
        // Lines that go are taken out.
        let last = try await shared.read(href)
        let without = edited(last, "CONFERENCE;VALUE=URI;X-HDS-MEETING=1:https://meet.example.com/1\r\n", "")
        let now = try #require(last.etag)
        #expect(try await ground.client.put(without, at: href, in: ground.calendar, .match(now)) == .written)
        #expect(try await !shared.read(href).text.contains("X-HDS-MEETING"))
        #expect(ground.server.change { $0.events.values.first?["colorId"] } == "7")
    }

    @Test("A text that says the same sends nothing, and all of it is kept")
    func same() async throws {
        let ground = try await GoogleGround()
        let href = try await create(Array(TranslationTests.rich.utf8), ground)
        let object = try await ground.ground().read(href)
        for line in [
            "UID:rich-1@example.com", "DTSTART;TZID=Europe/Berlin:20270105T100000",
            "RRULE:FREQ=WEEKLY;BYDAY=TU,TH;WKST=MO;COUNT=20", "EXDATE;TZID=Europe/Berlin:20270107T100000",
            "RECURRENCE-ID;TZID=Europe/Berlin:20270112T100000", "SUMMARY:Later that day", "CLASS:PRIVATE", "PRIORITY:1",
            "CATEGORIES:Work,Big\\, bigger", "BUSYSTATUS:OOF", "X-OWN;X-PARAM=\"a:b\":kept \\, as it is",
            "ACTION:AUDIO",
            "TRIGGER:-PT10M", "DESCRIPTION:One\\nTwo äöü 🙂",
        ] {
            #expect(object.text.contains(line), "\(line)")
        }
        let count = ground.server.change { $0.patches.count }
        let etag = try #require(object.etag)
        #expect(try await ground.client.put(object.octets, at: href, in: ground.calendar, .match(etag)) == .written)
        #expect(ground.server.change { $0.patches.count } == count)
    }

    @Test("A write that somebody else was before is a conflict, told by the service")
    func race() async throws {
        let ground = try await GoogleGround()
        let shared = ground.ground()
        let href = try await shared.add("a.ics", TestEvent())
        let object = try await shared.read(href)
        let etag = try #require(object.etag)
        // The read before the write is answered as of before.
        let stale = ground.server.change { WebResponse.json(200, $0.events.values.first ?? [:]) }
        ground.server.change { state in
            guard var event = state.events.values.first else { return }
            event["location"] = "Elsewhere"
            FakeGoogle.store(event, &state)
            state.faults.next = [stale]
        }
        let octets = edited(object, "SUMMARY:Planning", "SUMMARY:Other")
        #expect(try await ground.client.put(octets, at: href, in: ground.calendar, .match(etag)) == .conflict)
        ground.server.change { $0.faults.next = [stale] }
        #expect(try await ground.client.delete(href, in: ground.calendar, ifMatch: etag) == .conflict)
        #expect(try await shared.read(href).text.contains("LOCATION:Elsewhere"))
        #expect(ground.server.change { $0.patches.isEmpty })
    }

    @Test("Many other lines are kept in pieces, and too many are refused")
    func pieces() async throws {
        let ground = try await GoogleGround()
        let lines = (0..<150).map { "X-LONG-\($0):" + String(repeating: "ö", count: 40) }
        let href = try await create(TestEvent(more: lines).octets, ground)
        let text = try await ground.ground().read(href).text
        #expect(lines.allSatisfy(text.contains))
        let more = (0..<400).map { "X-LONG-\($0):" + String(repeating: "ö", count: 40) }
        await #expect(throws: CalendarError.objectRefused("")) {
            try await create(TestEvent(more: more).octets, ground)
        }
    }

    @Test("Details of one occurrence go into that occurrence; its change is one of the series")
    func occurrence() async throws {
        let ground = try await GoogleGround()
        let shared = ground.ground()
        let href = try await create(GraphClientTests.series(), ground)
        let all = try await shared.changes(since: nil)
        let object = try await shared.read(href)
        #expect(all.changed == [CalendarMember(href: href, etag: object.etag)])
        #expect(object.text.contains("DTSTART;TZID=Europe/Berlin:20270105T100000"))
        let etag = try #require(object.etag)
        let exception = [
            "BEGIN:VEVENT", "UID:series@example.com", "DTSTAMP:20260101T000000Z", "RECURRENCE-ID:20270330T080000Z",
            "DTSTART;TZID=Europe/Berlin:20270330T100000", "DTEND;TZID=Europe/Berlin:20270330T110000",
            "SUMMARY:Weekly", "LOCATION:Room 4", "DESCRIPTION:Join here", "ORGANIZER:mailto:alice@example.com",
            "ATTENDEE;CN=Bob:mailto:bob@example.com", "END:VEVENT",
        ]
        let text = String(decoding: object.octets, as: UTF8.self)
            .replacing("SUMMARY:Weekly\r\n", with: "SUMMARY:Weekly\r\nEXDATE;TZID=Europe/Berlin:20270112T100000\r\n")
            .replacing("END:VCALENDAR", with: (exception + ["END:VCALENDAR"]).joined(separator: "\r\n"))
        #expect(try await ground.client.put(Array(text.utf8), at: href, in: ground.calendar, .match(etag)) == .written)
        #expect(ground.server.change { $0.patches.map { $0.members.keys.sorted() } } == [["description"]])
        let after = try await shared.read(href)
        #expect(after.text.contains("RECURRENCE-ID;TZID=Europe/Berlin:20270330T100000"))
        #expect(after.text.contains("EXDATE;TZID=Europe/Berlin:20270112T100000"))
        // The event's own ETag is as it was; that of the object is not.
        #expect(after.etag != etag)
        let next = try await shared.changes(since: all.token)
        #expect(next.changed == [CalendarMember(href: href, etag: after.etag)] && next.removed.isEmpty)
        #expect(try await ground.client.members(of: ground.calendar) == next.changed)
        #expect(try await ground.client.put(Array(text.utf8), at: href, in: ground.calendar, .match(etag)) == .conflict)
        #expect(try await ground.client.delete(href, in: ground.calendar, ifMatch: etag) == .conflict)
        // A cancelled occurrence may come back.
        let fresh = try #require(after.etag)
        let back = edited(after, "EXDATE;TZID=Europe/Berlin:20270112T100000\r\n", "")
        #expect(try await ground.client.put(back, at: href, in: ground.calendar, .match(fresh)) == .written)
        #expect(try await !shared.read(href).text.contains("EXDATE"))
    }

    @Test("One occurrence without its series is an object of its own")
    func lone() async throws {
        let ground = try await GoogleGround()
        let shared = ground.ground()
        let token = try await shared.changes(since: nil).token
        ground.server.change { state in
            FakeGoogle.store(
                [
                    "id": "far_20270112T090000Z", "recurringEventId": "far", "iCalUID": "far@example.com",
                    "status": "confirmed", "summary": "Once",
                    "start": ["dateTime": "2027-01-12T10:00:00+01:00", "timeZone": "Europe/Berlin"],
                    "end": ["dateTime": "2027-01-12T11:00:00+01:00", "timeZone": "Europe/Berlin"],
                    "originalStartTime": ["dateTime": "2027-01-12T10:00:00+01:00", "timeZone": "Europe/Berlin"],
                    "reminders": ["useDefault": true],
                ], &state)
        }
        let all = try await shared.changes(since: nil)
        #expect(try await shared.changes(since: token).changed == all.changed)
        let href = try #require(all.changed.first?.href)
        let object = try await shared.read(href)
        #expect(object.text.contains("RECURRENCE-ID;TZID=Europe/Berlin:20270112T100000"))
        let etag = try #require(object.etag)
        let octets = edited(object, "SUMMARY:Once", "SUMMARY:Twice")
        #expect(try await ground.client.put(octets, at: href, in: ground.calendar, .match(etag)) == .written)
        #expect(ground.server.change { $0.patches } == [["summary": "Twice"]])
    }

    @Test("An old token and one that the service does not know ask for a full resync")
    func resync() async throws {
        let ground = try await GoogleGround()
        let token = try await ground.ground().changes(since: nil).token
        ground.server.change { $0.forgotten = 100 }
        #expect(try await ground.client.changes(in: ground.calendar, since: token) == .fullResyncNeeded(.tokenRefused))
        ground.server.change { $0.faults.next = [.json(200, ["items": []])] }
        #expect(try await ground.client.changes(in: ground.calendar, since: nil) == .fullResyncNeeded(.answerCut))
        let circle = WebResponse.json(200, ["items": [], "nextPageToken": "P:0"])
        ground.server.change { $0.faults.next = [circle, circle] }
        await #expect(throws: CalendarError.violation("")) {
            try await ground.client.changes(in: ground.calendar, since: nil)
        }
    }

    @Test("403 for the pace stops all requests, each time for longer; 403 for a right does not")
    func pace() async throws {
        let clock = SkippingClock()
        let ground = try await GoogleGround(clock: clock)
        let (client, calendar) = (ground.client, ground.calendar)
        for (number, reason) in ["rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"].enumerated() {
            ground.server.change { $0.faults.next = [FakeGoogle.error(403, reason)] }
            await #expect(throws: CalendarError.rateLimited(.seconds(1 << number), "")) {
                try await client.members(of: calendar)
            }
        }
        ground.server.change { $0.faults.next = [FakeGoogle.error(403, "forbiddenForNonOrganizer")] }
        await #expect(throws: CalendarError.forbidden("")) { try await client.members(of: calendar) }
        #expect(clock.sleeps == [.seconds(1), .seconds(2), .seconds(4)])
    }

    @Test("A token is kept for its time, and another asked for when it ends or is refused")
    func tokens() async throws {
        let clock = SkippingClock()
        let ground = try await GoogleGround(clock: clock)
        for _ in 0..<3 { _ = try await ground.client.members(of: ground.calendar) }
        #expect(ground.server.change { $0.grants } == 1)
        clock.advance(by: .seconds(3540))
        _ = try await ground.client.members(of: ground.calendar)
        #expect(ground.server.change { $0.grants } == 2)
        ground.server.change { $0.tokens.removeAll() }
        _ = try await ground.client.members(of: ground.calendar)
        #expect(ground.server.change { $0.grants } == 3)
        await #expect(throws: CalendarError.credentialsRefused("")) {
            try await ground.client.discover(BackendGround.mallory)
        }
    }

    @Test("A key file is read, and another file is refused without a word of it")
    func keyFile() throws {
        let key = try GoogleGround.key.get()
        let pem = try key.pem().withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
        let file: JSONValue = [
            "type": "service_account", "client_email": "a@b.example.com", "private_key": .string(pem),
            "private_key_id": "k", "token_uri": "https://oauth2.example.com/token",
        ]
        let account = try GoogleServiceAccount(json: file.octets)
        #expect(account.endpoint == "https://oauth2.example.com/token" && account.email == "a@b.example.com")
        for member in ["type", "client_email", "private_key"] {
            var broken = file
            broken[member] = "x"
            if member == "client_email" { broken[member] = nil }
            let error = #expect(throws: CalendarError.self) { try GoogleServiceAccount(json: broken.octets) }
            #expect(error?.description.contains("BEGIN") == false)
        }
    }

    @Test("The user's own answer is the only one that is sent")
    func answer() async throws {
        let ground = try await GoogleGround()
        let shared = ground.ground()
        let href = try await shared.add(
            "a.ics", TestEvent(more: ["ATTENDEE:mailto:alice@example.com", "ATTENDEE:mailto:bob@example.com"]))
        let object = try await shared.read(href)
        let etag = try #require(object.etag)
        let text = String(decoding: object.octets, as: UTF8.self).replacing("NEEDS-ACTION", with: "DECLINED")
        #expect(try await ground.client.put(Array(text.utf8), at: href, in: ground.calendar, .match(etag)) == .written)
        let sent = try #require(ground.server.change { $0.patches.last })
        #expect(sent.members.keys.sorted() == ["attendees"])
        #expect(sent["attendees"]?.list.map { $0["responseStatus"]?.text } == ["declined", "needsAction"])
    }

    @Test("Events of the type out of office are absences")
    func away() async throws {
        let ground = try await GoogleGround()
        let account = try await ground.client.discover(BackendGround.alice)
        #expect(account.calendars.map(\.rights) == [.all, [.freeBusy]])
        #expect(try await ground.client.availability(of: account) == nil)
        ground.server.change { state in
            FakeGoogle.store(
                [
                    "id": "oof", "iCalUID": "oof@google.com", "status": "confirmed", "eventType": "outOfOffice",
                    "start": ["dateTime": "2027-01-05T08:00:00+01:00", "timeZone": "Europe/Berlin"],
                    "end": ["dateTime": "2027-01-09T18:00:00+01:00", "timeZone": "Europe/Berlin"],
                ], &state)
        }
        let octets = try #require(try await ground.client.availability(of: account))
        let text = String(decoding: octets, as: UTF8.self)
        #expect(text.contains("DTSTART:20270105T070000Z") && text.contains("DTEND:20270109T170000Z"))
        let object = try await ground.ground().read(CalendarHref(ground.calendar.href.text + "oof.ics"))
        #expect(object.text.contains("BUSYSTATUS:OOF"))
    }
}
