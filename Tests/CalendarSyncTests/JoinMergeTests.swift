import CalendarSync
import CalendarTime
import Diagnostics
import ICalendar
import Testing

@Suite("Join merge")
struct JoinMergeTests {
    /// Alice's text has what is easily lost: folds, escapes, blank ends, letters of other scripts.
    static let description = "DESCRIPTION;LANGUAGE=\"de\";x-a=1:Hallo\\, Grüße\\; 会議\\n\\Nends with blanks  \\\\n"

    private static func merged(
        _ edit: JoinEdit, _ text: String, base: String? = nil
    ) throws -> (outcome: JoinMerge.Outcome, text: String) {
        let latest = try Samples.document(text)
        let outcome = try Samples.merge.merged(edit, base: base.map(Samples.document), latest: latest)
        if case .write(let document) = outcome { return (outcome, String(decoding: document.octets, as: UTF8.self)) }
        return (outcome, text)
    }

    static func unfolded(_ text: String) -> [String] {
        text.replacing("\r\n ", with: "").split(separator: "\r\n").map(String.init)
    }

    /// Without what is the connector's.
    static func own(_ text: String) throws -> [String] {
        try unfolded(text).compactMap { line in
            if line.hasPrefix("X-HDS-") || line.hasPrefix("CONFERENCE") && line.contains("X-HDS-MEETING=") {
                return nil
            }
            guard line.hasPrefix("DESCRIPTION"), let colon = line.firstIndex(of: ":") else { return line }
            let value = try JoinNotes.put(nil, into: String(line[line.index(after: colon)...]))
            return value.isEmpty ? nil : line[...colon] + value
        }
    }

    @Test(
        "Details stand in CONFERENCE and between markers, and all else stays octet for octet",
        arguments: ["\r\n", "\n"])
    func put(_ end: String) throws {
        let other = "CONFERENCE;VALUE=URI;LABEL=\"mine\":https://other.example/"
        let text = Samples.text(Samples.single + [Self.description, other, "X-KEEP:1"], end: end)
        let first = try Self.merged(Samples.edit(), text)
        #expect(first.text.contains(other + end), "the user's own conference")
        #expect(
            try Self.own(first.text.replacing(end, with: "\r\n")) == Self.unfolded(text.replacing(end, with: "\r\n")))
        #expect(first.text.ranges(of: "-=-=- join details").count == 1)
        let again = try Self.merged(Samples.edit(), first.text)
        #expect(again.outcome == .same, "a second pass writes nothing")
        let changed = try Self.merged(
            Samples.edit("https://join.example/2", revision: "r2"), first.text, base: first.text)
        #expect(changed.text.contains("join.example/2") && !changed.text.contains("join.example/1"))
        #expect(changed.text.contains(other + end))
        let out = try Self.merged(Samples.edit(isThere: false), changed.text)
        #expect(
            Self.unfolded(out.text.replacing(end, with: "\r\n")) == Self.unfolded(text.replacing(end, with: "\r\n")),
            "they leave without a trace")
    }

    @Test("Nothing is written into a meeting of another organizer, a cancelled one, or one that is not there")
    func refusals() throws {
        let carol = Samples.single.map { $0.replacing("ORGANIZER:mailto:alice", with: "ORGANIZER:mailto:carol") }
        #expect(try Self.merged(Samples.edit(), Samples.text(carol)).outcome == .refused(.notOrganizer))
        #expect(
            try Self.merged(Samples.edit(isThere: false), Samples.text(carol)).outcome == .refused(.notOrganizer))
        #expect(
            try Self.merged(Samples.edit(), Samples.text(Samples.single + ["STATUS:CANCELLED"])).outcome
                == .refused(.cancelled))
        #expect(try Self.merged(Samples.edit(), Samples.text(["UID:x"])).outcome == .refused(.noSuchMeeting))
    }

    @Test("Three ways: a keyword that went is not answered, details that a user took out are not put back")
    func threeWays() throws {
        let base = Samples.text(Samples.single)
        let without = base.replacing("@meet:space", with: "")
        #expect(try Self.merged(Samples.edit(), without, base: base).outcome == .refused(.notWanted))
        let written = try Self.merged(Samples.edit(), base, base: base).text
        let takenOut = try Self.merged(Samples.edit(isThere: false), written).text
        #expect(try Self.merged(Samples.edit(), takenOut, base: written).outcome == .refused(.takenOut))
        let newer = try Self.merged(Samples.edit("https://join.example/2", revision: "r2"), takenOut, base: written)
        #expect(newer.text.contains("join.example/2"), "other details are news")
        let edited = written.replacing("SUMMARY:Plan", with: "SUMMARY:Later")
        let both = try Self.merged(Samples.edit("https://join.example/2", revision: "r2"), edited, base: written).text
        #expect(both.contains("SUMMARY:Later") && both.contains("join.example/2"))
    }

    @Test("A single occurrence without an override gets one, with its times, and the series stays as it is")
    func instance() throws {
        let text = Samples.text(Samples.series + [Self.description])
        let edit = Samples.edit(recurrenceID: "20260330T070000Z")
        let merged = try Self.merged(edit, text)
        #expect(merged.text.hasPrefix(text.dropLast("END:VCALENDAR\r\n".count)), "the series keeps every octet")
        let made = Self.unfolded(String(merged.text.dropFirst(text.count - "END:VCALENDAR\r\n".count)))
        for line in [
            "RECURRENCE-ID;TZID=Europe/Berlin:20260330T090000", "DTSTART;TZID=Europe/Berlin:20260330T090000",
            "DTEND;TZID=Europe/Berlin:20260330T100000", "UID:one@example.org", "X-KEEP:me", "DESCRIPTION:alarm",
            "ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:bob@example.org",
        ] { #expect(made.contains(line), "\(line)") }
        #expect(!made.contains { $0.hasPrefix("RRULE") })
        #expect(try Self.merged(edit, merged.text).outcome == .same)
        let reading = try Samples.meetings(merged.text, Samples.window("20260320", "20260410"))
        #expect(reading.meetings.map { $0.writtenRevision } == [nil, "r1", nil])
        #expect(reading.problems.isEmpty)
    }

    @Test("An override that is there is taken, and a place where the series has no occurrence is refused")
    func places() throws {
        let override = Samples.single + ["RECURRENCE-ID;TZID=Europe/Berlin:20260112T090000"]
        let text = Samples.text(Samples.series, override)
        let merged = try Self.merged(Samples.edit(recurrenceID: "20260112T080000Z"), text)
        #expect(merged.text.ranges(of: "BEGIN:VEVENT").count == 2)
        #expect(merged.text.ranges(of: "X-HDS-REVISION:r1").count == 1)
        for key in ["20260113T080000Z", "20260112", "20260112T090000", "20251229T080000Z"] {
            #expect(
                try Self.merged(Samples.edit(recurrenceID: key), text).outcome == .refused(.noSuchMeeting), "\(key)")
        }
    }

    @Test("Details of a series stand in its overrides, too, but for those that have their own")
    func overrides() throws {
        let master = Samples.single + ["RRULE:FREQ=WEEKLY"]
        let first = Samples.single + ["RECURRENCE-ID;TZID=Europe/Berlin:20260112T090000"]
        let second = Samples.single + ["RECURRENCE-ID;TZID=Europe/Berlin:20260119T090000"]
        let text = Samples.text(master, first, second)
        let own = try Self.merged(
            Samples.edit("https://join.example/9", recurrenceID: "20260119T080000Z", revision: "r9"), text
        ).text
        let all = try Self.merged(Samples.edit(), own).text
        #expect(all.ranges(of: "X-HDS-REVISION:r1").count == 2)
        #expect(all.ranges(of: "X-HDS-REVISION:r9").count == 1)
    }

    @Test("A text that is no UTF-8 is refused rather than changed")
    func octets() throws {
        let text = Array(Samples.text(Samples.single + ["DESCRIPTION:x"]).utf8)
        let place = try #require(text.firstRange(of: Array("DESCRIPTION:x".utf8)))
        var broken = text
        broken[place.upperBound - 1] = 0xFF
        let document = try CalendarDocument(parsing: broken)
        #expect(throws: DiagnosedError(.calendarEditRefused, fault: .internal, "")) {
            try Samples.merge.merged(Samples.edit(), base: nil, latest: document)
        }
    }

    @Test("Join details can not begin a line of their own")
    func injection() throws {
        for url in ["https://a\r\nATTENDEE:x", "https://a\u{7}"] {
            #expect(throws: DiagnosedError.self) { try Self.merged(Samples.edit(url), Samples.text(Samples.single)) }
        }
    }

    @Test("A server that takes out our parameter gets no second conference")
    func parameterLost() throws {
        let written = try Self.merged(Samples.edit(), Samples.text(Samples.single)).text
        let unfolded = Self.unfolded(written).map { line in
            line.hasPrefix("CONFERENCE") ? "CONFERENCE;VALUE=URI:https://join.example/1" : line
        }
        let again = try Self.merged(Samples.edit(), unfolded.map { $0 + "\r\n" }.joined()).text
        #expect(again.ranges(of: "CONFERENCE").count == 1)
    }
}
