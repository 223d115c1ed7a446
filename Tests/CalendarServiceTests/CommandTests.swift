import CalendarBackend
import CalendarProtocol
import Diagnostics
import Testing
import WireText

@testable import CalendarService
import KMSClient
import KMSProtocol

@Suite("Users' commands")
struct CommandTests {
    private func prepared(_ lines: [String] = Bench.asking) async throws -> (Bench, MeetingRecord) {
        let bench = try await Bench()
        try await bench.put("a", bench.event("a@x", lines + ["DESCRIPTION:Own text\\, as it was", "X-KEEP;X=1:me"]))
        try await bench.round()
        return (bench, try #require(bench.core.meetings.first))
    }

    @Test("Join details go into the invitation once, and everything else stays as it was")
    func join() async throws {
        let (bench, meeting) = try await prepared()
        let (cover, answer) = try await bench.command(bench.join(meeting))
        #expect(cover.status == 200 && answer?.outcome == .written)
        let text = try await bench.text("a")
        #expect(text.contains(Bench.joinURL) && text.contains("X-KEEP;X=1:me\r\n"))
        #expect(text.contains("Own text\\, as it was"))
        try await bench.send()
        let later = try #require(bench.core.meetings.first)
        #expect(later.hasJoinDetails && later.revision == answer?.latest && later.spaceID == Bench.spaceID)
        let key = try #require(bench.kms.key(later.keyURI))
        #expect(try later.joinInfo?.url.text(with: key) == Bench.joinURL)
        // Its own writing is no change for the next round; the same details again write nothing.
        #expect(try await bench.round().events == 0)
        let again = try await bench.command(bench.join(later))
        #expect(again.answer?.outcome == .unchanged)
        #expect(try await bench.text("a") == text)
    }

    @Test("An answer of an attendee that comes while details are written is there afterwards")
    func concurrent() async throws {
        let (bench, meeting) = try await prepared()
        let href = CalendarHref("/alice/home/a.ics")
        bench.faults.inject(
            .overtake {
                bench.server.change(href, in: bench.calendar) { octets in
                    Array(String(decoding: octets, as: UTF8.self).replacing("NEEDS-ACTION", with: "ACCEPTED").utf8)
                }
            }, of: .put)
        let answer = try await bench.command(bench.join(meeting)).answer
        #expect(answer?.outcome == .written)
        let text = try await bench.text("a")
        #expect(text.contains("PARTSTAT=ACCEPTED") && text.contains(Bench.joinURL))
    }

    @Test("A meeting that changed in between is a conflict, with the revision that counts")
    func conflict() async throws {
        let (bench, meeting) = try await prepared()
        try await bench.put("a", bench.event("a@x", Bench.asking + ["DESCRIPTION:new"]))
        try await bench.round()
        let answer = try await bench.command(bench.join(meeting)).answer
        #expect(answer?.outcome == .conflict && answer?.latest == bench.core.meetings.first?.revision)
        #expect(try await !bench.text("a").contains(Bench.joinURL))
    }

    @Test(
        "Details that lead to another host are refused, however it is written",
        arguments: [
            "https://evil.example/r", "https://meet.example.com.evil.example/",
            "https://meet.example.com@evil.example/",
            "http://meet.example.com/", "javascript:alert(1)", "https://evil.example/?meet.example.com",
            "https://evil.example\\@meet.example.com/", "https://evil.example%2f.meet.example.com/",
            "sip:meet.example.com@evil.example", "//meet.example.com/",
        ])
    func foreignHost(_ url: String) async throws {
        let (bench, meeting) = try await prepared()
        let answer = try await bench.command(bench.join(meeting, url: url)).answer
        #expect(answer?.outcome == .refused)
        #expect(try await !bench.text("a").contains("evil"))
    }

    @Test("Hosts of the list and those below are taken, with ports and in any case")
    func hosts() {
        let hosts = JoinHosts(["Meet.example.com"])
        for good in [
            "https://meet.example.com", "https://a.MEET.example.com:8443/x?y", "sips:room.1@meet.example.com;x=1",
        ] {
            #expect(hosts.allows(good), "\(good)")
        }
        for bad in ["https://xmeet.example.com", "https://meet.example.com:x/", "sip:meet.example.com", "https://"] {
            #expect(!hosts.allows(bad), "\(bad)")
        }
    }

    @Test("A command under a key that the connector did not make for this user is nobody's")
    func foreignKey() async throws {
        let (bench, meeting) = try await prepared()
        let body = try await bench.kms.perform(.createKeys(count: 1)).body
        guard case .keys(let keys) = body, let foreign = keys.first else { throw TestTrouble("no keys") }
        let other = try await bench.command(bench.join(meeting), under: foreign.uri)
        #expect(other.cover.status == 403 && other.answer == nil)
        let unknown = try await bench.command(bench.join(meeting), under: "kms://kms.example.com/keys/none")
        #expect(unknown.cover.status == 403)
        #expect(try await bench.command(bench.join(meeting), under: meeting.keyURI).cover.status == 403)
    }

    @Test("A stranger's text that the connector sealed is no command, whatever stands in it")
    func sealedText() async throws {
        let bench = try await Bench()
        let order = CalendarCommand(
            id: UUIDText.random(), issued: bench.parts.now(), userID: "alice",
            .createEvent(.init(subject: "Evil", start: Self.hour, end: Self.hour.adding(seconds: 60))))
        let notes = order.encoded().replacing("\\", with: "\\\\").replacing(",", with: "\\,").replacing(
            ";", with: "\\;")
        try await bench.put("a", bench.event("a@x", ["SUMMARY:x", "DESCRIPTION:\(notes)"]))
        try await bench.round()
        let meeting = try #require(bench.core.meetings.first)
        let key = try #require(bench.kms.key(meeting.keyURI))
        let sealed = try #require(meeting.notes)
        // It is a command by its form, and still none.
        #expect(try CalendarCommand(parsing: sealed.text(with: key)) == order)
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "calendar.command")
        json.member("userId", "alice")
        json.member("encryptionKeyUrl", meeting.keyURI)
        json.member("message", sealed.jwe)
        json.endObject()
        #expect(await CommandDesk(parts: bench.parts, held: bench.held).answer(json.bytes()).status == 403)
        #expect(try await bench.server.members(of: bench.calendar).count == 1)
    }

    @Test(
        "A link instead of a phone number or a PIN is refused",
        arguments: ["https://evil.example", "call evil", "1\n2"])
    func phone(_ text: String) async throws {
        let (bench, meeting) = try await prepared()
        for join in [
            CalendarCommand.Join(url: Bench.joinURL, phone: text), .init(url: Bench.joinURL, pin: text),
            .init(url: Bench.joinURL, spaceID: text),
        ] {
            let answer = try await bench.command(
                .putJoinDetails(meetingID: meeting.id, revision: meeting.revision, join)
            ).answer
            #expect(answer?.outcome == .refused)
        }
        let good = CalendarCommand.Join(url: Bench.joinURL, phone: "+49 (30) 123-45,,6#", pin: "4711#")
        let answer = try await bench.command(
            .putJoinDetails(meetingID: meeting.id, revision: meeting.revision, good)
        ).answer
        #expect(answer?.outcome == .written)
    }

    @Test("In another's name, of another time, or a second time it is not done")
    func replayed() async throws {
        let (bench, meeting) = try await prepared()
        #expect(try await bench.command(bench.join(meeting), user: "bob").cover.status == 403)
        #expect(try await bench.command(bench.join(meeting), named: "carol").cover.status == 404)
        let old = try await bench.command(bench.join(meeting), issued: bench.parts.now().adding(seconds: -301))
        #expect(old.answer?.outcome == .refused)
        let id = UUIDText.random()
        #expect(try await bench.command(bench.join(meeting), id: id).answer?.outcome == .written)
        #expect(try await bench.command(bench.join(meeting), id: id).answer?.reason == "the command was taken before")
    }

    @Test("Who is not the organizer writes nothing into an invitation")
    func notOrganizer() async throws {
        let (bench, meeting) = try await prepared(
            Bench.asking.map { $0.replacing("ORGANIZER:mailto:alice", with: "ORGANIZER:mailto:eve") })
        #expect(!meeting.isOrganizer)
        #expect(try await bench.command(bench.join(meeting)).answer?.outcome == .refused)
        #expect(try await !bench.text("a").contains(Bench.joinURL))
    }

    private static let hour = Timestamp(iso8601: "2027-01-13T10:00:00Z") ?? .now()

    @Test("Events are made, changed and deleted; only what the connector made is deleted")
    func events() async throws {
        let (bench, foreign) = try await prepared()
        let made = try await bench.command(
            .createEvent(
                .init(
                    subject: "Made, by \"us\"", location: "@meet", notes: "Line\nLine", start: Self.hour,
                    end: Self.hour.adding(seconds: 1800),
                    attendees: [.init(email: "o'neil+x@example.org", name: "O; Neil")]))
        ).answer
        #expect(made?.outcome == .written)
        try await bench.send()
        let meeting = try #require(bench.core.meetings.first { $0.id == made?.meetingID })
        #expect(meeting.durationMinutes == 30 && meeting.isOrganizer && meeting.trigger?.action == .space)
        let changed = try await bench.command(
            .updateEvent(
                meetingID: meeting.id, revision: meeting.revision, .init(start: Self.hour.adding(seconds: 600)))
        ).answer
        #expect(changed?.outcome == .written)
        try await bench.send()
        let moved = try #require(bench.core.meetings.first { $0.id == meeting.id })
        #expect(moved.start == Self.hour.adding(seconds: 600) && moved.durationMinutes == 20)
        #expect(
            try await bench.command(.deleteEvent(meetingID: foreign.id, revision: foreign.revision)).answer?.outcome
                == .refused)
        #expect(
            try await bench.command(.deleteEvent(meetingID: meeting.id, revision: meeting.revision)).answer?.outcome
                == .conflict)
        #expect(
            try await bench.command(.deleteEvent(meetingID: moved.id, revision: moved.revision)).answer?.outcome
                == .written)
        try await bench.send()
        #expect(bench.core.meetings.map(\.id) == [foreign.id])
        #expect(try await bench.text("a").contains("Own text"))
    }

    @Test(
        "An event that is none is refused with what is missing",
        arguments: [
            CalendarCommand.Event(subject: "x", start: hour), .init(start: hour, end: hour.adding(seconds: 1)),
            .init(subject: "x", start: hour, end: hour),
            .init(subject: "a\u{1}b", start: hour, end: hour.adding(seconds: 60)),
            .init(subject: "x", start: hour, end: hour.adding(seconds: 60), attendees: [.init(email: "no address")]),
        ])
    func noEvent(_ event: CalendarCommand.Event) async throws {
        let bench = try await Bench()
        try await bench.round()
        let answer = try await bench.command(.createEvent(event)).answer
        #expect(answer?.outcome == .refused && answer?.reason?.isEmpty == false)
        #expect(try await bench.server.members(of: bench.calendar).isEmpty)
    }

    @Test("Others' busy times come without a word of their calendars, and of strangers nothing is known")
    func freeBusy() async throws {
        let bench = try await Bench()
        let bob = ServerUser(id: "bob", address: "bob@example.org")
        let calendar = bench.server.addCalendar("work", of: bob)
        _ = try await bench.server.put(
            bench.event("b@x", ["SUMMARY:Very private"]), at: CalendarHref("/bob/work/b.ics"), in: calendar, .create)
        try await bench.round()
        let from = Timestamp(iso8601: "2027-01-12T00:00:00Z") ?? .now()
        let answer = try await bench.command(
            .freeBusy(
                from: from, to: from.adding(seconds: 86_400), emails: ["Bob@example.org", "eve@elsewhere.example"])
        ).answer
        #expect(answer?.busy?.map { $0.spans?.count } == [1, nil])
        #expect(answer?.busy?.first?.spans?.first?.from == Timestamp(iso8601: "2027-01-12T09:00:00Z"))
        #expect(answer?.encoded().contains("private") == false)
    }

    @Test("Who is not looked after is asked for at the user's own calendar server, which tells times alone or nothing")
    func freeBusyOfOthers() async throws {
        let bench = try await Bench()
        let carol = ServerUser(id: "carol", address: "carol@example.org")
        let calendar = bench.server.addCalendar("work", of: carol)
        _ = try await bench.server.put(
            bench.event("c@x", ["SUMMARY:Very private"]), at: CalendarHref("/carol/work/c.ics"), in: calendar, .create)
        try await bench.round()
        let from = Timestamp(iso8601: "2027-01-12T00:00:00Z") ?? .now()
        func ask() async throws -> CalendarAnswer? {
            try await bench.command(
                .freeBusy(
                    from: from, to: from.adding(seconds: 86_400),
                    emails: ["Carol@example.org", "eve@elsewhere.example"])
            ).answer
        }
        let answer = try await ask()
        #expect(answer?.busy?.map { $0.spans?.count } == [1, nil])
        #expect(answer?.busy?.first?.spans?.first?.from == Timestamp(iso8601: "2027-01-12T09:00:00Z"))
        #expect(answer?.encoded().contains("private") == false)
    }

    @Test("A list has meetings far outside the window as well")
    func list() async throws {
        let (bench, _) = try await prepared()
        try await bench.put(
            "far", bench.event("far@x", ["SUMMARY:Years ahead"], start: "20290112T090000Z", end: "20290112T100000Z"))
        try await bench.round()
        let from = Timestamp(iso8601: "2029-01-01T00:00:00Z") ?? .now()
        let answer = try await bench.command(.list(from: from, to: from.adding(seconds: 30 * 86_400))).answer
        #expect(answer?.meetings?.map(\.subject) == ["Years ahead"])
    }

    @Test(
        "What is no command is answered so",
        arguments: ["", "{}", "[1]", #"{"type":"calendar.command","userId":"alice"}"#])
    func malformed(_ text: String) async throws {
        let bench = try await Bench()
        #expect(await CommandDesk(parts: bench.parts, held: bench.held).answer(Array(text.utf8)).status == 400)
    }

    @Test("One occurrence of a series gets another time, subject and place, and the series stays as it is")
    func occurrence() async throws {
        let (bench, _) = try await prepared(Bench.asking + ["RRULE:FREQ=DAILY;COUNT=4"])
        let second = try #require(bench.core.meetings.dropFirst().first)
        let start = second.start.adding(seconds: 1800)
        let answer = try await bench.command(
            .updateEvent(
                meetingID: second.id, revision: second.revision,
                .init(subject: "Elsewhere", location: "Room 9; @meet", start: start))
        ).answer
        #expect(answer?.outcome == .written)
        try await bench.send()
        let meetings = bench.core.meetings
        #expect(meetings.count == 4)
        let changed = try #require(meetings.first { $0.id == second.id })
        let key = try #require(bench.kms.key(changed.keyURI))
        #expect(changed.start == start && changed.durationMinutes == second.durationMinutes)
        #expect(try changed.subject?.text(with: key) == "Elsewhere")
        #expect(changed.recurrenceID == second.recurrenceID && changed.seriesID == second.seriesID)
        let text = try await bench.text("a")
        #expect(text.contains("RRULE:FREQ=DAILY;COUNT=4") && text.split(separator: "BEGIN:VEVENT").count == 3)
        #expect(text.split(separator: "SUMMARY:Secret plan").count == 2)
        // Again for the same occurrence: its own event is changed, and no other is made.
        let again = try await bench.command(
            .updateEvent(meetingID: changed.id, revision: changed.revision, .init(subject: "Third name"))
        ).answer
        #expect(again?.outcome == .written)
        #expect(try await bench.text("a").split(separator: "BEGIN:VEVENT").count == 3)
        try await bench.send()
        let third = try #require(bench.core.meetings.first { $0.id == second.id })
        #expect(third.start == start)
    }

    @Test("A list names the space that join details named, by the connector's word")
    func listedSpace() async throws {
        let (bench, meeting) = try await prepared()
        _ = try await bench.command(bench.join(meeting))
        let list = try await bench.command(.list(from: meeting.start, to: meeting.start.adding(seconds: 60))).answer
        #expect(list?.meetings?.map(\.spaceID) == [Bench.spaceID])
    }
}
