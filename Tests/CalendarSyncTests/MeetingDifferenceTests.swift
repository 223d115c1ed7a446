import CalendarSync
import CalendarTime
import ICalendar
import Testing

@Suite("Meeting difference")
struct MeetingDifferenceTests {
    private static func difference(
        _ old: [String]..., to new: [String]..., space: String? = nil, newWindow: Range<Instant>? = nil
    ) throws -> MeetingDifference {
        let before = try old.flatMap { try Samples.meetings(Samples.text($0)).meetings }.map { meeting in
            var meeting = meeting
            meeting.spaceID = space
            return meeting
        }
        let readings = try new.map { try Samples.meetings(Samples.text($0), newWindow) }
        return MeetingDifference(
            from: before, to: readings.flatMap(\.meetings),
            left: readings.reduce(into: [:]) { $0.merge($1.left) { first, _ in first } },
            window: try newWindow ?? Samples.window())
    }

    private static func names(_ difference: MeetingDifference) -> [String] {
        difference.events.map { event in
            switch event {
            case .created: "created"
            case .updated(_, let fields): "updated " + fields.map(\.rawValue).sorted().joined(separator: " ")
            case .deleted(_, let reason): "deleted \(reason.rawValue)"
            }
        }
    }

    @Test("New is created, gone is deleted, the same is nothing")
    func basics() throws {
        let one = Samples.single
        #expect(try Self.names(Self.difference(to: one)) == ["created"])
        #expect(try Self.names(Self.difference(one, to: one)) == [])
        #expect(try Self.names(Self.difference(one)) == ["deleted gone"])
    }

    @Test("An update names what changed")
    func fields() throws {
        func change(_ from: String, _ to: String) throws -> [String] {
            try Self.names(Self.difference(Samples.single, to: Samples.single.map { $0.replacing(from, with: to) }))
        }
        #expect(try change("SUMMARY:Plan", "SUMMARY:Other") == ["updated subject"])
        #expect(try change("NEEDS-ACTION:mailto:bob", "ACCEPTED:mailto:bob") == ["updated answers"])
        #expect(try change("mailto:bob", "mailto:carol") == ["updated participants"])
        #expect(try change("T100000", "T110000") == ["updated time"])
        #expect(try change("@meet:space", "@meet:myroom") == ["updated location trigger"])
        #expect(try change("DTSTAMP:2026", "DTSTAMP:2027") == [], "a stamp is no content")
    }

    @Test("Cancelled and declined meetings leave the list, and the event says why")
    func leaving() throws {
        #expect(
            try Self.names(Self.difference(Samples.single, to: Samples.single + ["STATUS:CANCELLED"])) == [
                "deleted cancelled"
            ])
        let invited = Samples.single.map { $0.replacing("ORGANIZER:mailto:alice", with: "ORGANIZER:mailto:carol") }
        let declined = invited.map { $0.replacing("ACCEPTED:mailto:alice", with: "DECLINED:mailto:alice") }
        #expect(try Self.names(Self.difference(invited, to: declined)) == ["deleted declined"])
    }

    @Test("A moved meeting keeps its space, and so does a moved series")
    func moved() throws {
        let later = Samples.single.map { $0.replacing("20260105T", with: "20260107T") }
        let one = try Self.difference(Samples.single, to: later, space: "s1")
        #expect(Self.names(one) == ["updated time"])
        #expect(one.meetings.map(\.spaceID) == ["s1"])
        let series = Samples.series.map { $0.replacing("20260105T", with: "20260107T") }
        let all = try Self.difference(Samples.series, to: series, space: "s2")
        #expect(all.meetings.count == 4)
        #expect(Set(all.meetings.map(\.spaceID)) == ["s2"])
    }

    @Test("What ended before the window is forgotten without an event")
    func time() throws {
        let later = try Samples.window("20260110", "20260120")
        #expect(try Self.names(Self.difference(Samples.single, to: Samples.single, newWindow: later)) == [])
        #expect(
            try Self.names(Self.difference(Samples.series, to: Samples.series, newWindow: later)) == [
                "deleted outsideWindow"
            ])
    }

    @Test("A meeting that is moved out of the window is gone from the list only, and comes back with its space")
    func out() throws {
        let away = Samples.single.map { $0.replacing("20260105T", with: "20260505T") }
        let out = try Self.difference(Samples.single, to: away, space: "s1")
        #expect(Self.names(out) == ["deleted outsideWindow"])
        let back = try Samples.meetings(Samples.text(Samples.single)).meetings
        let key = try #require(back.first?.spaceKey)
        let again = MeetingDifference(from: [], to: back, spaces: [key: "s1"], window: try Samples.window())
        #expect(again.meetings.map(\.spaceID) == ["s1"])
    }

    @Test("The connector's own writing is no event, and an answer that came with it is")
    func echo() throws {
        let text = Samples.text(Samples.single)
        let document = try Samples.document(text)
        guard case .write(let written) = try Samples.merge.merged(Samples.edit(), base: document, latest: document)
        else {
            Issue.record("nothing to write")
            return
        }
        let after = String(decoding: written.octets, as: UTF8.self)
        func events(_ text: String) throws -> [String] {
            let before = try Samples.meetings(Samples.text(Samples.single)).meetings
            return try Self.names(
                MeetingDifference(from: before, to: Samples.meetings(text).meetings, window: Samples.window()))
        }
        #expect(try events(after) == [])
        #expect(try Samples.meetings(after).meetings.first?.writtenRevision == "r1")
        #expect(
            try events(after.replacing("NEEDS-ACTION:mailto:bob", with: "ACCEPTED:mailto:bob")) == ["updated answers"])
    }
}
