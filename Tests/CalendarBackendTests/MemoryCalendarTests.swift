import CalendarBackend
import Diagnostics
import Testing

@Suite("Calendars in memory")
struct MemoryCalendarTests {
    private let memory = MemoryCalendarBackend()
    private let alice = BackendGround.alice

    @Test("Who has no right is told so and changes nothing")
    func rights() async throws {
        let calendar = memory.addCalendar("read-only", of: alice, rights: [.read])
        let href = memory.newHref(in: calendar)
        await #expect(throws: CalendarError.forbidden("")) {
            try await memory.put(TestEvent().octets, at: href, in: calendar, .create)
        }
        await #expect(throws: CalendarError.forbidden("")) {
            try await memory.members(of: CalendarReference(user: BackendGround.bob, href: calendar.href))
        }
        #expect(try await memory.members(of: calendar).isEmpty)
    }

    @Test("A full calendar takes edits and nothing new")
    func quota() async throws {
        let calendar = memory.addCalendar("small", of: alice)
        memory.setLimit(1, of: calendar)
        let ground = BackendGround(backend: memory, calendar: calendar)
        let href = try await ground.add("one.ics", TestEvent())
        await #expect(throws: CalendarError.quotaExceeded) {
            try await memory.put(TestEvent().octets, at: ground.href("two.ics"), in: calendar, .create)
        }
        let etag = try #require(try await ground.read(href).etag)
        let outcome = try await memory.put(TestEvent().octets, at: href, in: calendar, .match(etag))
        #expect(outcome == .written)
    }

    @Test("An answer that arrives between read and write is not lost")
    func reply() async throws {
        let ground = BackendGround(backend: memory, calendar: memory.addCalendar("meetings", of: alice))
        let attendee = "ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:bob@example.com"
        let href = try await ground.add("one.ics", TestEvent(more: [attendee]))
        let before = try await ground.read(href)
        memory.change(href, in: ground.calendar) { octets in
            Array(String(decoding: octets, as: UTF8.self).replacing("NEEDS-ACTION", with: "ACCEPTED").utf8)
        }
        let stale = try #require(before.etag)
        #expect(try await memory.put(before.octets, at: href, in: ground.calendar, .match(stale)) == .conflict)
        #expect(try await ground.read(href).text.contains("PARTSTAT=ACCEPTED"))
    }

    @Test("Forgotten tokens ask for a full resync, new ones work")
    func forgotten() async throws {
        let ground = BackendGround(backend: memory, calendar: memory.addCalendar("meetings", of: alice))
        let token = try await ground.changes(since: nil).token
        memory.forgetTokens(of: ground.calendar)
        #expect(
            try await memory.changes(in: ground.calendar, since: token) == .fullResyncNeeded(.tokenRefused))
        let fresh = try await ground.changes(since: nil).token
        try await ground.add("one.ics", TestEvent())
        #expect(try await ground.changes(since: fresh).changed.count == 1)
    }

    @Test("Availability is what was set, or none")
    func availability() async throws {
        memory.add(alice)
        let account = try await memory.discover(alice)
        #expect(try await memory.availability(of: account) == nil)
        let octets = Array("BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n".utf8)
        memory.setAvailability(octets, of: alice)
        #expect(try await memory.availability(of: account) == octets)
    }

    @Test("Local times and series count where zones and rules could say no")
    func plainTimes() async throws {
        let ground = BackendGround(backend: memory, calendar: memory.addCalendar("meetings", of: alice))
        try await ground.add("local.ics", TestEvent(start: "20270105T230000", end: "20270105T233000"))
        try await ground.add("far.ics", TestEvent(start: "20270107T230000", end: "20270107T233000"))
        let time = try interval("20270106T080000Z", "20270106T090000Z")
        let found = try await memory.objects(in: ground.calendar, during: time, expanded: false)
        #expect(found.map(\.href) == [ground.href("local.ics")])
        await #expect(throws: CalendarError.unsupported("")) {
            try await memory.objects(in: ground.calendar, during: time, expanded: true)
        }
    }

    @Test("After closing, calls fail and say so")
    func closed() async throws {
        memory.add(alice)
        await memory.close()
        await #expect(throws: CalendarError.serverAway("")) { try await memory.discover(alice) }
    }
}
