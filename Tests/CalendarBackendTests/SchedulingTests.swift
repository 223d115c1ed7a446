import CalDAVClient
import CalendarBackend
import CalendarSync
import CalendarTime
import Diagnostics
import Foundation
import HTTPClient
import TestServers
import Testing
import WireText

@testable import CalendarService
@testable import ICalendar

/// On a real server that schedules: an organiser's write never undoes an attendee's answer.
///
/// Each test has a server of its own: Xandikos loses an answer without a word when its store is busy with another write.
@Suite("Scheduling on Xandikos", .enabled(if: TestCalendarServer.isInstalled))
struct SchedulingTests {
    /// A meeting of alice to which bob is invited, in both calendars.
    private struct Meeting {
        /// Ends with the meeting.
        let server: TestCalendarServer
        let proxy: CalendarProxy
        let client: CalDAVClient
        let organiser: BackendGround
        let href: CalendarHref
        let uid: String
        let atBob: CalendarObject
        let bobsCalendar: CalendarReference

        static func make(on day: String = "20270105", location: String = "Room 4") async throws -> Meeting {
            let server = try await TestCalendarServer.start(.xandikos)
            let proxy = try await CalendarProxy(to: server.port, translatesUsers: true)
            let client = try CalDAVGround.client(proxy.url)
            let account = try await client.discover(BackendGround.alice)
            #expect(account.addresses == ["mailto:alice@example.com"])
            #expect(account.inbox != nil && account.outbox != nil)
            // Servers deliver to the default calendar.
            let own = try #require(account.calendars.first { $0.name == "calendar" }).reference
            let organiser = BackendGround(backend: client, calendar: own)
            let event = TestEvent(
                start: day + "T100000Z", end: day + "T110000Z",
                more: [
                    "LOCATION:\(location)", "ORGANIZER:mailto:alice@example.com",
                    "ATTENDEE;PARTSTAT=ACCEPTED:mailto:alice@example.com",
                    "ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:bob@example.com",
                ])
            let href = try await organiser.add(event.uid + ".ics", event)
            let bobs = try #require(
                try await client.discover(BackendGround.bob).calendars.first { $0.name == "calendar" }
            ).reference
            let hrefs = try await client.members(of: bobs).map(\.href)
            let found = try await client.objects(hrefs, in: bobs).found.first { $0.text.contains(event.uid) }
            return Meeting(
                server: server, proxy: proxy, client: client, organiser: organiser, href: href, uid: event.uid,
                atBob: try #require(found),
                bobsCalendar: bobs)
        }

        /// Bob's client writes the answer into his own copy; the server tells the organiser's.
        func answer(_ status: String) async throws {
            while true {
                let object = try #require(try await client.object(atBob.href, in: bobsCalendar))
                let etag = try #require(object.etag)
                let lines = object.text.split(whereSeparator: \.isNewline).map { line -> String in
                    guard line.hasPrefix("ATTENDEE"), line.contains("bob@example.com") else { return String(line) }
                    return "ATTENDEE;PARTSTAT=\(status):mailto:bob@example.com"
                }
                let octets = Array((lines.joined(separator: "\r\n") + "\r\n").utf8)
                if try await client.put(octets, at: object.href, in: bobsCalendar, .match(etag)) == .written { return }
            }
        }

        func end() async {
            await client.close()
            await proxy.close()
        }

        func isAccepted(_ object: CalendarObject) -> Bool {
            object.text.split(whereSeparator: \.isNewline).contains {
                $0.hasPrefix("ATTENDEE") && $0.contains("bob@example.com") && $0.contains("PARTSTAT=ACCEPTED")
            }
        }
    }

    private static func withDetails(_ object: CalendarObject, _ text: String = "https://join.example.com/1") -> [UInt8]
    {
        Array(
            String(decoding: object.octets, as: UTF8.self).replacing(
                "END:VEVENT", with: "CONFERENCE;VALUE=URI:\(text)\r\nEND:VEVENT"
            ).utf8)
    }

    @Test("A write from a stale copy is a conflict, and the attendee's ACCEPTED survives")
    func staleWrite() async throws {
        let meeting = try await Meeting.make()
        let (client, organiser) = (meeting.client, meeting.organiser)
        let stale = try await organiser.read(meeting.href)
        #expect(!meeting.isAccepted(stale))
        try await meeting.answer("ACCEPTED")
        #expect(meeting.isAccepted(try await organiser.read(meeting.href)))

        let staleTag = try #require(stale.etag)
        let outcome = try await client.put(
            Self.withDetails(stale), at: meeting.href, in: organiser.calendar, .match(staleTag))
        #expect(outcome == .conflict)
        let fresh = try await organiser.read(meeting.href)
        #expect(meeting.isAccepted(fresh))

        let freshTag = try #require(fresh.etag)
        let again = try await client.put(
            Self.withDetails(fresh), at: meeting.href, in: organiser.calendar, .match(freshTag))
        #expect(again == .written)
        let last = try await organiser.read(meeting.href)
        #expect(meeting.isAccepted(last) && last.text.contains("CONFERENCE"))
        await meeting.end()
    }

    @Test("The trap is there: the same write without a condition resets the answer")
    func trap() async throws {
        let meeting = try await Meeting.make()
        let stale = try await meeting.organiser.read(meeting.href)
        try await meeting.answer("ACCEPTED")
        let web = WebClient(trust: nil)
        let response = try await web.send(
            WebRequest(
                method: "PUT", url: meeting.proxy.url + meeting.href.text,
                headers: [
                    ("Authorization", "Basic " + Base64.encode(Array("alice:alicepw".utf8))),
                    ("Content-Type", "text/calendar; charset=utf-8"),
                ], body: Self.withDetails(stale)))
        #expect(response.status == 204)
        #expect(!meeting.isAccepted(try await meeting.organiser.read(meeting.href)))
        await web.close()
        await meeting.end()
    }

    @Test("The ETag that a PUT told is none to write with: an answer may have come since")
    func putETag() async throws {
        let web = WebClient(trust: nil)
        let meeting = try await Meeting.make()
        let client = meeting.client
        let before = try await meeting.organiser.read(meeting.href)
        let etag = try #require(before.etag)
        let response = try await web.send(
            WebRequest(
                method: "PUT", url: meeting.proxy.url + meeting.href.text,
                headers: [
                    ("Authorization", "Basic " + Base64.encode(Array("alice:alicepw".utf8))),
                    ("Content-Type", "text/calendar; charset=utf-8"), ("If-Match", etag.text),
                ], body: Self.withDetails(before)))
        #expect(response.status == 204)
        let told = try #require(response.header("ETag"))
        try await meeting.answer("ACCEPTED")
        let refused = try await client.put(
            Self.withDetails(before), at: meeting.href, in: meeting.organiser.calendar, .match(ETag(told)))
        #expect(refused == .conflict)
        let after = try await meeting.organiser.read(meeting.href)
        let tag = try #require(after.etag)
        let outcome = try await client.put(
            Self.withDetails(after, "https://join.example.com/2"), at: meeting.href, in: meeting.organiser.calendar,
            .match(tag))
        #expect(outcome == .written)
        #expect(meeting.isAccepted(try await meeting.organiser.read(meeting.href)))
        await web.close()
        await meeting.end()
    }

    @Test("Answers that arrive between each read and each write are never undone")
    func repliesBetween() async throws {
        let meeting = try await Meeting.make()
        let faulting = FaultingCalendarBackend(meeting.client)
        let (organiser, href) = (meeting.organiser, meeting.href)
        for status in ["TENTATIVE", "DECLINED", "ACCEPTED"] {
            faulting.inject(.overtake { try await meeting.answer(status) }, of: .put)
            var outcomes: [WriteOutcome] = []
            repeat {
                let object = try await organiser.read(href)
                let etag = try #require(object.etag)
                let octets = Self.withDetails(object, "https://join.example.com/\(status)")
                outcomes.append(try await faulting.put(octets, at: href, in: organiser.calendar, .match(etag)))
            } while outcomes.last != .written
            #expect(outcomes == [.conflict, .written])
            let now = try await organiser.read(href)
            #expect(now.text.contains("PARTSTAT=\(status)") && now.text.contains("join.example.com/\(status)"))
        }
        #expect(meeting.isAccepted(try await organiser.read(href)))
        await meeting.end()
    }

    @Test(
        "Twenty times bob answers while the connector writes its details: every answer is there, the details stand once"
    )
    func detailsBetween() async throws {
        let meeting = try await Meeting.make(location: "@meet")
        let faulting = FaultingCalendarBackend(meeting.client)
        let writer = WriteBack(
            store: BackendObjects(backend: faulting, calendar: meeting.organiser.calendar),
            merge: JoinMerge(
                user: .init(id: "alice", addresses: ["alice@example.com"], zone: .utc), keywords: Keywords(),
                zones: .system)
        ) { _ in }
        for round in 0..<20 {
            let status = round.isMultiple(of: 2) ? "TENTATIVE" : "ACCEPTED"
            let url = "https://join.example.com/\(round)"
            // Between the connector's reading and its writing.
            faulting.inject(.overtake { try await meeting.answer(status) }, of: .put)
            let before = try await meeting.organiser.read(meeting.href)
            let edit = JoinEdit(
                uid: meeting.uid, meetingID: "m", details: JoinDetails(url: url), template: JoinTemplate(languages: []),
                revision: "r\(round)")
            let result = try await writer.put(
                edit, at: meeting.href.text, base: CalendarDocument(parsing: before.octets))
            #expect(result == .written(tries: 2), "\(round)")
            let text = try await meeting.organiser.read(meeting.href).text.replacing("\r\n ", with: "")
            #expect(text.contains("PARTSTAT=\(status)"), "\(round)")
            #expect(text.components(separatedBy: "CONFERENCE;").count == 2, "\(round)")
            #expect(text.components(separatedBy: JoinNotes.begin).count == 2 && text.contains(url), "\(round)")
        }
        #expect(meeting.isAccepted(try await meeting.organiser.read(meeting.href)))
        await meeting.end()
    }

    @Test("A meeting in the past is scheduled like others")
    func past() async throws {
        let meeting = try await Meeting.make(on: "20200107")
        #expect(meeting.atBob.text.contains("DTSTART:20200107T100000Z"))
        await meeting.end()
    }

    @Test("The inbox tells what arrived, and is read like a calendar")
    func inbox() async throws {
        let meeting = try await Meeting.make()
        let inbox = try #require(try await meeting.client.discover(BackendGround.bob).inbox)
        let members = try await meeting.client.members(of: inbox)
        let found = try await meeting.client.objects(members.map(\.href), in: inbox).found
        #expect(found.contains { $0.text.contains(meeting.uid) && $0.text.contains("METHOD:REQUEST") })
        await meeting.end()
    }

    @Test("A server that fails at availability alone is told to have none")
    func availability() async throws {
        let client = try CalDAVGround.client(try await CalDAVGround.xandikos.value.url)
        let account = try await client.discover(BackendGround.alice)
        await #expect(throws: CalendarError.unsupported("")) { try await client.availability(of: account) }
        await client.close()
    }

    @Test("The outbox tells the busy times that the server answers for, and of others nothing")
    func outbox() async throws {
        let meeting = try await Meeting.make()
        let account = try await meeting.client.discover(BackendGround.alice)
        let day = try interval("20270105T000000Z", "20270106T000000Z")
        // This server answers for the owner of the outbox alone.
        let told = try await meeting.client.freeBusy(
            of: [
                "Alice@example.com", "alice@example.com", "bob@example.com", "nobody@elsewhere.example",
                "x\r\nATTENDEE:mailto:alice@example.com", "not an address", "a:b@example.com",
            ], asking: account, during: day)
        #expect(told.values.map(\.count) == [1])
        #expect(told.values.first?.first?.time == (try interval("20270105T100000Z", "20270105T110000Z")))
        let later = try interval("20270301T000000Z", "20270302T000000Z")
        #expect(
            try await meeting.client.freeBusy(of: ["alice@example.com"], asking: account, during: later)
                == ["alice@example.com": []])
        var without = account
        without.outbox = nil
        await #expect(throws: CalendarError.unsupported("free-busy of others")) {
            _ = try await meeting.client.freeBusy(of: ["bob@example.com"], asking: without, during: day)
        }
        await meeting.end()
    }
}
