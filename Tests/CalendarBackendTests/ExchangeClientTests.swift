import CalendarBackend
import CalendarTime
import CalendarTranslation
import CalendarXML
import Diagnostics
import ExchangeClient
import HTTPClient
import Testing
import WireText

/// Against the fake Exchange on a real socket.
@Suite("Exchange Web Services as a calendar backend")
struct ExchangeClientTests {
    private func edited(_ object: CalendarObject, _ old: String, _ new: String) -> [UInt8] {
        Array(String(decoding: object.octets, as: UTF8.self).replacing(old, with: new, maxReplacements: 1).utf8)
    }

    private func create(_ octets: [UInt8], _ ground: ExchangeGround) async throws -> CalendarHref {
        let outcome = try await ground.client.put(
            octets, at: ground.client.newHref(in: ground.calendar), in: ground.calendar, .create)
        guard case .created(let href) = outcome else { throw CalendarError.notFound("\(outcome)") }
        return href
    }

    private func change(_ ground: ExchangeGround, _ edit: @Sendable (inout FakeExchange.Item) -> Void) {
        ground.server.change { state in
            guard var item = state.items.values.first else { return }
            edit(&item)
            FakeExchange.store(item, &state)
        }
    }

    @Test("A write sends what changed and nothing else, and no acceptance is lost")
    func patch() async throws {
        let ground = try await ExchangeGround()
        let shared = ground.ground()
        let href = try await create(
            TestEvent(more: ["ATTENDEE;CN=\"O'Neil <b>\":mailto:bob@example.com", "DESCRIPTION:Hello\\, all & <you>"])
                .octets,
            ground)
        change(ground) { item in
            let mailbox = item.parts["RequiredAttendees"]?.children.first?.children.first
            guard let mailbox else { return }
            let attendee = FakeExchange.element(
                "Attendee", "", [mailbox, FakeExchange.element("ResponseType", "Accept")])
            item.parts["RequiredAttendees"] = FakeExchange.element("RequiredAttendees", "", [attendee])
        }
        let object = try await shared.read(href)
        #expect(object.text.contains("PARTSTAT=ACCEPTED") && object.text.contains("CN=O'Neil <b>"))
        #expect(object.text.contains("DESCRIPTION:Hello\\, all & <you>"))
        let etag = try #require(object.etag)
        let octets = edited(object, "& <you>", "& <you>\\nJoin\r\nX-HDS-MEETING:1")
        #expect(try await ground.client.put(octets, at: href, in: ground.calendar, .match(etag)) == .written)
        #expect(ground.server.change { $0.updates } == [["item:Body", "hds-lines"]])
        let after = try await shared.read(href)
        #expect(after.text.contains("PARTSTAT=ACCEPTED") && after.text.contains("X-HDS-MEETING:1"))
        #expect(after.text.contains("<you>\\nJoin"))
        #expect(try await ground.client.put(octets, at: href, in: ground.calendar, .match(etag)) == .conflict)
        // Another attendee is appended: the list of the others is not written.
        let fresh = try #require(after.etag)
        let more = edited(after, "END:VEVENT", "ATTENDEE;CN=Eve:mailto:eve@example.com\r\nEND:VEVENT")
        #expect(try await ground.client.put(more, at: href, in: ground.calendar, .match(fresh)) == .written)
        #expect(ground.server.change { $0.updates.last } == ["AppendToItemField calendar:RequiredAttendees"])
        let last = try await shared.read(href)
        #expect(last.text.contains("PARTSTAT=ACCEPTED") && last.text.contains("eve@example.com"))
        // Lines that go are taken out.
        let now = try #require(last.etag)
        let without = edited(last, "X-HDS-MEETING:1\r\n", "")
        #expect(try await ground.client.put(without, at: href, in: ground.calendar, .match(now)) == .written)
        #expect(ground.server.change { $0.updates.last } == ["DeleteItemField hds-lines"])
        #expect(ground.server.change { $0.impersonated } == ["alice@example.com"])
    }

    @Test("A write that somebody else was before is a conflict, told by the server")
    func race() async throws {
        let ground = try await ExchangeGround()
        let href = try await create(TestEvent().octets, ground)
        let object = try await ground.ground().read(href)
        let etag = try #require(object.etag)
        // The read before the write is answered as of before.
        let stale = ground.server.change { state -> WebResponse in
            let item = state.items.values.first.map { FakeExchange.shown($0, nil) } ?? ""
            return FakeExchange.response(
                "GetItem", [FakeExchange.message("GetItem", "NoError", "<m:Items>\(item)</m:Items>")])
        }
        change(ground) { $0.parts["Location"] = FakeExchange.element("Location", "Elsewhere") }
        ground.server.change { $0.faults.next = [stale] }
        let octets = edited(object, "SUMMARY:Planning", "SUMMARY:Other")
        #expect(try await ground.client.put(octets, at: href, in: ground.calendar, .match(etag)) == .conflict)
        #expect(try await ground.ground().read(href).text.contains("LOCATION:Elsewhere"))
    }

    @Test("A text that says the same sends nothing, and all of it is kept")
    func same() async throws {
        let ground = try await ExchangeGround()
        let href = try await create(Array(TranslationTests.rich.utf8), ground)
        let object = try await ground.ground().read(href)
        for line in [
            "UID:rich-1@example.com", "DTSTART;TZID=W. Europe Standard Time:20270105T100000",
            "RRULE:FREQ=WEEKLY;BYDAY=TU,TH;WKST=MO;COUNT=20", "EXDATE;TZID=W. Europe Standard Time:20270107T100000",
            "RECURRENCE-ID;TZID=W. Europe Standard Time:20270112T100000", "SUMMARY:Later that day", "CLASS:PRIVATE",
            "PRIORITY:1", "CATEGORIES:Work,Big\\, bigger", "BUSYSTATUS:OOF", "ROLE=OPT-PARTICIPANT",
            "X-OWN;X-PARAM=\"a:b\":kept \\, as it is", "ACTION:AUDIO", "TRIGGER:-PT10M", "DESCRIPTION:One\\nTwo äöü 🙂",
        ] {
            #expect(object.text.contains(line), "\(line)")
        }
        let count = ground.server.change { $0.updates.count }
        let etag = try #require(object.etag)
        #expect(try await ground.client.put(object.octets, at: href, in: ground.calendar, .match(etag)) == .written)
        #expect(ground.server.change { $0.updates.count } == count)
    }

    @Test("Details of one occurrence go into that occurrence; its change is one of the series")
    func occurrence() async throws {
        let ground = try await ExchangeGround()
        let shared = ground.ground()
        let href = try await create(GraphClientTests.series(), ground)
        let all = try await shared.changes(since: nil)
        let object = try await shared.read(href)
        #expect(all.changed == [CalendarMember(href: href, etag: object.etag)])
        let etag = try #require(object.etag)
        let exception = [
            "BEGIN:VEVENT", "UID:series@example.com", "DTSTAMP:20260101T000000Z", "RECURRENCE-ID:20270330T080000Z",
            "DTSTART;TZID=W. Europe Standard Time:20270330T100000",
            "DTEND;TZID=W. Europe Standard Time:20270330T110000",
            "SUMMARY:Weekly", "LOCATION:Room 4", "DESCRIPTION:Join here", "ORGANIZER:mailto:alice@example.com",
            "ATTENDEE;CN=Bob:mailto:bob@example.com", "END:VEVENT",
        ]
        let exdate = "EXDATE;TZID=W. Europe Standard Time:20270112T100000\r\n"
        let text = String(decoding: object.octets, as: UTF8.self)
            .replacing("SUMMARY:Weekly\r\n", with: "SUMMARY:Weekly\r\n" + exdate)
            .replacing("END:VCALENDAR", with: (exception + ["END:VCALENDAR"]).joined(separator: "\r\n"))
        #expect(try await ground.client.put(Array(text.utf8), at: href, in: ground.calendar, .match(etag)) == .written)
        #expect(ground.server.change { $0.updates } == [["item:Body"]])
        let after = try await shared.read(href)
        #expect(after.text.contains("RECURRENCE-ID;TZID=W. Europe Standard Time:20270330T100000"))
        #expect(after.text.contains("DESCRIPTION:Join here") && after.text.contains(exdate.dropLast(2)))
        let next = try await shared.changes(since: all.token)
        #expect(next.changed == [CalendarMember(href: href, etag: after.etag)] && next.removed.isEmpty)
        #expect(try await ground.client.members(of: ground.calendar) == next.changed)
        #expect(try await ground.client.delete(href, in: ground.calendar, ifMatch: etag) == .conflict)
    }

    @Test("A state that the server does not know asks for a full resync; many pages are one answer")
    func resync() async throws {
        let ground = try await ExchangeGround()
        for number in 0..<20 { _ = try await create(TestEvent(summary: "\(number)").octets, ground) }
        let all = try await ground.ground().changes(since: nil)
        #expect(all.changed.count == 20)
        #expect(Set(try await ground.client.members(of: ground.calendar)) == Set(all.changed))
        ground.server.change { $0.forgotten = 1000 }
        #expect(
            try await ground.client.changes(in: ground.calendar, since: all.token) == .fullResyncNeeded(.tokenRefused))
        // A server that never comes to its end.
        let same = FakeExchange.response(
            "SyncFolderItems",
            [
                FakeExchange.message(
                    "SyncFolderItems", "NoError",
                    "<m:SyncState>x</m:SyncState><m:IncludesLastItemInRange>false</m:IncludesLastItemInRange><m:Changes/>"
                )
            ])
        ground.server.change { $0.faults.next = [same, same] }
        #expect(try await ground.client.changes(in: ground.calendar, since: nil) == .fullResyncNeeded(.answerCut))
    }

    @Test("A busy server is left alone for as long as it says, whether it says so in a fault or in a message")
    func busy() async throws {
        let clock = SkippingClock()
        let ground = try await ExchangeGround(clock: clock)
        let (client, calendar) = (ground.client, ground.calendar)
        ground.server.change { $0.faults.next = [FakeExchange.fault("ErrorServerBusy", backOff: 2500)] }
        await #expect(throws: CalendarError.rateLimited(.milliseconds(2500), "")) {
            try await client.members(of: calendar)
        }
        let value = "<m:MessageXml><t:Value Name=\"BackOffMilliseconds\">400</t:Value></m:MessageXml>"
        ground.server.change { state in
            state.faults.next = [
                FakeExchange.response("FindItem", [FakeExchange.message("FindItem", "ErrorServerBusy", value)])
            ]
        }
        await #expect(throws: CalendarError.rateLimited(.milliseconds(400), "")) {
            try await client.members(of: calendar)
        }
        // Somebody's text is no wish of the server's.
        let href = try await create(TestEvent(summary: "ResponseCode>ErrorServerBusy").octets, ground)
        #expect(try await ground.ground().read(href).text.contains("ErrorServerBusy"))
        #expect(clock.sleeps.prefix(2) == [.milliseconds(2500), .milliseconds(400)])
    }

    @Test(
        "Faults are told as what they mean",
        arguments: [
            ("ErrorImpersonateUserDenied", CalendarError.forbidden("")), ("ErrorNonExistentMailbox", .notFound("")),
            ("ErrorMailboxStoreUnavailable", .serverAway("")), ("ErrorQuotaExceeded", .quotaExceeded),
            ("ErrorSchemaValidation", .violation("")),
        ])
    func faults(_ code: String, _ error: CalendarError) async throws {
        let ground = try await ExchangeGround()
        ground.server.change { $0.faults.next = [FakeExchange.fault(code)] }
        await #expect(throws: error) { try await ground.client.members(of: ground.calendar) }
    }

    @Test("Hostile XML is an error")
    func hostile() async throws {
        let ground = try await ExchangeGround()
        for body in [
            "", "<html>", "<!DOCTYPE x [<!ENTITY e \"x\">]><x>&e;</x>", "<s:Envelope/>",
            "<x xmlns=\"http://schemas.xmlsoap.org/soap/envelope/\"/>",
        ] {
            ground.server.change { $0.faults.next = [WebResponse(status: 200, body: Array(body.utf8))] }
            await #expect(throws: CalendarError.violation("")) { try await ground.client.members(of: ground.calendar) }
        }
        ground.server.change { $0.faults.next = [FakeExchange.response("GetItem", [])] }
        let href = CalendarHref(ground.calendar.href.text + "AAMk.ics")
        await #expect(throws: CalendarError.violation("")) {
            try await ground.client.object(href, in: ground.calendar)
        }
    }

    @Test("An attendee's own answer is given by the reply for it")
    func answer() async throws {
        let ground = try await ExchangeGround()
        let href = try await create(TestEvent(more: ["ATTENDEE:mailto:alice@example.com"]).octets, ground)
        change(ground) { $0.parts["MyResponseType"] = FakeExchange.element("MyResponseType", "NoResponseReceived") }
        let object = try await ground.ground().read(href)
        let etag = try #require(object.etag)
        let octets = edited(object, "PARTSTAT=NEEDS-ACTION", "PARTSTAT=TENTATIVE")
        #expect(try await ground.client.put(octets, at: href, in: ground.calendar, .match(etag)) == .written)
        #expect(ground.server.change { $0.replies } == ["TentativelyAcceptItem"])
        #expect(ground.server.change { $0.updates.isEmpty })
        #expect(try await ground.ground().read(href).text.contains("PARTSTAT=TENTATIVE"))
    }

    @Test("All-day events keep their days, and zones of IANA become those of Windows")
    func zones() async throws {
        let ground = try await ExchangeGround()
        let text = String(decoding: TestEvent().octets, as: UTF8.self)
            .replacing("DTSTART:20270105T100000Z", with: "DTSTART;VALUE=DATE:20270105")
            .replacing("DTEND:20270105T110000Z", with: "DTEND;VALUE=DATE:20270107")
        let day = try await create(Array(text.utf8), ground)
        let told = try await ground.ground().read(day).text
        #expect(told.contains("DTSTART;VALUE=DATE:20270105") && told.contains("DTEND;VALUE=DATE:20270107"))
        let catalogue = ZoneCatalogue.system
        for (iana, windows) in [
            ("Europe/Berlin", "W. Europe Standard Time"), ("Europe/Vienna", "Central Europe Standard Time"),
            ("America/New_York", "Eastern Standard Time"), ("America/Indianapolis", "US Eastern Standard Time"),
            // No row of CLDR, the same clocks.
            ("America/Indiana/Indianapolis", "Eastern Standard Time"),
            ("Australia/Sydney", "AUS Eastern Standard Time"),
            ("America/Mexico_City", "Central Standard Time (Mexico)"),
            ("Etc/UTC", "UTC"),
        ] {
            #expect(catalogue.windowsName(for: iana) == windows, "\(iana)")
        }
        #expect(catalogue.windowsName(for: "W. Europe Standard Time") == "W. Europe Standard Time")
        #expect(catalogue.windowsName(for: "Central Standard Time (Mexico)") == "Central Standard Time (Mexico)")
        #expect(catalogue.windowsName(for: "Nowhere") == nil)
    }

    @Test(
        "Rules that Exchange has not are refused before anything is sent",
        arguments: [
            "FREQ=YEARLY;INTERVAL=2;BYMONTH=3;BYMONTHDAY=1", "FREQ=MONTHLY;BYDAY=MO,WE;BYSETPOS=1", "FREQ=HOURLY",
        ])
    func rules(_ rule: String) async throws {
        let ground = try await ExchangeGround()
        await #expect(throws: CalendarError.objectRefused("")) {
            try await create(TestEvent(more: ["RRULE:" + rule]).octets, ground)
        }
        #expect(ground.server.change { $0.items.isEmpty })
    }

    @Test("A scheduled absence is told with its dates")
    func away() async throws {
        let ground = try await ExchangeGround()
        let account = try await ground.client.discover(BackendGround.alice)
        #expect(account.calendars.map(\.name) == ["Calendar"] && account.calendars.map(\.rights) == [.all])
        #expect(try await ground.client.availability(of: account) == nil)
        ground.server.change { state in
            state.oof =
                "<t:OofState>Scheduled</t:OofState><t:Duration><t:StartTime>2027-01-05T08:00:00</t:StartTime>"
                + "<t:EndTime>2027-01-09T17:00:00Z</t:EndTime></t:Duration>"
        }
        let octets = try #require(try await ground.client.availability(of: account))
        let text = String(decoding: octets, as: UTF8.self)
        #expect(text.contains("DTSTART:20270105T080000Z") && text.contains("DTEND:20270109T170000Z"))
    }
}
