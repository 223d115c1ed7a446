import CalendarBackend
import CalendarProtocol
import Diagnostics
import Testing
import WireText

@testable import CalendarService

@Suite("Reminders")
struct ReminderTests {
    /// In half an hour from the bench's time.
    private static let start = "20270111T083000Z"
    private static let end = "20270111T090000Z"

    private func wait(_ bench: Bench, minutes: Int64) async throws -> [String] {
        bench.wait(minutes * 60)
        try await bench.round()
        return bench.core.all.reminders
    }

    @Test("Five minutes before a meeting its user's devices are told, once, whatever happens in between")
    func standard() async throws {
        let bench = try await Bench()
        try await bench.put("a", bench.event("a@x", Bench.asking, start: Self.start, end: Self.end))
        let outcome = try await bench.round()
        // The next round is for the reminder.
        #expect(outcome.next == Timestamp(iso8601: "2027-01-11T08:25:00Z"))
        #expect(try await wait(bench, minutes: 24).isEmpty)
        let told = try await wait(bench, minutes: 2)
        let meeting = try #require(bench.core.meetings.first)
        #expect(told == ["\(meeting.id) 2027-01-11T08:30:00.000Z"])
        try await bench.put(
            "a", bench.event("a@x", Bench.asking + ["DESCRIPTION:new"], start: Self.start, end: Self.end))
        #expect(try await wait(bench, minutes: 1).count == 1)
        // Moved, it is another time.
        try await bench.put("a", bench.event("a@x", Bench.asking, start: "20270111T084500Z", end: Self.end))
        #expect(try await wait(bench, minutes: 1).count == 1)
        #expect(try await wait(bench, minutes: 15).count == 2)
    }

    @Test("The user's own alarms count instead, each once; mail and what is behind the start are the calendar's own")
    func alarms() async throws {
        let bench = try await Bench()
        func alarm(_ lines: String...) -> [String] { ["BEGIN:VALARM"] + lines + ["END:VALARM"] }
        let alarms =
            alarm("ACTION:DISPLAY", "TRIGGER:-PT20M") + alarm("ACTION:AUDIO", "TRIGGER;RELATED=START:-PT10M")
            + alarm("ACTION:EMAIL", "TRIGGER:-PT15M") + alarm("ACTION:DISPLAY", "TRIGGER;RELATED=END:-PT50M")
            + alarm("ACTION:DISPLAY", "TRIGGER:PT5M")
            + alarm("ACTION:DISPLAY", "TRIGGER;VALUE=DATE-TIME:20270111T081200Z")
        try await bench.put("a", bench.event("a@x", Bench.asking + alarms, start: Self.start, end: Self.end))
        try await bench.round()
        var counts: [Int] = []
        for minutes in [9, 2, 8, 2, 5] { counts.append(try await wait(bench, minutes: Int64(minutes)).count) }
        #expect(counts == [0, 1, 1, 2, 2])
    }

    @Test("All-day and free times, cancelled meetings, and a setting of 0 bring none; a private meeting's has no text")
    func none() async throws {
        let bench = try await Bench()
        let whole = bench.event("d@x", Bench.asking + ["DTSTART;VALUE=DATE:20270112"], start: "")
        try await bench.put("d", whole)
        try await bench.put(
            "f", bench.event("f@x", Bench.asking + ["TRANSP:TRANSPARENT"], start: Self.start, end: Self.end))
        try await bench.put(
            "c", bench.event("c@x", Bench.asking + ["STATUS:CANCELLED"], start: Self.start, end: Self.end))
        try await bench.put("p", bench.event("p@x", Bench.asking + ["CLASS:PRIVATE"], start: Self.start, end: Self.end))
        try await bench.round()
        let told = try await wait(bench, minutes: 26)
        #expect(told.count == 1)
        #expect(!bench.core.all.calls.joined().joined().contains("Secret"))
        let off = try await Bench(change: { $0.replacing("reminder: 5", with: "reminder: 0") })
        try await off.put("a", off.event("a@x", Bench.asking, start: Self.start, end: Self.end))
        try await off.round()
        #expect(try await wait(off, minutes: 26).isEmpty)
    }

    @Test("A connector that comes back late does not remind of what has begun")
    func late() async throws {
        let bench = try await Bench()
        try await bench.put("a", bench.event("a@x", Bench.asking, start: Self.start, end: Self.end))
        try await bench.round()
        #expect(try await wait(bench, minutes: 31).isEmpty)
    }
}
