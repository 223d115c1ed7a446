import CalendarBackend
import CalendarProtocol
import CalendarSync
import Diagnostics
import KMSClient
import Testing
import WireText

@testable import CalendarService
import Synchronization

@Suite("Rounds over a user's calendars")
struct RoundTests {
    private func opened(_ text: EncryptedText?, _ meeting: MeetingRecord, _ bench: Bench) throws -> String? {
        let key = try #require(bench.kms.key(meeting.keyURI))
        return try text?.text(with: key)
    }

    @Test(
        "A meeting is told once, sealed under a key of its series that the user may have, and changes by its revisions")
    func first() async throws {
        let bench = try await Bench()
        try await bench.put("a", bench.event("a@x", Bench.asking))
        let outcome = try await bench.round()
        #expect(outcome.calendars == 1 && outcome.objects == 1 && outcome.events == 1)
        let meeting = try #require(bench.core.meetings.first)
        #expect(try opened(meeting.subject, meeting, bench) == "Secret plan")
        #expect(try opened(meeting.location, meeting, bench) == "Room 4; @meet")
        #expect(meeting.trigger == .init(.keyword, .space) && meeting.isOrganizer && !meeting.hasJoinDetails)
        #expect(meeting.participantIDs == ["bob"])
        #expect(meeting.icalUID.contains("a@x") == false)
        let people = try #require(try opened(meeting.participants, meeting, bench).flatMap(MeetingPerson.people))
        #expect(people.map(\.userID) == ["bob"])
        let resource = try #require(bench.kms.resource(of: meeting.keyURI))
        #expect(bench.kms.people(of: resource) == ["alice"])
        #expect(bench.core.keyURI(of: "alice") != meeting.keyURI)
        #expect(bench.core.all.status["alice"] == "ok")

        #expect(try await bench.round().events == 0)
        try await bench.put(
            "a", bench.event("a@x", Bench.asking.map { $0.replacing("Secret plan", with: "Other plan") }))
        #expect(try await bench.round().events == 1)
        let later = try #require(bench.core.meetings.first)
        #expect(later.revision > meeting.revision && later.keyURI == meeting.keyURI)
        #expect(try opened(later.subject, later, bench) == "Other plan")

        let href = CalendarHref("/alice/home/a.ics")
        let etag = try #require(try await bench.server.object(href, in: bench.calendar)?.etag)
        _ = try await bench.server.delete(href, in: bench.calendar, ifMatch: etag)
        #expect(try await bench.round().events == 1)
        #expect(bench.core.meetings.isEmpty)
    }

    @Test("Neither the database nor what the core gets has a word of a calendar")
    func sealed() async throws {
        let bench = try await Bench()
        try await bench.put("a", bench.event("uid-that-tells@x", Bench.asking + ["DESCRIPTION:word-of-notes"]))
        bench.core.away(true)
        await #expect(throws: DiagnosedError.self) { try await bench.round() }
        var stored: [UInt8] = []
        for kind in DocumentKind.allCases {
            for document in try await bench.store.documents(of: "alice", kind: kind) {
                stored += document.octets + Array(document.id.utf8)
            }
        }
        bench.core.away(false)
        try await bench.send()
        let told = bench.core.all.calls.joined().joined()
        #expect(told.contains("calendar.meeting.created"))
        let everything = String(decoding: stored, as: UTF8.self) + told
        for word in ["Secret", "Room 4", "uid-that-tells", "word-of-notes", "bob@example.org", "/alice/home"] {
            #expect(!everything.contains(word), "\(word)")
        }
    }

    @Test("A private meeting has times and nothing else")
    func privately() async throws {
        let bench = try await Bench()
        try await bench.put("a", bench.event("a@x", Bench.asking + ["CLASS:PRIVATE"]))
        try await bench.round()
        let meeting = try #require(bench.core.meetings.first)
        #expect(meeting.sensitivity == .personal && meeting.trigger == nil && meeting.participantIDs.isEmpty)
        #expect(
            meeting.subject == nil && meeting.location == nil && meeting.participants == nil && meeting.organizer == nil
        )
    }

    @Test("What comes into the window with time is told without a change in the calendar")
    func window() async throws {
        let bench = try await Bench()
        try await bench.put(
            "far", bench.event("far@x", Bench.asking, start: "20270120T090000Z", end: "20270120T100000Z"))
        try await bench.put("weekly", bench.event("weekly@x", Bench.asking + ["RRULE:FREQ=WEEKLY"]))
        try await bench.round()
        #expect(bench.core.meetings.count == 1)
        let reads = bench.faults.calls(of: .objects)
        bench.wait(3 * 86_400)
        try await bench.round()
        #expect(bench.core.meetings.count == 3)
        #expect(bench.faults.calls(of: .objects) == reads)
        // Both occurrences have the key of their series; the other meeting has its own.
        #expect(Set(bench.core.meetings.map(\.keyURI)).count == 2)
    }

    @Test("A token that is not known any more costs a whole reading, and tells nothing twice")
    func resync() async throws {
        let bench = try await Bench()
        for number in 0..<7 { try await bench.put("m\(number)", bench.event("m\(number)@x", Bench.asking)) }
        try await bench.round()
        #expect(bench.core.meetings.count == 7)
        bench.server.forgetTokens(of: bench.calendar)
        let outcome = try await bench.round()
        #expect(outcome.events == 0 && outcome.resyncs.values.contains(.tokenRefused))
        #expect(bench.core.meetings.count == 7)
    }

    @Test("What a server forgot to tell is found by the comparison of all versions, and repaired")
    func drift() async throws {
        let bench = try await Bench()
        try await bench.put("a", bench.event("a@x", Bench.asking))
        try await bench.put("b", bench.event("b@x", Bench.asking))
        try await bench.round()
        try await bench.put(
            "a", bench.event("a@x", Bench.asking.map { $0.replacing("Secret plan", with: "Later plan") }))
        bench.faults.inject(.loseChanges, of: .changes)
        #expect(try await bench.round().events == 0)
        #expect(try await bench.round().events == 0)
        bench.wait(86_400)
        let outcome = try await bench.round()
        #expect(outcome.drift == 1)
        let subjects = try bench.core.meetings.map { try opened($0.subject, $0, bench) }
        #expect(Set(subjects) == ["Secret plan", "Later plan"])
    }

    @Test("What can not be read is counted and spoils nothing else")
    func unreadable() async throws {
        let bench = try await Bench()
        try await bench.put("good", bench.event("good@x", Bench.asking))
        try await bench.put("bad", bench.event("bad@x", ["SUMMARY:x", "RRULE:FREQ=SECONDLY"]))
        try await bench.round()
        #expect(bench.core.meetings.count == 1)
        let state = try await bench.parts.state()
        #expect(try await state.user("alice")?.problems == ["calendar-rule-unsupported": 1])
    }

    @Test("A round that ends anywhere in its middle is made up for by the next one", arguments: 1...9)
    func interrupted(at call: Int) async throws {
        let store = FailingStore(
            try SQLiteCalendarStore(path: TemporaryPlace.path()), failing: call)
        let bench = try await Bench(store: store)
        for number in 0..<3 { try await bench.put("m\(number)", bench.event("m\(number)@x", Bench.asking)) }
        try await bench.put(
            "away", bench.event("away@x", ["SUMMARY:Vacation"], start: "20270112T000000Z", end: "20270114T000000Z"))
        store.arm()
        _ = try? await bench.round()
        _ = try? await bench.send()
        store.disarm()
        try await bench.put("m1", bench.event("m1@x", Bench.asking.map { $0.replacing("Secret plan", with: "Moved") }))
        try await bench.round()
        try await bench.round()
        #expect(bench.core.meetings.count == 4)
        let subjects = try bench.core.meetings.map { try opened($0.subject, $0, bench) ?? "" }.sorted()
        #expect(subjects == ["Moved", "Secret plan", "Secret plan", "Vacation"])
        #expect(bench.core.all.status["alice"] == "ok")
    }

    @Test("Who lost the user to another node writes nothing more")
    func fenced() async throws {
        let path = TemporaryPlace.path()
        let clock = TestClock()
        let first = try await Bench(node: "one", store: SQLiteCalendarStore(path: path) { clock.now })
        try await first.put("a", first.event("a@x", Bench.asking))
        clock.wait(7_200)
        let other = try SQLiteCalendarStore(path: path) { clock.now }
        let beat = try await other.beat(node: "two", life: HeldShares.life, leaving: [])
        #expect(beat.holdings.count == Shares.count)
        #expect(try await first.connector.perform(first.user()) == nil)
        #expect(try await first.store.documents(of: "alice", kind: .object).isEmpty)
    }

    @Test("A missing consent stops everything, and nothing is lost by it")
    func consent() async throws {
        let bench = try await Bench()
        try await bench.put("a", bench.event("a@x", Bench.asking))
        bench.kms.refuse(true)
        await #expect(throws: DiagnosedError.self) { try await bench.round() }
        #expect(try await bench.store.documents(of: "alice", kind: .object).isEmpty)
        bench.kms.refuse(false)
        try await bench.round()
        #expect(bench.core.meetings.count == 1)
    }

    @Test("An absence is told when it comes and when it is gone")
    func absences() async throws {
        let bench = try await Bench()
        try await bench.put(
            "away", bench.event("away@x", ["SUMMARY:x", "X-MICROSOFT-CDO-BUSYSTATUS:OOF"]))
        try await bench.round()
        #expect(bench.core.all.absences.last??.from == Timestamp(iso8601: "2027-01-12T09:00:00Z"))
        bench.wait(3 * 86_400)
        try await bench.round()
        #expect(bench.core.all.absences == [bench.core.all.absences[0], nil])
    }

    @Test("Keys are made anew before their time is over, and the calendar's old one opens commands still")
    func renewal() async throws {
        let bench = try await Bench()
        try await bench.put("a", bench.event("a@x", Bench.asking + ["RRULE:FREQ=WEEKLY"]))
        try await bench.round()
        let old = try #require(bench.core.keyURI(of: "alice")), series = try #require(bench.core.meetings.first?.keyURI)
        bench.clock.withLock { $0 = TestKeys.end.adding(seconds: -30 * 86_400) }
        try await bench.round()
        let new = try #require(bench.core.keyURI(of: "alice"))
        #expect(new != old && bench.core.meetings.last?.keyURI != series)
        #expect(bench.kms.resource(of: new) == bench.kms.resource(of: old))
        let from = bench.parts.now()
        for key in [old, new] {
            let answer = try await bench.command(.list(from: from, to: from.adding(seconds: 86_400)), under: key).answer
            #expect(answer?.outcome == .ok)
        }
    }

    @Test("A meeting that is moved out of what was told goes, wherever the window's edge is meanwhile")
    func edge() async throws {
        let bench = try await Bench()
        try await bench.put("first", bench.event("first@x", Bench.asking))
        try await bench.round()
        // The stored window ends at 08:00 of the 18th, that of now at 08:40.
        bench.wait(2400)
        try await bench.put("a", bench.event("a@x", Bench.asking, start: "20270118T083000Z", end: "20270118T090000Z"))
        try await bench.round()
        #expect(bench.core.meetings.count == 2)
        bench.wait(600)
        try await bench.put("a", bench.event("a@x", Bench.asking, start: "20270218T083000Z", end: "20270218T090000Z"))
        try await bench.round()
        #expect(bench.core.meetings.count == 1)
    }

    @Test("All meetings of a user can be told again, under the keys that they have")
    func replay() async throws {
        let bench = try await Bench()
        for number in 0..<3 { try await bench.put("m\(number)", bench.event("m\(number)@x", Bench.asking)) }
        try await bench.round()
        let before = bench.core.meetings
        bench.core.forget()
        #expect(try await bench.round().events == 0)
        try await bench.round(everything: true)
        #expect(bench.core.meetings.map(\.id) == before.map(\.id))
        #expect(bench.core.meetings.map(\.keyURI) == before.map(\.keyURI))
    }

    @Test("The same meeting in two calendars of one user is one, and stays while it stands in one of them")
    func twoCalendars() async throws {
        let bench = try await Bench()
        let second = bench.server.addCalendar("copies", of: bench.alice)
        await bench.parts.accounts.forget("alice")
        try await bench.put("a", bench.event("a@x", Bench.asking))
        let copy = bench.event("a@x", ["SUMMARY:The copy"])
        _ = try await bench.server.put(copy, at: CalendarHref("/alice/copies/a.ics"), in: second, .create)
        try await bench.round()
        #expect(bench.core.meetings.count == 1)
        bench.server.change(CalendarHref("/alice/home/a.ics"), in: bench.calendar) { _ in nil }
        let outcome = try await bench.round()
        #expect(outcome.isToBeRetold && bench.core.meetings.count == 1)
        // The next round tells what is left: the copy.
        try await bench.round()
        let left = try #require(bench.core.meetings.first)
        let key = try #require(bench.kms.key(left.keyURI))
        #expect(try left.subject?.text(with: key) == "The copy")
        bench.server.change(CalendarHref("/alice/copies/a.ics"), in: second) { _ in nil }
        try await bench.round()
        #expect(bench.core.meetings.isEmpty)
    }

    @Test("An address of a configured video host is where the meeting is met; another one is not passed on")
    func videoAddress() async throws {
        let bench = try await Bench(change: {
            $0.replacing("video-hosts: []", with: "video-hosts: [rooms.example.net]")
        })
        try await bench.put(
            "a", bench.event("a@x", ["SUMMARY:x", "LOCATION:https://rooms.example.net/4711", "ORGANIZER:mailto:b@x"]))
        try await bench.put(
            "b", bench.event("b@x", ["SUMMARY:x", "DESCRIPTION:see https://rooms.example.net.evil.example/1"]))
        try await bench.round()
        let meetings = bench.core.meetings
        let met = try #require(meetings.first { $0.trigger != nil })
        #expect(met.trigger?.kind == .address && met.trigger?.action == .address)
        let key = try #require(bench.kms.key(met.keyURI))
        #expect(try met.joinInfo?.url.text(with: key) == "https://rooms.example.net/4711")
        #expect(meetings.count == 2 && meetings.count { $0.joinInfo != nil } == 1)
    }

    @Test("The core hears of every user once a day, so that it can tell who is looked after no more")
    func daily() async throws {
        let bench = try await Bench()
        try await bench.round()
        let before = bench.core.all.calls.joined().count { $0.contains("connector.user.status") }
        try await bench.round()
        #expect(bench.core.all.calls.joined().count { $0.contains("connector.user.status") } == before)
        bench.wait(86_401)
        try await bench.round()
        #expect(bench.core.all.calls.joined().count { $0.contains("connector.user.status") } == before + 1)
    }

    @Test("A sample of versions finds what a server forgot to tell before the audit does, and brings the audit about")
    func sample() async throws {
        let bench = try await Bench(change: { $0.replacing("sample: 10m", with: "sample: 1s") })
        for name in ["a", "b", "c"] { try await bench.put(name, bench.event("\(name)@x", Bench.asking)) }
        try await bench.round()
        // The names are drawn when all is read, once an hour.
        bench.wait(3700)
        try await bench.round()
        bench.server.change(CalendarHref("/alice/home/b.ics"), in: bench.calendar) {
            Array(String(decoding: $0, as: UTF8.self).replacing("Secret plan", with: "Other").utf8)
        }
        bench.faults.inject(.loseChanges, of: .changes)
        bench.wait(2)
        // The change is lost, and so is the second word of the server: its token has moved on.
        let outcome = try await bench.round()
        #expect(outcome.drift == 1)
        let subjects = try bench.core.meetings.compactMap { meeting in
            try bench.kms.key(meeting.keyURI).flatMap { try meeting.subject?.text(with: $0) }
        }
        #expect(subjects.sorted() == ["Other", "Secret plan", "Secret plan"])
        let state = try await bench.parts.state()
        #expect(try await state.calendars(of: "alice").values.first?.auditedAt == Timestamp(milliseconds: 0))
        #expect(try await bench.round().drift == 0)
        #expect(try await state.calendars(of: "alice").values.first?.auditedAt == bench.parts.now())
        // A change that is told in its time is no drift.
        try await bench.put("c", bench.event("c@x", Bench.asking + ["DESCRIPTION:new"]))
        bench.wait(2)
        #expect(try await bench.round().drift == 0)
    }

    @Test("After a silence in which the core may have forgotten the user, all is told again")
    func afterSilence() async throws {
        let bench = try await Bench()
        try await bench.put("a", bench.event("a@x", Bench.asking + ["RRULE:FREQ=DAILY"]))
        try await bench.put(
            "away", bench.event("away@x", ["SUMMARY:x", "X-MICROSOFT-CDO-BUSYSTATUS:OOF", "RRULE:FREQ=DAILY"]))
        try await bench.round()
        bench.wait(31 * 86_400)
        bench.core.forget()
        try await bench.round()
        #expect(bench.core.meetings.count >= 14 && bench.core.all.absences.count == 1)
        #expect(bench.core.all.status["alice"] == "ok")
        #expect(try await bench.round().events == 0)
    }
}
