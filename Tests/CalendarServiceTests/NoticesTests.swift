import CalendarBackend
import Diagnostics
import Testing
import WireText

@testable import CalendarService

@Suite("Notices of changes, and quick looks")
struct NoticesTests {
    /// Returns when it holds.
    private func until(_ holds: () -> Bool) async { while !holds() { await Task.yield() } }

    private func isDueSoon(_ bench: Bench) -> Bool {
        bench.connector.standing(of: "alice").map { $0.due < .now + .seconds(2) } ?? false
    }

    @Test("What the calendar system tells of brings a round at once, also while one runs", .timeLimit(.minutes(2)))
    func notices() async throws {
        let bench = try await Bench()
        try await bench.round()
        #expect(!isDueSoon(bench))
        let notices = CalendarNotices(bench.connector, pause: .milliseconds(5))
        let task = Task { try await notices.run() }
        // What changed before the stream stood nobody has told: one look.
        await until { isDueSoon(bench) }
        #expect(notices.watched(on: "main") == ["alice"])
        try await bench.round()
        #expect(!isDueSoon(bench))
        try await bench.put("a", bench.event("a@x", Bench.asking))
        await until { isDueSoon(bench) }
        // A stream that breaks is made anew.
        try await bench.round()
        bench.server.endNotices()
        await until { isDueSoon(bench) }
        task.cancel()
        _ = await task.result
        #expect(notices.watched(on: "main").isEmpty)
    }

    @Test("A notice does not bring a user out of the pause after a failure")
    func pauses() async throws {
        let bench = try await Bench()
        try await bench.round()
        bench.faults.inject(.fail(CalendarError.rateLimited(.seconds(120), "429")), of: .changes)
        await #expect(throws: CalendarError.self) { try await bench.round() }
        bench.connector.noticed("alice")
        #expect(!isDueSoon(bench))
        #expect(bench.connector.settled(on: "main").isEmpty)
    }

    @Test("After a change the next looks come soon, and without one they do not")
    func lively() async throws {
        let bench = try await Bench()
        try await bench.put("a", bench.event("a@x", Bench.asking))
        try await bench.round()
        let due = try #require(bench.connector.standing(of: "alice")?.due)
        #expect(due < .now + .seconds(6))
        let other = try await Bench()
        try await other.round()
        let late = try #require(other.connector.standing(of: "alice")?.due)
        #expect(late > .now + .seconds(20))
    }
}
