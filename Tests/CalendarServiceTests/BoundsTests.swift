import CalendarBackend
import Diagnostics
import ServiceRuntime
import Testing
import WireText

@testable import CalendarService

private struct Silence: EventRecorder {
    func isRecorded(_ severity: Severity) -> Bool { false }
    func write(_ event: Event, _ fields: LogFields) {}
}

@Suite("Bounds of one user's calendars")
struct BoundsTests {
    private func fail(_ bench: Bench) async throws -> UserState {
        await #expect(throws: DiagnosedError.self) { try await bench.round() }
        try await bench.send()
        #expect(bench.core.all.status["alice"] == "error calendar-too-large")
        #expect(bench.connector.summary().tooLarge == 1)
        let state = try await bench.parts.state()
        return try #require(try await state.user("alice"))
    }

    @Test(
        "Too many events stop this user's rounds before they are read, with the word what to do, until they are fewer")
    func objects() async throws {
        let bench = try await Bench(change: { $0.replacing("most-objects: 50000", with: "most-objects: 3") })
        for number in 0..<4 { try await bench.put("m\(number)", bench.event("m\(number)@x", Bench.asking)) }
        let known = try await fail(bench)
        #expect(known.fix?.contains("rounds.most-objects") == true)
        #expect(bench.faults.calls(of: .objects) == 0)
        let href = CalendarHref("/alice/home/m0.ics")
        bench.server.change(href, in: bench.calendar) { _ in nil }
        try await bench.round()
        #expect(bench.core.all.status["alice"] == "ok" && bench.core.meetings.count == 3)
        #expect(bench.connector.summary().tooLarge == 0)
        // One by one it comes to the same.
        try await bench.put("m5", bench.event("m5@x", Bench.asking))
        try await bench.round()
        try await bench.put("m6", bench.event("m6@x", Bench.asking))
        _ = try await fail(bench)
    }

    @Test("Octets are counted as they are stored, and freed with what goes")
    func octets() async throws {
        let bench = try await Bench(change: { $0.replacing("most-mebibytes: 64", with: "most-mebibytes: 1") })
        let long = String(repeating: "x", count: 700_000)
        try await bench.put("a", bench.event("a@x", ["SUMMARY:a", "DESCRIPTION:\(long)"]))
        try await bench.round()
        try await bench.put("b", bench.event("b@x", ["SUMMARY:b", "DESCRIPTION:\(long)"]))
        try await bench.round()
        try await bench.put("c", bench.event("c@x", ["SUMMARY:c"]))
        let known = try await fail(bench)
        #expect(known.fix?.contains("rounds.most-mebibytes") == true)
        #expect(known.octets > 1 << 20)
        bench.server.change(CalendarHref("/alice/home/a.ics"), in: bench.calendar) { _ in nil }
        try await bench.round()
        #expect(bench.core.all.status["alice"] == "ok")
        let state = try await bench.parts.state()
        #expect(try await state.user("alice")?.octets ?? 0 < 1 << 20)
    }

    @Test("A round that does not come to an end is ended, and is no other user's trouble")
    func time() async throws {
        let bench = try await Bench()
        let bounds = UserBounds(objects: 1, octets: 1, time: .milliseconds(1))
        await #expect(throws: bounds.tookTooLong) {
            try await Connector.within(bounds) {
                try await Task.sleep(for: .seconds(86_400))
                return UserRound.Outcome()
            }
        }
        #expect(
            try await Connector.within(bench.parts.settings.bounds) { UserRound.Outcome(calendars: 3) }.calendars == 3)
        #expect(throws: DiagnosedError.self) { try bounds.check(calendars: UserBounds.mostCalendars + 1) }
    }

    @Test("[HDS-CAL-LIMIT] stands while a user's calendars hold too much, and that user is no lag")
    func alarm() throws {
        let health = HealthRegistry(events: Silence(), metrics: MetricRegistry())
        let watch = CalendarWatch(health)
        watch.rounds(.init(users: 3, tooLarge: 1), beat: nil, interval: .seconds(30), MetricRegistry())
        #expect(Set(health.alarms.current.map { $0.alarm.id }) == ["HDS-CAL-LIMIT"])
        watch.rounds(.init(users: 3), beat: nil, interval: .seconds(30), MetricRegistry())
        #expect(health.alarms.current.isEmpty)
    }
}
