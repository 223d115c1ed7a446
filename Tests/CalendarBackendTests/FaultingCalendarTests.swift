import CalendarBackend
import Diagnostics
import Synchronization
import Testing

@Suite("Faults in front of a calendar backend")
struct FaultingCalendarTests {
    private let memory = MemoryCalendarBackend()
    private let faulting: FaultingCalendarBackend
    private let ground: BackendGround

    init() {
        faulting = FaultingCalendarBackend(memory)
        ground = BackendGround(backend: faulting, calendar: memory.addCalendar("meetings", of: BackendGround.alice))
    }

    @Test("A fault strikes the call that it was planned for, once")
    func once() async throws {
        let away = CalendarError.serverAway("test")
        faulting.inject(.fail(away), at: 2, of: .put)
        try await ground.add("one.ics", TestEvent())
        await #expect(throws: away) { try await ground.add("two.ics", TestEvent()) }
        try await ground.add("two.ics", TestEvent())
        #expect(faulting.calls(of: .put) == 3)
    }

    @Test("A lost answer leaves its effect")
    func lost() async throws {
        faulting.inject(.loseAnswer(CalendarError.serverAway("test")), of: .put)
        await #expect(throws: CalendarError.serverAway("")) { try await ground.add("one.ics", TestEvent()) }
        #expect(try await ground.read(ground.href("one.ics")).etag != nil)
    }

    @Test("Somebody who is first makes a conflict")
    func overtaken() async throws {
        let href = try await ground.add("one.ics", TestEvent())
        let object = try await ground.read(href)
        let etag = try #require(object.etag)
        let (memory, calendar) = (memory, ground.calendar)
        faulting.inject(.overtake { memory.change(href, in: calendar) { $0 + Array("\r\n".utf8) } }, of: .put)
        #expect(try await faulting.put(object.octets, at: href, in: calendar, .match(etag)) == .conflict)
    }

    @Test("Lost changes, missing ETags and repeated answers come as real servers make them")
    func falsified() async throws {
        let token = try await ground.changes(since: nil).token
        let href = try await ground.add("one.ics", TestEvent())
        try await ground.add("two.ics", TestEvent())
        faulting.inject(.loseChanges, of: .changes)
        let lost = try await ground.changes(since: token)
        #expect(lost.isEmpty && lost.token != token)
        faulting.inject(.withoutETags, of: .changes)
        #expect(try await ground.changes(since: token).changed.allSatisfy { $0.etag == nil })
        faulting.inject(.twice, of: .members)
        #expect(try await faulting.members(of: ground.calendar).count == 4)
        faulting.inject(.withoutETags, of: .objects)
        #expect(try await ground.read(href).etag == nil)
        #expect(try await ground.read(href).etag != nil)
    }
}
